"""Pictures of chosen and of flagged copies beside the points that they are copies of, as the page shows them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from augury.copies import CopyOrdering
from augury.report.copy_folder import CopyGallery, Flags
from augury.report.copy_words import reasons
from augury.report.pictures import Picture, picture
from augury.report.words import number
from augury.scores import Scores


@dataclass(frozen=True)
class ShownCopy:
    """A copy: its picture, its name, and what is told of it."""

    picture: Picture
    name: str
    told: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A training point, its row of the scores (label, origin, loss, ...), and some of its copies."""

    original: Picture
    row: Mapping[Hashable, Any]
    copies: tuple[ShownCopy, ...]


def chosen_families(gallery: CopyGallery, ordering: CopyOrdering, scores: Scores) -> list[Family]:
    """The points whose copies were chosen first, in the gallery's order, each with its chosen copies."""
    rank = np.argsort(ordering.candidates)
    shown: dict[int, list[ShownCopy]] = {}
    for candidate, image in zip(gallery.chosen.tolist(), gallery.chosen_images, strict=True):
        point, copy = divmod(candidate, len(gallery.copy_names))
        place, name = int(rank[candidate]), str(gallery.copy_names[copy])
        told = (f"rank {place + 1:,}", f"{number(ordering.influence[place])} nats")
        shown.setdefault(point, []).append(ShownCopy(picture(image, name), name, told))
    return [_family(point, tuple(copies), gallery, scores) for point, copies in shown.items()]


def flagged_families(gallery: CopyGallery, flags: Flags, scores: Scores) -> list[Family]:
    """Each flagged copy that is shown, beside its point, with the reasons."""
    rows = flags.frame.set_index("candidate")
    found = []
    for candidate, image in zip(gallery.flagged.tolist(), gallery.flagged_images, strict=True):
        row = rows.loc[candidate].to_dict()
        told = (*reasons(row, flags), f"rank {row['rank']:,}" + (", chosen" if row["selected"] else ", not chosen"))
        shown = ShownCopy(picture(image, str(row["name"])), str(row["name"]), told)
        found.append(_family(candidate // len(gallery.copy_names), (shown,), gallery, scores))
    return found


def _family(point: int, copies: tuple[ShownCopy, ...], gallery: CopyGallery, scores: Scores) -> Family:
    label, origin = scores.classes[scores.labels[point]], str(scores.origin[point])
    place = int(np.flatnonzero(gallery.points == point)[0])
    row: dict[Hashable, Any] = {"label": label, "origin": origin, "loss": scores.losses[point], "probability": scores.probabilities[point]}
    return Family(picture(gallery.point_images[place], f"{label}: {origin}"), row, copies)
