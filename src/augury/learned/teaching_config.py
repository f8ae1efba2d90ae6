"""How E is taught: settings, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from augury.choices import Rule
from augury.errors import InputError
from augury.transforms.border import Real

Kept = Literal["best", "drawn"]


@dataclass(frozen=True)
class TeachingConfig:
    """How E is taught by the influence on a target, while F is fitted.

    `population()` is the best that was found, and what `learn` takes; the defaults are those of `choice`; `paper()` is the paper's.

    Parameters
    ----------
    rule
        `choice`: E is a distribution; a few draws an image are compared by their influence, and those that are better than the others
        become likelier (the score-function gradient of the expected advantage). Draws are only compared, so that nothing is gained by
        leaving the range in which the linear prediction holds. `population`: E is a distribution that all images share; taus by which whole
        batches are changed are compared by where they lead all layers of F (`augury.learned.population`). `gradient`: E maps an image to
        one tau, and follows the derivative of influence(z~) - influence(z) through F and G, as in *Learning to Augment Influential Data*.
    draws
        Of `choice`: how many taus are compared for each image, at least 2; of `population`: for a batch, at each of its moments.
    keep
        Of `choice`: on which draw F is trained: the `best`, or one as `drawn`.
    divergence
        Of `choice`: the weight, in units of an advantage's standard deviation, of the divergence from the distribution that E begins with.
    significance
        Of `choice`: how many standard errors of a component's mean gradient are put down to noise; see `AgreedDescent`. Most of tau's
        components make no difference that can be seen, and would drift.
    every
        Steps of F between two solves for s; each costs two passes over `curvature_points` and target, about. Of `population`: between two
        populations; each costs a pass there and back over the target and `draws` batches.
    elite
        Of `population`: the share of the draws towards which E moves.
    curvature_points
        Training images, drawn anew for each solve and augmented by E, over which the Hessian is taken besides as many originals.
    kept
        Of `population`: the share of the draws that E, once taught, still makes as at the beginning.
    damping
        Share of the Hessian's trace by class that is added to its diagonal.
    bounded
        Whether influence is multiplied by the probability of the own label; see `augury.learned.objective.effects`.
    aligned
        Of `choice`: whether influence is divided by the length of the image's own gradient, so that draws are compared by the direction in
        which they lead F.
    learning_rate
        E's: Adam's for `gradient`, the longest step for `choice`, for `population` how much of the way it moves.
    warmup
        The share of F's steps before the first solve, during which E draws and is not taught.
    until
        Of `population`: the share of F's steps after which E is not taught any more.
    preserve
        Of `gradient`: the weight of F's cross-entropy on the augmented images, in nats against influence x training points.
    clip
        Of `gradient`: the largest norm of E's gradient; None: any.
    """

    rule: Rule = "choice"
    draws: int = 4
    keep: Kept = "best"
    divergence: Real = 0.003
    significance: Real = 3.0
    every: int = 100
    elite: Real = 0.25
    kept: Real = 0.25
    curvature_points: int = 1000
    damping: Real = 0.1
    bounded: bool = True
    aligned: bool = True
    learning_rate: Real = 0.005
    warmup: Real = 0.05
    until: Real = 1.0
    preserve: Real = 0.0
    clip: Real | None = None

    def __post_init__(self) -> None:
        for name, choices in (("rule", Rule), ("keep", Kept)):
            if getattr(self, name) not in get_args(choices):
                raise InputError(f"{name}: {getattr(self, name)!r}; expected {' or '.join(get_args(choices))}")
        for name, lowest in (("draws", 2), ("every", 1), ("curvature_points", 1), ("divergence", 0), ("significance", 0), ("preserve", 0)):
            if not lowest <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: {getattr(self, name)}; expected a finite number, at least {lowest}")
        for name in ("damping", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name}: {getattr(self, name)}; expected a positive number, such as {getattr(TeachingConfig, name)}")
        self._check_shares()
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise InputError(f"clip: {self.clip}; expected a positive norm, such as 1, or None")

    def _check_shares(self) -> None:
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup: {self.warmup}; expected a share of the steps, from 0 to below 1")
        if not self.warmup < self.until <= 1:
            raise InputError(f"until: {self.until}; expected a share of the steps, above warmup ({self.warmup}) and at most 1")
        if not 0 < self.elite <= 1:
            raise InputError(f"elite: {self.elite}; expected a share of the draws, above 0 and at most 1, such as 0.25")

    @classmethod
    def of(cls, rule: Rule) -> TeachingConfig:
        """The defaults of a rule."""
        return cls.population() if rule == "population" else cls(rule=rule)

    @classmethod
    def population(cls) -> TeachingConfig:
        """48 taus every 10 steps, in the first half of F's training: later, F has hardly any loss left on its own images to learn from."""
        return cls(rule="population", draws=48, every=10, learning_rate=0.15, warmup=0.07, until=0.47)

    @classmethod
    def paper(cls) -> TeachingConfig:
        """*Learning to Augment Influential Data* as it is written: unbounded influence, nothing that preserves labels, Adam at 0.01."""
        return cls(rule="gradient", bounded=False)
