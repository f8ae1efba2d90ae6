"""The tables: targets met and missed, shares of full augmentation's gain, the same labels, predictions, costs. Seed 0 stands apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pandas as pd

from augury.report.copies.results import CONTROL_POOL, POLICY_POOL, RANDOM, VARIANT, WORTHWHILE, Results, is_policy
from augury.report.copies.verdicts import LEAST, RANK, verdicts
from augury.report.subsampling.markdown import NOTHING, number, percent, table

SHOWN = (1, 5, 25)
WAYS = {
    RANDOM: "points at random",
    "copies.validation": "copies, validation target",
    "copies.self": "copies, self-target",
    "copies.folds": "copies, folds",
    "training_first": "points at random, training points' first",
}
WEIGHTS = ("weight_validation", "weight_self")
FAIR = (
    ("train", "copies.validation", "auto"),
    ("joint", "copies.self", "auto"),
    ("joint", "influence.random_proportional", "1"),
    ("joint", "influence.random_proportional", "auto"),
    ("joint", "training_first", "1"),
)
FORECASTS = {
    ("train", "copies.validation"): "validation target",
    ("train", "copies.self"): "self-target",
    (CONTROL_POOL, "copies.validation"): "half of the test set",
}
CHECKS = {
    "1 %": "1 %",
    "5 %": "5 %",
    "25 %": "25 %",
    "shortfall": "shortfall",
    "area": "area above every policy's",
    "area, policies weighted": "and above every weighted policy's",
    "rank, loss": "rank, loss",
    "rank, accuracy": "rank, accuracy",
    "cost": "cost",
}
Values = pd.Series


def way_name(way: object, weighting: object) -> str:
    """A way in words: "influence, deterministic proportional, weighted"; ways that choose copies weigh them unless said otherwise."""
    named = WAYS.get(str(way)) or str(way).replace(".", ", ").replace("_", " ")
    if is_policy(way):
        return named + (", weighted" if weighting == "auto" else "")
    return named + (", weight 1" if weighting == "1" else "")


def variant_name(variant: Iterable[str]) -> str:
    """A task in words: "mnist-translate (code, lenet)"."""
    task, preset, features, _ = variant
    return f"{task} ({preset}, {features})"


def groups(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of seed 0, on which the constants of `auto` were tuned, and those of all other seeds."""
    for chosen in (frame[frame["seed"] == 0], frame[frame["seed"] > 0]):
        seeds = sorted(chosen["seed"].unique())
        if seeds:
            yield f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}", chosen


def spread(values: Values, form: Callable[[float, int], str] = percent, decimals: int = 0) -> str:
    """Mean ± sample deviation of what is known, and of how many where not of all."""
    known = values.dropna().astype(float)
    if known.empty:
        return NOTHING
    text = form(float(known.mean()), decimals)
    if len(known) > 1:
        text += f" ± {form(float(known.std(ddof=1)), decimals)}"
    return text if len(known) == len(values) else f"{text} (n = {len(known)})"


def points(values: Values) -> str:
    """Differences of accuracy, in points."""
    return spread(values, percent, 2)


def plain(values: Values) -> str:
    """Numbers with two decimals."""
    return spread(values, number, 2)


def measured(results: Results) -> str:
    """What was measured, a row a task."""
    rows = []
    for variant in results.variants:
        for seeds, rest in groups(results.of(results.baselines, variant)):
            first = rest.iloc[0]
            gains = rest["full"] - rest["none"]
            weights = [
                ", ".join(f"{weight:g}" for weight in rest.sort_values("seed")[f"weight_{target}"]) for target in ("validation", "self")
            ]
            sizes = [f"{int(first[size]):,}" for size in ("train_points", "copies_per_point", "test_images", "width")]
            rows.append([variant_name(variant), seeds, *sizes, points(rest["none"]), points(rest["full"]), points(gains), *weights])
    header = ["task", "seeds", "points", "copies a point", "test images", "width", "none", "full", "gain"]
    return table([*header, "weight by auto, validation", "self"], rows)


def targets(results: Results, way: str, weighting: str = "auto") -> str:
    """How a way with a target does against what was asked of it, a row a task and group of seeds; empty if it was not measured."""
    summary = results.summary
    chosen = summary[(summary["pool"] == POLICY_POOL) & (summary["way"] == way) & (summary["weighting"] == weighting)]
    judged = verdicts(summary)
    judged = judged[(judged["way"] == way) & (judged["weighting"] == weighting)]
    rows = []
    for variant in results.variants:
        for name, rest in groups(results.of(chosen, variant)):
            checked = results.of(judged, variant)
            rows.append(
                [variant_name(variant), name, str(len(rest)), *_target_row(rest), _missed(checked[checked["seed"].isin(rest["seed"])])]
            )
    least = [f"{p} % (≥ {round(100 * bound)})" for p, bound in LEAST[way].items()]
    header = ["task", "seeds", "n", "gain", *least, "shortfall (≤ 0.10)", "rank, loss (≥ 0.9)", "rank, accuracy", "cost (≤ 3)", "missed"]
    return table(header, rows) if rows else ""


def _target_row(rest: pd.DataFrame) -> list[str]:
    shares = [spread(rest[f"share_{p}"], percent, 1) for p in SHOWN]
    elsewhere = rest["shortfall"].where(rest["gain"] < WORTHWHILE)
    ranks = [plain(rest[f"rank_{name}"]) for name in ("loss", "accuracy")]
    return [points(rest["gain"]), *shares, points(elsewhere), *ranks, plain(rest["cost"])]


