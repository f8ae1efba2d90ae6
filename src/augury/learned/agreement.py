"""Descent along what the gradients of many steps agree on, which leaves alone what only noise would move."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from augury.transforms.border import Real

MEMORY = 0.98  # of the running means: they look back about 50 steps


class AgreedDescent(torch.optim.Optimizer):
    """Steps along the mean gradient of the last steps, component by component, as far as it exceeds its standard error.

    With running means m of the gradients and v of their squares, sqrt(v) is what a gradient is like, and sqrt(v / n) the standard error of
    m if its n gradients were independent and of mean 0, where n = (1 + beta) (1 - beta^t) / ((1 - beta) (1 + beta^t)) at step t. Each
    component moves by

        -learning_rate (sign(m) max(|m| - significance sqrt(v / n), 0) + certain) / sqrt(v),

    at most by the learning rate; `certain` is what is known of the gradient without noise. Score-function gradients of many components are
    noise for most of them, and a plain descent lets these drift.

    Parameters
    ----------
    parameters
        What is moved.
    learning_rate
        The longest step.
    significance
        How many standard errors are put down to noise; 0: none.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: Real, significance: Real) -> None:
        super().__init__(parameters, {"lr": learning_rate, "significance": significance})

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        """One step along the parameters' `grad` alone."""
        loss = None if closure is None else closure()
        owned = self._owned()
        self.descend([torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in owned], [0.0] * len(owned))
        return loss

    @torch.no_grad()
    def descend(self, noisy: Sequence[Tensor], certain: Sequence[Tensor | float]) -> None:
        """One step along gradients given parameter by parameter, those with noise and those without."""
        group = self.param_groups[0]
        for weight, gradient, known in zip(self._owned(), noisy, certain, strict=True):
            state = self._state(weight)
            state["step"] += 1
            faded = MEMORY ** float(state["step"])
            mean = state["mean"].lerp_(gradient, 1 - MEMORY) / (1 - faded)
            typical = (state["square"].lerp_(gradient.square(), 1 - MEMORY) / (1 - faded)).sqrt()
            seen = (1 + MEMORY) * (1 - faded) / ((1 - MEMORY) * (1 + faded))
            agreed = torch.nn.functional.softshrink(mean / typical.clamp(min=_tiny(typical)), group["significance"] / math.sqrt(seen))
            weight.sub_(group["lr"] * (agreed + known / typical.clamp(min=_tiny(typical))).clamp(-1, 1))

    def _owned(self) -> list[nn.Parameter]:
        owned: list[nn.Parameter] = self.param_groups[0]["params"]
        return owned

    def _state(self, weight: nn.Parameter) -> dict[str, Any]:
        state: dict[str, Any] = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        return state


def _tiny(like: Tensor) -> float:
    return float(torch.finfo(like.dtype).tiny)
