"""Transformations and networks as safetensors files: the weights, and in the metadata what makes the module again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from augury.errors import InputError
from augury.files import write_atomic
from augury.learned.bounded import BoundedTransformation
from augury.learned.distribution import TauDistribution
from augury.learned.fields import FieldTransformation
from augury.learned.network import AugmentationNetwork
from augury.networks import load_weights, read_weights

METADATA_KEY = "augury"
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
    _, metadata = read_weights(path)
    record: dict[str, Any] = json.loads(metadata.get(METADATA_KEY, "{}"))
    kind = KINDS.get(record.get("kind", ""))
    if kind is None or not issubclass(kind, expected):
        found = record.get("kind", "a file without Augury's record")
        raise InputError(f"{path}: expected a saved {expected.__name__}, found {found}; give the file that save_module wrote")
    module = kind(**record["settings"])
    load_weights(module, path)
    return module


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All that a module's file has to hold, laid out plainly."""
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in module.state_dict().items()}


def made_again(record: dict[str, Any], path: str | Path) -> nn.Module:
    """The module of a record of kind and settings, with its first weights."""
    kind = KINDS.get(record["kind"])
    if kind is None:
        raise InputError(f"{path}: holds a {record['kind']}, unknown to this version; expected one of {', '.join(KINDS)}")
    return kind(**record["settings"])
