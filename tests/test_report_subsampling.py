"""The numbers of a sweep's report: areas, ranks, Table 1 and the agreement with the paper, against the paper and against sums by hand."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from augury.report.subsampling import paper
from augury.report.subsampling.areas import area_table, paper_table_1, table_1
from augury.report.subsampling.fidelity import COMPARISONS, fidelity, fidelity_page, of_set, spearman, summary
from augury.report.subsampling.paper import BASELINE, GRID, RANDOM, RANDOM_INVERSE, RANKED, RANKED_INVERSE, Policy
from augury.report.subsampling.sweep import Sweep
from augury.report.subsampling.tables import tables_page
from augury.report.subsampling.variant import AT_RANDOM, Key

Accuracies = Mapping[int, Sequence[float]]  # by budget, one a seed
VSV, DPP = ("support", Policy("vsv")), ("uniform", Policy("dpp"))
SMALL = {  # 4 points; two seeds of the baseline, one of a ranked policy
    AT_RANDOM: {1: [0.5, 0.6], 2: [0.6, 0.6], 4: [0.9, 0.8]},
    ("influence", RANKED[0]): {1: [0.6], 2: [0.8], 4: [0.9]},
}


def setting(task: str, key: Mapping[str, str], **changed: object) -> pd.DataFrame:
    sizes = {"train_points": 1000, "copies_per_point": 4, "test_points": 10, "test_images": 50, "width": 84}
    accuracies = {"none": 0.5, "full": 0.9, "full_downweight": 0.88, "clean_none": 0.97, "clean_full": 0.98}
    return pd.DataFrame([{"task": task, **key, **sizes, **accuracies, "extractor_accuracy": None, "note": "", **changed}])


def curves(task: str, key: Mapping[str, str], measured: Mapping[Key, Accuracies]) -> pd.DataFrame:
    rows = [
        {"task": task, **key, "score": score, **policy._asdict(), "seed": seed, "budget": budget, "accuracy": accuracy}
        for (score, policy), by_budget in measured.items()
        for budget, accuracies in by_budget.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    columns = ["task", *key, "score", "policy", "update", "downweight", "seed", "budget", "accuracy"]
    return pd.DataFrame(rows, columns=columns)


def sweep_of(*parts: tuple[str, Mapping[Key, Accuracies], Mapping[str, Any]]) -> Sweep:
    """A sweep of some tasks: each its name, its measurements, and what differs in its identity and setting."""
    frames = []
    for task, measured, changed in parts:
        key = {"preset": "code", "features": "pixels", "C": "1"} | {
            name: changed[name] for name in ("preset", "features", "C") if name in changed
        }
        frames.append((curves(task, key, measured), setting(task, key, **changed)))
    scores = pd.DataFrame({name: [] for name in ("task", "preset", "features", "C", "method", "point", "label", "initial", "final")})
    return Sweep.of(*(pd.concat(frame, ignore_index=True) for frame in zip(*frames, strict=True)), scores)


def flat(accuracy: float, grid: Sequence[int] = GRID) -> Accuracies:
    return {budget: [accuracy] for budget in grid}


def like_the_paper(score: str, *, turned: bool = False) -> Sweep:
    """A sweep whose areas stand in the paper's order in each of the nine tables of a score, or in its reverse."""
    parts = []
    for task in paper.TASKS:
        means = paper.table(task, score)["mean"]
        heights = {policy: (2000 - mean if turned else mean) / 2000 for policy, mean in means.items()}
        measured = {("uniform" if policy == BASELINE else score, policy): flat(height) for policy, height in heights.items()}
        parts.append((task, measured, {}))
    return sweep_of(*parts)


# The paper's numbers


def test_the_paper_has_eighteen_tables_of_the_same_eleven_policies() -> None:
    counts = paper.areas().groupby(["table", "task", "score"]).size()
    assert len(counts) == 18
    assert set(counts) == {11}
    for table, task, score in counts.index:
        assert set(paper.table(task, score).index) == set(paper.POLICIES), table


