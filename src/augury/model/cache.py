"""Features kept on disk by content: the key covers all that they depend on, the file is written in a stream and read memory-mapped."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from augury.files import digest, write_atomic
from augury.model.definition import Model
from augury.model.reading import Block


def content_key(model: Model, *content: object) -> str:
    """A digest of all that the features depend on."""
    network = model.network
    tensors = itertools.chain(network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    state = [part for name, tensor in tensors for part in (name, tensor.dtype, tuple(tensor.shape), _bytes(tensor))]
    sources = sorted(map(_source, {type(module) for module in network.modules()}))
    return digest(*state, repr(network), *sources, model.layer, *content)


def _bytes(tensor: Tensor) -> npt.NDArray[np.uint8]:
    array: npt.NDArray[np.uint8] = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return array


def _source(kind: type[nn.Module]) -> str:
    try:
        return inspect.getsource(kind.forward)
    except (OSError, TypeError):  # typed into a shell, or compiled
        return ""


def remembered(cache: str | Path | None, key: Callable[[], str], blocks: Callable[[], Generator[Block]], points: int) -> Block:
    """The blocks in one array; with a cache, memory-mapped from the file of that key, which is made where it is absent or damaged."""
    if cache is None:
        return _gather(blocks(), points)
    path = Path(cache) / f"features-{key()}.npy"
    found = _map(path)
    if found is not None:
        return found
    write_atomic(path, lambda stream: _write(stream, blocks(), points))
    written: Block = np.load(path, mmap_mode="r")
    return written


def _map(path: Path) -> Block | None:
    try:
        found: Block = np.load(path, mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return found


def _gather(blocks: Generator[Block], points: int) -> Block:
    with contextlib.closing(blocks):
        first = next(blocks)
        result = np.empty((points, *first.shape[1:]), np.float32)
        start = 0
        for block in itertools.chain([first], blocks):
            result[start : start + len(block)] = block
            start += len(block)
    return result


def _write(stream: IO[bytes], blocks: Generator[Block], points: int) -> None:
    """One `.npy` file, with one block in memory at a time."""
    with contextlib.closing(blocks):
        first = next(blocks)
        header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": (points, *first.shape[1:])}
        np.lib.format.write_array_header_1_0(stream, header)
        for block in itertools.chain([first], blocks):
            stream.write(block.tobytes())
