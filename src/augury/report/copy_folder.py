"""What the folder of a run that chose copies holds, read and checked: everything its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64, Shaped, UInt8

from augury.copies import CopyOrdering
from augury.errors import InputError
from augury.evaluation import Curve
from augury.files import read_json, read_table, write_table
from augury.report.folder import CURE, check_pictures, describe, read_arrays
from augury.scores import Scores

FLAGS = "copy-flags"
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
        frame, record = read_table(path, FLAGS, COLUMNS)
        return cls(frame, record["bound"], record["neighbours"])


@dataclass(frozen=True)
class CopyGallery:
    """The pictures of a run: chosen and flagged copies, by their candidates' numbers, and the points that they are copies of."""

    points: Int64[np.ndarray, " points"]
    point_images: UInt8[np.ndarray, "points channels height width"]
    chosen: Int64[np.ndarray, " chosen"]
    chosen_images: UInt8[np.ndarray, "chosen channels height width"]
    flagged: Int64[np.ndarray, " flagged"]
    flagged_images: UInt8[np.ndarray, "flagged channels height width"]
    copy_names: Shaped[np.ndarray, " copies"]

    @classmethod
    def load(cls, path: Path) -> CopyGallery:
        """Read an `.npz` with these arrays and no pickles; anything else is an `InputError` that names the file."""
        found = read_arrays(path, cls.__annotations__)
        for name, pictures in (("points", "point_images"), ("chosen", "chosen_images"), ("flagged", "flagged_images")):
            check_pictures(found, name, pictures, path)
        names = found["copy_names"]
        if names.ndim != 1 or not len(names):
            raise InputError(f"{path}: copy_names is {describe(names)}; expected the name of each copy of a point; {CURE}")
        missing = set((np.concatenate([found["chosen"], found["flagged"]]) // len(names)).tolist()) - set(found["points"].tolist())
        if missing:
            raise InputError(f"{path}: shows copies of point {min(missing)}, and not the point; {CURE}")
        indices = {name: found[name].astype(np.int64) for name in ("points", "chosen", "flagged")}
        return cls(**{**found, **indices, "copy_names": names.astype(str)})


@dataclass(frozen=True)
class CopyRunFolder:
    """The results of one run that chose copies, as its files hold them."""

    config: dict[str, Any]
    versions: dict[str, Any]
    scores: Scores
    ordering: CopyOrdering
    curve: Curve
    flags: Flags
    gallery: CopyGallery

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
            CopyGallery.load(folder / "gallery.npz"),
        )
        run._check(folder)
        return run

    def _check(self, folder: Path) -> None:
        copies, each = len(self.ordering), len(self.gallery.copy_names)
        counted: Mapping[str, int] = {"scores.parquet": len(self.scores) * each, "curve.parquet": self.curve.points}
        for name, found in counted.items():
            if found != copies:
                raise InputError(f"{folder / name}: {found} copies, but selection.parquet has {copies}; expected files of one run")
        shown = {"gallery.npz": [self.gallery.chosen, self.gallery.flagged], "flags.parquet": [self.flags.frame["candidate"].to_numpy()]}
        for name, candidates in shown.items():
            every = np.concatenate(candidates)
            if every.size and not 0 <= every.min() <= every.max() < copies:
                raise InputError(f"{folder / name}: tells of a copy outside 0 to {copies - 1}; expected files of one run")
        if "loss" not in self.curve.frame or not {"none_loss", "full_loss"} <= set(self.curve.cause):
            raise InputError(f"{folder / 'curve.parquet'}: holds no losses; expected the curve of a choice of copies")
        unknown = set(self.gallery.flagged.tolist()) - set(self.flags.frame["candidate"].tolist())
        if unknown:
            raise InputError(f"{folder / 'gallery.npz'}: shows copy {min(unknown)} as flagged, and flags.parquet does not; {CURE}")
