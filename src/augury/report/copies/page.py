"""The page of choosing copies against choosing points, `report.md`, and its figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from augury.files import write_table, write_text
from augury.report.copies.figures import Picture, write_figures
from augury.report.copies.results import Results
from augury.report.copies.tables import forecasts, measured, same_labels, shares, stops, tally, targets, variant_name
from augury.report.copies.verdicts import LEAST

TITLE = "# Which copies to add: choosing copies against choosing points\n"
INTRODUCTION = """`choose_copies` beside the policies of *Efficient Augmentation via Data Subsampling*, which augment points, all copies of
a point together: the same features, the same head (C = 1), the same number of copies. Accuracies are in per cent on the augmented test set,
means ± sample deviations over seeds. A seed draws points (seed 0: paper 2's, the first ones), the validation points, policies, and the
network where it is trained on the points.

The constants behind the weight that `auto` gives a copy were tuned on seed 0 of these tasks; the other seeds are the untuned check, so they
stand apart. "Weighted" policies of points give their copies the weight that `auto` picked for the validation target.

- **Share**: the share of full augmentation's gain, in per cent, with 1, 5 or 25 % of all copies; judged where that gain is a point or more.
- **Shortfall**: where the gain is less, how many points accuracy lies at worst below full augmentation's from 5 % of the copies on.
- **Area**: the mean height of the curve of accuracy from no to all copies (trapezoids over 0, 1, 5, 10, 25, 50 and 100 %).
- **Rank**: Spearman's correlation over budgets between prediction (the target's loss and accuracy, before any retraining) and what
  retraining brought on the test set.
- **Cost**: processor time of choosing, in cold refits on the fully augmented set.
"""
SAME_LABELS = """A target of validation points uses their labels. Here the other ways have these points in their training set instead
("both"), with the same absolute number of copies; 100 % are as many copies as the training points have, 200 % all copies of both. "Points
at random, training points' first" at 100 % is full augmentation plus the validation points without copies, and at 200 % with them.
"""
FORECASTS = """Rank correlation over budgets between what was predicted and what retraining brought. "Half of the test set" is a control
that nobody has: the target is half of the test points, drawn at random, with their copies, and heads are tested on the other half, so that
target and test are alike. Where the control foretells what a validation target does not, validation and test points are not alike; where it
fails too, what retraining changes may be too little to be ranked.
"""
STOPS = """The recommended budget is the minimum of the predicted loss of the target, before any retraining.
"""


def write_pages(folder: Path) -> Path:
    """What `write_copies_report` does."""
    results = Results.load(folder)
    drawn = write_figures(results, folder / "figures")
    write_table(folder / "summary.parquet", results.summary, {"kind": "copies-summary"})
    return write_text(folder / "report.md", "\n".join(_page(results, drawn)))


def _page(results: Results, drawn: list[Picture]) -> Iterator[str]:
    yield from (TITLE, INTRODUCTION, "## What was measured\n", measured(results))
    yield from ("## Targets\n\nTasks and seeds that meet what is asked, of those to which it applies:\n", tally(results))
    for way in LEAST:
        for weighting, words in (("auto", ""), ("1", ", every copy with weight 1")):
            found = targets(results, way, weighting)
            if found:
                yield from (f"### Target: {way.removeprefix('copies.')}{words}\n", found)
    yield from ("## The same labels\n", SAME_LABELS, same_labels(results), "## Forecasts\n", FORECASTS, forecasts(results))
    yield from ("## Stopping\n", STOPS, stops(results), "## Figures\n")
    for picture in drawn:
        yield f"![{picture.title}](figures/{picture.name})\n\n**{picture.title}**: {picture.caption}.\n"
    yield "## Every way, task by task\n"
    for variant in results.variants:
        yield from (f"### {variant_name(variant)}\n", *shares(results, variant))
    yield from _notes(results)


def _notes(results: Results) -> Iterator[str]:
    noted = results.baselines.loc[results.baselines["note"] != ""].groupby("note")["task"].unique()
    for note, tasks in noted.items():
        yield f"Note on {', '.join(sorted(tasks))}: {note}.\n"
