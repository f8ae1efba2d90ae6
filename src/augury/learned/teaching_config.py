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

    `matching()` is the best that was found, and what `learn` takes; the defaults are those of `choice`; `paper()` is the paper's.

    Parameters
    ----------
    rule
        `choice`: E is a distribution; a few draws an image are compared by their influence, and those that are better than the others
        become likelier (the score-function gradient of the expected advantage). Draws are only compared, so that nothing is gained by
        leaving the range in which the linear prediction holds. `matching`: E is a distribution; it follows the derivative of how well
        gradients of what it makes agree with those of the target, class by class, in all of F's weights (`augury.learned.matching`).
        `gradient`: E maps an image to one tau, and follows the derivative of influence(z~) - influence(z) through F and G, as in *Learning
        to Augment Influential Data*.
    draws
        Of `choice`: how many taus are compared for each image, at least 2; of `matching`: how many changed images, over all classes, are
        compared with the target in a step.
    keep
        Of `choice`: on which draw F is trained: the `best`, or one as `drawn`.
    divergence
        The weight of what keeps E near the distribution that it begins with: of `choice`, the divergence in nats, in units of an
        advantage's standard deviation; of `matching`, the sum over tau's components of log(1 + divergence), against log(1 - agreement).
    significance
        Of `choice`: how many standard errors of a component's mean gradient are put down to noise; see `AgreedDescent`. Most of tau's
        components make no difference that can be seen, and would drift.
    every
        Steps of F between two solves for s; each costs two passes over `curvature_points` and target, about. Of `matching`: between two
        steps of E; each costs a pass there and back over at most 2 x `draws` of the target's images, drawn anew, and about three over
        `draws` training images.
    curvature_points
        Training images, drawn anew for each solve and augmented by E, over which the Hessian is taken besides as many originals.
    averaging
        Of `matching`: how much of the mean of F's weights, by which E is taught, is kept at a step; 0: E is taught by F as it is.
    held
        Of `matching`: the share of the training images that E changes, and to which the F that teaches is not fitted; 0: E changes those to
        which F is fitted. A class keeps at least one image for each.
    kept
        Of `matching`: the share of the draws that E, once taught, still makes as at the beginning. None: none of them, or half where
        there are no images as deployed, and so nothing that should take their place.
    damping
        Share of the Hessian's trace by class that is added to its diagonal.
    bounded
        Whether influence is multiplied by the probability of the own label; see `augury.learned.objective.effects`.
    aligned
        Of `choice`: whether influence is divided by the length of the image's own gradient, so that draws are compared by the direction in
        which they lead F.
    learning_rate
        E's: Adam's for `gradient` and `matching` (which lowers it to zero on the way), the longest step for `choice`.
    warmup
        The share of F's steps before the first solve, during which E draws and is not taught.
    until
        The share of F's steps after which E is not taught any more, and F no further fitted.
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
    averaging: Real = 0.98
    held: Real = 0.33
    kept: Real | None = None
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
        if not 0 <= self.averaging < 1:
            raise InputError(
                f"averaging: {self.averaging}; expected how much of the mean is kept at a step, from 0 to below 1, such as 0.98"
            )
        if not 0 <= self.held < 1:
            raise InputError(f"held: {self.held}; expected a share of the training images, from 0 to below 1, such as 0.33")
        if self.kept is not None and not 0 <= self.kept < 1:
            raise InputError(f"kept: {self.kept}; expected a share of E's draws, from 0 to below 1, such as 0.5, or None")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup: {self.warmup}; expected a share of the steps, from 0 to below 1")
        if not self.warmup < self.until <= 1:
            raise InputError(f"until: {self.until}; expected a share of the steps, above warmup ({self.warmup}) and at most 1")

    @property
    def apart(self) -> Real:
        """The share of the training images to which F is not fitted: `held` of `matching`, none of other rules."""
        return self.held if self.rule == "matching" else 0

    @classmethod
    def of(cls, rule: Rule) -> TeachingConfig:
        """The defaults of a rule."""
        return cls.matching() if rule == "matching" else cls(rule=rule)

    @classmethod
    def matching(cls) -> TeachingConfig:
        """200 changed images every 2 steps, in the first part of F's training: later F has hardly any loss left on its own images."""
        return cls(rule="matching", draws=200, every=2, divergence=0.02, learning_rate=0.1, warmup=0.04, until=0.3)

    @classmethod
    def paper(cls) -> TeachingConfig:
        """*Learning to Augment Influential Data* as it is written: unbounded influence, nothing that preserves labels, Adam at 0.01."""
        return cls(rule="gradient", bounded=False)
