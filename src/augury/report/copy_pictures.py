"""Flagged copies beside the points that they are copies of, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from augury.report.copy_folder import SHOWN, CopyRunFolder
from augury.report.copy_words import reasons
from augury.report.folder import ITSELF
from augury.report.pictures import Picture, picture


@dataclass(frozen=True)
class FlaggedCopy:
    """A copy, its point, and what speaks against its label."""

    original: Picture
    copy: Picture
    row: Mapping[Any, Any]
    told: tuple[str, ...]


def flagged_copies(run: CopyRunFolder) -> list[FlaggedCopy]:
    """The flagged copies that a person should look at first, each beside its point."""
    return [_flagged(run, candidate) for candidate in run.flags.worst(SHOWN).tolist()]


def _flagged(run: CopyRunFolder, candidate: int) -> FlaggedCopy:
    gallery, frame, point = run.gallery, run.flags.frame, candidate // len(run.gallery.copy_names)
    row = frame[frame["candidate"] == candidate].to_dict("records")[0]
    told = (*reasons(row, run.flags), f"rank {row['rank']:,}" + (", chosen" if row["selected"] else ", not chosen"))
    copy = np.flatnonzero(gallery.candidates == candidate)[0]
    itself = np.flatnonzero((gallery.points == point) & (gallery.copies == ITSELF))[0]
    original = picture(gallery.images[itself], f"{row['label']}: {row['origin']}")
    return FlaggedCopy(original, picture(gallery.images[copy], str(row["name"])), row, told)
