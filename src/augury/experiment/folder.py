"""A run folder belongs to one configuration and to one set of data: it is claimed before any work, and a later run must match."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from augury.data.named import NAMED
from augury.errors import InputError
from augury.experiment.pipeline import Pipeline
from augury.experiment.settings import Settings
from augury.experiment.splits import fingerprint
from augury.files import PARTIAL, digest, read_json, remove_partial, write_json
from augury.lock import held
from augury.model import features, resolve_device
from augury.model.cache import content_key
from augury.networks import is_own
from augury.progress import say

PACKAGES = ("augury", "numpy", "pandas", "pillow", "pyarrow", "scikit-learn", "scipy", "torch")
CONFIG, VERSIONS = "config.json", "versions.json"
KIND = "kind"  # of run: the name of its command; records of `augury run` do not tell it
EARLIER = {"unit": "points"}  # what records mean that do not tell it
COMMAND = "command"  # follows from the settings, and from defaults, which may differ between versions
CURE = "give another folder, or delete that one"


def claim(stages: Pipeline) -> contextlib.AbstractContextManager[None]:
    """Hold the folder during a block, which it begins with the record of the run: the resolved configuration and the versions.

    Where an earlier run has left its record, it must be of the same configuration and data.

    Raises
    ------
    InputError
        If the folder is none, holds something else, or lies where its files would count as data, or another process works in it; nothing
        in it is then changed.
    """
    return claim_folder(stages.folder, stages.config, lambda: resolve(stages), device=stages.config.device)


@contextlib.contextmanager
def claim_folder(folder: Path, config: Settings, resolve_all: Callable[[], dict[str, Any]], *, device: str) -> Iterator[None]:
    """What `claim` does, for any kind of run: `resolve_all` reads the data and tells the record that a resumed run must match."""
    check_folder(folder, config)
    resolve_device(device)
    with held(folder):
        found = _record_of(folder)
        resolved = resolve_all()
        if found is None:
            write_json(folder / CONFIG, resolved)
        else:
            _check_same(found, resolved, folder, [setting.name for setting in fields(config)])
        remove_partial(folder)
        _note_versions(folder / VERSIONS)
        yield


def check_folder(folder: Path, config: Settings) -> None:
    """Refuse a place for results in which they could not be, or would be taken for data."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out: {folder} is a file; expected a folder, new or of an earlier run")
    for source in config.sources:
        if source is None or source in NAMED:
            continue
        place = Path(source).expanduser()
        if place.is_dir() and folder.resolve().is_relative_to(place.resolve()):
            raise InputError(f"out: {folder} lies inside the data, {source}, so that results would count as data; give another folder")


def check_writable(file: Path, argument: str) -> None:
    """Refuse, before any work, a file that could not be written after it."""
    if file.is_dir():
        raise InputError(f"{argument}: {file} is a folder; expected the name of a file")
    nearest = next(parent for parent in file.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"{argument}: {file} cannot be written, for {nearest} is no folder that you may write to; give another place")


def resolve(stages: Pipeline) -> dict[str, Any]:
    """The configuration with what it came to on these data: the record that a reader needs, and what a resumed run must match."""
    splits, config = stages.splits, stages.config
    parts = {"train": splits.train, "test": splits.test} | ({} if splits.validation is None else {"validation": splits.validation})
    return config.record() | {
        COMMAND: config.command(),
        "transform": stages.transform.spec,
        "copies_per_point": len(stages.transform),
        **({"score": config.method} if config.unit == "points" else {}),
        "curve_budgets": stages.budgets,
        "image": "x".join(str(side) for side in splits.train.shape),
        "class_names": list(splits.train.classes),
        **{f"{name}_points": len(part) for name, part in parts.items()},
        **{f"{name}_digest": fingerprint(part) for name, part in parts.items()},
        "model": stages.architecture,
        "features": features(stages.fresh, splits.train.images[:1], device="cpu").shape[1],
        "weights_digest": _digest_of_weights(stages),
    }


def _digest_of_weights(stages: Pipeline) -> str | None:
    """Of the file, or of what a factory of the user's own has made; networks of Augury's own follow from name and seed."""
    if is_own(stages.architecture):
        return content_key(stages.fresh)
    return digest(Path(stages.config.weights).read_bytes()) if stages.config.weights else None


def versions() -> dict[str, str]:
    """Versions of what computes, and the kind of machine."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return found | {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count())}


def _record_of(folder: Path) -> dict[str, Any] | None:
    """The configuration of the run that the folder holds; None if the folder is new, or holds only what a killed first write left."""
    if (folder / CONFIG).exists():
        found = read_json(folder / CONFIG)
        if "train_digest" in found:
            return EARLIER | found
    elif all(file.name.endswith(PARTIAL) for file in folder.iterdir()):
        return None
    raise InputError(f"out: {folder} holds files but no run; give a new or empty folder")


def _check_same(found: dict[str, Any], resolved: dict[str, Any], folder: Path, names: list[str]) -> None:
    kinds = [record.get(KIND, "run") for record in (found, resolved)]
    if kinds[0] != kinds[1]:
        raise InputError(f"out: {folder} holds what `augury {kinds[0]}` made, and now it is `augury {kinds[1]}`; {CURE}")
    differing = [name for name in resolved if name != COMMAND and found.get(name) != resolved[name]]
    settings = [name for name in names if name in differing]
    settings.sort(key=lambda name: name == "score")  # what it comes to also follows from the target
    if settings:
        name = settings[0]
        raise InputError(f"out: {folder} holds a run with {name} = {found.get(name)!r}, and now it is {resolved[name]!r}; {CURE}")
    if differing:
        what = "weights" if "weights_digest" in differing else "data"
        raise InputError(f"out: {folder} holds a run of the same settings on other {what} ({differing[-1]} differs); {CURE}")


def _note_versions(path: Path) -> None:
    """Write the versions; where a run is taken up, keep those it began with, and tell if they have changed since."""
    if not path.exists():
        write_json(path, versions())
        return
    begun, now = read_json(path), versions()
    changed = [f"{name} {begun.get(name)}, now {now[name]}" for name in now if begun.get(name) != now[name]]
    if changed:
        say(f"versions: this run began with {'; '.join(changed)}")
