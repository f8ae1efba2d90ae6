"""The ways to choose that are compared, and the cells of the comparison: one way and seed each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from augury.choices import Method
from augury.copies import CopyOrdering, by_points, choose_copies
from augury.experiment.copies.drawn import Drawn, Pool
from augury.head import SoftmaxHead
from augury.selection import Order, Preference, rank

Target = Literal["validation", "self", "folds"]
FIRST = "training_first"
# Paper 2's policies without its refinements: by random points, and by two scores, two orders and two preferences.
POLICIES: Mapping[str, tuple[Method, Preference, Order]] = MappingProxyType(
    {
        "baseline": ("uniform", "uniform", "sampled"),
        "influence.random_proportional": ("influence", "proportional", "sampled"),
        "influence.random_inverse_proportional": ("influence", "inverse", "sampled"),
        "influence.deterministic_proportional": ("influence", "proportional", "ranked"),
        "influence.deterministic_inverse_proportional": ("influence", "inverse", "ranked"),
        "loss.random_proportional": ("loss", "proportional", "sampled"),
        "loss.random_inverse_proportional": ("loss", "inverse", "sampled"),
        "loss.deterministic_proportional": ("loss", "proportional", "ranked"),
        "loss.deterministic_inverse_proportional": ("loss", "inverse", "ranked"),
    }
)
TARGETS: Mapping[str, Target] = MappingProxyType({"copies.validation": "validation", "copies.self": "self", "copies.folds": "folds"})
WAYS: Mapping[Pool, tuple[str, ...]] = MappingProxyType(
    {
        "train": (*POLICIES, *TARGETS),
        "joint": (FIRST, "baseline", "influence.random_proportional", "copies.self"),
        "halves": ("copies.validation",),
    }
)


@dataclass(frozen=True)
class Cell:
    """One way to choose on the points of one seed: what is done alone, stored, and never done twice.

    Parameters
    ----------
    pool
        Which labelled points the head is fitted to: `train`, or `joint`, the training and the validation points together, for ways that
        look at no target, so that they use the same labels as a way with a target. `halves`, a control: the training points, half of the
        test points as the target, and the other half to test on, to see what a forecast can do whose target is like the test set.
    way
        A policy of paper 2, all copies of a point together (`POLICIES`); `copies.TARGET`: `augury.copies.choose_copies`; on the joint pool
        also `training_first`: all copies of the training points, points in random order, and then those of the validation points.
    seed
        Of points, network and draw.
    """

    pool: Pool
    way: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.pool}.{self.way}.{self.seed}"

    @property
    def key(self) -> dict[str, str | int]:
        """The columns by which its rows are known."""
        return {"pool": self.pool, "way": self.way, "seed": self.seed}

    @property
    def chooses(self) -> bool:
        """Whether copies are chosen, and not points."""
        return self.way in TARGETS

    @property
    def weightings(self) -> tuple[str, ...]:
        """Of what a chosen copy counts for: `auto`, what `choose_copies` picks, and `1`."""
        return ("auto",) if self.way == "copies.folds" else ("auto", "1")

    def chosen(self, drawn: Drawn, weight: float | Literal["auto"]) -> CopyOrdering:
        """All copies in this way's order; `auto` for ways that choose copies alone."""
        if self.chooses:
            return self.choose(drawn, drawn.head(self.pool), weight)
        assert weight != "auto"
        method, preference, order = POLICIES["baseline" if self.way == FIRST else self.way]
        ordering = rank(drawn.scores(self.pool, method), preference, order, self.seed)
        if self.way == FIRST:
            later = ordering.indices >= len(drawn.train)
            ordering = replace(ordering, indices=ordering.indices[later.argsort(kind="stable")])
        return replace(by_points(ordering, drawn.points(self.pool).copies.shape[1]), weight=weight)

    def choose(self, drawn: Drawn, head: SoftmaxHead, weight: float | Literal["auto"]) -> CopyOrdering:
        """`choose_copies` with the target of this way, for a head fitted to the pool."""
        points, named = drawn.points(self.pool), TARGETS[self.way]
        target = drawn.target(self.pool) if named == "validation" else named
        return choose_copies(head, points.augmented([])[:2], points.copies, target, weight=weight)


def cells(seeds: int) -> list[Cell]:
    """All cells, seed by seed; leaving out in closed form (`copies.folds`), the slowest way, for seed 0 alone."""
    named = [(pool, way) for pool, ways in WAYS.items() for way in ways]
    return [Cell(pool, way, seed) for seed in range(seeds) for pool, way in named if way != "copies.folds" or seed == 0]
