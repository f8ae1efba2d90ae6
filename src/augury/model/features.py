"""Features of images and of their augmented copies, block by block."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32, Shaped
from torch import nn

from augury.data.examples import Images
from augury.errors import InputError
from augury.model.cache import content_key, remembered
from augury.model.definition import Model
from augury.model.reading import Block, Read, reading, resolve_device
from augury.networks import feature_layer
from augury.parallel import LOCAL, Engine, each
from augury.progress import track

Copies = Callable[[Any], Shaped[np.ndarray, "points copies channels height width"]]

MAPS = "mean over places"  # what becomes of them is part of a cache's key
TOGETHER = 16  # blocks at most that a worker gets at once, with the network, which travels along,
PIECES = 8  # and into how many pieces work is divided at least, so that all workers have some


def features(
    model: Model | nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    batch: int = 256,
    device: str | torch.device = "auto",
    cache: str | Path | None = None,
    what: str = "features",
    engine: Engine = LOCAL,
) -> Float32[np.ndarray, "points features"]:
    """The values of the model's feature layer for each image, in evaluation mode: what scores and head work on.

    The batch size changes nothing beyond rounding, about 1e-6 of a feature.

    Parameters
    ----------
    model
        The network and its layer, or a network. It is only read; if it lies on another device, a copy of it is used.
    images
        uint8, or float32 in [0, 1].
    layer
        The feature layer of a network, as `Model` names it: `avgpool`, `fc:input`; if not given, what goes into its last linear layer.
    batch
        How many images go through the network at once.
    device
        Where to compute: `auto`, `cpu`, `cuda`.
    cache
        A folder. The features are kept there in `features-KEY.npy`, written block by block and put in place when whole, and read as a
        memory map. The key covers the weights and buffers, the architecture (its `repr` and the sources of the `forward` methods), the
        layer and every pixel, so that a change of any of them computes anew.
    what
        What the progress bar says.
    engine
        Where the work is done, some blocks of images at a time: this process, more of them, or a cluster's; the features are the same to
        the last bit on equal processors. Workers import the network's class from where this process does.

    Raises
    ------
    InputError
        If the network has no such layer or refuses the images (channels, size), the layer does not run exactly once or gives no value a
        point, or a feature is NaN or infinite (the message says of which point).
    """
    _check_batch(batch, len(images))
    known = _as_model(model, layer)

    def blocks() -> Generator[Block]:
        return _spread(_Reader(known, resolve_device(device), batch), images, engine, what)

    return remembered(cache, lambda: content_key(known, MAPS, "originals", images), blocks, len(images))


def copy_features(
    model: Model,
    images: Images,
    copies: Copies,
    *,
    per_point: int,
    transform: str | None = None,
    batch: int = 256,
    device: str | torch.device = "auto",
    cache: str | Path | None = None,
    what: str = "features of the copies",
    engine: Engine = LOCAL,
) -> Float32[np.ndarray, "points copies features"]:
    """The features of every augmented copy of every image, without ever holding more than a block of copies' pixels.

    Parameters
    ----------
    model, images, batch, device, cache, what, engine
        As in `features`; workers make the copies themselves.
    copies
        Makes all copies of a block of images: (points, channels, height, width) to (points, copies, channels, height, width).
    per_point
        How many copies it makes of one image.
    transform
        What tells this way of making copies from every other, such as a transform's `repr` with all its settings: part of the cache's
        key, and needed where there is a cache.

    Raises
    ------
    InputError
        As `features` does, and if `copies` gives another shape than expected, or a cache is given without `transform`.
    """
    _check_batch(batch, len(images))
    if per_point < 1:
        raise InputError(f"per_point: {per_point}; expected how many copies are made of one image, at least 1")
    if cache is not None and transform is None:
        raise InputError("transform: a cache needs a description that tells this transform from every other; give its repr")

    def blocks() -> Generator[Block]:
        return _spread(_Reader(model, resolve_device(device), batch, copies, per_point), images, engine, what)

    return remembered(cache, lambda: content_key(model, MAPS, "copies", transform, per_point, images), blocks, len(images))


@dataclass(frozen=True)
class _Reader:
    """How features are made of consecutive images, or of their copies where `copies` makes such, `batch` at once."""

    model: Model
    device: torch.device
    batch: int
    copies: Copies | None = None
    per_point: int = 1

    @property
    def step(self) -> int:
        """How many points make a block."""
        return max(1, self.batch // self.per_point)

    def blocks(self, images: Images, start: int) -> Iterator[Block]:
        """Features of all these images, of which the first is the point `start`."""
        with reading(self.model, self.device) as read:
            for first in range(0, len(images), self.step):
                yield _finite(self._block(read, images[first : first + self.step]), start + first)

    def _block(self, read: Read, images: Images) -> Block:
        if self.copies is None:
            return read(images)
        pixels = _flat_copies(self.copies(images), images, self.per_point)
        values = np.concatenate([read(pixels[first : first + self.batch]) for first in range(0, len(pixels), self.batch)])
        return values.reshape(len(images), self.per_point, -1)


def _spread(reader: _Reader, images: Images, engine: Engine, what: str) -> Generator[Block]:
    """The features of all images, in order, block by block; from workers, some blocks at a time. The blocks are the same everywhere."""
    total = math.ceil(len(images) / reader.step)
    if engine == LOCAL:
        yield from track(reader.blocks(images, 0), what, total=total)
        return
    step = reader.step * max(1, min(TOGETHER, total // PIECES))
    starts = range(0, len(images), step)
    calls = ((reader, images[start : start + step], start) for start in starts)
    yield from track(each(_piece, calls, engine), what, total=len(starts))


def _piece(reader: _Reader, images: Images, start: int) -> Block:
    """By a network of its own, since workers may be threads, and reading changes modes and hooks for as long as it takes."""
    own = replace(reader.model, network=copy.deepcopy(reader.model.network))
    return np.concatenate(list(replace(reader, model=own).blocks(images, start)))


def _as_model(model: Model | nn.Module, layer: str | None) -> Model:
    if not isinstance(model, Model):
        return Model(model, feature_layer(model) if layer is None else layer)
    if layer is not None:
        raise InputError(f"layer: {layer!r}, and the model names its own, {model.layer!r}; give its network, or leave layer out")
    return model


def _check_batch(batch: int, points: int) -> None:
    if batch < 1:
        raise InputError(f"batch: {batch}; expected at least 1")
    if points == 0:
        raise InputError("images: the set is empty; expected at least one image")


def _flat_copies(made: npt.NDArray[Any], block: npt.NDArray[Any], per_point: int) -> npt.NDArray[Any]:
    if made.shape[:2] != (len(block), per_point) or made.ndim != 5:
        raise InputError(
            f"copies: made an array of shape {made.shape} from {len(block)} images; "
            f"expected ({len(block)}, {per_point}, channels, height, width): (points, copies, channels, height, width)"
        )
    return made.reshape(-1, *made.shape[2:])


def _finite(block: Block, start: int) -> Block:
    if not np.isfinite(block).all():
        place = np.argwhere(~np.isfinite(block))[0]
        which = f", copy {place[1]}" if block.ndim == 3 else ""
        raise InputError(
            f"features: point {start + place[0]}{which} has a feature that is {block[tuple(place)]}; "
            "expected finite numbers: are the image's pixels and the network's weights finite?"
        )
    return block
