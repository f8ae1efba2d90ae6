"""The pages of learned augmentations beside their baselines, `report.md` and `tables.md`, and the figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from augury.files import write_text
from augury.report.learning.figures import Picture, write_figures
from augury.report.learning.results import Results, shift_of
from augury.report.learning.tables import conditions, moved, of_task, published, task_name, verdicts

TITLE = "# Learning to augment: learned augmentations beside what one would pick instead\n"
INTRODUCTION = """Every row of a task has the same labels, the same F from the same first weights, the same number of steps, and the same
crop before (for RGB images with mirroring); only `none` has none. Accuracies are in per cent on test images as deployed, means ± sample
deviations over seeds; a seed draws the labels, and weights, order and augmentation follow from it. Where deployment differs, every row's F
is fitted to training and target labels together, and rows that learn use the target besides to judge by, and change its images, which
look as deployed, only as E did at its beginning; without a shift they judge by folds of the training labels, or by the training images
themselves (`best-of-4`). What was learned for RGB images comes after TrivialAugment, in the place of what E drew at its beginning, and only
those components that learned something (in the control `without-least` all of them); what the control `deployed` knows comes after it too.

"Above" is the mean difference to the best baseline on the same labels, in points, ± its standard error. The best baseline is the one of the
largest mean on the test set, chosen after the fact, and so is the best learned row; `learned` is the default.
"""
LEARNED = """Mean and deviation of the components of tau, each from −1 to 1 within the bounds of the row, whose means have moved farthest
from 0, where E begins; averaged over seeds.
"""
TAUGHT = ("learned", "learned-choice", "without-averaging", "without-divergence", "without-held", "with-kept")  # rows of whose E it is told
FIGURES = "Differences to the best baseline, in points, with standard errors; the numbers are those of [the tables](tables.md).\n"
TABLES = """# Every row, task by task

Labels: training + target. Search and training: seconds of processor time, of learning E and of fitting the F that is tested; memory: the
process's peak. Measurements that were interrupted have no cost.
"""


def write_pages(folder: Path) -> Path:
    """What `write_learning_report` does."""
    results = Results.load(folder)
    drawn = write_figures(results, folder / "figures")
    write_text(folder / "tables.md", "\n".join(_tables(results)))
    return write_text(folder / "report.md", "\n".join(_page(results, drawn)))


def _page(results: Results, drawn: list[Picture]) -> Iterator[str]:
    yield from (TITLE, INTRODUCTION, "## What was to be reached\n", verdicts(results))
    found = {row: moved(results, row) for row in TAUGHT}
    if any(found.values()):
        yield from ("## What was learned\n", LEARNED)
        yield from (line for row, told in found.items() if told for line in (f"### {row}\n", told))
    yield from ("## By how much\n", FIGURES)
    for picture in drawn:
        yield f"![{', '.join(map(task_name, picture.tasks))}](figures/{picture.name})\n"


def _tables(results: Results) -> Iterator[str]:
    yield TABLES
    for task in results.tasks:
        yield from (f"## {task_name(task)}\n", f"{conditions(results, task)}\n", of_task(results, task))
        if not shift_of(task) and published(task):
            yield published(task)
