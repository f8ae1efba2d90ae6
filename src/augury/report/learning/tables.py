"""The tables: every row of a task, what was to be reached, published figures, and what E learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pandas as pd

from augury.report.copies.tables import points, spread
from augury.report.learning.results import Difference, Results, scarcity_of, shift_of
from augury.report.subsampling.markdown import NOTHING, number, percent, table

# Accuracies in per cent: those of Learning to Augment Influential Data (its table 1, which quotes Ratner et al. 2017), and of its version
# of CVPR 2020, second-hand.
PUBLISHED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "none": {"mnist-1": "90.2", "mnist-10": "97.3", "cifar10-10": "66.0", "cifar10-100": "87.8"},
        "heuristic": {"mnist-1": "95.9", "mnist-10": "99.0", "cifar10-10": "77.5", "cifar10-100": "92.3"},
        "TANDA, mean field (Ratner et al.)": {"mnist-1": "96.5", "mnist-10": "99.2", "cifar10-10": "79.8", "cifar10-100": "94.4"},
        "TANDA, LSTM (Ratner et al.)": {"mnist-1": "96.7", "mnist-10": "99.1", "cifar10-10": "81.5", "cifar10-100": "94.0"},
        "learned (the paper)": {"mnist-1": "96.7", "mnist-10": "99.3", "cifar10-10": "82.1", "cifar10-100": "94.8"},
        "learned (its version of 2020, second-hand)": {"mnist-1": "96.9", "mnist-10": "99.2", "cifar10-10": "82.3", "cifar10-100": "94.8"},
    }
)
WANTED: Mapping[str, float] = MappingProxyType({"mnist-1": 0.983, "mnist-10": 0.994})  # accuracies
ABOVE = 0.005  # that a learned row should lie above the best baseline where deployment differs
SEEDS: Mapping[str, int] = MappingProxyType({"mnist-1": 5})  # pairs without which nothing is judged
FEWEST = 3  # elsewhere
ROUNDING = 1e-9  # accuracies are fractions; equals must not miss
MAIN = "learned"  # the row of the default settings
SHOWN = 6  # components that moved most
HEADER = ["row", "n", "accuracy", "loss", "above the best baseline", "labels"]
COSTS = ["search, s", "training, s", "share of search", "memory, MiB"]


def task_name(task: str) -> str:
    """A task in words: "mnist-1, turned, allconv"."""
    return task.replace(":", ", ").replace("@", ", ")


def of_task(results: Results, task: str) -> str:
    """Every row of a task: baselines, learned rows and controls."""
    own, best = results.of(task), results.best_baseline(task)
    header = [*HEADER, *(["on the target"] if shift_of(task) else []), *COSTS]
    rows = []
    for name in results.rows(task):
        cells = own[own["row"] == name]
        above = "best baseline" if name == best else NOTHING if best is None else _difference(results.difference(task, name, best))
        fitted = [spread(cells["target_accuracy"], percent, 1)] if shift_of(task) else []
        values = [points(cells["accuracy"]), spread(cells["loss"], number, 4), above, labels(cells), *fitted, *_costs(cells)]
        rows.append([name, str(len(cells)), *values])
    return table(header, rows)


def labels(cells: pd.DataFrame) -> str:
    """All labels that a row used: training and target."""
    first = cells.iloc[0]
    return f"{int(first['train_labels']):,} + {int(first['target_labels']):,}"


def _costs(cells: pd.DataFrame) -> list[str]:
    share = cells["search_seconds"] / (cells["search_seconds"] + cells["training_seconds"])
    seconds = [spread(cells[f"{name}_seconds"], number) for name in ("search", "training")]
    return [*seconds, f"{spread(share)} %" if share.notna().any() else NOTHING, spread(cells["peak_memory"], number)]


def _difference(found: Difference) -> str:
    """In points, ± standard error, of so many pairs."""
    if found.n == 0:
        return NOTHING
    text = ("+" if found.mean > 0 else "") + percent(found.mean, 2)
    return f"{text} ± {percent(found.error, 2)}" if found.n > 1 else f"{text} (one pair)"


def conditions(results: Results, task: str) -> str:
    """How every row of a task was fitted, in a sentence."""
    first = results.of(task).iloc[0]
    target = f", {int(first['target_labels']):,} target" if first["target_labels"] else ""
    return (
        f"{int(first['train_labels']):,} training labels{target}; F: {first['network']}, {int(first['steps']):,} steps; "
        f"{int(first['test_images']):,} test images."
    )


def published(task: str) -> str:
    """What others have published for a task without a shift, quoted; empty for any other."""
    if shift_of(task) or scarcity_of(task) not in PUBLISHED["none"]:
        return ""
    return table(["quoted, not measured here", "accuracy"], [[name, figures[scarcity_of(task)]] for name, figures in PUBLISHED.items()])


def verdicts(results: Results) -> str:
    """What was to be reached, by task, for the default row and for the learned row that came out best."""
    rows = [row for task in results.tasks for row in _verdicts(results, task)]
    return table(["task", "row", "n", "accuracy", "best baseline", "above it", "asked", "verdict"], rows)


def _verdicts(results: Results, task: str) -> Iterator[list[str]]:
    best = results.best_baseline(task)
    own = results.of(task)
    ranked = [row for row in results.rows(task) if (own.loc[own["row"] == row, "kind"] == "learned").all()]
    if best is None:
        return
    for row in dict.fromkeys([*(name for name in ranked if name == MAIN), *ranked[:1]]):
        cells = own[own["row"] == row]
        found = results.difference(task, row, best)
        values = [points(cells["accuracy"]), f"{best}, {points(own.loc[own['row'] == best, 'accuracy'])}", _difference(found)]
        asked, met = _judged(task, float(cells["accuracy"].mean()), found)
        needed = SEEDS.get(scarcity_of(task), FEWEST)
        verdict = f"open until n = {needed}" if found.n < needed else "reached" if met else "missed"
        yield [task_name(task), row, str(found.n), *values, asked, verdict]


def _judged(task: str, accuracy: float, found: Difference) -> tuple[str, bool]:
    """What is asked of a learned row, and whether it holds."""
    if shift_of(task):
        return f"≥ {percent(ABOVE, 1)} points above", found.mean >= ABOVE - ROUNDING
    wanted = WANTED.get(scarcity_of(task))
    above = found.mean > found.deviation
    if wanted is None:
        return "above by more than the deviation of pairs", above
    return f"≥ {percent(wanted, 1)} %, and above by more than the deviation of pairs", above and accuracy >= wanted - ROUNDING


def moved(results: Results, row: str = MAIN) -> str:
    """What the row's E has learned, by task: the components whose means have moved farthest; empty where nobody learned."""
    rows = []
    for task in results.tasks:
        found = results.learned(task, row).head(SHOWN)
        told = [f"{name} {number(mean, 2)} ± {number(deviation, 2)}" for name, mean, deviation in found.itertuples(name=None)]
        if told:
            rows.append([task_name(task), "; ".join(told)])
    return table(["task", "components"], rows) if rows else ""
