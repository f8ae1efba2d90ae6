"""A fixed warp: each pixel of a copy is a weighted mean of four pixels of the image.

The four sources and their weights, the taps, depend on the transform and the image's size alone. They are found once and applied to whole
batches: with the images laid out as one row a pixel and one column a plane, a copy's pixel is a weighted sum of four rows.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int32, Shaped
from torch import Tensor
from torch.nn import functional

from augury.transforms.border import Border
from augury.transforms.opencv import opencv_for

PLANES = 128  # image planes worked on at a time: whole vector registers and whole cache lines
CACHED = 2**21  # bytes of copies made at a time, so that they are still in the cache when they are transposed
BOUNDED = 2**25  # bytes that a block of large images may take
LINES = 64  # elements, at least a cache line of bytes; see `_apart`
# The sums of bytes that torch has for quantised tables; the same to the bit as the sums of floats, and a quarter of the memory.
BYTES_SUMMED: Callable[..., Tensor] | None = getattr(torch.ops.quantized, "embedding_bag_byte_rowwise_offsets", None)


class Taps(NamedTuple):
    """Where each pixel of each copy comes from; the source `height * width` is the grey level beyond the border."""

    sources: Int32[Tensor, "copies pixels 4"]
    weights: Float[Tensor, "copies pixels 4"]


def bilinear_taps(
    rows: Float64[np.ndarray, "copies height width"],
    columns: Float64[np.ndarray, "copies height width"],
    border: Border,
    dtype: torch.dtype,
) -> Taps:
    """Taps that read the image at real positions, linearly between the four pixels around each; copies are as large as the image.

    A grey level beyond the border is reached linearly within one pixel of the image (scipy's "grid-constant", OpenCV's BORDER_CONSTANT).
    """
    height, width = rows.shape[1:]
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = rows - top, columns - left
    sources, weights = [], []
    for i, row_weights in ((top, 1 - down), (top + 1, down)):
        for j, column_weights in ((left, 1 - right), (left + 1, right)):
            row, column = border.index(i, height), border.index(j, width)
            sources.append(np.where((row < 0) | (column < 0), height * width, row * width + column))
            weights.append(row_weights * column_weights)
    shape = (len(rows), height * width, 4)
    source_array = np.stack(sources, -1).reshape(shape).astype(np.int32)
    weight_array = np.stack(weights, -1).reshape(shape)
    return Taps(torch.from_numpy(source_array), _convex(torch.from_numpy(weight_array), dtype))


def _convex(weights: Float64[Tensor, "copies pixels 4"], dtype: torch.dtype) -> Float[Tensor, "copies pixels 4"]:
    """The weights as multiples of the dtype's precision that sum to exactly 1.

    Every partial sum is then a number of the dtype, and since rounding is monotonic, pixels in [0, 1] give copies in [0, 1], to the bit.
    """
    unit = torch.finfo(dtype).eps
    steps = (weights / unit).floor()
    rest = 1 / unit - steps.sum(-1, keepdim=True)
    return (steps.scatter_add(-1, steps.argmax(-1, keepdim=True), rest) * unit).to(dtype)


def warp(
    images: Shaped[Tensor, "points channels height width"],
    out: Shaped[Tensor, "points copies channels height width"],
    taps: Taps,
    grey: float,
) -> None:
    """Write the taps' copies of all images into `out`; `grey` is the pixel beyond the border.

    Cost: four multiplications a pixel, and a transposition there and back, in blocks of bounded memory.
    """
    channels, height, width = images.shape[1:]
    planes = min(PLANES, BOUNDED // (height * width * taps.weights.element_size()))
    step = max(1, planes // channels)
    for start in range(0, len(images), step):
        _warp_block(images[start : start + step], out[start : start + step], taps, grey)


def _warp_block(images: Tensor, out: Tensor, taps: Taps, grey: float) -> None:
    points, channels, height, width = images.shape
    planes, pixels = points * channels, height * width
    table = _table(images.reshape(planes, pixels), grey, taps.weights.dtype)
    target = out.view(points, -1, channels, pixels)
    rows = _apart(max(1, CACHED // (planes * taps.weights.element_size())))
    together, room = max(1, rows // pixels), out.new_empty((planes, rows))
    for start, first in product(range(0, pixels, rows), range(0, out.shape[1], together)):  # copies of a part read the same rows
        part, group = slice(start, start + rows), slice(first, first + together)
        sources, weights = taps.sources[group, part], taps.weights[group, part]
        made = _turned(_as_pixels(_summed(table, sources, weights), out.dtype).view(*sources.shape[:2], planes), room)
        _put(made.view(len(made), points, channels, -1).transpose(0, 1), target[:, group, :, part])


def _apart(rows: int) -> int:
    """As many rows or fewer, an odd number of times `LINES`.

    So transposed rows begin at the beginning of a cache line, and no two in the same place of the cache, as they would at a power of two;
    either may cost as much as all the rest.
    """
    lines = rows // LINES
    return rows if lines == 0 else LINES * (lines - 1 + lines % 2)


def _table(images: Shaped[Tensor, "planes pixels"], grey: float, dtype: torch.dtype) -> Shaped[Tensor, "sources columns"]:
    """A row a pixel, and one for the level beyond the border: numbers of `dtype`, or bytes with each row's factor and summand, 1 and 0."""
    planes, pixels = images.shape
    summed = images.dtype == torch.uint8 and images.device.type == "cpu" and BYTES_SUMMED is not None and float(grey).is_integer()
    table = images.new_empty((pixels + 1, planes + 8)) if summed else images.new_empty((pixels + 1, planes), dtype=dtype)
    table[:-1, :planes] = transposed(images[None])[0]
    table[-1, :planes] = grey
    table[:, planes:] = torch.tensor([1, 0], dtype=torch.float32).view(torch.uint8) if summed else 0
    return table


