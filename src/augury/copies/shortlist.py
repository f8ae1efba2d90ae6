"""A pool that is never whole in memory: read block by block, every copy is scored, and the features of the most helpful ones are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, Int64, Shaped

from augury.arrays import ArrayLike, as_numpy
from augury.copies.passes import influences
from augury.copies.pool import CopyPool
from augury.copies.target import Target
from augury.curvature import FittedHead, Points
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.progress import track

Block = tuple[ArrayLike, ArrayLike, ArrayLike]


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The most helpful copies of a larger pool; `choose_copies` takes it as `copies`.

    Parameters
    ----------
    X, y, point
        (kept, features), (kept,), (kept,): features, labels and training points of the copies that were kept, in the pool's order.
    rows
        (kept,) their places in the pool: `rows[ordering.candidates]` are the pool's numbers of an ordering of the shortlist.
    influence
        (copies,) of every copy of the pool on the target, before any is chosen, in nats a unit of weight.
    """

    X: Float64[np.ndarray, "kept features"]
    y: Shaped[np.ndarray, " kept"]
    point: Int64[np.ndarray, " kept"]
    rows: Int64[np.ndarray, " kept"]
    influence: Float64[np.ndarray, " copies"]


def shortlist(head: SoftmaxHead, train: Points, blocks: Iterable[Block], target: Points, keep: int) -> Shortlist:
    """Score every copy of a pool by its influence on the target, and keep the features of the `keep` copies that help most.

    Parameters
    ----------
    head, train
        As in `augury.choose_copies`.
    blocks
        Read once, one after the other, as a generator gives them: (X, y, point) of some copies, `point` being the index of the training
        point that each is a copy of.
    target
        (X, y) or (X, y, weight) of labelled points: a self-target would need the features of all copies again and again.
    keep
        How many copies to keep, as many as fit: what a copy is worth changes as others are chosen, and one that is not kept cannot be
        chosen later.

    Raises
    ------
    InputError
        If shapes or labels do not fit together, or there is no block.

    Notes
    -----
    Memory: a block and `keep` copies in float64, and a number a copy. With weight 1, `choose_copies` takes from the shortlist the same
    copies as from the whole pool, as long as it would take none that was not kept.
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise InputError(f"keep: got {keep!r}; expected how many copies to keep, at least 1")
    with torch.inference_mode():
        state = FittedHead.of(head, train, "auto")
        gradient = Target((state.read(target, "target"),)).read(state.V).gradient
        s = state.curvature.solve(gradient.reshape(1, -1)).reshape(state.V.shape)
        found: list[npt.NDArray[np.float64]] = []
        kept: list[npt.NDArray[np.generic]] = []
        for block in track(blocks, "scoring blocks of copies"):
            pool = CopyPool.of(block, state)
            worth = as_numpy(influences(pool.points, state.V, s, state.problem.basis))
            rows = np.arange(len(worth)) + sum(map(len, found))
            found.append(worth)
            fresh = [as_numpy(pool.points.features), as_numpy(block[1]), pool.point, rows, worth]
            kept = _best([np.concatenate(pair) for pair in zip(kept, fresh, strict=True)] if kept else fresh, keep)
    if not kept:
        raise InputError("blocks: there is none; give (X, y, point) of some copies in each (a generator is used up once it was read)")
    X, y, places = kept[0].astype(np.float64), kept[1], [column.astype(np.int64) for column in kept[2:4]]
    return Shortlist(X, y, places[0], places[1], np.concatenate(found))


def _best(columns: list[npt.NDArray[np.generic]], keep: int) -> list[npt.NDArray[np.generic]]:
    """The rows with the lowest values of the last column, in their order."""
    if len(columns[-1]) <= keep:
        return columns
    chosen = np.sort(np.argpartition(columns[-1], keep - 1)[:keep])
    return [column[chosen] for column in columns]