def _missed(checked: pd.DataFrame) -> str:
    """The checks that were missed, with how often of how many."""
    found = [f"{name} ({int((~met).sum())} of {len(met)})" for name, met in checked.groupby("check", sort=False)["met"] if not met.all()]
    return "; ".join(found) or "none"


def tally(results: Results) -> str:
    """Of how many tasks and seeds each way meets each check."""
    judged = verdicts(results.summary)
    rows = []
    for (preset, way, weighting), own in judged.groupby(["preset", "way", "weighting"]):
        for name, rest in groups(own):
            counts = [_count(rest.loc[rest["check"] == check, "met"]) for check in CHECKS]
            rows.append([str(preset), way_name(way, weighting), name, *counts])
    return table(["preset", "way", "seeds", *CHECKS.values()], rows)


def _count(met: Values) -> str:
    return f"{int(met.sum())} of {len(met)}" if len(met) else NOTHING


def shares(results: Results, variant: tuple[str, ...]) -> Iterator[str]:
    """Every way on one task: what it gains with a share of the copies, and its area; a table for each group of seeds."""
    own = results.of(results.summary, variant)
    own = own[own["pool"] == POLICY_POOL]
    for name, rest in groups(own):
        rows = []
        for (way, weighting), row in rest.groupby(["way", "weighting"], sort=False):
            gained = [points(row[f"at_{p}"] - row["none"]) for p in SHOWN]
            values = [*gained, *(spread(row[f"share_{p}"]) for p in SHOWN), points(row["area"])]
            rows.append((float(row["area"].mean()), [way_name(way, weighting), str(len(row)), *values]))
        worth = rest.drop_duplicates("seed")
        yield f"{name}: full augmentation gains {points(worth['gain'])} points.\n"
        header = ["way", "n", *(f"gain at {p} %, points" for p in SHOWN), *(f"share at {p} %" for p in SHOWN), "area"]
        yield table(header, [row for _, row in sorted(rows, key=lambda found: -found[0])])


def same_labels(results: Results) -> str:
    """Accuracies of ways that use the same labelled points, and as many copies, a row a task, group of seeds and way."""
    summary = results.summary
    rows = []
    for variant in results.variants:
        own = results.of(summary, variant)
        for name, rest in groups(own):
            for pool, way, weighting in FAIR:
                row = rest[(rest["pool"] == pool) & (rest["way"] == way) & (rest["weighting"] == weighting)]
                if not row.empty:
                    trained = "training points" if pool == POLICY_POOL else "both"
                    rows.append([variant_name(variant), name, way_name(way, weighting), trained, str(len(row)), *_budgets(results, row)])
    header = ["task", "seeds", "way", "trained on", "n", "0 %", "1 %", "5 %", "25 %", "100 %", "200 %"]
    return table(header, rows)


def _budgets(results: Results, row: pd.DataFrame) -> list[str]:
    """Accuracy at multiples of the training points' copies."""
    key = [*VARIANT, "seed", "pool", "way", "weighting"]
    curves = results.curves.merge(row[key], on=key).merge(results.baselines[[*VARIANT, "seed", "copies"]], on=[*VARIANT, "seed"])
    ends = [curves.loc[curves["budget"] == factor * curves["copies"], "accuracy"] for factor in (0, 1, 2)]
    return [points(ends[0]), *(points(row[f"at_{p}"]) for p in SHOWN), points(ends[1]), points(ends[2])]


def stops(results: Results) -> str:
    """Where choosing would stop by its own forecast, and what is reached there."""
    summary = results.summary
    own = summary[(summary["pool"] == POLICY_POOL) & ~summary["way"].map(is_policy) & (summary["weighting"] == "auto")]
    rows = []
    for variant in results.variants:
        for name, rest in groups(results.of(own, variant)):
            for way, row in rest.groupby("way", sort=False):
                above = points(row["at_stop"] - row["full"])
                values = [spread(row["stop"]), points(row["at_stop"]), above, plain(row["rank_loss"]), plain(row["rank_accuracy"])]
                rows.append([variant_name(variant), name, way_name(way, "auto"), str(len(row)), *values])
    header = ["task", "seeds", "way", "n", "recommended, % of the copies", "accuracy there", "above full augmentation"]
    return table([*header, "rank, loss", "rank, accuracy"], rows)


def forecasts(results: Results) -> str:
    """How well loss and accuracy are foretold with each target and with the control's, a row a task and group of seeds, and in all."""
    own = results.summary[results.summary["weighting"] == "auto"]
    kinds = {words: own[(own["pool"] == pool) & (own["way"] == way)] for (pool, way), words in FORECASTS.items()}
    columns = [(words, of) for words, frame in kinds.items() if len(frame) for of in ("loss", "accuracy")]
    rows = []
    for variant in results.variants:
        for name, rest in groups(results.of(results.baselines, variant)):
            shown = {words: results.of(frame[frame["seed"].isin(rest["seed"])], variant) for words, frame in kinds.items()}
            rows.append([variant_name(variant), name, *(plain(shown[words][f"rank_{of}"]) for words, of in columns)])
    met = [_count(kinds[words][f"rank_{of}"].dropna() >= RANK) for words, of in columns]
    header = [f"{words}, {of}" for words, of in columns]
    return table(["task", "seeds", *header], [*rows, [f"at least {RANK}", "all", *met]])
