"""What the folder of a run that chose copies holds, read and checked: everything its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from augury.copies import CopyOrdering
from augury.errors import InputError
from augury.evaluation import Curve
from augury.files import read_json, read_noun, write_table
from augury.report.folder import CURE, ITSELF, Gallery, check_shown
from augury.scores import Scores

FLAGS = "copy-flags"
SHOWN = 16  # flagged copies that the page shows beside their points
REASONS = ("influence", "disagreement", "harmful", "disputed")
COLUMNS = ("candidate", "point", "copy", *REASONS, "origin", "label", "name", "rank", "selected")


@dataclass(frozen=True)
class Flags:
    """Copies for a person to look at.

    Parameters
    ----------
    frame
        A row a flagged copy, the most harmful first: what `augury.copies.CopyFlags.to_frame` tells of it, and its origin, label, name, its
        rank in the choice, and whether it is selected.
    bound
        The influence, in nats a unit of weight, from which a copy counts as harmful.
    neighbours
        How many nearest originals voted on each copy.
    """

    frame: pd.DataFrame
    bound: float
    neighbours: int

    def worst(self, count: int) -> Int64[np.ndarray, " worst"]:
        """Candidates to show: half of them the most harmful, then those that most neighbours dispute, the more harmful first."""
        harmful = self.frame[self.frame["harmful"]][: count // 2]
        others = self.frame.drop(harmful.index).sort_values("disagreement", ascending=False, kind="stable")
        return pd.concat([harmful, others])["candidate"].to_numpy(dtype=np.int64)[:count]

    def save(self, path: str | Path) -> Path:
        """Write `frame` as Parquet, atomically; the rest travels in its metadata."""
        return write_table(path, self.frame, {"kind": FLAGS, "bound": self.bound, "neighbours": self.neighbours})

    @classmethod
    def load(cls, path: str | Path) -> Flags:
        """Read what `save` wrote."""
        return read_noun(path, FLAGS, COLUMNS, lambda frame, record: cls(frame, float(record["bound"]), int(record["neighbours"])))


@dataclass(frozen=True)
class CopyRunFolder:
    """The results of one run that chose copies, as its files hold them."""

    config: dict[str, Any]
    versions: dict[str, Any]
    scores: Scores
    ordering: CopyOrdering
    curve: Curve
    flags: Flags
    gallery: Gallery

    @classmethod
    def load(cls, folder: Path) -> CopyRunFolder:
        """Read every file; a missing, damaged or contradictory one is an `InputError` that names it."""
        run = cls(
            read_json(folder / "config.json"),
            read_json(folder / "versions.json"),
            Scores.load(folder / "scores.parquet"),
            CopyOrdering.load(folder / "selection.parquet"),
            Curve.load(folder / "curve.parquet"),
            Flags.load(folder / "flags.parquet"),
            Gallery.load(folder / "gallery.npz"),
        )
        run._check(folder)
        return run

    def _check(self, folder: Path) -> None:
        copies, each = len(self.ordering), len(self.gallery.copy_names)
        counted: Mapping[str, int] = {"scores.parquet": len(self.scores) * each, "curve.parquet": self.curve.points}
        for name, found in counted.items():
            if found != copies:
                raise InputError(f"{folder / name}: {found} copies, but selection.parquet has {copies}; expected files of one run")
        check_shown(self.gallery, len(self.scores), folder)
        told = self.flags.frame["candidate"]
        if len(told) and not 0 <= told.min() <= told.max() < copies:
            raise InputError(f"{folder / 'flags.parquet'}: tells of a copy outside 0 to {copies - 1}; expected files of one run")
        if "loss" not in self.curve.frame or not {"none_loss", "full_loss"} <= set(self.curve.cause):
            raise InputError(f"{folder / 'curve.parquet'}: holds no losses; expected the curve of a choice of copies")
        unseen = set(self.flags.worst(SHOWN).tolist()) - set(self.gallery.candidates.tolist())
        if unseen:
            raise InputError(f"{folder / 'gallery.npz'}: does not show copy {min(unseen)}, which flags.parquet flags; {CURE}")
        alone = set(self.gallery.points.tolist()) - set(self.gallery.points[self.gallery.copies == ITSELF].tolist())
        if alone:
            raise InputError(f"{folder / 'gallery.npz'}: shows copies of point {min(alone)}, and not the point; {CURE}")
