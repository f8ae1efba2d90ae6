"""What a folder of `augury learn` holds, read and checked: everything the page shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from augury.errors import InputError
from augury.files import read_json, read_table
from augury.report.folder import CURE, describe, read_arrays

LEARNED = "learned"
STRIP = ("strip_flow", "strip_warped", "strip_change", "strip_images")
FROM_RANDOM = "divergence from random (nats)"
FAR, LOSS = "and how far E is from random.", "and F’s loss on them."
EFFECT = (
    "While F was fitted: the predicted change of the target’s loss by one image as E draws it, times the number of training points "
    "(negative helps), dashed for those that F was then trained on;"
)
AGREEMENT = (
    "While F was fitted: how well the gradients of what E makes of the training images agree with the target’s, class by class, in "
    f"direction and length (−1: entirely), dashed for what it made at its beginning, looked at now and then; {FAR}"
)
GRID = ("grid_before", "grid_after", "grid_flow", "grid_labels")


class HistoryAxes(NamedTuple):
    """What the history tells of all draws, of others beside them, and of E, and all of it in words: it depends on the rule."""

    effect: str
    kept: str
    divergence: str
    words: str


@dataclass(frozen=True)
class LearnFolder:
    """The results of one run, as its files hold them.

    Parameters
    ----------
    config, versions
        What was done, and by what.
    words
        Which labels were used.
    history
        A row a solve: fold, step, effects of E's draws, divergence; `axes` tells what they are.
    components
        A row a component of tau: its mean and deviation.
    check
        A row an augmented batch: predicted and measured change of the target's loss; `checked` tells of how many points.
    results
        A row a retrained network.
    pictures
        The arrays of `gallery.npz`.
    foreseen
        What was foreseen of each augmentation; None without a target.
    """

    config: dict[str, Any]
    versions: dict[str, Any]
    words: str
    history: pd.DataFrame
    components: pd.DataFrame
    check: pd.DataFrame
    checked: dict[str, Any]
    results: pd.DataFrame
    pictures: dict[str, np.ndarray]
    foreseen: pd.DataFrame | None

    @property
    def axes(self) -> HistoryAxes:
        """What the history's columns are called."""
        if self.config.get("rule") == "matching":
            return HistoryAxes("minus the agreement with the target", "as at the beginning", FROM_RANDOM, AGREEMENT)
        divergence, end = (FROM_RANDOM, FAR) if self.config.get("rule") == "choice" else ("loss of augmented images (nats)", LOSS)
        return HistoryAxes("predicted effect (nats × points)", "trained on", divergence, f"{EFFECT} {end}")

    @classmethod
    def load(cls, folder: Path) -> LearnFolder:
        """Read every file; a missing, damaged or contradictory one is an `InputError` that names it."""
        config = read_json(folder / "config.json")
        if config.get("kind") != "learn":
            raise InputError(f"{folder / 'config.json'}: not of `augury learn`; give the folder that it wrote")
        history, _ = read_table(folder / "history.parquet", "history", ("step", "effect", "kept", "divergence", "fold"))
        components, _ = read_table(folder / "components.parquet", "components", ("component", "mean", "deviation", "divergence"))
        check, checked = read_table(folder / "check.parquet", "check", ("predicted", "measured"))
        columns = ("augmentation", "seed", "accuracy", "loss", "train_labels", "target_labels", "test_images")
        results, told = read_table(folder / "results.parquet", "learn-results", columns)
        pictures = read_arrays(folder / "gallery.npz", (*STRIP, *GRID))
        _check(results, pictures, folder)
        versions = read_json(folder / "versions.json")
        words, foreseen = str(told["words"]), read_foreseen(folder)
        return cls(config, versions, words, history, components, check, checked, results, pictures, foreseen)


def read_foreseen(folder: Path) -> pd.DataFrame | None:
    """The agreement of each augmentation's gradients with the target's, and the loss on its images; None where nothing was foreseen."""
    path = folder / "foreseen.parquet"
    if not path.exists():
        return None
    found, _ = read_table(path, "foreseen", ("augmentation", "agreement", "loss"))
    return found.set_index("augmentation")


def _check(results: pd.DataFrame, pictures: dict[str, np.ndarray], folder: Path) -> None:
    if LEARNED not in set(results["augmentation"]):
        raise InputError(f"{folder / 'results.parquet'}: no row of the learned augmentation; {CURE}")
    for name in ("strip_warped", "strip_images", "grid_before", "grid_after"):
        found = pictures[name]
        if found.dtype != np.uint8 or found.ndim != (4 if name == "grid_before" else 5) or found.shape[-3] not in (1, 3):
            raise InputError(f"{folder / 'gallery.npz'}: {name} is {describe(found)}; expected grey or RGB uint8 images; {CURE}")
