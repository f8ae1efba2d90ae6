"""The paper's tables with our numbers: areas under the curves (Tables 3 to 20), and accuracies at some budgets (Table 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from augury.report.subsampling import paper
from augury.report.subsampling.areas import Row, area_table, deviation, paper_table_1, table_1
from augury.report.subsampling.markdown import number, percent, table
from augury.report.subsampling.paper import BASELINE, POLICIES, SCORES, Policy
from augury.report.subsampling.sweep import Sweep
from augury.report.subsampling.variant import AT_RANDOM, Key, Variant, notes

BEYOND = "\\+"  # marks policies that the paper does not have
KNOWN = {"clustered": "k-means-stratified", "dpp": "k-DPP", "vsv": "support vectors (VSV)"}
PREAMBLE = f"""# Tables

Ours stand beside the paper's (*Efficient Augmentation via Data Subsampling*, version under review for ICLR 2019), each column marked as
"ours" or "paper". A dash is a number that does not exist: not measured, not printed, or a deviation of a single run.

An **AUC** is the area under the curve of accuracy on the augmented test set over the number of augmented training points: a trapezoid,
with the un-augmented model at 0. The paper's runs over {", ".join(map(str, (0, *paper.GRID)))} and is at most 1000. Means and sample
deviations are over *n* seeds. Ranks are among the paper's {len(POLICIES)} policies, 1 the best; policies marked {BEYOND} are not in the
paper and have none.
"""
TABLE_1 = """## Table 1

Accuracy in per cent on the augmented test set with 0, 5, 10, 25 and 100 % of the training points augmented. "Baseline" is random sampling,
its mean over seeds. "Best" is, as in the paper, the best mean observed among the paper's policies, by either score: chosen after the fact
and on the test set, so it is optimistic. The policies that were best stand below.
"""


def tables_page(sweep: Sweep) -> str:
    """All tables as one Markdown page, by task and variant."""
    return "\n".join([PREAMBLE, TABLE_1, *_table_1(sweep), *(part for task in sweep.tasks for part in _task(sweep, task))])


def _table_1(sweep: Sweep) -> Iterator[str]:
    rows, winners = [], []
    for task in sweep.tasks:
        variants = [variant for variant in sweep.variants if variant.task == task]
        for variant in variants:
            row, best = table_1(variant)
            rows.append([task, f"ours: {variant.name}", *_accuracies(row, 2)])
            winners.append([task, variant.name, *best])
        theirs = paper_table_1(task) if any(variant.comparable for variant in variants) else None
        if theirs:
            rows.append([task, "paper", *_accuracies(theirs, 1)])
    percents = [f"{percentage} %" for percentage in paper.PERCENTS]
    yield table(["task", "whose", "none", *(f"baseline {p}" for p in percents), *(f"best {p}" for p in percents), "full"], rows)
    yield footnote(sweep.variants)
    yield table(["task", "ours", *(f"best at {p}" for p in percents)], winners)


def footnote(variants: Iterable[Variant]) -> str:
    """What the numbers above it must say, as a paragraph; empty if nothing."""
    found = notes(variants)
    return f"Note: {found}.\n" if found else ""


def _accuracies(row: Row, decimals: int) -> list[str]:
    return [percent(accuracy, decimals) for accuracy in (row.none, *row.baseline, *row.best, row.full)]


def _task(sweep: Sweep, task: str) -> Iterator[str]:
    yield f"## {task}\n"
    for variant in sweep.variants:
        if variant.task == task:
            yield f"### {task}: {variant.name}\n"
            yield f"{_remark(variant)}\n"
            for score in SCORES:
                yield from _area_section(variant, score)
            yield from _beyond(variant)


def _remark(variant: Variant) -> str:
    none, full = percent(variant.none, 2), percent(variant.full, 2)
    images = f"{int(variant.setting['test_images']):,} test images"
    noted = f" Note: {variant.note}." if variant.note else ""
    accuracies = f"Accuracy {none} % without and {full} % with full augmentation, on {images}.{noted}"
    if not variant.grid:
        return f"{accuracies} No curve reaches full augmentation yet, so there are no areas."
    grid = ", ".join(map(str, (0, *variant.grid)))
    left_out = len(variant.measured) - sum(map(len, variant.areas.values()))
    without = f"; {left_out} curves measured at other budgets have none" if left_out else ""
    unlike = "" if variant.comparable or variant.task not in paper.TASKS else " The paper measured at other budgets, so it is not shown."
    return f"{accuracies} Areas are over {grid}{without}.{unlike}"


def _area_section(variant: Variant, score: str) -> Iterator[str]:
    frame = area_table(variant, score)
    if not any(count for policy, count in frame["n"].items() if policy != BASELINE):
        yield f"#### Score: {score}\n\nNot measured.\n"
        return
    number_of = f"Table {paper.table(variant.task, score)['table'].iloc[0]}, s" if variant.comparable else "S"
    yield f"#### {number_of}core: {score}\n"
    ours = ["policy", "AUC, ours", "deviation, ours", "n, ours", "rank, ours"]
    theirs = ["AUC, paper", "deviation, paper", "rank, paper"] if variant.comparable else []
    yield table([*ours, *theirs], [_area_row(policy, row, paper_too=variant.comparable) for policy, row in frame.iterrows()])  # type: ignore[arg-type]


def _area_row(policy: Policy, row: pd.Series, *, paper_too: bool) -> list[str]:
    name = _name(policy) if policy in POLICIES else f"{_name(policy)} {BEYOND}"
    cells = [name, number(row["mean"], 3), number(row["deviation"], 3), str(int(row["n"])), number(row["rank"], 0)]
    theirs = [number(row["paper_mean"], 3), number(row["paper_deviation"], 3), number(row["paper_rank"], 0)]
    return [*cells, *(theirs if paper_too else [])]


def _name(policy: Policy) -> str:
    return policy._replace(policy=KNOWN.get(policy.policy, policy.policy)).name


def _beyond(variant: Variant) -> Iterator[str]:
    """Policies by other scores than the paper's two, and curves without an area, at each of their budgets."""
    areas = [
        [_name(policy), score, number(float(found.mean()), 3), number(deviation(found), 3), str(len(found))]
        for (score, policy), found in variant.areas.items()
        if score not in SCORES and policy != BASELINE
    ]
    if areas:
        yield "#### Beyond the paper: areas by other scores\n"
        yield table(["policy", "score", "AUC, ours", "deviation, ours", "n, ours"], areas)
    points = [row for key in variant.policies if key not in variant.areas for row in _points(variant, key)]
    if points:
        yield "#### Beyond the areas: accuracy in per cent at single budgets\n"
        yield table(["policy", "score", "budget", "accuracy, ours", "deviation, ours", "n, ours", "baseline, ours"], points)


def _points(variant: Variant, key: Key) -> Iterator[list[str]]:
    score, policy = key
    for budget in variant.budgets:
        found = variant.accuracies(key, budget)
        if len(found):
            accuracies = (percent(value, 2) for value in (float(found.mean()), deviation(found)))
            baseline = percent(variant.mean(AT_RANDOM, budget), 2)
            yield [_name(policy), score, str(budget), *accuracies, str(len(found)), baseline]
