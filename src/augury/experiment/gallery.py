"""`gallery.npz`: which images of a run its page shows, and their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64

from augury.copies import CopyOrdering
from augury.data import Examples
from augury.experiment.copy_files import copy_images
from augury.files import write_atomic
from augury.report.copy_folder import Flags
from augury.report.folder import ITSELF
from augury.report.pictures import reduced
from augury.selection import Ordering
from augury.transforms import Transform

MOST = 1000  # images of a page
COPIES = 240  # of them, where points are chosen, are at most so many copies of the points chosen first
FLAGGED = 150  # and where copies are chosen, so many flagged ones


class Shown(NamedTuple):
    """The training points that are shown as they are, and the copies, by their numbers among all copies."""

    points: Int64[np.ndarray, " points"]
    candidates: Int64[np.ndarray, " candidates"]


def shown_points(ordering: Ordering, copies: int) -> Shown:
    """All points or, of many, those chosen first and others from the highest score to the lowest; and copies of the first chosen."""
    first = ordering.selected[: max(1, COPIES // copies)]
    candidates = (first[:, None] * copies + np.arange(copies)).ravel()[:COPIES]
    by_score = np.argsort(-ordering.scores.values, kind="stable")
    return Shown(_some(by_score, ordering.selected, MOST - len(candidates)), candidates)


def shown_copies(ordering: CopyOrdering, flags: Flags, points: int) -> Shown:
    """All copies or, of many, flagged ones, those chosen first and others from the first of the order to the last; and their points."""
    room = max(MOST // 2, MOST - points)
    first = np.concatenate([flags.worst(FLAGGED), ordering.selected])
    _, place = np.unique(first, return_index=True)
    candidates = _some(ordering.candidates, first[np.sort(place)], room)
    return Shown(np.unique(candidates // (len(ordering) // points)), candidates)


def _some(order: Int64[np.ndarray, " every"], first: Int64[np.ndarray, " first"], room: int) -> Int64[np.ndarray, " some"]:
    """All of `order`, if there is room; or else the first of `first`, in up to half of the room, and others evenly along the order."""
    if len(order) <= room:
        return np.sort(order)
    kept = first[: room // 2]
    others, more = order[~np.isin(order, kept)], room - len(kept)
    evenly = np.arange(more) * (len(others) - 1) // (more - 1)
    return np.sort(np.concatenate([kept, others[evenly]]))


def save_gallery(path: Path, examples: Examples, transform: Transform, shown: Shown) -> Path:
    """Write the images that `augury.report.folder.Gallery` reads, atomically."""
    point, copy = np.divmod(shown.candidates, len(transform))
    images = [examples.select(shown.points).images, copy_images(examples, shown.candidates, transform)]
    arrays: dict[str, Any] = {
        "points": np.concatenate([shown.points, point]),
        "copies": np.concatenate([np.full(len(shown.points), ITSELF), copy]),
        "images": np.concatenate([reduced(as_bytes(part)) for part in images]),
        "copy_names": np.array(transform.names),
    }
    return write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))


def as_bytes(images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Images in [0, 1] as bytes; bytes stay as they are."""
    return images if images.dtype == np.uint8 else np.rint(images * 255).astype(np.uint8)