@pytest.mark.parametrize(
    ("table", "task", "score", "policy", "mean", "deviation"),
    [
        (3, "mnist-translate", "loss", RANKED[3], 990.688, None),
        (3, "mnist-translate", "loss", BASELINE, 986.959, 0.734),
        (5, "norb-translate", "loss", RANDOM_INVERSE, 882.051, 1.205),
        (8, "norb-rotate", "loss", BASELINE, 959.825, 3.569),
        (10, "cifar10-crop", "loss", RANDOM[3], 962.507, 0.872),
        (12, "mnist-translate", "influence", RANDOM[3], 995.372, 0.218),
        (13, "cifar10-translate", "influence", RANDOM[0], 972.503, 0.233),
        (13, "cifar10-translate", "influence", RANDOM[1], 970.139, 0.092),
        (17, "norb-rotate", "influence", RANDOM[2], 963.841, 0.327),
        (20, "norb-crop", "influence", RANKED_INVERSE, 934.529, None),
    ],
)
def test_the_papers_areas_are_those_that_it_printed(
    table: int, task: str, score: str, policy: Policy, mean: float, deviation: float | None
) -> None:
    row = dict(paper.table(task, score).iterrows())[policy]
    assert (row["table"], row["mean"]) == (table, mean)
    assert np.isnan(row["deviation"]) if deviation is None else row["deviation"] == deviation


def test_the_papers_rows_stand_in_its_order_and_only_deterministic_policies_lack_a_deviation() -> None:
    frame = paper.areas()
    assert all(rows["mean"].is_monotonic_decreasing for _, rows in frame.groupby("table"))
    assert (frame["deviation"].isna() == frame["policy"].str.startswith("deterministic")).all()
    assert frame["table"].tolist() == sorted(frame["table"])


def test_equal_areas_of_the_paper_share_a_rank() -> None:
    ranks = paper.table("norb-translate", "loss")["rank"]
    assert [ranks[policy] for policy in (RANKED[0], RANKED[2], RANDOM[0], RANKED_INVERSE, RANDOM_INVERSE)] == [1, 1, 3, 10, 11]


def test_the_papers_table_1_is_as_printed_and_has_translated_images_alone() -> None:
    row = paper_table_1("cifar10-translate")
    assert row is not None
    assert (row.none, row.full) == pytest.approx((0.963, 0.973))
    assert (*row.baseline, *row.best) == pytest.approx((0.965, 0.967, 0.970, 0.970, 0.972, 0.973))
    assert paper_table_1("cifar10-rotate") is None
    assert paper_table_1("digits-translate") is None


def test_the_papers_policies_are_named_as_in_its_tables() -> None:
    assert [policy.name for policy in (BASELINE, RANDOM[0], RANKED[3])] == [
        "baseline",
        "random proportional",
        "deterministic proportional update downweight",
    ]


# Areas


def test_an_area_is_the_trapezoid_from_the_unaugmented_model_on() -> None:
    (variant,) = sweep_of(("digits", SMALL, {"train_points": 4, "none": 0.4})).variants
    assert variant.grid == (1, 2, 4)
    first = (0.4 + 0.5) / 2 * 1 + (0.5 + 0.6) / 2 * 1 + (0.6 + 0.9) / 2 * 2
    second = (0.4 + 0.6) / 2 * 1 + (0.6 + 0.6) / 2 * 1 + (0.6 + 0.8) / 2 * 2
    assert variant.areas[AT_RANDOM] == pytest.approx([first, second])
    row = dict(area_table(variant, "influence").iterrows())[BASELINE]
    assert row["mean"] == pytest.approx((first + second) / 2)
    assert row["deviation"] == pytest.approx(statistics.stdev([first, second]))
    assert row["n"] == 2


def test_over_the_papers_budgets_areas_weigh_each_checkpoint_as_its_code_does() -> None:
    accuracies = np.random.default_rng(0).uniform(0.8, 1, len(GRID))
    measured = {AT_RANDOM: {budget: [accuracy] for budget, accuracy in zip(GRID, accuracies, strict=True)}}
    (variant,) = sweep_of(("mnist-translate", measured, {"none": 0.7})).variants
    weights = [0.5, 5, 24.5, 45, 100, 200, 250, 250, 125]
    assert variant.areas[AT_RANDOM] == pytest.approx([np.dot(weights, [0.7, *accuracies])])


