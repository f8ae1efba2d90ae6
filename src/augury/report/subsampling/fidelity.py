"""How far our measurements agree with the paper's: the order of policies, who beats the baseline, and the share of the full gain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from augury.report.subsampling import paper
from augury.report.subsampling.areas import area_table, paper_table_1, table_1
from augury.report.subsampling.markdown import NOTHING, number, percent, probability, table
from augury.report.subsampling.paper import BASELINE, RANDOM, RANDOM_INVERSE, RANKED, RANKED_INVERSE, SCORES
from augury.report.subsampling.sweep import Sweep, VariantSet
from augury.report.subsampling.tables import footnote
from augury.report.subsampling.variant import Variant

COMPARISONS = {  # by column: the better policy as the paper has it, the worse one, and the claim in words
    "random_above_baseline": (RANDOM[0], BASELINE, "random proportional beats the baseline"),
    "ranked_above_baseline": (RANKED[0], BASELINE, "ranked (deterministic) proportional beats the baseline"),
    "baseline_above_random_inverse": (BASELINE, RANDOM_INVERSE, "the baseline beats random inverse"),
    "baseline_above_ranked_inverse": (BASELINE, RANKED_INVERSE, "the baseline beats ranked (deterministic) inverse"),
}
SHARES = tuple(f"{name}_share_{percentage}" for name in ("baseline", "best") for percentage in paper.PERCENTS)
NAMES = ("table", "task", "score", "preset", "features", "C")
Record = dict[str, Any]
FEW = 3  # policies below which an order cannot be compared
PREAMBLE = """# Fidelity

How far our measurements agree with the paper's, table by table. `fidelity.parquet` holds the same figures.

"Beats" compares mean areas under the curves, however small the difference. Counts run over the tables in which both policies were
measured; the paper's over the same tables. Spearman's ρ compares our order of the policies by area with the paper's, over the policies
that both have; its p-value is that of no association.
"""
GAINS = """## Share of full augmentation's gain

