"""Arrays from the outside: numpy or torch in, checked float64 tensors inside, and results back as what came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from augury.errors import InputError

ArrayLike = npt.ArrayLike | Tensor


def as_numpy(values: ArrayLike) -> npt.NDArray[Any]:
    """The values as a numpy array on the CPU."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)


def as_tensor(values: ArrayLike, name: str) -> Float[Tensor, ...]:
    """The values as float64: a tensor stays on its device and in its graph; an array that may not be written to is copied."""
    if isinstance(values, Tensor):
        return values.to(torch.float64)
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers in an array or a tensor, each row as long as the others ({error})") from None
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_features(X: ArrayLike, name: str) -> Float[Tensor, "points features"]:
    """Features (points, features), or an `InputError` that names the argument: wrong number of axes, no point, NaN or infinity."""
    features = as_tensor(X, name)
    if features.ndim != 2 or len(features) == 0:
        raise InputError(f"{name}: shape {tuple(features.shape)}; expected (points, features) with at least one point")
    suspects = torch.nonzero(~torch.isfinite(features.detach().sum(dim=1)))[:, 0]  # sums need no second copy of the features
    broken = suspects[~torch.isfinite(features.detach()[suspects]).all(dim=1)]
    if len(broken):
        raise InputError(f"{name}: point {int(broken[0])} has a NaN or infinite feature; mend or leave out this point")
    return features


def as_labels(y: ArrayLike, points: int, name: str) -> npt.NDArray[Any]:
    """One label for each of so many points, of any kind."""
    labels = as_numpy(y)
    if labels.shape != (points,):
        raise InputError(f"{name}: labels of shape {labels.shape} for {points} points; expected one label for each point")
    return labels


def encode(labels: npt.NDArray[Any], classes: npt.NDArray[Any], name: str) -> npt.NDArray[np.int64]:
    """Each label's index in the sorted `classes`; a label that is none of them is an `InputError`."""
    alike = labels.dtype.kind == classes.dtype.kind or {labels.dtype.kind, classes.dtype.kind} <= set("biuf")
    if alike and labels.dtype.kind != "O":
        codes = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        known = classes[codes] == labels
    else:
        index = {label: i for i, label in enumerate(classes.tolist())}
        codes = np.array([index.get(label, -1) for label in labels.tolist()])
        known = codes >= 0
    if not known.all():
        stranger = labels[~known].tolist()[0]
        raise InputError(f"{name}: label {stranger!r} is none of the head's classes; fit the head to points of every class")
    return codes.astype(np.int64)


def as_weights(weights: ArrayLike | None, features: Tensor, name: str) -> Float[Tensor, " points"]:
    """One weight for each point; None: all ones. Negative, not finite, all zero, or of another length: an `InputError`."""
    if weights is None:
        return features.new_ones(len(features))
    checked = as_tensor(weights, name).to(features)
    if checked.ndim == 0:
        checked = checked.expand(len(features))
    if checked.shape != (len(features),):
        raise InputError(f"{name}: shape {tuple(checked.shape)} for {len(features)} points; expected one weight for each point")
    if not bool((torch.isfinite(checked) & (checked >= 0)).all()):
        raise InputError(f"{name}: expected finite weights that are not negative")
    if not bool((checked > 0).any()):
        raise InputError(f"{name}: every weight is zero; expected at least one that is positive")
    return checked


def returned_like(values: Tensor, example: ArrayLike) -> ArrayLike:
    """The values as what the caller's `example` is: a tensor for a tensor, else a numpy array."""
    return values if isinstance(example, Tensor) else values.detach().cpu().numpy()