def test_budgets_beside_the_papers_change_no_area() -> None:
    measured = {AT_RANDOM: flat(0.9), ("influence", RANDOM[0]): flat(0.9) | {30: [0.1]}}
    (variant,) = sweep_of(("mnist-translate", measured, {})).variants
    assert variant.areas[AT_RANDOM] == pytest.approx(variant.areas["influence", RANDOM[0]])


def test_a_curve_that_was_not_measured_everywhere_has_no_area_and_is_told_of() -> None:
    measured = {AT_RANDOM: flat(0.9), DPP: {10: [0.8, 0.82]}, VSV: {137: [0.95]}}
    sweep = sweep_of(("mnist-translate", measured, {}))
    (variant,) = sweep.variants
    assert set(variant.areas) == {AT_RANDOM}
    page = tables_page(sweep)
    assert "3 curves measured at other budgets have none" in page
    assert "| k-DPP | uniform | 10 | 81.00 | 1.41 | 2 | 90.00 |" in page
    assert "| support vectors (VSV) | support | 137 | 95.00 | — | 1 | — |" in page


def test_a_sweep_in_which_no_curve_reaches_full_augmentation_has_no_areas() -> None:
    sweep = sweep_of(("mnist-translate", {AT_RANDOM: {1: [0.6], 10: [0.7]}}, {}))
    (variant,) = sweep.variants
    assert (variant.grid, variant.areas, variant.comparable) == ((), {}, False)
    assert "No curve reaches full augmentation yet" in tables_page(sweep)


def test_settings_without_curves_give_pages_without_numbers() -> None:
    sweep = sweep_of(("mnist-translate", {}, {}))
    page = tables_page(sweep)
    assert page.count("Not measured.") == 2
    assert "| mnist-translate | ours: preset code, features pixels, C = 1 | 50.00 | — | — | — | — | — | — | 90.00 |" in page
    assert summary(fidelity(sweep)) == []
    assert "Too few policies were measured to compare." in fidelity_page(sweep, fidelity(sweep))


# Tables beside the paper's


def test_ours_and_the_papers_stand_side_by_side_each_with_its_rank() -> None:
    softmax = Policy("random_softmax_proportional")
    heights = {("influence", RANDOM[0]): 0.97, ("influence", softmax): 0.96, AT_RANDOM: 0.95, ("influence", RANKED[0]): 0.94}
    sweep = sweep_of(("mnist-translate", {key: flat(height) for key, height in heights.items()}, {"none": 0.9}))
    frame = area_table(sweep.variants[0], "influence")
    assert frame.index[:4].tolist() == [RANDOM[0], softmax, BASELINE, RANKED[0]]
    assert frame["rank"].iloc[:4].tolist() == pytest.approx([1, np.nan, 2, 3], nan_ok=True)
    assert frame["paper_rank"].iloc[:4].tolist() == pytest.approx([7, np.nan, 9, 5], nan_ok=True)
    page = tables_page(sweep)
    assert "#### Table 12, score: influence" in page
    assert "| random proportional | 969.965 | — | 1 | 1 | 989.447 | 0.739 | 7 |" in page
    assert r"| random softmax proportional \+ | 959.970 | — | 1 | — | — | — | — |" in page
    assert "| deterministic inverse proportional | — | — | 0 | — | 965.509 | — | 11 |" in page


def test_scores_beyond_the_papers_have_a_table_of_their_own() -> None:
    measured = {AT_RANDOM: flat(0.9), ("margin", RANDOM[0]): flat(0.95)}
    page = tables_page(sweep_of(("mnist-translate", measured, {"none": 0.95})))
    assert "| random proportional | margin | 950.000 | — | 1 |" in page


@pytest.mark.parametrize(("task", "points"), [("digits-translate", 1000), ("mnist-translate", 500)])
def test_what_the_paper_did_not_measure_stands_without_its_numbers(task: str, points: int) -> None:
    measured = {AT_RANDOM: flat(0.9, (1, 10, points)), ("loss", RANDOM[0]): flat(0.95, (1, 10, points))}
    sweep = sweep_of((task, measured, {"train_points": points}))
    assert not sweep.variants[0].comparable
    assert "paper" not in "".join(line for line in tables_page(sweep).splitlines() if line.startswith("|"))
    assert fidelity(sweep)["table"].isna().all()
    assert "Beyond the paper's tables, random proportional beats the baseline in 1 of 1 tables." in fidelity_page(sweep, fidelity(sweep))