In per cent, (accuracy − none) / (full − none), ours / paper: its Table 1 is printed to one decimal, so that its shares on CIFAR10 may be
off by some 10 points. A dash where full augmentation gained nothing, or nothing is known.
"""


def fidelity(sweep: Sweep) -> pd.DataFrame:
    """One row a variant and score: how far our table agrees with the paper's.

    Columns: `table` (the paper's number; missing for tasks that the paper does not have, or not at these budgets), `task, score, preset,
    features, C`; `policies` (how many both have), `rho, p` (Spearman's, of the mean areas); the four comparisons by name, ours and, with
    `paper_` before, the paper's (missing where either policy is); `baseline_share_5` to `best_share_25`, shares of full augmentation's
    gain, likewise (the paper's for translated images only; "best" is the best by either score).
    """
    frame = pd.DataFrame([_row(variant, score) for variant in sweep.variants for score in SCORES])
    kinds = {"table": "Int64"} | {f"{whose}{name}": "boolean" for name in COMPARISONS for whose in ("", "paper_")}
    return frame.astype(kinds)


def _row(variant: Variant, score: str) -> Record:
    frame = area_table(variant, score)
    both = frame.dropna(subset=["mean", "paper_mean"])
    rho, p = spearman(both["mean"], both["paper_mean"])
    numbered = int(paper.table(variant.task, score)["table"].iloc[0]) if variant.comparable else None
    named = {
        "table": numbered,
        "task": variant.task,
        "score": score,
        "preset": variant.preset,
        "features": variant.features,
        "C": variant.C,
    }
    order = {"policies": len(both), "rho": rho, "p": p}
    return {**named, **order, **_compared(frame["mean"]), **_compared(frame["paper_mean"], "paper_"), **_shares(variant)}


def spearman(x: pd.Series, y: pd.Series) -> tuple[float, float]:
    """Spearman's rank correlation and its p-value; NaN for fewer than three pairs, or where one side does not vary."""
    if len(x) < FEW or x.nunique() < 2 or y.nunique() < 2:
        return np.nan, np.nan
    found = spearmanr(x, y)
    return float(found.statistic), float(found.pvalue)


def _compared(means: pd.Series, prefix: str = "") -> dict[str, bool | None]:
    """Each comparison, or None where one of its policies is missing."""
    pairs = {name: (float(means[better]), float(means[worse])) for name, (better, worse, _) in COMPARISONS.items()}
    return {f"{prefix}{name}": None if np.isnan(pair).any() else pair[0] > pair[1] for name, pair in pairs.items()}


def _shares(variant: Variant) -> dict[str, float]:
    theirs = paper_table_1(variant.task) if variant.comparable else None
    found: dict[str, float] = {}
    for whose, row in (("", table_1(variant)[0]), ("paper_", theirs)):
        shares = [row.share(accuracy) for accuracy in (*row.baseline, *row.best)] if row else [np.nan] * len(SHARES)
        found |= {f"{whose}{name}": share for name, share in zip(SHARES, shares, strict=True)}
    return found


def of_set(frame: pd.DataFrame, chosen: VariantSet) -> pd.DataFrame:
    """The rows of `fidelity` that belong to one set of variants."""
    key = [chosen.variants[task].features if task in chosen.variants else None for task in frame["task"]]
    return frame[(frame["preset"] == chosen.preset) & (frame["C"] == chosen.C) & (frame["features"] == pd.Series(key, index=frame.index))]


def summary(frame: pd.DataFrame) -> list[str]:
    """The agreement in sentences, one a comparison and one for the order: counts over the tables in `frame`, ours and the paper's."""
    theirs = frame[frame["table"].notna()]
    lines = [_counted(theirs, name, words, paper_too=True) for name, (_, _, words) in COMPARISONS.items()]
    own = frame[frame["table"].isna()]
    lines += [_counted(own, name, f"beyond the paper's tables, {words}", paper_too=False) for name, (_, _, words) in COMPARISONS.items()]
    return [line for line in [*lines, _order(theirs["rho"].dropna(), len(theirs))] if line]


def _counted(frame: pd.DataFrame, name: str, words: str, *, paper_too: bool) -> str:
    rows = frame[frame[name].notna()]
    if rows.empty:
        return ""
    beside = f" (paper: {rows[f'paper_{name}'].sum()} of {len(rows)})" if paper_too else ""
    return f"{words} in {rows[name].sum()} of {len(rows)} tables{beside}"


def _order(rhos: pd.Series, tables: int) -> str:
    if rhos.empty:
        return ""
    low, middle, high = (number(value, 2) for value in (rhos.min(), rhos.median(), rhos.max()))
    spread = f"Spearman's ρ {middle} in the median, {low} to {high}"
    return f"our order of the policies against the paper's, in {len(rhos)} of {tables} tables: {spread}"


def fidelity_page(sweep: Sweep, frame: pd.DataFrame) -> str:
    """The agreement as a Markdown page: counts for each set of variants, then every table's figures."""
    return "\n".join([PREAMBLE, footnote(sweep.variants), *_summaries(sweep, frame), *_orders(frame), *_claims(frame), *_gains(frame)])


def _summaries(sweep: Sweep, frame: pd.DataFrame) -> Iterator[str]:
    for chosen in sweep.sets:
        rows = of_set(frame, chosen)
        yield f"## {chosen.name}\n"
        yield f"Features: {features(chosen)}.\n"
        yield bullets(summary(rows))


def features(chosen: VariantSet) -> str:
    """The features in a set of variants, each with its tasks: "lenet: mnist-rotate, mnist-crop; norbnet: norb-crop"."""
    tasks: dict[str, list[str]] = {}
    for task, variant in chosen.variants.items():
        tasks.setdefault(variant.features, []).append(task)
    return "; ".join(f"{name}: {', '.join(found)}" for name, found in tasks.items())


def bullets(sentences: list[str]) -> str:
    """Sentences as a Markdown list; a remark where there are none."""
    return "".join(f"- {sentence[0].upper()}{sentence[1:]}.\n" for sentence in sentences) or "Too few policies were measured to compare.\n"


def _records(frame: pd.DataFrame) -> list[Record]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _named(row: Record) -> list[str]:
    numbered: str = NOTHING if pd.isna(row["table"]) else str(row["table"])
    return [numbered, *(row[name] for name in NAMES[1:])]


def _orders(frame: pd.DataFrame) -> Iterator[str]:
    yield "## Order of the policies\n"
    rows = [
        [*_named(row), str(row["policies"]), number(row["rho"], 2), probability(row["p"])]
        for row in _records(frame[frame["table"].notna()])
    ]
    yield table([*NAMES, "policies in both", "Spearman's ρ", "p"], rows)


def _claims(frame: pd.DataFrame) -> Iterator[str]:
    yield "## Who beats whom\n\nEach cell: ours / paper.\n"
    rows = [[*_named(row), *(_words(row, name) for name in COMPARISONS)] for row in _records(frame)]
    yield table([*NAMES, *(words for _, _, words in COMPARISONS.values())], rows)


def _words(row: Record, name: str) -> str:
    return " / ".join(NOTHING if pd.isna(row[column]) else ("yes" if row[column] else "no") for column in (name, f"paper_{name}"))


def _gains(frame: pd.DataFrame) -> Iterator[str]:
    yield GAINS
    rows = [
        [str(row[name]) for name in ("task", "preset", "features", "C")]
        + [f"{percent(row[name], 0)} / {percent(row[f'paper_{name}'], 0)}" for name in SHARES]
        for row in _records(frame[frame["score"] == SCORES[0]])
    ]
    header = [f"{name} {percentage} %" for name in ("baseline", "best") for percentage in paper.PERCENTS]
    yield table(["task", "preset", "features", "C", *header], rows)
