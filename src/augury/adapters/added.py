"""What a selection adds to a data set: which copies of which points, and what every row then weighs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64

from augury.copies import CopyOrdering
from augury.errors import InputError
from augury.selection import Ordering

Selection = Ordering | CopyOrdering | npt.ArrayLike


class Added(NamedTuple):
    """The rows that follow the originals.

    Parameters
    ----------
    point, copy
        (added,) of which point each is which copy, from 0.
    weights
        (rows,) of the originals and then of what is added.
    """

    point: Int64[np.ndarray, " added"]
    copy: Int64[np.ndarray, " added"]
    weights: Float64[np.ndarray, " rows"]


def added(selection: Selection, points: int, copies: int, *, downweight: bool = False) -> Added:
    """What a selection adds to `points` originals that have `copies` copies each.

    Parameters
    ----------
    selection
        An `Ordering` (all copies of the points within its budget), a `CopyOrdering` (the copies within its budget, weighing what it says),
        or points: indices or a mask.
    downweight
        Of chosen points: a point and its k copies weigh 1 / (k + 1) each, instead of 1.

    Raises
    ------
    InputError
        If the selection was made from other points or copies.
    """
    if isinstance(selection, CopyOrdering):
        return _of_copies(selection, points, copies, downweight=downweight)
    chosen = _points(selection, points)
    weights = np.ones(points + len(chosen) * copies)
    if downweight:
        weights[chosen] = weights[points:] = 1 / (copies + 1)
    return Added(np.repeat(chosen, copies), np.tile(np.arange(copies), len(chosen)), weights)


def _of_copies(selection: CopyOrdering, points: int, copies: int, *, downweight: bool) -> Added:
    if downweight:
        raise InputError("downweight: belongs to chosen points; chosen copies have the weight that their ordering gives them")
    if len(selection) != points * copies:
        raise InputError(f"selection: of {len(selection)} copies, and the data set has {points} x {copies}; choose from these copies")
    size = len(selection.selected)
    weights = np.concatenate([np.ones(points), np.full(size, selection.weight_at(size))])
    return Added(selection.point[:size], selection.copy[:size], weights)


def _points(selection: Ordering | npt.ArrayLike, points: int) -> Int64[np.ndarray, " chosen"]:
    if isinstance(selection, Ordering):
        if len(selection) != points:
            raise InputError(f"selection: of {len(selection)} points, and the data set has {points}; choose from this data set")
        return selection.selected
    given = np.asarray(selection)
    found = np.flatnonzero(given) if given.dtype == np.bool_ and given.shape == (points,) else given
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise InputError(
            f"selection: shape {given.shape}, type {given.dtype}; expected an Ordering, a CopyOrdering, indices of points, or a mask with "
            "one boolean a point"
        )
    if found.size and not 0 <= found.min() <= found.max() < points:
        raise InputError(f"selection: indices from {found.min()} to {found.max()}; expected 0 to {points - 1}")
    if len(np.unique(found)) < len(found):
        raise InputError("selection: a point is there twice; expected each at most once")
    return found.astype(np.int64)