# Table 1


def test_table_1_takes_the_baselines_mean_and_the_best_observed_mean() -> None:
    measured = {
        AT_RANDOM: {50: [0.6, 0.7], 100: [0.7, 0.7], 1000: [0.9, 0.9]},
        ("loss", RANDOM[0]): {50: [0.8, 0.6], 100: [0.9, 0.9], 1000: [0.9, 0.9]},
        ("influence", RANKED[1]): {50: [0.75], 100: [0.8], 1000: [0.9]},
        ("margin", RANDOM[0]): {50: [0.99], 100: [0.99], 1000: [0.9]},
        ("influence", Policy("dpp")): {50: [0.99]},
    }
    (variant,) = sweep_of(("mnist-translate", measured, {})).variants
    row, names = table_1(variant)
    assert (row.none, row.full) == (0.5, 0.9)
    assert row.baseline == pytest.approx((0.65, 0.7, np.nan), nan_ok=True)
    assert row.best == pytest.approx((0.75, 0.9, np.nan), nan_ok=True)
    assert names == ("deterministic proportional downweight, influence", "random proportional, loss", "—")
    assert row.share(0.65) == pytest.approx(0.375)


def test_a_full_augmentation_without_gain_has_no_shares() -> None:
    (variant,) = sweep_of(("mnist-translate", {AT_RANDOM: {50: [0.8]}}, {"none": 0.9, "full": 0.9})).variants
    assert np.isnan(table_1(variant)[0].share(0.8))


def test_the_papers_row_of_table_1_stands_once_below_ours() -> None:
    parts = [("mnist-translate", {AT_RANDOM: flat(0.9)}, {"features": features}) for features in ("lenet", "lenet-retrained")]
    rows = [line for line in tables_page(sweep_of(*parts)).splitlines() if line.startswith("| mnist-translate | paper")]
    assert rows == ["| mnist-translate | paper | 85.4 | 96.8 | 98.1 | 98.9 | 98.6 | 99.1 | 99.4 | 99.3 |"]


# Fidelity


@pytest.mark.parametrize("score", paper.SCORES)
def test_a_sweep_in_the_papers_order_agrees_wholly(score: str) -> None:
    sweep = like_the_paper(score)
    frame = fidelity(sweep)
    rows = frame[frame["score"] == score]
    assert rows["rho"].tolist() == pytest.approx([1] * 9)
    assert (rows["p"] < 1e-6).all()
    assert (rows["policies"] == 11).all()
    assert rows["table"].tolist() == sorted(paper.areas().query("score == @score")["table"].unique())
    for name in COMPARISONS:
        assert (rows[name] == rows[f"paper_{name}"]).all()


def test_a_sweep_in_the_reverse_order_disagrees_wholly() -> None:
    sweep = like_the_paper("influence", turned=True)
    frame = fidelity(sweep)
    rows = frame[frame["score"] == "influence"]
    assert rows["rho"].tolist() == pytest.approx([-1] * 9)
    assert summary(frame) == [
        "random proportional beats the baseline in 0 of 9 tables (paper: 9 of 9)",
        "ranked (deterministic) proportional beats the baseline in 0 of 9 tables (paper: 9 of 9)",
        "the baseline beats random inverse in 0 of 9 tables (paper: 9 of 9)",
        "the baseline beats ranked (deterministic) inverse in 0 of 9 tables (paper: 9 of 9)",
        "our order of the policies against the paper's, in 9 of 18 tables: Spearman's ρ −1.00 in the median, −1.00 to −1.00",
    ]


