"""The index page of a sweep's report, `report.md`, and all that it links to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from augury.files import write_table, write_text
from augury.report.subsampling.fidelity import bullets, features, fidelity, fidelity_page, of_set, summary
from augury.report.subsampling.figures import Picture, write_figures
from augury.report.subsampling.markdown import NOTHING, percent, table
from augury.report.subsampling.sweep import SIZES, Sweep
from augury.report.subsampling.tables import footnote, tables_page
from augury.report.subsampling.variant import Variant

TITLE = "# Which points to augment: a sweep of subsampling policies\n"
INDEX = """[All tables](tables.md), ours beside the paper's; [fidelity](fidelity.md), how far they agree, table by table; figures
below. The paper is *Efficient Augmentation via Data Subsampling* (version under review for ICLR 2019).
"""
MEASURED = """Accuracies are in per cent: on the augmented test set with no and with full augmentation (also downweighted: a point and its
copies share one weight), and on the clean test set. "Network" is the feature network's accuracy on its own test set.
"""
HEADER = ["task", "preset", "features", "width", "network", "C", "training points", "copies a point", "test points", "test images"]
RESULTS = ["none", "full", "full, downweighted", "clean: none", "clean: full", "curves", "seeds", "note"]
COLUMNS = ("none", "full", "full_downweight", "clean_none", "clean_full")


def write_pages(folder: Path) -> Path:
    """What `write_sweep_report` does."""
    sweep = Sweep.load(folder)
    frame = fidelity(sweep)
    drawn = write_figures(sweep, folder / "figures")
    write_table(folder / "fidelity.parquet", frame, {"kind": "subsampling-fidelity"})
    write_text(folder / "fidelity.md", fidelity_page(sweep, frame))
    write_text(folder / "tables.md", tables_page(sweep))
    return write_text(folder / "report.md", "\n".join(_page(sweep, frame, drawn)))


def _page(sweep: Sweep, frame: pd.DataFrame, drawn: Sequence[Picture]) -> Iterator[str]:
    yield from (TITLE, INDEX, "## In short\n")
    for chosen in sweep.sets:
        yield f"**{chosen.name}** ({features(chosen)})\n"
        yield bullets(summary(of_set(frame, chosen)))
    yield footnote(sweep.variants)
    yield from ("## What was measured\n", MEASURED)
    yield table([*HEADER, *RESULTS], [_measured(variant) for variant in sweep.variants])
    if sweep.unfinished:
        named = "; ".join(", ".join(identity) for identity in sweep.unfinished)
        yield f"Curves are stored, but not their settings yet, so that they are not reported, of: {named}.\n"
    yield from _figures(drawn)


def _figures(drawn: Sequence[Picture]) -> Iterator[str]:
    yield "## Figures\n"
    for section, group in itertools.groupby(drawn, key=lambda picture: picture.section):
        yield f"### {section}\n"
        for picture in group:
            yield f"![{picture.title}](figures/{picture.name})\n\n**{picture.title}**: {picture.caption}.\n"


def _measured(variant: Variant) -> list[str]:
    setting = variant.setting
    sizes = {name: str(int(setting[name])) for name in SIZES}
    curves = variant.curves
    return [
        *(variant.task, variant.preset, variant.features, sizes["width"], percent(setting["extractor_accuracy"], 2), variant.C),
        *(sizes[name] for name in ("train_points", "copies_per_point", "test_points", "test_images")),
        *(percent(setting[name], 2) for name in COLUMNS),
        *(str(len(variant.measured)), str(curves["seed"].nunique())),
        variant.note or NOTHING,
    ]
