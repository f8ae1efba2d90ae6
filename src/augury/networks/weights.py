"""Weights as safetensors files: never pickles, so that a file from elsewhere cannot run code."""

from __future__ import annotations

from pathlib import Path

import safetensors
from torch import Tensor, nn

from augury.errors import InputError

# Batch norm counts the batches it has seen; only a momentum of None reads the count, and older files lack it.
BATCH_COUNTER = "num_batches_tracked"


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; a missing or damaged file is an `InputError` that names it."""
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  (no mapping)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected weights as safetensors") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); expected weights as safetensors.torch.save_file writes them"
        ) from None


def load_weights(module: nn.Module, path: str | Path, *, skip: str | None = None) -> None:
    """Put the weights of a safetensors file into `module`, in place: every one, by name and shape.

    Parameters
    ----------
    module
        Any network.
    path
        The file.
    skip
        The name of a layer that keeps the weights it has, whatever the file holds for it: the classifier (`Network.classifier`),
        where a backbone was trained on other classes.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a weight of the module, or has one that the module lacks, or one of another shape; the
        module is then unchanged.
    """
    found, _ = read_weights(path)
    expected = module.state_dict()
    if skip is not None:
        kept = {name: weight for name, weight in expected.items() if name.startswith(f"{skip}.")}
        found = {name: weight for name, weight in found.items() if not name.startswith(f"{skip}.")} | kept
    _check_same(found, expected, path)
    module.load_state_dict(expected | found, strict=True)


def _check_same(found: dict[str, Tensor], expected: dict[str, Tensor], path: str | Path) -> None:
    missing = sorted(name for name in expected.keys() - found.keys() if not name.endswith(BATCH_COUNTER))
    surplus = sorted(found.keys() - expected.keys())
    if missing or surplus:
        raise InputError(
            f"{path}: these weights are of another network: "
            f"missing {_first(missing)}; unknown {_first(surplus)}; choose the network that they were trained for"
        )
    for name, weight in found.items():
        if weight.shape != expected[name].shape:
            raise InputError(
                f"{path}: {name} has shape {tuple(weight.shape)}, and the network's has {tuple(expected[name].shape)}: was it trained for "
                "another number of classes or images of another size?"
            )


def _first(names: list[str]) -> str:
    return f"{', '.join(names[:3])} ({len(names)} in all)" if names else "none"
