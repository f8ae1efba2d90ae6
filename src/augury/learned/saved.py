"""Transformations and networks as safetensors files: the weights, and in the metadata what makes the module again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from augury.errors import InputError
from augury.files import first_line, write_atomic
from augury.learned.bounded import BoundedTransformation
from augury.learned.distribution import TauDistribution
from augury.learned.fields import FieldTransformation
from augury.learned.network import AugmentationNetwork
from augury.networks import load_weights, read_weights

METADATA_KEY = "augury"
LONGEST = 4096  # pixels of a side, or numbers of a tau
SMALL = 10**7  # so many weights may be made before the file's are looked at
KINDS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (FieldTransformation, BoundedTransformation, AugmentationNetwork, TauDistribution)
}

Module = TypeVar("Module", bound=nn.Module)


def save_module(module: FieldTransformation | BoundedTransformation | AugmentationNetwork | TauDistribution, path: str | Path) -> Path:
    """Write weights and settings, atomically; the same module gives the same bytes."""
    record = {"kind": type(module).__name__, "settings": module.settings}
    content = safetensors.torch.save(tensors_of(module), {METADATA_KEY: json.dumps(record, sort_keys=True)})
    return write_atomic(path, lambda stream: stream.write(content))


def load_module(path: str | Path, expected: type[Module]) -> Module:
    """Read what `save_module` wrote, on the CPU and in training mode, as a new module is.

    Parameters
    ----------
    path
        The file.
    expected
        What it should hold: `FieldTransformation`, `BoundedTransformation`, or `WarpingTransformation` for either; `AugmentationNetwork`
        or `TauDistribution`.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds anything else.
    """
    tensors, metadata = read_weights(path)
    found, fitting = "a file without Augury's record", False
    with contextlib.suppress(LookupError, TypeError, ValueError, RecursionError):  # whatever a record of something else leads to
        record = json.loads(metadata[METADATA_KEY])
        found = str(record["kind"])
        fitting = issubclass(KINDS[found], expected)
    if not fitting:
        raise InputError(f"{path}: expected a saved {expected.__name__}, found {found}; give the file that save_module wrote")
    try:
        module = made_again(record, path, tensors)
    except Exception as error:  # noqa: BLE001  (junk in the settings leads to nearly any kind)
        raise InputError(f"{path}: its settings are damaged ({first_line(error)}); give the file as it was written") from None
    assert isinstance(module, expected)
    load_weights(module, path)
    return module


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All that a module's file has to hold, laid out plainly."""
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in module.state_dict().items()}


def made_again(record: dict[str, Any], path: str | Path, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The module of a record of kind and settings, with its first weights; junk in the settings leads to nearly any exception.

    Weights are counted before there is memory for them, so that junk never asks for much more than the file holds in `tensors`.
    """
    kind = KINDS.get(record["kind"])
    if kind is None:
        raise InputError(f"{path}: holds a {record['kind']}, unknown to this version; expected one of {', '.join(KINDS)}")
    settings = record["settings"]
    _check_sides(settings)
    with torch.device("meta"):
        needed = sum(weight.numel() for weight in kind(**settings).parameters())
    if needed > max(SMALL, sum(weight.numel() for weight in tensors.values())):
        raise ValueError(f"the settings ask for {needed} weights, more than the file holds")
    return kind(**settings)


def _check_sides(settings: Mapping[str, Any]) -> None:
    """Refuse sizes so large that the places of the pixels alone would fill the memory."""
    for name, value in settings.items():
        if name != "seed" and isinstance(value, int) and value > LONGEST:
            raise ValueError(f"{name} is {value}, and the most is {LONGEST}")
