"""How a network is fitted: settings, checked once, and the learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from augury.errors import InputError

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "cosine", "linear", "onecycle"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainingConfig:
    """How to fit a network. The defaults are those of *Efficient Augmentation via Data Subsampling* for MNIST.

    Parameters
    ----------
    epochs
        Passes over the examples.
    batch
        Examples a step; the last step of an epoch takes what is left.
    optimizer
        `adam` (PyTorch's further defaults) or `sgd`.
    learning_rate
        The highest one; the schedule multiplies it.
    momentum, nesterov
        Of `sgd`.
    weight_decay
        L2 penalty on all parameters, as PyTorch's optimizers apply it.
    schedule
        By step, after the warm-up: `constant`; `cosine` or `linear` to zero; `onecycle`: from 1/25 up by a cosine during the first 30 % of
        the steps, and down by a cosine to 1/250,000 (PyTorch's `OneCycleLR`, with fixed momentum).
    warmup_epochs
        A linear rise from zero before the schedule begins; 0 for `onecycle`, which has its own.
    precision
        `bfloat16`: forward and backward pass under autocast; weights, loss and steps stay float32.
    channels_last
        Memory layout during training; often faster for convolutions, on GPUs above all.
    seed
        Of the order of the examples and of dropout. (Initial weights are the network's own.)
    """

    epochs: int = 40
    batch: int = 512
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    warmup_epochs: int = 0
    precision: Precision = "float32"
    channels_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", Optimizer), ("schedule", Schedule), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                raise InputError(f"{name}: {getattr(self, name)!r}; expected one of {', '.join(get_args(choices))}")
        for name, lowest in (("epochs", 1), ("batch", 1), ("momentum", 0), ("weight_decay", 0), ("warmup_epochs", 0), ("seed", 0)):
            if not lowest <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: {getattr(self, name)}; expected a finite number, at least {lowest}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate: {self.learning_rate}; expected a positive number, such as 0.001")
        if self.momentum and self.optimizer == "adam":
            raise InputError(f"momentum: {self.momentum} with adam, which has its own; choose the optimizer sgd, or momentum 0")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov: needs momentum; set momentum, such as 0.9, or leave nesterov out")
        if self.schedule == "onecycle" and self.warmup_epochs > 0:
            raise InputError("warmup_epochs: the schedule onecycle has its own rise; set warmup_epochs to 0, or choose linear or cosine")

    @property
    def layout(self) -> torch.memory_format:
        """The memory layout that `channels_last` asks for."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (from 0) of a training that has `steps` in all."""
        rise = round(steps * self.warmup_epochs / self.epochs)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * _factor(self.schedule, step - rise, steps - rise)


def _factor(schedule: Schedule, step: int, steps: int) -> float:
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1 - step / steps
    if schedule == "cosine":
        return _cosine(1.0, 0.0, step / steps)
    peak = 0.3 * steps - 1
    return _cosine(1 / 25, 1.0, step / peak) if step < peak else _cosine(1.0, 1 / 250_000, (step - peak) / (steps - 1 - peak))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
