"""`PredictedCurve`: what a target's loss and accuracy are predicted to be after so many chosen copies."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float64, Int64

from augury.errors import InputError


class PredictedCurve(ABC):
    """Copies that were chosen with a curve of what they are predicted to bring."""

    budgets: Int64[np.ndarray, " budgets"]
    loss: Float64[np.ndarray, " budgets"]
    accuracy: Float64[np.ndarray, " budgets"]

    @abstractmethod
    def weight_at(self, budget: int) -> float:
        """What each of `budget` chosen copies weighs in a fit."""

    def predicted(self, budgets: npt.ArrayLike | None = None) -> pd.DataFrame:
        """The predicted curve: budget, loss, accuracy, weight; at other `budgets` linearly between those where it was evaluated."""
        if not len(self.budgets):
            raise InputError("budgets: this ordering predicts no curve; choose_copies does")
        at = self.budgets if budgets is None else np.asarray(budgets)
        values = {name: np.interp(at, self.budgets, getattr(self, name)) for name in ("loss", "accuracy")}
        return pd.DataFrame({"budget": at, **values, "weight": [self.weight_at(int(b)) for b in at]})

    def recommended(self, price: float | int = 0.0) -> int:  # noqa: PYI041  (checked at run time, where 1 is no float)
        """The number of copies beyond which one more is predicted to lower the target's mean loss by less than `price` nats: perhaps 0.

        It minimises predicted loss + price x copies over all budgets; with price 0 it is the predicted optimum, after which copies harm.
        """
        if not 0 <= price < np.inf:
            raise InputError(f"price: got {price}; expected nats a copy, 0 or more, such as 1e-5")
        curve = self.predicted()
        return int(curve["budget"][int(np.argmin(curve["loss"] + price * curve["budget"]))])
