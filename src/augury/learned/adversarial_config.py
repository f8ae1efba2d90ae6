"""How G is trained adversarially: settings, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from augury.errors import InputError
from augury.learned.bounded import BoundedTransformation
from augury.transforms.border import Real


@dataclass(frozen=True)
class AdversarialConfig:
    """How to train G. The defaults train MNIST's in less than half an hour on one core; `paper` gives the paper's.

    Parameters
    ----------
    steps
        Of G.
    batch
        Images a step.
    critic_steps
        Steps of the critics before each one of G.
    learning_rate
        Adam's, for G and critics.
    betas
        Adam's.
    penalty
        The weight of the critics' gradient penalty, lambda.
    flow_weight
        The weight of the flow critic beside the image critic in what G minimises. 0: flows may be any that give good images.
    anti_identity
        The weight of the inverse mean squares, which hold G away from the identity: more makes G move and recolour more.
    rotation, scale, shear, shift
        The bounds of the random affine maps whose flows are the real ones for the flow critic; see `BoundedTransformation`.
    log_every
        Steps between rows of the log, each of which is also a checkpoint.
    seed
        Of the critics' first weights, and of every draw.
    """

    steps: int = 1500
    batch: int = 64
    critic_steps: int = 3
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.9)
    penalty: Real = 10
    flow_weight: Real = 1
    anti_identity: Real = 0.01
    rotation: Real = 20
    scale: Real = 0.2
    shear: Real = 15
    shift: Real = 0.1
    log_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (("steps", 1), ("batch", 1), ("critic_steps", 1), ("log_every", 1), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise InputError(f"{name}: {getattr(self, name)}; expected at least {lowest}")
        for name in ("penalty", "flow_weight", "anti_identity"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: {getattr(self, name)}; expected a finite number that is not negative")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate: {self.learning_rate}; expected a positive number, such as 0.0001")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas: {self.betas}; expected two numbers from 0 to below 1, such as (0.5, 0.9)")
        self.affine(8, 8)

    @classmethod
    def paper(cls, seed: int = 0) -> AdversarialConfig:
        """The paper's (appendix B), and what WGAN-GP prescribes where the paper cites it: penalty 10 and five critic steps.

        The number of steps, the ranges of the affine maps and the weight of the inverse mean squares are in neither.
        """
        return cls(steps=20_000, batch=128, critic_steps=5, learning_rate=1e-4, log_every=500, seed=seed)

    def affine(self, height: int, width: int) -> BoundedTransformation:
        """The random affine maps whose flows are the real ones."""
        return BoundedTransformation.only(1, height, width, rotation=self.rotation, scale=self.scale, shear=self.shear, shift=self.shift)

    def stops(self, rows: int) -> list[int]:
        """The steps after which a row of the log is still to be written, where `rows` are there."""
        return [min(stop, self.steps) for stop in range((rows + 1) * self.log_every, self.steps + self.log_every, self.log_every)]
