"""The parts of the data that a configuration names: given splits are taken, missing ones are split off the training points."""

from __future__ import annotations

from dataclasses import dataclass

from augury import data
from augury.data import Examples
from augury.errors import InputError
from augury.experiment.config import RunConfig
from augury.files import digest

SHOWN = 5  # how many classes a message names


@dataclass(frozen=True)
class Splits:
    """The parts of the data, with the same classes."""

    train: Examples
    test: Examples
    validation: Examples | None


def read_splits(config: RunConfig) -> Splits:
    """Training, test and, where the score looks at one, validation points; each class has a training point."""
    if config.validation is not None and config.method != "validation":
        raise InputError("validation: given, but nothing looks at it; set target to 'val', or leave it out")
    given = data.available_splits(config.data, config.data_dir)
    points = _read(config, config.data, "train")
    test, points = _part(config, points, config.test, given, "test", config.test_share)
    validation = None
    if config.method == "validation":
        validation, points = _part(config, points, config.validation, given, "validation", config.validation_share)
    if config.first is not None:
        points = points.first(config.first)
    _check_each_class(points, config)
    return Splits(points, test, validation)


def fingerprint(examples: Examples) -> str:
    """A digest of pixels and labels."""
    return digest(examples.images, examples.labels)


def _part(
    config: RunConfig, points: Examples, source: str | None, given: tuple[str, ...], name: str, share: float
) -> tuple[Examples, Examples]:
    """A part and the training points that are left: from a source of its own, the data's own split, or split off."""
    if source is not None:
        splits = data.available_splits(source, config.data_dir)
        return _like(_read(config, source, name if name in splits else "train"), points, f"{name}: {source}"), points
    if name in given:
        return _like(_read(config, config.data, name), points, f"data: the {name} split of {config.data}"), points
    rest, part = points.split(share, config.seed)
    return part, rest


def _read(config: RunConfig, source: str, split: str) -> Examples:
    found = data.load(source, split=split, data_dir=config.data_dir, size=config.size)
    _check_names((*found.classes, *found.origin.tolist()), source)
    return found if config.classes is None else found.only(config.classes)


def _check_names(names: tuple[str, ...], source: str) -> None:
    """Refuse file names that are no text, which no table of results could hold."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{source}: the name {name!r} is not UTF-8; rename the file or folder") from None


def _like(part: Examples, points: Examples, what: str) -> Examples:
    if part.classes != points.classes:
        raise InputError(
            f"{what} has the classes {_listed(part.classes)}; expected those of the training points, {_listed(points.classes)}: "
            "name those to use of both (classes)"
        )
    if part.shape[0] != points.shape[0]:
        kinds = {1: "grey", 3: "RGB"}
        raise InputError(f"{what} is {kinds[part.shape[0]]}, and the training points are {kinds[points.shape[0]]}; convert one of them")
    if part.shape != points.shape:
        own, expected = (f"{width} x {height}" for _, height, width in (part.shape, points.shape))
        raise InputError(f"{what} has images of {own} pixels, and the training points have {expected}; give a size to bring both to")
    return part


def _check_each_class(points: Examples, config: RunConfig) -> None:
    missing = sorted(set(range(len(points.classes))) - set(points.labels.tolist()))
    if not missing:
        return
    name = points.classes[missing[0]]
    if config.first is None:
        raise InputError(f"data: no training point is of class {name!r}; add some, or name the classes to use (classes)")
    raise InputError(
        f"first: the first {len(points)} training points hold none of class {name!r} (folders are read class by class); take more, or "
        "name the classes to use (classes)"
    )


def _listed(classes: tuple[str, ...]) -> str:
    shown = ", ".join(classes[:SHOWN])
    return shown if len(classes) <= SHOWN else f"{shown}, ... ({len(classes)})"
