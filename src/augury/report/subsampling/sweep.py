"""What a sweep's folder holds, read and checked: its measurements by variant, between no and full augmentation."""

from __future__ import annotations

import functools
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from augury.cells import Cells
from augury.errors import InputError
from augury.report.subsampling.paper import TASKS
from augury.report.subsampling.variant import POLICY, Variant, regularised

VARIANT = ("task", "preset", "features", "C")
CURVES = (*VARIANT, *POLICY, "seed", "budget", "accuracy")
ACCURACIES = ("none", "full", "full_downweight", "clean_none", "clean_full")
SIZES = ("train_points", "copies_per_point", "test_points", "test_images", "width")
SETTINGS = (*VARIANT, *SIZES, *ACCURACIES, "extractor_accuracy", "note")
SCORES = (*VARIANT, "method", "point", "label", "initial", "final")
KINDS = {  # the folder of each kind of cells, what its tables say they are, and their columns
    "curves": ("subsampling-curve", CURVES),
    "settings": ("subsampling-setting", SETTINGS),
    "scores": ("subsampling-scores", SCORES),
}
NUMBERS = (*ACCURACIES, "extractor_accuracy", "accuracy", "initial", "final")
TYPES: dict[str, type] = dict.fromkeys(NUMBERS, float)  # a column that was stored without any value has no type
TYPES |= dict.fromkeys(["update", "downweight"], bool) | dict.fromkeys(["seed", "budget", *SIZES], int)
ORDER = (*VARIANT, *POLICY, "seed", "budget", "method", "point")  # in which rows stand, wherever they were stored
IMAGES = ("good_influence", "good_loss", "bad_influence", "bad_loss")
Identity = tuple[str, str, str, str]  # of a variant: task, preset, features, C
Images = dict[str, UInt8[np.ndarray, "_points _channels _height _width"]]

PRESETS, REGULARISATIONS = ("code", "paper"), ("1", "cv")
FEATURES = ("lenet-retrained", "lenet", "resnet56-noaug", "resnet20-noaug", "norbnet1152", "norbnet")  # nearest to the paper's first


@dataclass(frozen=True, eq=False)
class VariantSet:
    """One variant of each task, all of the same preset and C: what a figure of nine tasks shows.

    Parameters
    ----------
    preset, C
        What the variants share.
    position
        0 for each task's features that come nearest to the paper's; 1, 2, ... for further ones.
    variants
        By task.
    """

    preset: str
    C: str
    position: int
    variants: Mapping[str, Variant]

    @property
    def name(self) -> str:
        """The set in words: "preset code, C = 1, features number 2"."""
        further = f", features number {self.position + 1}" if self.position else ""
        return f"preset {self.preset}, {regularised(self.C)}{further}"


@dataclass(frozen=True, eq=False)
class Sweep:
    """All that was measured.

    Parameters
    ----------
    variants
        In the order in which they are reported.
    images
        Pictures of points with high and low scores, by data set.
    unfinished
        Task, preset, features and C of curves whose settings are not measured yet, so that they cannot be reported.
    """

    variants: Sequence[Variant]
    images: Mapping[str, Images]
    unfinished: Sequence[Identity] = ()

    @classmethod
    def load(cls, folder: str | Path) -> Sweep:
        """Read a sweep's cells and pictures; a missing, damaged or contradictory one is an `InputError` that names it."""
        folder = Path(folder)
        tables = {name: _cells(folder / name, *kind) for name, kind in KINDS.items()}
        if tables["settings"].empty:
            expected = f"expected cells in {', '.join(KINDS)}, as a sweep stores them when a task is finished"
            raise InputError(f"{folder}: no settings of a sweep in it, so there is nothing to report; {expected}")
        return cls.of(**tables, images={path.stem: _images(path) for path in sorted((folder / "images").glob("[!.]*.npz"))})

    @classmethod
    def of(cls, curves: pd.DataFrame, settings: pd.DataFrame, scores: pd.DataFrame, images: Mapping[str, Images] | None = None) -> Sweep:
        """A sweep from its three tables, of which `settings` has a row or more.

        Curves without a setting are named as unfinished, and scores without one are left out, until it is measured, too.
        """
        curves, settings, scores = (
            frame.astype({name: kind for name, kind in TYPES.items() if name in frame}) for frame in (curves, settings, scores)
        )
        _check_single(settings, VARIANT)
        _check_single(curves, (*VARIANT, *POLICY, "seed", "budget"))
        measured, scored = (_by_variant(frame) for frame in (curves, scores))
        found = [
            Variant(*key, settings.loc[row], measured.pop(key, curves[:0]), scored.get(key, scores[:0]))
            for row, key in zip(settings.index, _keys(settings), strict=True)
        ]
        return cls(sorted(found, key=_place), images or {}, sorted(measured))

    @property
    def tasks(self) -> list[str]:
        """The tasks that were measured: the paper's first, in its order, then others by name."""
        return list(dict.fromkeys(variant.task for variant in self.variants))

    @functools.cached_property
    def sets(self) -> list[VariantSet]:
        """The variants sorted into sets, one variant a task in each; the set that comes nearest to the paper first."""
        found: dict[tuple[str, str, int], dict[str, Variant]] = {}
        for variant in self.variants:
            position = 0
            while variant.task in found.setdefault((variant.preset, variant.C, position), {}):
                position += 1
            found[variant.preset, variant.C, position][variant.task] = variant
        keys = sorted(found, key=lambda key: (_rank(key[0], PRESETS), _rank(key[1], REGULARISATIONS), key[2]))
        return [VariantSet(*key, found[key]) for key in keys]


def _rank(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known), name)


def _place(variant: Variant) -> tuple[tuple[int, str], ...]:
    orders = (TASKS, PRESETS, REGULARISATIONS, FEATURES)
    return tuple(
        _rank(part, order) for part, order in zip((variant.task, variant.preset, variant.C, variant.features), orders, strict=True)
    )


def _keys(frame: pd.DataFrame) -> list[Identity]:
    return list(frame[list(VARIANT)].astype(str).itertuples(index=False, name=None))


def _by_variant(frame: pd.DataFrame) -> dict[Identity, pd.DataFrame]:
    return {_keys(rows)[0]: rows.drop(columns=list(VARIANT)).reset_index(drop=True) for _, rows in frame.groupby(list(VARIANT))}


def _check_single(frame: pd.DataFrame, key: Sequence[str]) -> None:
    twice = frame[frame.duplicated(list(key))]
    if not twice.empty:
        named = ", ".join(f"{name} {twice.iloc[0][name]}" for name in key)
        raise InputError(f"the sweep has two measurements of one thing ({named}); expected one: remove the cell that does not belong to it")


def _cells(folder: Path, kind: str, columns: Sequence[str]) -> pd.DataFrame:
    frame = Cells(folder, kind).read()
    if frame.empty:
        return pd.DataFrame({name: [] for name in columns})
    missing = [name for name in columns if name not in frame]
    if missing:
        raise InputError(f"{folder}: the cells lack the column {missing[0]!r}; expected cells of the kind {kind!r} from one version")
    return frame[list(columns)].sort_values([name for name in columns if name in ORDER], ignore_index=True)


def _images(path: Path) -> Images:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in IMAGES}
    except (OSError, ValueError, LookupError, TypeError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not readable pictures ({error}); remove it and run the step again that made it") from None
    for name, images in found.items():
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
            raise InputError(f"{path}: {name} is {images.dtype} of shape {images.shape}; expected grey or RGB uint8 images")
    return found
