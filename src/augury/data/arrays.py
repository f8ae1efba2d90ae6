"""`Examples` from arrays: every usual layout, type and kind of label is brought to the one that `Examples` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped

from augury.data.examples import Examples, Images
from augury.errors import InputError

Names = Sequence[str] | Shaped[np.ndarray, " points"]

LAYOUTS = "(points, height, width), (points, height, width, channels) or (points, channels, height, width)"


def from_arrays(images: object, labels: object, classes: Sequence[str] | None = None, origin: Names | None = None) -> Examples:
    """Labelled images that are already in memory, checked.

    Parameters
    ----------
    images
        numpy or torch, (points, height, width), (points, height, width, channels) or (points, channels, height, width), with 1 or 3
        channels; uint8, or floats in [0, 1]. Where both last layouts fit, the second axis is taken for the channels. Not copied where the
        type and layout are those of `Examples` already.
    labels
        (points,) whole numbers or strings. Without `classes`, the distinct labels, sorted, are the classes: labels 3 and 8 are the classes
        "3" and "8". With `classes`, numbers count into it and strings are names in it.
    classes
        The classes' names, in the order of the labels 0, 1, ...; give them where some class may have no point in these arrays.
    origin
        One name for each image, all different; "0", "1", ... if not given.

    Raises
    ------
    InputError
        If the set is empty, the lengths differ, a label is missing or unknown, fewer than two classes have a point, the images have another
        type or shape, or a pixel is NaN, infinite or outside [0, 1].
    """
    pixels = _pixels(images)
    values = label_values(labels)
    if len(values) != len(pixels):
        raise InputError(f"labels: {len(values)} labels for {len(pixels)} images; give one label for each image")
    if len(pixels) == 0:
        raise InputError("images: the set is empty; expected at least two images, of two classes")
    indices, names = encode(values, classes)
    examples = Examples(pixels, indices, names, _origins(origin, len(pixels)))
    present = np.unique(indices)
    if len(present) < 2:
        raise InputError(f"labels: all {len(indices)} points are of the single class {names[present[0]]!r}; expected two or more classes")
    return examples


def label_values(labels: object) -> npt.NDArray[Any]:
    """The labels as (points,) int64 or strings, whatever held them; missing ones, fractions and one-hot rows are an `InputError`."""
    values = _as_numpy(labels, "labels")
    if values.ndim != 1:
        raise InputError(f"labels: shape {values.shape}; expected one label a point, (points,) (of one-hot rows, take the argmax)")
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        return values.astype(str)
    if values.dtype.kind != "U" and values.size:
        raise InputError(f"labels: type {values.dtype}; expected whole numbers or strings, and none missing")
    return values


def encode(values: npt.NDArray[Any], classes: Sequence[str] | None) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels as indices into the classes, and the classes' names: the distinct values, sorted, unless `classes` gives them."""
    if classes is None:
        known, indices = np.unique(values, return_inverse=True)
        return indices.astype(np.int64), tuple(str(value) for value in known)
    names = tuple(str(name) for name in classes)
    if len(set(names)) < len(names):
        raise InputError(f"classes: a name stands twice in {', '.join(names)}; give each class a name of its own")
    if values.dtype.kind != "U":
        return values.astype(np.int64), names
    position = {name: i for i, name in enumerate(names)}
    unknown = sorted(set(values.tolist()) - set(names))
    if unknown:
        raise InputError(f"labels: {unknown[0]!r} is none of the classes {', '.join(names)}; add it to them or mend the label")
    return np.array([position[value] for value in values.tolist()], dtype=np.int64), names


def _pixels(images: object) -> Images:
    array = _as_numpy(images, "images")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is refused as such
            array = array.astype(np.float32, copy=False)
    elif array.dtype != np.uint8:
        raise InputError(
            f"images: type {array.dtype}; expected uint8, or floats in [0, 1] (for whole numbers from 0 to 255: astype('uint8'))"
        )
    # torch warns of arrays that cannot be written to, such as Arrow's
    return np.require(_channels_first(array), requirements=["C", "W"])


def _channels_first(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if images.ndim == 3:
        return images.reshape(len(images), 1, *images.shape[1:])  # not np.newaxis: its stride of 0 makes torch sum in another order
    if images.ndim != 4:
        raise InputError(f"images: shape {images.shape}; expected {LAYOUTS}")
    if images.shape[1] in (1, 3):
        return images
    if images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise InputError(f"images: shape {images.shape} with neither 1 channel (grey) nor 3 (RGB); expected {LAYOUTS}")


def _as_numpy(values: object, argument: str) -> npt.NDArray[Any]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float().numpy() if values.is_floating_point() else values.numpy()  # numpy knows no bfloat16
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError(f"{argument}: the entries have different shapes; expected one array, all entries alike") from None


def _origins(origin: Names | None, points: int) -> Shaped[np.ndarray, " points"]:
    names = np.array([str(i) for i in range(points)] if origin is None else origin, dtype=str)
    if len(names) != points:
        raise InputError(f"origin: {len(names)} entries for {points} images; give one for each image")
    if len(np.unique(names)) < points:
        raise InputError("origin: two points have the same origin; give each a name of its own")
    return names
