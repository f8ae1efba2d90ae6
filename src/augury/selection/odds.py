"""Preferences: what a score is worth as odds of being taken, and the sort that takes by odds, with or without noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
SMALLEST_ODDS = 1e-20  # stands in for a score of zero, unless a positive score is smaller still (paper 2's code)


def log_odds(values: Values, preference: str) -> Values:
    """The logarithm of each candidate's odds of being taken; only differences count."""
    return _LOG_ODDS[preference](values)


def by_falling_odds(values: Values, preference: str, noise: Values) -> npt.NDArray[np.int64]:
    """The candidates by falling log odds plus noise.

    Where the sum hides the noise (odds of exp(1e20)), equal odds must still be drawn, hence the second and third key. Scores below zero
    share the odds of zero; the fourth key ranks them, too, by score. What is equal in all stays in the candidates' order.
    """
    odds = log_odds(values, preference)
    ties = _DIRECTION[preference] * values
    return np.lexsort((-ties, -noise, -odds, -(odds + noise))).astype(np.int64)


def _positive(values: Values) -> Values:
    """The scores with zero, and what lies below, replaced by the smallest positive score, at most 1e-20."""
    positive = values[values > 0]
    smallest = min(positive.min(), SMALLEST_ODDS) if len(positive) else 1.0
    return np.where(values > 0, values, smallest)


_LOG_ODDS: dict[str, Callable[[Values], Values]] = {
    "proportional": lambda values: np.log(_positive(values)),
    "inverse": lambda values: -np.log(_positive(values)),
    "uniform": np.zeros_like,
    "softmax": lambda values: values,
    "inverse_softmax": lambda values: 1 / np.maximum(_positive(values), np.finfo(np.float64).tiny),
}
_DIRECTION = {"proportional": 1, "inverse": -1, "uniform": 0, "softmax": 1, "inverse_softmax": -1}
