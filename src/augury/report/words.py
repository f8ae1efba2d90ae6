"""A run's result in words, and in the tables that a person reads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from augury.evaluation import Curve
from augury.report.outcome import Outcome, Selection

NOTHING = "—"  # what a cell without a value shows


def headline(curve: Curve, ordering: Selection) -> str:
    """What the selection was worth, in one sentence: its share of full augmentation's gain, the accuracies, and the share at random.

    Says so where full augmentation gained nothing, lost, or gained no more than draws differ, where the selection lost or beat full
    augmentation, and where only a single seed was measured.

    Raises
    ------
    InputError
        If the curve names no chosen policy, or holds no accuracy of it at the selection's budget.
    """
    return ": ".join(claim_and_evidence(Outcome(curve, ordering)))


def claim_and_evidence(outcome: Outcome) -> tuple[str, str]:
    """The headline's two parts: what is claimed, and the accuracies that it rests on."""
    none, full, points = outcome.percent(outcome.curve.none), outcome.percent(outcome.curve.full), outcome.curve.points
    if outcome.is_full:
        return f"All {points:,} {outcome.unit} were selected, which is full augmentation", f"accuracy {full} against {none} without."
    if outcome.is_within_spread:
        claim = f"Full augmentation gained {100 * (outcome.curve.full - outcome.curve.none):.2f} points, no more than draws differ"
        evidence = f"accuracy {full} with it against {none} without; {_without_gain(outcome)}"
    elif outcome.gained:
        claim, evidence = _claim(outcome), f"{_accuracies(outcome)}{_at_random(outcome)}"
    else:
        nothing = outcome.curve.full == outcome.curve.none
        claim = "Full augmentation gained nothing" if nothing else "Full augmentation lost accuracy"
        evidence = f"{'accuracy ' if nothing else ''}{full} with it against {none} without; {_without_gain(outcome)}"
    return claim, f"{evidence}.{_caveat(outcome)}"


def _claim(outcome: Outcome) -> str:
    worth = _rounded_share(outcome, outcome.policy)
    if worth < 0:
        return f"{_part(outcome)} lost accuracy"
    if worth > 100:
        return f"{_part(outcome)} gave more than full augmentation, {worth} % of its gain"
    return f"{_part(outcome)} gave {worth} % of full augmentation's gain"


def _accuracies(outcome: Outcome) -> str:
    means = (outcome.chosen(outcome.policy)["mean"], outcome.curve.none, outcome.curve.full)
    chosen, none, full = map(outcome.percent, means)
    said = "" if _rounded_share(outcome, outcome.policy) < 0 else "accuracy "  # the claim has already named it
    return f"{said}{chosen} against {none} without and {full} with full augmentation"


def _at_random(outcome: Outcome) -> str:
    if outcome.baseline is None:
        return ""
    chosen, worth = (_rounded_share(outcome, policy) for policy in (outcome.policy, outcome.baseline))
    if worth < 0:
        return f"; as many {outcome.at_random} lost accuracy ({outcome.percent(outcome.chosen(outcome.baseline)['mean'])})"
    more = "more, " if worth > chosen >= 0 else ""
    of_what = " of full augmentation's gain" if chosen < 0 else ""  # otherwise the claim has already named it
    return f"; as many {outcome.at_random} gave {more}{worth} %{of_what}"


def _without_gain(outcome: Outcome) -> str:
    words = f"{_part(outcome)} gave {outcome.percent(outcome.chosen(outcome.policy)['mean'])}"
    if outcome.baseline is None:
        return words
    return f"{words}, as many {outcome.at_random} {outcome.percent(outcome.chosen(outcome.baseline)['mean'])}"


def _part(outcome: Outcome) -> str:
    return f"{100 * outcome.budget / outcome.curve.points:.3g} % of the {outcome.unit} ({outcome.budget:,} of {outcome.curve.points:,})"


def _rounded_share(outcome: Outcome, policy: str) -> int:
    return round(100 * float(outcome.chosen(policy)["share"]))


def _caveat(outcome: Outcome) -> str:
    compared = [outcome.policy] if outcome.baseline is None else [outcome.policy, outcome.baseline]
    alone = all(outcome.chosen(policy)["n"] == 1 for policy in compared)
    return " Only one seed was measured, so the spread is unknown." if alone else ""


class SummaryRow(NamedTuple):
    """One row of the readable summary: a policy at the chosen budget, or one of the two baselines."""

    policy: str
    budget: str
    accuracy: str
    share: str


def summary_rows(curve: Curve, ordering: Selection) -> list[SummaryRow]:
    """The readable summary: no augmentation, every policy at the selection's budget (the chosen policy first), and full augmentation.

    Accuracies are means over seeds, with the sample deviation where there are two seeds or more; the share is that of full augmentation's
    gain, and a dash where full augmentation gains nothing.
    """
    outcome = Outcome(curve, ordering)
    nothing, everything = ("0 %", "100 %") if outcome.gained else (NOTHING, NOTHING)
    measured = [] if outcome.is_full else [outcome.chosen(policy) for policy in outcome.policies]
    return [
        SummaryRow("no augmentation", "0", outcome.percent(curve.none), nothing),
        *(SummaryRow(row["policy"], f"{row['budget']:,}", accuracy(outcome, row), share(row)) for row in measured),
        SummaryRow("full augmentation", f"{curve.points:,}", outcome.percent(curve.full), everything),
    ]


class AreaRow(NamedTuple):
    """One policy's area under the curve over its seeds, and the mean accuracy over all budgets that it stands for."""

    policy: str
    area: str
    accuracy: str
    seeds: int


def areas(outcome: Outcome) -> list[AreaRow]:
    """The areas under the curve, a row a policy: mean over seeds, with the sample deviation where there are two seeds or more."""
    found = outcome.curve.areas().groupby("policy")["area"].agg(["mean", "std", "count"])
    return [_area_row(outcome, policy, *found.loc[policy]) for policy in outcome.policies]


def _area_row(outcome: Outcome, policy: str, mean: float, deviation: float, seeds: float) -> AreaRow:
    decimals = max(0, 4 - len(str(outcome.curve.points)))
    spread = "" if np.isnan(deviation) else f" ± {deviation:,.{decimals}f}"
    return AreaRow(policy, f"{mean:,.{decimals}f}{spread}", outcome.percent(mean / outcome.curve.points), int(seeds))


def accuracy(outcome: Outcome, row: pd.Series) -> str:
    """A mean accuracy and, where it is known, its sample deviation over seeds: "93.1 ± 0.4 %"."""
    if np.isnan(row["deviation"]):
        return outcome.percent(row["mean"])
    return f"{100 * row['mean']:.{outcome.decimals}f} ± {outcome.percent(row['deviation'])}"


def interval(outcome: Outcome, row: pd.Series) -> str:
    """The bootstrap 95 % interval of a mean accuracy, "92.8 to 93.4 %"; a dash where a single seed leaves it unknown."""
    if np.isnan(row["low"]):
        return NOTHING
    return f"{100 * row['low']:.{outcome.decimals}f} to {outcome.percent(row['high'])}"


def share(row: pd.Series) -> str:
    """A share of full augmentation's gain in whole per cent; a dash where there was no gain to share."""
    return NOTHING if np.isnan(row["share"]) else f"{round(100 * row['share'])} %".replace("-", "−")


def number(value: float) -> str:
    """A number to three significant digits, with a proper minus sign."""
    return f"{value:.3g}".replace("-", "−")
