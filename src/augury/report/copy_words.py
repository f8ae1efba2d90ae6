"""A choice of copies in words, and in the tables that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from augury.copies import CopyOrdering
from augury.report.copy_folder import Flags
from augury.report.words import NOTHING, number

TARGETS = {
    "own": "all training points and their copies",
    "folds": "all training points and their copies, each scored without itself",
    "val": "the validation points and their copies",
}


def recommendation(ordering: CopyOrdering) -> str:
    """The recommended budget and what it rests on, in one sentence."""
    copies, count, price = len(ordering), int(ordering.cause["recommended"]), str(ordering.cause["price"])
    free = float(price.strip().removesuffix("%")) == 0
    if count == 0:
        return "No copy is recommended: none is predicted to " + ("help" if free else f"bring its price of {_price(price)}")
    part = f"{100 * count / copies:.3g} % of the copies ({count:,} of {copies:,})"
    if count == copies:
        return f"{part} are recommended: up to the last, more are predicted to " + ("help" if free else f"bring more than {_price(price)}")
    beyond = "more are predicted to help no further" if free else f"one more is predicted to bring less than {_price(price)}"
    return f"{part} are recommended: beyond them {beyond}"


def _price(price: str) -> str:
    return f"{price.strip().removesuffix('%')} % of accuracy" if price.strip().endswith("%") else f"{price} nats"


def agreement(loss: float, accuracy: float) -> str:
    """How far prediction and measurement rank the budgets alike."""
    told = [
        f"{value:.2f} for the {name}".replace("-", "−") for name, value in (("loss", loss), ("accuracy", accuracy)) if not np.isnan(value)
    ]
    return f"Rank correlation of prediction and measurement over the budgets: {' and '.join(told)}." if told else ""


def flagged(flags: Flags, copies: int) -> str:
    """How many copies are flagged and why, in one sentence."""
    frame = flags.frame
    if frame.empty:
        return f"None of the {copies:,} copies is flagged"
    harmful, disputed, both = frame["harmful"].sum(), frame["disputed"].sum(), (frame["harmful"] & frame["disputed"]).sum()
    why = f"{harmful:,} harmful, {disputed:,} disputed, {both:,} both"
    return f"{len(frame):,} of the {copies:,} copies are flagged ({why}), {frame['selected'].sum():,} of them chosen"


def reasons(row: Mapping[Any, Any], flags: Flags) -> list[str]:
    """Why a copy is flagged, with its numbers."""
    found = []
    if row["harmful"]:
        found.append(
            f"harmful: predicted to raise the loss by {number(row['influence'])} nats a unit of weight, bound {number(flags.bound)}"
        )
    if row["disputed"]:
        voices = round(row["disagreement"] * flags.neighbours)
        found.append(f"disputed: {voices} of the {flags.neighbours} nearest originals have another label")
    return found


def forecast_rows(compared: pd.DataFrame, decimals: int) -> list[tuple[str, ...]]:
    """Budget, predicted and measured loss, predicted and measured accuracy, as texts."""
    losses, accuracies = compared[["predicted_loss", "loss"]].to_numpy(), 100 * compared[["predicted_accuracy", "accuracy"]].to_numpy()
    return [
        (f"{budget:,}", *(f"{value:.4f}" for value in both), *(f"{value:.{decimals}f} %" for value in shares))
        for budget, both, shares in zip(compared["budget"].tolist(), losses, accuracies, strict=True)
    ]


def target_words(target: object) -> str:
    """What a target is, in words."""
    return TARGETS.get(str(target), NOTHING)
