"""What Augury works with on this machine: versions, devices, threads, data sets, extras; what `augury doctor` tells."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from typing import Any

import torch
from joblib import cpu_count

from augury import data
from augury.data.named import ENVIRONMENT, NAMED
from augury.errors import InputError

REQUIRED = re.compile(r"(?P<package>[\w.-]+)(?P<version>[^;]*?) *; *extra *== *['\"](?P<extra>[\w-]+)['\"]")
PLAIN = re.compile(r"[\w.-]+")
NOT_FOR_USERS = frozenset({"dev", "docs"})


def examine(data_dir: str | None = None) -> dict[str, Any]:
    """All that a person, or a report of a defect, needs to know of this place, as JSON can hold it.

    Parameters
    ----------
    data_dir
        Where the named data sets lie; if not given, as `AUGURY_DATA` says. Each set is read whole, a second or two for each, so that a
        damaged one is told.
    """
    return {
        "augury": importlib.metadata.version("augury"),
        "environment": {"python": platform.python_version(), "system": platform.platform(), "folder": sys.prefix},
        "packages": _packages(),
        "devices": _devices(),
        "threads": {
            "cores": cpu_count(),
            "torch": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        },
        "data": {"folder": data_dir or os.environ.get(ENVIRONMENT) or f"none; {ENVIRONMENT} is not set"}
        | {name: _points(name, data_dir) for name in NAMED},
        "extras": _extras(),
    }


def _packages() -> dict[str, str]:
    """The packages that Augury needs, with their versions."""
    needed = [PLAIN.match(line) for line in importlib.metadata.requires("augury") or () if "extra ==" not in line]
    return {found[0]: _version(found[0]) or "missing; install augury again" for found in needed if found is not None}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, str]:
    cuda = {f"cuda:{number}": torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())}
    return {"cpu": platform.processor() or platform.machine()} | (cuda or {"cuda": "none"})


def _points(name: str, data_dir: str | None) -> str:
    """How many points each part of a named set has, or why it cannot be read."""
    try:
        parts = {split: len(data.load(name, split=split, data_dir=data_dir)) for split in data.available_splits(name, data_dir)}
    except InputError as error:
        return f"not found: {error}"
    return ", ".join(f"{points:,} {split}" for split, points in parts.items())


def _extras() -> dict[str, str]:
    """The optional packages: their versions, or how to install them."""
    found = [line for line in map(REQUIRED.match, importlib.metadata.requires("augury") or ()) if line is not None]
    wanted = {line["package"]: line["extra"] for line in found if line["extra"] not in NOT_FOR_USERS}
    return {package: _version(package) or f"missing; pip install 'augury[{extra}]'" for package, extra in wanted.items()}
