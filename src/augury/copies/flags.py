"""Copies that may have lost their label: flagged for a person to look at, never dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64
from sklearn.neighbors import NearestNeighbors

from augury.arrays import as_numpy
from augury.copies.passes import influences
from augury.copies.pool import Candidates, CopyPool
from augury.copies.target import Target
from augury.curvature import FittedHead, Points, PointSet
from augury.errors import InputError
from augury.head import SoftmaxHead

NEIGHBOURS = 10
HARM = 0.99
MAJORITY = 0.5


@dataclass(frozen=True)
class CopyFlags:
    """For each candidate, in the pool's order, what speaks against its label.

    Parameters
    ----------
    point, copy
        (copies,) the training point and its copy.
    influence
        (copies,) predicted change of the target's mean loss, in nats a unit of weight: positive harms.
    disagreement
        (copies,) share of the nearest originals, the copy's own point left out, with another label than the copy.
    bound
        The influence from which a copy counts as strongly harmful.
    """

    point: Int64[np.ndarray, " copies"]
    copy: Int64[np.ndarray, " copies"]
    influence: Float64[np.ndarray, " copies"]
    disagreement: Float64[np.ndarray, " copies"]
    bound: float

    @property
    def harmful(self) -> Bool[np.ndarray, " copies"]:
        """Influence above the bound."""
        found: Bool[np.ndarray, " copies"] = self.influence > self.bound
        return found

    @property
    def disputed(self) -> Bool[np.ndarray, " copies"]:
        """Most neighbours have another label."""
        return self.disagreement > MAJORITY

    @property
    def flagged(self) -> Bool[np.ndarray, " copies"]:
        """Harmful or disputed."""
        found: Bool[np.ndarray, " copies"] = np.logical_or(self.harmful, self.disputed)
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row a flagged copy, the most harmful first: candidate, point, copy, influence, disagreement, harmful, disputed."""
        columns = ("point", "copy", "influence", "disagreement", "harmful", "disputed")
        frame = pd.DataFrame({"candidate": np.arange(len(self.point)), **{name: getattr(self, name) for name in columns}})
        return frame[self.flagged].sort_values("influence", ascending=False, kind="stable", ignore_index=True)


def flag_copies(
    head: SoftmaxHead,
    train: Points,
    copies: Candidates,
    target: Points | None = None,
    *,
    harm: float | int = HARM,  # noqa: PYI041  (checked at run time, where 1 is no float)
    neighbours: int = NEIGHBOURS,
) -> CopyFlags:
    """Find the copies whose label a person should check: strongly harmful ones, and those that lie among originals of other labels.

    Parameters
    ----------
    head, train, copies
        As in `augury.choose_copies`.
    target
        (X, y) or (X, y, weight) of points whose labels are sure, as they are without copies; None: the training points.
    harm
        A copy is strongly harmful if adding it is predicted to raise the target's mean loss by more than adding once more any of this
        share of the training points would change it, up or down. (They lower it, nearly all: the head was fitted to them.)
    neighbours
        How many nearest originals vote on a copy, by distance between features.

    Notes
    -----
    Cost: one pass over pool and target, and the search for neighbours, copies x points x features operations.
    """
    if not 0 <= harm <= 1:
        raise InputError(f"harm: got {harm}; expected a share from 0 to 1, such as {HARM}")
    state = FittedHead.of(head, train, "auto")
    pool = CopyPool.of(copies, state)
    if isinstance(neighbours, bool) or not isinstance(neighbours, int) or not 1 <= neighbours < pool.sources:
        raise InputError(f"neighbours: got {neighbours!r}; expected a whole number from 1 to {pool.sources - 1}")
    aim = Target((state.points if target is None else state.read(target, "target"),))
    s = state.curvature.solve(aim.read(state.V).gradient.reshape(1, -1)).reshape(state.V.shape)
    own, found = (as_numpy(influences(points, state.V, s, state.problem.basis)) for points in (state.points, pool.points))
    bound = float(np.quantile(np.abs(own), harm))
    return CopyFlags(pool.point, pool.copy, found, _disagreement(state.points, pool, neighbours), bound)


def _disagreement(originals: PointSet, pool: CopyPool, neighbours: int) -> Float64[np.ndarray, " copies"]:
    """Share of each copy's nearest originals, but for its own point, with another label."""
    features, labels = as_numpy(originals.features), as_numpy(originals.labels)
    search = NearestNeighbors(n_neighbors=neighbours + 1).fit(features)
    nearest = search.kneighbors(as_numpy(pool.points.features), return_distance=False)
    others = nearest != pool.point[:, None]
    others &= np.cumsum(others, axis=1) <= neighbours  # the farthest goes where the own point is not among them
    differ = labels[nearest] != as_numpy(pool.points.labels)[:, None]
    share: Float64[np.ndarray, " copies"] = (differ & others).sum(axis=1) / neighbours
    return share