def test_comparisons_with_a_policy_that_was_not_measured_are_missing_not_lost() -> None:
    sweep = sweep_of(("norb-crop", {AT_RANDOM: flat(0.9), ("loss", RANDOM[0]): flat(0.91)}, {}))
    frame = fidelity(sweep).set_index("score")
    assert frame.loc["loss", "random_above_baseline"]
    assert frame.loc["influence", "random_above_baseline"] is pd.NA
    assert frame.loc["loss", "ranked_above_baseline"] is pd.NA
    assert frame.loc["loss", "paper_ranked_above_baseline"]
    assert frame.loc["loss", "policies"] == 2
    assert np.isnan(frame.loc["loss", "rho"])
    assert summary(fidelity(sweep)) == ["random proportional beats the baseline in 1 of 1 tables (paper: 1 of 1)"]


def test_spearmans_rho_is_that_of_the_ranks_differences() -> None:
    x, y = pd.Series([1.0, 5.0, 3.0, 9.0, 7.0]), pd.Series([2.0, 1.0, 3.0, 5.0, 4.0])
    differences = x.rank() - y.rank()
    assert spearman(x, y)[0] == pytest.approx(1 - 6 * (differences**2).sum() / (5 * 24))


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0, 1.0]])
def test_an_order_of_too_few_or_equal_areas_has_no_correlation(values: list[float]) -> None:
    assert np.isnan(spearman(pd.Series(values), pd.Series([3.0, 2.0, 1.0][: len(values)]))).all()


def test_shares_of_the_gain_stand_beside_those_of_table_1() -> None:
    measured = {AT_RANDOM: flat(0.7), ("loss", RANDOM[0]): flat(0.8)}
    row = fidelity(sweep_of(("mnist-translate", measured, {}))).iloc[0]
    assert row["baseline_share_5"] == pytest.approx(0.5)
    assert row["best_share_25"] == pytest.approx(0.75)
    assert row["paper_baseline_share_5"] == pytest.approx((96.8 - 85.4) / (99.3 - 85.4))
    assert row["paper_best_share_25"] == pytest.approx((99.4 - 85.4) / (99.3 - 85.4))
    assert np.isnan(fidelity(sweep_of(("mnist-crop", measured, {})))["paper_best_share_25"]).all()


# Variants


def test_the_variant_nearest_to_the_paper_stands_first_and_others_in_sets_of_their_own() -> None:
    order = [("lenet", "code", "1"), ("lenet-retrained", "paper", "cv"), ("cnn512", "code", "1"), ("lenet-retrained", "code", "1")]
    parts: list[Any] = [
        ("mnist-crop", {AT_RANDOM: flat(0.9)}, {"features": features, "preset": preset, "C": C}) for features, preset, C in order
    ]
    sweep = sweep_of(*parts, ("norb-crop", {AT_RANDOM: flat(0.9)}, {"features": "norbnet"}))
    shown = [(chosen.name, {task: variant.features for task, variant in chosen.variants.items()}) for chosen in sweep.sets]
    assert shown == [
        ("preset code, C = 1", {"mnist-crop": "lenet-retrained", "norb-crop": "norbnet"}),
        ("preset code, C = 1, features number 2", {"mnist-crop": "lenet"}),
        ("preset code, C = 1, features number 3", {"mnist-crop": "cnn512"}),
        ("preset paper, C by cross-validation", {"mnist-crop": "lenet-retrained"}),
    ]
    frame = fidelity(sweep)
    assert sum(len(of_set(frame, chosen)) for chosen in sweep.sets) == len(frame)


def test_tasks_stand_in_the_papers_order_and_others_after_them() -> None:
    parts = [(task, {AT_RANDOM: flat(0.9)}, {}) for task in ("aircraft-flip", "norb-crop", "mnist-translate", "cifar10-rotate")]
    assert sweep_of(*parts).tasks == ["mnist-translate", "cifar10-rotate", "norb-crop", "aircraft-flip"]


def test_what_numbers_must_say_stands_with_them() -> None:
    sweep = sweep_of(("norb-crop", {AT_RANDOM: flat(0.9)}, {"note": "JPEG-compressed pixels"}))
    assert tables_page(sweep).count("JPEG-compressed pixels") == 2  # with Table 1 and with the task
    assert "Note: norb-crop: JPEG-compressed pixels." in fidelity_page(sweep, fidelity(sweep))
