"""Features of images and of their augmented copies, block by block."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32, Shaped

from augury.data.examples import Images
from augury.errors import InputError
from augury.model.cache import content_key, remembered
from augury.model.definition import Model
from augury.model.reading import Block, reading, resolve_device
from augury.progress import track


def features(
    model: Model,
    images: Images,
    *,
    batch: int = 256,
    device: str | torch.device = "auto",
    cache: str | Path | None = None,
    what: str = "features",
) -> Float32[np.ndarray, "points features"]:
    """The values of the model's feature layer for each image, in evaluation mode: what scores and head work on.

    The batch size changes nothing beyond rounding, about 1e-6 of a feature.

    Parameters
    ----------
    model
        The network and its layer. It is only read; if it lies on another device, a copy of it is used.
    images
        uint8, or float32 in [0, 1].
    batch
        How many images go through the network at once.
    device
        Where to compute: `auto`, `cpu`, `cuda`.
    cache
        A folder. The features are kept there in `features-KEY.npy`, written block by block and put in place when whole, and read as a
        memory map. The key covers the weights and buffers, the architecture (its `repr` and the sources of the `forward` methods), the
        layer and every pixel, so that a change of any of them computes anew.
    what
        What the progress bar says.

    Raises
    ------
    InputError
        If the network refuses the images (channels, size), the layer does not run exactly once or gives no value a point, or a
        feature is NaN or infinite (the message says of which point).
    """
    _check_batch(batch, len(images))

    def blocks() -> Generator[Block]:
        with reading(model, resolve_device(device)) as read:
            for start in track(range(0, len(images), batch), what):
                yield _finite(read(images[start : start + batch]), start)

    return remembered(cache, lambda: content_key(model, "originals", images), blocks, len(images))


def copy_features(
    model: Model,
    images: Images,
    copies: Callable[[Any], Shaped[np.ndarray, "points copies channels height width"]],
    *,
    per_point: int,
    transform: str | None = None,
    batch: int = 256,
    device: str | torch.device = "auto",
    cache: str | Path | None = None,
    what: str = "features of the copies",
) -> Float32[np.ndarray, "points copies features"]:
    """The features of every augmented copy of every image, without ever holding more than a block of copies' pixels.

    Parameters
    ----------
    model, images, batch, device, cache, what
        As in `features`.
    copies
        Makes all copies of a block of images: (points, channels, height, width) to (points, copies, channels, height, width).
    per_point
        How many copies it makes of one image.
    transform
        What tells this way of making copies from every other, such as a transform's `repr` with all its settings: part of the cache's
        key, and needed where there is a cache.

    Raises
    ------
    InputError
        As `features` does, and if `copies` gives another shape than expected, or a cache is given without `transform`.
    """
    _check_batch(batch, len(images))
    if per_point < 1:
        raise InputError(f"per_point: {per_point}; expected how many copies are made of one image, at least 1")
    if cache is not None and transform is None:
        raise InputError("transform: a cache needs a description that tells this transform from every other; give its repr")
    points = max(1, batch // per_point)

    def blocks() -> Generator[Block]:
        with reading(model, resolve_device(device)) as read:
            for start in track(range(0, len(images), points), what):
                block = images[start : start + points]
                pixels = _flat_copies(copies(block), block, per_point)
                values = np.concatenate([read(pixels[first : first + batch]) for first in range(0, len(pixels), batch)])
                yield _finite(values.reshape(len(block), per_point, -1), start)

    return remembered(cache, lambda: content_key(model, "copies", transform, per_point, images), blocks, len(images))


def _check_batch(batch: int, points: int) -> None:
    if batch < 1:
        raise InputError(f"batch: {batch}; expected at least 1")
    if points == 0:
        raise InputError("images: the set is empty; expected at least one image")


def _flat_copies(made: npt.NDArray[Any], block: npt.NDArray[Any], per_point: int) -> npt.NDArray[Any]:
    if made.shape[:2] != (len(block), per_point) or made.ndim != 5:
        raise InputError(
            f"copies: made an array of shape {made.shape} from {len(block)} images; "
            f"expected ({len(block)}, {per_point}, channels, height, width): (points, copies, channels, height, width)"
        )
    return made.reshape(-1, *made.shape[2:])


def _finite(block: Block, start: int) -> Block:
    if not np.isfinite(block).all():
        place = np.argwhere(~np.isfinite(block))[0]
        which = f", copy {place[1]}" if block.ndim == 3 else ""
        raise InputError(
            f"features: point {start + place[0]}{which} has a feature that is {block[tuple(place)]}; "
            "expected finite numbers: are the image's pixels and the network's weights finite?"
        )
    return block
