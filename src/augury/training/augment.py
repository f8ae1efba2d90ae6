"""What may change each batch of images while a network is fitted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from augury.model.reading import modes_kept
from augury.training.config import Precision


@dataclass(frozen=True)
class Moment:
    """Where a training stands when a batch is about to be used.

    Parameters
    ----------
    network
        As it is now, in training mode; whoever asks it for scores leaves modes and gradients as they were.
    step, steps
        The batch's number, from 0, and how many there will be.
    generator
        On the CPU, seeded by the training's seed and `step` alone: the only source of chance.
    precision
        In which the network is trained, and should be asked for scores (what is made of them is better left in float32).
    chosen
        Which of the points that are trained on the batch holds, by their numbers, on the CPU; None where nobody has said.
    """

    network: nn.Module
    step: int
    steps: int
    generator: torch.Generator
    precision: Precision = "float32"
    chosen: Int64[Tensor, " points"] | None = None

    def of(self, some: Bool[Tensor, " points"]) -> Moment:
        """The same for some of the batch's points."""
        return self if self.chosen is None else replace(self, chosen=self.chosen[some.cpu()])

    @contextlib.contextmanager
    def reading(self) -> Iterator[nn.Module]:
        """The network in evaluation mode; afterwards its modes are as they were."""
        with modes_kept(self.network):
            self.network.eval()
            yield self.network


@runtime_checkable
class Augment(Protocol):
    """Changes a batch's images, each by a draw of its own; the labels stay."""

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images to train on: as many, of the same shape, in [0, 1]."""


@runtime_checkable
class Learner(Augment, Protocol):
    """An augmentation that learns while the network is fitted; its state is kept in the training's checkpoint."""

    @property
    def module(self) -> nn.Module:
        """Parameters and buffers: all that it has learned, and all that it has worked out for the steps to come."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What fits the parameters."""