def _summed(
    table: Tensor, sources: Int32[Tensor, "copies pixels 4"], weights: Float[Tensor, "copies pixels 4"]
) -> Float[Tensor, "_ planes"]:
    """The weighted sums of the table's rows."""
    if table.dtype != torch.uint8:
        return functional.embedding_bag(sources.flatten(0, 1), table, per_sample_weights=weights.flatten(0, 1), mode="sum")
    assert BYTES_SUMMED is not None
    bags = torch.arange(0, sources.numel(), 4, dtype=torch.int32)
    found: Tensor = BYTES_SUMMED(table, sources.flatten(), bags, per_sample_weights=weights.flatten())
    return found


def _turned(made: Shaped[Tensor, "copies pixels planes"], room: Shaped[Tensor, "planes _"]) -> Shaped[Tensor, "copies planes pixels"]:
    """The same as `transposed`; a single matrix of floats by OpenCV, in `room`, which costs less than new memory."""
    opencv = opencv_for(made) if len(made) == 1 and made.is_floating_point() else None
    if opencv is None:
        return transposed(made)
    place = room[:, : made.shape[1]]
    opencv.transpose(made[0].detach().numpy(), dst=place.numpy())
    return place[None]


def _put(made: Tensor, place: Tensor) -> None:
    """Copy a block to its place; numpy copies long rows as bytes, in half the time that torch takes."""
    if place.device.type == "cpu" and not (made.requires_grad or place.requires_grad):
        np.copyto(place.numpy(), made.numpy())
    else:
        place.copy_(made)


def _as_pixels(made: Tensor, dtype: torch.dtype) -> Tensor:
    """Copies in the images' dtype; numpy casts to uint8 by vector instructions, which torch does not, and OpenCV rounds as it casts."""
    if dtype != torch.uint8:
        return made
    if (opencv := opencv_for(made)) is not None:
        return torch.from_numpy(opencv.convertScaleAbs(made.detach().numpy()))
    made = made.round_()
    return torch.from_numpy(made.numpy().astype(np.uint8)) if made.device.type == "cpu" else made.to(dtype)


def transposed(matrices: Shaped[Tensor, "batch rows columns"]) -> Shaped[Tensor, "batch columns rows"]:
    """The matrices with rows and columns exchanged in memory, several times as fast as torch's `contiguous`.

    Shuffling channels that lie side by side is by its definition the transposition of a matrix with one row a group, and torch does it
    by vector instructions.
    """
    batch, rows, columns = matrices.shape
    channels_last = matrices.reshape(batch, 1, 1, rows * columns).permute(0, 3, 1, 2)
    return functional.channel_shuffle(channels_last, rows).permute(0, 2, 3, 1).reshape(batch, columns, rows)
