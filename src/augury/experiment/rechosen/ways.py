"""The ways to choose that are compared, and the cells of the comparison: one way and seed each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from augury.copies import by_points, choose_copies
from augury.experiment.rechosen.trained import Chosen, Trained, nested
from augury.head import SoftmaxHead
from augury.model import Model
from augury.scores import score
from augury.selection import rank

NOTHING = np.empty(0, dtype=np.int64)
Choice = Iterator[Chosen]


def _none(_: Trained) -> Choice:
    """No copies."""
    return iter([NOTHING])


def _full(ground: Trained) -> Choice:
    """All copies."""
    return iter([np.arange(len(ground.copies))])


def _random(ground: Trained) -> Choice:
    """Copies at random."""
    return nested(np.random.default_rng(ground.seed).permutation(len(ground.copies)), ground.budgets)


def _points(ground: Trained) -> Choice:
    """Paper 2's policy: points drawn by their influence on their own loss, all copies of one together, the last one's as far as they go."""
    found = ground.features(ground.network(NOTHING))
    head = SoftmaxHead().fit(found.features, found.labels)
    scores = score(found.features, found.labels, "influence", head)
    order = by_points(rank(scores, "proportional", "sampled", ground.seed), ground.per_point)
    return nested(order.candidates, ground.budgets)


def _once(ground: Trained) -> Choice:
    """Copies chosen by the features of the network that was trained on the points alone."""
    return nested(further(ground, ground.network(NOTHING), NOTHING, len(ground.copies)), ground.budgets)


def _rechosen(ground: Trained) -> Choice:
    """Copies chosen for each budget by the features of the network that was trained at the budget before."""
    chosen = NOTHING
    for budget in ground.budgets:
        chosen = further(ground, ground.network(chosen), chosen, budget)
        yield chosen


WAYS: Mapping[str, Callable[[Trained], Choice]] = MappingProxyType(
    {"none": _none, "random": _random, "points": _points, "once": _once, "rechosen": _rechosen, "full": _full}
)


def further(ground: Trained, model: Model, chosen: Chosen, budget: int) -> Chosen:
    """The chosen copies, and after them others, up to the budget, by their influence on the loss of all points and copies.

    The head is fitted to the points and the copies chosen so far, as the network was that gives the features.
    """
    found = ground.features(model)
    copies, labels = found.copies.reshape(len(ground.copies), -1), ground.labels
    left = np.setdiff1d(np.arange(len(copies)), chosen)
    X, y = np.concatenate([found.features, copies[chosen]]), np.concatenate([found.labels, labels[chosen]])
    pool = copies[left], labels[left], left // ground.per_point
    ordering = choose_copies(SoftmaxHead().fit(X, y), (X, y), pool, "self", budget - len(chosen), weight=1)
    return np.concatenate([chosen, left[ordering.selected]])


@dataclass(frozen=True)
class Cell:
    """One way to choose on the points of one seed: what is done alone, stored, and never done twice."""

    way: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.way}.{self.seed}"


def measure(ground: Trained, way: str) -> pd.DataFrame:
    """A row a budget: what the network says of the test set that was trained on what this way chose."""
    rows = [{"budget": len(chosen), **ground.read(ground.network(chosen))._asdict()} for chosen in WAYS[way](ground)]
    sizes = {"points": len(ground.points), "copies": len(ground.copies), "test_images": len(ground.test) * (1 + ground.per_point)}
    return pd.DataFrame(rows).assign(**sizes, network=ground.task.network, steps=ground.task.steps)
