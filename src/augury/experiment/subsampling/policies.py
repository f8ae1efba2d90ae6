"""The policies by the names that the paper gives them, and the cells of a sweep: one policy, refinement and seed each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from augury.choices import Method
from augury.errors import InputError
from augury.evaluation import Draw
from augury.scores import Scores
from augury.selection import Order, Ordering, Preference, rank

POLICIES: dict[str, tuple[Preference, Order]] = {
    "baseline": ("uniform", "sampled"),
    "random_proportional": ("proportional", "sampled"),
    "random_inverse_proportional": ("inverse", "sampled"),
    "deterministic_proportional": ("proportional", "ranked"),
    "deterministic_inverse_proportional": ("inverse", "ranked"),
    "random_softmax_proportional": ("softmax", "sampled"),
    "random_inverse_softmax_proportional": ("inverse_softmax", "sampled"),
    "clustered": ("proportional", "stratified"),
    "dpp": ("proportional", "determinantal"),
    "vsv": ("proportional", "ranked"),
}
REFINED = ("random_proportional", "deterministic_proportional")  # the paper refines these two by update and downweight
SCORES: dict[Method, tuple[str, ...]] = {
    "uniform": ("baseline", "clustered", "dpp"),
    "influence": tuple(name for name in POLICIES if name not in ("baseline", "vsv")),
    "loss": tuple(name for name in POLICIES if name not in ("baseline", "vsv")),
    "margin": ("random_proportional", "random_inverse_proportional"),
    "support": ("vsv",),
}
LARGEST_DRAW = 0.25  # of the points: as far as the authors' code draws from a determinantal process


@dataclass(frozen=True, order=True)
class Cell:
    """One curve of a sweep: what is done alone, stored, and never done twice."""

    score: Method
    policy: str
    update: bool
    downweight: bool
    seed: int

    @property
    def name(self) -> str:
        """The name of its file."""
        refinements = [name for name in ("update", "downweight") if getattr(self, name)]
        return ".".join([self.score, self.policy, *refinements, str(self.seed)])

    @property
    def key(self) -> dict[str, Any]:
        """The columns by which its rows are known."""
        return {"score": self.score, "policy": self.policy, "update": self.update, "downweight": self.downweight, "seed": self.seed}

    def budgets(self, checkpoints: Sequence[int], scores: Scores) -> list[int]:
        """The numbers of points at which it is measured."""
        if self.policy == "vsv":
            return [scores.positive]  # all support vectors and nothing else
        if self.policy == "dpp":
            return [budget for budget in checkpoints if budget <= LARGEST_DRAW * len(scores)]
        return list(checkpoints)

    def draw(self, scores: Scores, penalty: float | None) -> Ordering | Draw:
        """The policy's draw of this cell's seed."""
        preference, order = POLICIES[self.policy]
        if self.update or order in ("stratified", "determinantal"):
            return Draw(scores, preference, order, self.seed, self.update, penalty)
        return rank(scores, preference, order, self.seed)


def cells(scores: Sequence[str], policies: Sequence[str], seeds: int) -> list[Cell]:
    """All cells of a sweep over some scores and policies, the baseline with any score; a policy without chance in it has one seed."""
    _check_known("score", scores, list(SCORES))
    _check_known("policy", policies, list(POLICIES))
    named = [(score, policy) for score in SCORES for policy in SCORES[score] if policy in policies]
    wanted = [(score, policy) for score, policy in named if score in scores or policy == "baseline"]
    return [cell for score, policy in wanted for cell in _cells_of(score, policy, seeds)]


def _cells_of(score: Method, policy: str, seeds: int) -> Iterator[Cell]:
    refined = policy in REFINED and score != "margin"
    refinements = list(itertools.product((False, True), repeat=2)) if refined else [(False, False)]
    chance = POLICIES[policy][1] != "ranked"
    for seed in range(seeds if chance else 1):
        for update, downweight in refinements:
            yield Cell(score, policy, update, downweight, seed)


def _check_known(argument: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"{argument}: got {name!r}; expected some of {', '.join(known)}")
