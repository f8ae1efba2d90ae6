"""How a round of a greedy choice is sized and taken, whatever holds the candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.copies.growing import GrowingFit
from augury.errors import InputError

GROWTH = 0.7  # a round takes this part of what has been chosen before,
FIRST = 0.004  # and at least this part of all copies
LEAST = 4  # or so many,
STEPS = 4  # in which a round is taken while few copies have been chosen,
COARSER = 0.02  # half as many from this part of all copies on,
COARSEST = 0.25  # and at once from this part on
SORTED = 2  # smaller parts are selected, larger ones come of sorting


class Taken(NamedTuple):
    """Candidates that were chosen at once, the most helpful first, and what they were worth."""

    picked: Int[Tensor, " picked"]
    worth: Float[Tensor, " picked"]


def round_size(chosen: int, copies: int, growth: float | int) -> int:  # noqa: PYI041  (checked at run time, where 1 is no float)
    """How many copies the round may take that follows `chosen` of them, or as many as are left."""
    return min(copies - chosen, max(LEAST, round(FIRST * copies), round(growth * chosen)))


def round_steps(chosen: int, copies: int, steps: int) -> int:
    """In how many steps that round is taken."""
    share = chosen / copies
    return steps if share < COARSER else max(1, steps // 2) if share < COARSEST else 1


def take(fit: GrowingFit, count: int, steps: int, weigh: Callable[[int], float], *, last: bool) -> Iterator[Taken]:
    """Let `count` candidates join in steps, or fewer if no others help any more.

    `weigh` tells what each weighs once so many of the fit's candidates have joined. Where none helps, or these are the `last`, they are
    taken at once, the least harmful first.
    """
    first = True
    for number in shares(count, steps):
        worth = fit.worth()
        harmful = first and (last or float(worth.min()) >= 0)
        picked = _lowest(worth, count if harmful else number)
        if not first:
            picked = picked[worth[picked] < 0]
        if not len(picked):
            return
        fit.join(picked, weigh(fit.size + len(picked)))
        yield Taken(picked, worth[picked])
        if harmful:
            return
        first = False


def _lowest(worth: Float[Tensor, " copies"], count: int) -> Int[Tensor, " picked"]:
    """The candidates of the lowest worth, the lowest first."""
    if SORTED * count > len(worth):
        return torch.argsort(worth, stable=True)[:count]
    return torch.topk(worth, count, largest=False).indices


def shares(count: int, steps: int) -> list[int]:
    """`count` in `steps` parts, as equal as they can be, the larger first; fewer parts where there is not one for each."""
    parts = min(count, steps)
    return [count // parts + (i < count % parts) for i in range(parts)]


def check(growth: float | int, steps: int) -> None:  # noqa: PYI041  (checked at run time, where 1 is no float)
    """Refuse what are no rounds."""
    if not 0 < growth < torch.inf:
        raise InputError(f"growth: got {growth}; expected a positive number, such as {GROWTH}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps: got {steps!r}; expected a whole number, at least 1")
