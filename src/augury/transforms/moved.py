"""Copies that only move pixels, without arithmetic: shifts and mirror images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from augury.errors import InputError
from augury.transforms.border import Border, Real
from augury.transforms.opencv import opencv_for
from augury.transforms.transform import Array, WrittenTransform, as_tensor, blocks, check_pixels, possible

CACHED = 2**20  # bytes of images worked on at a time, so that they stay in the cache

# The grids on which the shifts lie, each as (down, right): one step both ways along an axis that has a 1, none along the other.
GRIDS = {"diagonal": ((1, 1),), "cardinal": ((0, 1), (1, 0))}


@dataclass(frozen=True)
class Translate(WrittenTransform):
    """Four copies, shifted by whole pixels.

    The name `translate(+2,-2)` means 2 pixels to the right and 2 up. Paper 2's shifts are the diagonal ones.

    Parameters
    ----------
    pixels
        How far, at least 1; less than the image's shorter side.
    directions
        `diagonal`: right or left and, at once, down or up; `cardinal`: right, left, down, up.
    border, fill
        What comes in from beyond the image: `edge`, `zeros`, `reflect`, or `fill` with a grey level from 0 to 1; see `Border`.
    """

    pixels: int
    directions: str = "diagonal"
    border: str = "edge"
    fill: Real = 0.0

    def __post_init__(self) -> None:
        check_pixels("translate", self.pixels)
        if self.directions not in GRIDS:
            raise InputError(f"translate: the directions {self.directions!r} are unknown; expected one of {', '.join(GRIDS)}")
        Border(self.border, self.fill)

    @property
    def names(self) -> tuple[str, ...]:
        """`translate(+2,-2)`: first to the right, then down."""
        shifts = [
            (x * right * self.pixels, y * down * self.pixels)
            for down, right in GRIDS[self.directions]
            for y in (1, -1)[: 1 + down]
            for x in (1, -1)[: 1 + right]
        ]
        return tuple(f"translate({x:+d},{y:+d}{Border(self.border, self.fill).name})" for x, y in shifts)

    @property
    def spec(self) -> str:
        """`translate:2`, `translate:2:cardinal:border=zeros`."""
        directions = "" if self.directions == "diagonal" else f":{self.directions}"
        return f"translate:{self.pixels}{directions}{Border(self.border, self.fill).spec}"

    def check(self, height: int, width: int) -> None:
        """Raise an `InputError` unless every shift leaves a part of the image to be seen."""
        most = min(height, width) - 1
        if self.pixels > most:
            raise InputError(f"translate: {self.pixels} pixels is too far for images of {height} x {width}; expected {possible(most)}")

    def write(
        self, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
    ) -> None:
        """Write the shifts, one grid after the other."""
        source, target = as_tensor(images), as_tensor(out)
        for part in blocks(images, CACHED):
            start = 0
            for down, right in GRIDS[self.directions]:
                stop = start + (1 + down) * (1 + right)
                self._write_grid(source[part], target[part, start:stop], down * self.pixels, right * self.pixels)
                start = stop

    def _write_grid(self, images: Tensor, out: Tensor, down: int, right: int) -> None:
        """Write the windows at the corners of the extended images: one that starts higher shows the image further down."""
        height, width = images.shape[2:]
        border = Border(self.border, self.fill)
        extended = border.extend(border.extend(images, 3, right), 2, down)
        windows = extended.unfold(2, height, max(1, 2 * down)).unfold(3, width, max(1, 2 * right)).permute(0, 2, 3, 1, 4, 5)
        out.view(*windows.shape[:3], *out.shape[2:]).copy_(windows)


@dataclass(frozen=True)
class Flip(WrittenTransform):
    """One copy, the mirror image.

    Parameters
    ----------
    direction
        `horizontal`: left and right change places; `vertical`: top and bottom do.
    """

    direction: str = "horizontal"

    def __post_init__(self) -> None:
        if self.direction not in ("horizontal", "vertical"):
            raise InputError(f"flip: the direction {self.direction!r} is unknown; expected horizontal or vertical")

    @property
    def names(self) -> tuple[str, ...]:
        """`flip` or `flip(vertical)`."""
        return ("flip",) if self.direction == "horizontal" else ("flip(vertical)",)

    @property
    def spec(self) -> str:
        """`flip` or `flip:vertical`."""
        return "flip" if self.direction == "horizontal" else "flip:vertical"

    def check(self, height: int, width: int) -> None:
        """Any size will do."""

    def write(
        self, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
    ) -> None:
        """Write the mirror images."""
        source, target = as_tensor(images), as_tensor(out)[:, 0]
        opencv = opencv_for(source) if self.direction == "horizontal" else None
        if opencv is not None:
            _mirror(opencv, source, target)
            return
        for part in blocks(images, CACHED):
            target[part] = source[part].flip(3 if self.direction == "horizontal" else 2)


def _mirror(opencv: Any, source: Tensor, target: Tensor) -> None:  # noqa: ANN401  (a module)
    """Turn the rows of all images round at once, as those of one high image; image by image where they do not lie one after the other."""
    width = source.shape[3]
    whole = target.is_contiguous() and source.is_contiguous()
    for rows, out in ((source, target),) if whole else zip(source, target, strict=True):
        made = out if out.is_contiguous() else torch.empty_like(rows, memory_format=torch.contiguous_format)
        opencv.flip(rows.detach().reshape(-1, width).numpy(), 1, dst=made.view(-1, width).numpy())
        if made is not out:
            out.copy_(made)
