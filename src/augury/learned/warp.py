"""The differentiable warp: each pixel of the result is fetched from a real position of the image, bilinearly."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from augury.transforms.border import Border

EDGE = Border()


def warp(
    images: Float[Tensor, "points channels height width"],
    flow: Float[Tensor, "points 2 height width"],
    border: Border = EDGE,
) -> Float[Tensor, "points channels height width"]:
    """The images, each pixel fetched from where the flow points; differentiable in both, and exactly the images where the flow is zero.

    Parameters
    ----------
    images
        float32 or float64.
    flow
        How far from each pixel its value is fetched: in pixels, first to the right, then down. Moving by +1 everywhere shifts what the
        image shows by one pixel to the left.
    border
        What lies beyond the image; a grey level is reached linearly within one pixel.

    A flow that is not a number gives pixels that are none.
    """
    height, width = images.shape[2:]
    x = flow[:, 0] + torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = flow[:, 1] + torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    if border.kind == "reflect":
        x, y = _mirrored(x, width), _mirrored(y, height)
    elif border.kind != "edge":
        images = functional.pad(images, (1, 1, 1, 1), value=border.grey(images.dtype))
        x, y = x + 1, y + 1
    return _fetched(images, x, y)


def _mirrored(position: Tensor, size: int) -> Tensor:
    period = 2 * (size - 1)
    within = position.remainder(period)
    return torch.minimum(within, period - within)


def _fetched(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The values at these positions; beyond the images, their edge.

    On a canvas whose sides are powers of two, going from pixels to torch's coordinates in [-1, 1] and back rounds nothing, so that whole
    positions give the pixels themselves. The room to the right and below repeats the edge.
    """
    height, width = images.shape[2:]
    down, across = _power_of_two(height), _power_of_two(width)
    canvas = functional.pad(images, (0, across - width, 0, down - height), mode="replicate")
    grid = torch.stack([x * (2 / across) + (1 / across - 1), y * (2 / down) + (1 / down - 1)], dim=-1)
    lost = grid.isnan()  # for which torch would read outside its memory
    fetched = functional.grid_sample(canvas, grid.masked_fill(lost, 0), mode="bilinear", padding_mode="border", align_corners=False)
    return fetched.masked_fill(lost.any(dim=-1)[:, None], torch.nan)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
