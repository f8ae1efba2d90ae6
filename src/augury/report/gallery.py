"""The gallery that the page lets people sort and filter: its images on one sheet, and the numbers of each."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from augury.report.charts import SCORE_UNITS
from augury.report.copy_folder import CopyRunFolder
from augury.report.copy_words import reasons
from augury.report.folder import ITSELF, Gallery, RunFolder
from augury.report.pictures import sheet

SHARES = ("probability", "disagreement")  # told in per cent
COUNTS = ("rank", "copies")  # and in whole numbers


class Measure(NamedTuple):
    """A number that images have: its column, its name, its unit, and what it means in words."""

    name: str
    title: str
    unit: str
    meaning: str

    @property
    def kind(self) -> str:
        """How it is written."""
        return "share" if self.name in SHARES else "count" if self.name in COUNTS else "number"


LOSS = Measure("loss", "loss", "nats", "the cross-entropy of the point as it is, before any augmentation")
PROBABILITY = Measure("probability", "probability", "", "that of the point’s own label, likewise")
OF_COPIES: tuple[Measure, ...] = (
    Measure(
        "influence",
        "influence",
        "nats",
        "the predicted change of the target’s mean loss when the copy was chosen, a unit of weight; negative helps",
    ),
    Measure("rank", "rank", "", "the copy’s place in the order of choice"),
    Measure("disagreement", "neighbours’ disagreement", "", "the share of a flagged copy’s nearest originals that have another label"),
    Measure("copies", "copies chosen", "", "how many copies of the point were chosen"),
    Measure("score", "point’s own score", "nats", "its leave-one-out influence"),
    LOSS,
    PROBABILITY,
)


def explorer(run: RunFolder | CopyRunFolder) -> dict[str, Any]:
    """What the template and the script of the gallery need."""
    if isinstance(run, CopyRunFolder):
        items, measures, start = _copy_items(run), OF_COPIES, "copies"
    else:
        items, measures, start = _point_items(run), _of_points(run), str(ITSELF)
    gallery = run.gallery
    data = {
        "sheet": asdict(sheet(gallery.images)),
        "measures": [{"name": measure.name, "title": measure.title, "unit": measure.unit, "kind": measure.kind} for measure in measures],
        "classes": list(run.scores.classes),
        "transformations": gallery.copy_names.tolist(),
        "items": [_told(item) for item in items.to_dict("records")],
    }
    return {
        "data": data,
        "start": start,
        "measures": measures,
        "classes": [(label, name) for label, name in enumerate(run.scores.classes) if label in set(items["label"])],
        "transformations": [(copy, str(gallery.copy_names[copy])) for copy in np.unique(gallery.copies) if copy != ITSELF],
        "flags": isinstance(run, CopyRunFolder),
        "shown": _shown(gallery, len(run.scores)),
    }


def _of_points(run: RunFolder) -> tuple[Measure, ...]:
    unit = SCORE_UNITS.get(run.scores.method, "")
    score = Measure("score", "score", unit, f"the {run.scores.method}; higher means more worth augmenting")
    return score, Measure("rank", "rank", "", "the point’s place in the order of selection"), LOSS, PROBABILITY


def _point_items(run: RunFolder) -> pd.DataFrame:
    """A row an image; a copy has the numbers of its point."""
    columns = ("selected", "rank", "score", "loss", "probability")
    told = run.ordering.to_frame().set_index("index").loc[run.gallery.points, list(columns)].reset_index(drop=True)
    return _common(run).join(told)


def _copy_items(run: CopyRunFolder) -> pd.DataFrame:
    """A row an image; what only copies have, or only points, is missing for the others."""
    items, ordering, candidates = _common(run), run.ordering, run.gallery.candidates
    place, of_copies = np.argsort(ordering.candidates)[candidates], items["copy"] != ITSELF
    chosen = np.bincount(ordering.selected // len(run.gallery.copy_names), minlength=len(run.scores))
    flags = run.flags.frame.set_index("candidate")
    told: dict[Any, Any] = {row["candidate"]: reasons(row, run.flags) for row in run.flags.frame.to_dict("records")}
    why: list[Any] = [told.get(candidate) for candidate in candidates.tolist()]
    for name, values in (("score", run.scores.values), ("loss", run.scores.losses), ("probability", run.scores.probabilities)):
        items[name] = values[items["point"]]
    return items.assign(
        selected=of_copies & (place < len(ordering.selected)),
        rank=pd.Series(place + 1, dtype="Int64").where(of_copies),
        influence=pd.Series(ordering.influence[place]).where(of_copies),
        copies=pd.Series(chosen[items["point"]], dtype="Int64").where(~of_copies),
        disagreement=flags["disagreement"].reindex(candidates).to_numpy(),
        reasons=why,
    )


def _common(run: RunFolder | CopyRunFolder) -> pd.DataFrame:
    points, scores = run.gallery.points, run.scores
    return pd.DataFrame({"point": points, "copy": run.gallery.copies, "label": scores.labels[points], "origin": scores.origin[points]})


def _told(item: dict[Any, Any]) -> dict[str, Any]:
    """What is there of an item's values, in six digits."""
    there = {name: value for name, value in item.items() if isinstance(value, list) or not pd.isna(value)}
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in there.items()}


def _shown(gallery: Gallery, points: int) -> str:
    """How much of the run the gallery shows, in words."""
    itself, each = int((gallery.copies == ITSELF).sum()), len(gallery.copy_names)
    copies, every = len(gallery) - itself, points * each
    parts = [
        f"all {points:,} training points" if itself == points else f"{itself:,} of {points:,} training points",
        f"all {every:,} copies of them" if copies == every else f"{copies:,} of the {every:,} copies that can be made of them",
    ]
    return " and ".join(parts)
