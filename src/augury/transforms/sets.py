"""The built-in sets of copies: shifts, rotations, crops and mirror images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from augury.errors import InputError
from augury.transforms.transform import FixedTransform, blocks, check_names
from augury.transforms.warp import Taps, bilinear_taps, check_border, grey_level, warp

CACHED = 2**20  # bytes of images that are shifted or mirrored at a time, so that they stay in the cache

# For each direction, the groups of shifts that lie on a grid: one step (down, right), each taken both ways where it is not 0.
STEPS = {"diagonal": ((1, 1),), "cardinal": ((0, 1), (1, 0))}


@dataclass(frozen=True)
class Translate(FixedTransform):
    """Four copies, shifted by whole pixels: plain copies of memory, without arithmetic.

    The name `translate(+2,-2)` means 2 pixels to the right and 2 up. Paper 2's shifts are the diagonal ones.

    Parameters
    ----------
    pixels
        How far, at least 1; less than the image's shorter side.
    directions
        `diagonal`: right or left and down or up at once; `cardinal`: right, left, down, up.
    border
        What comes in from beyond the image: `edge` (the outermost pixels), `reflect` (the image mirrored about the centres of its outermost
        pixels), `zeros` or `fill`.
    fill
        The grey level for `border="fill"`, from 0 to 1, for uint8 images too.
    """

    pixels: int
    directions: str = "diagonal"
    border: str = "edge"
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise InputError(f"translate: {self.pixels} pixels; expected a whole number, at least 1")
        if self.directions not in STEPS:
            raise InputError(f"directions: {self.directions!r} is unknown; expected one of {', '.join(STEPS)}")
        check_border(self.border, self.fill)

    @property
    def names(self) -> tuple[str, ...]:
        """`translate(+2,-2)`: first to the right, then down."""
        shifts = [
            (across * right * self.pixels, along * down * self.pixels)
            for down, right in STEPS[self.directions]
            for along in (1, -1)[: 1 + down]
            for across in (1, -1)[: 1 + right]
        ]
        return tuple(f"translate({right:+d},{down:+d}{_border_name(self.border, self.fill)})" for right, down in shifts)

    @property
    def spec(self) -> str:
        """`translate:2`, `translate:2:cardinal:border=zeros`."""
        directions = "" if self.directions == "diagonal" else f":{self.directions}"
        return f"translate:{self.pixels}{directions}{_border_spec(self.border, self.fill)}"

    def check(self, height: int, width: int) -> None:
        """Raise an `InputError` unless every shift leaves a part of the image to be seen."""
        if self.pixels >= min(height, width):
            raise InputError(
                f"translate: {self.pixels} pixels is too far for images of {height} x {width}; expected 1 to {min(height, width) - 1}"
            )

    def _write(
        self, images: Shaped[Tensor, "points channels height width"], out: Shaped[Tensor, "points copies channels height width"]
    ) -> None:
        for part in blocks(len(images), images[:1].nbytes, CACHED):
            start = 0
            for down, right in STEPS[self.directions]:
                stop = start + (1 + down) * (1 + right)
                self._write_grid(images[part], out[part, start:stop], down * self.pixels, right * self.pixels)
                start = stop

    def _write_grid(self, images: Tensor, out: Tensor, down: int, right: int) -> None:
        """Write every window of the padded images into `out`: a window that starts higher shows the image further down."""
        height, width = images.shape[2:]
        padded = _padded(_padded(images, 3, right, self.border, self.fill), 2, down, self.border, self.fill)
        windows = padded.unfold(2, height, max(1, 2 * down)).unfold(3, width, max(1, 2 * right)).permute(0, 2, 3, 1, 4, 5)
        out.unflatten(1, windows.shape[1:3]).copy_(windows)


def _padded(images: Tensor, axis: int, margin: int, border: str, fill: float) -> Tensor:
    """The images with `margin` more pixels at both ends of an axis."""
    if margin == 0:
        return images
    size = images.shape[axis]
    if border == "edge":
        ends = images.narrow(axis, 0, 1), images.narrow(axis, size - 1, 1)
        before, after = (end.expand(*(margin if k == axis else -1 for k in range(4))) for end in ends)
    elif border == "reflect":
        before, after = (images.narrow(axis, first, margin).flip(axis) for first in (1, size - 1 - margin))
    else:
        before = after = torch.full_like(images.narrow(axis, 0, margin), grey_level(fill, images.dtype))
    return torch.cat([before, images, after], axis)


class WarpedSet(FixedTransform):
    """A set of copies that are fixed warps of the image; subclasses say where each pixel comes from."""

    @abstractmethod
    def taps(self, height: int, width: int, dtype: torch.dtype) -> Taps:
        """The copies' taps for images of this size and dtype."""

    def _grey(self, dtype: torch.dtype) -> float:
        """The pixel beyond the border; 0 where the taps never leave the image."""
        return grey_level(0, dtype)

    def _write(
        self, images: Shaped[Tensor, "points channels height width"], out: Shaped[Tensor, "points copies channels height width"]
    ) -> None:
        height, width = images.shape[2:]
        warp(images, out, _cached_taps(self, height, width, images.dtype, images.device), self._grey(images.dtype))


@lru_cache(maxsize=16)
def _cached_taps(transform: WarpedSet, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Taps:
    return Taps(*(part.to(device) for part in transform.taps(height, width, dtype)))


@dataclass(frozen=True, init=False)
class Rotate(WarpedSet):
    """One copy an angle, turned about the image's centre, ((height - 1) / 2, (width - 1) / 2), and read bilinearly.

    The copy has the image's shape: corners that turn out of it are lost.

    Parameters
    ----------
    angles
        In degrees, at least one; positive turns counter-clockwise as displayed (the first row on top).
    border, fill
        What comes in from beyond the image, as for `Translate`; `zeros` and `fill` are reached linearly within one pixel of the image.
    """

    angles: tuple[float, ...]
    border: str = "edge"
    fill: float = 0.0

    def __init__(self, angles: float | Sequence[float], border: str = "edge", fill: float = 0.0) -> None:
        listed = [angles] if isinstance(angles, (int, float)) else angles
        _set(self, angles=tuple(float(angle) for angle in listed), border=border, fill=fill)
        wrong = [angle for angle in self.angles if not abs(angle) <= 360]
        if wrong:
            raise InputError(f"rotate: an angle of {wrong[0]}; expected degrees from -360 to 360")
        check_border(border, fill)
        check_names(self.names)

    @classmethod
    def up_to(cls, maximum: float, count: int, border: str = "edge", fill: float = 0.0) -> Self:
        """`count` angles, evenly spaced from -`maximum` to `maximum`, 0 left out: paper 2's sets are (30, 15) and (5, 4)."""
        if not 0 < maximum <= 360 or count < 2:
            raise InputError(f"rotate: {count} angles up to {maximum:g}; expected at least 2 angles, up to a maximum from 0 to 360 degrees")
        turns = (2 * i / (count - 1) - 1 for i in range(count))
        return cls([maximum * turn for turn in turns if turn != 0], border, fill)

    @property
    def names(self) -> tuple[str, ...]:
        """`rotate(-30)`: the angle, to six digits."""
        return tuple(f"rotate({angle:g}{_border_name(self.border, self.fill)})" for angle in self.angles)

    @property
    def spec(self) -> str:
        """`rotate:30:15` where the angles are evenly spaced, else `rotate:angles=10/20.5`."""
        return f"rotate:{self._even_spec() or 'angles=' + '/'.join(map(_number, self.angles))}{_border_spec(self.border, self.fill)}"

    def _even_spec(self) -> str | None:
        """`30:15` if that is what gives these angles."""
        maximum = abs(self.angles[0])
        for count in (len(self.angles), len(self.angles) + 1):
            if maximum > 0 and count > 1 and self.up_to(maximum, count).angles == self.angles:
                return f"{_number(maximum)}:{count}"
        return None

    def check(self, height: int, width: int) -> None:
        """Any size will do."""

    def taps(self, height: int, width: int, dtype: torch.dtype) -> Taps:
        """A pixel comes from where the turn back takes it: rows grow downwards, so a turn back moves what is above to the right."""
        angles = np.radians(self.angles)[:, None, None]
        y, x = (np.arange(size) - (size - 1) / 2 for size in (height, width))
        rows = np.sin(angles) * x + np.cos(angles) * y[:, None] + (height - 1) / 2
        columns = np.cos(angles) * x - np.sin(angles) * y[:, None] + (width - 1) / 2
        return bilinear_taps(rows, columns, self.border, dtype)

    def _grey(self, dtype: torch.dtype) -> float:
        return grey_level(self.fill, dtype)


@dataclass(frozen=True, init=False)
class Crop(WarpedSet):
    """One copy a size: so many pixels cut off on all four sides, and the rest enlarged to the full size.

    The enlargement is that of OpenCV's INTER_AREA, which paper 2's experiments used: neither bilinear nor a mean over areas. With s = (size
    within the crop) / (full size), pixel d of an axis is (1 - f) x[i] + f x[i + 1] for i = floor(d s) and f = d + 1 - (i + 1) / s, of which
    the fraction counts, or 0 where f < 0. Here i and f are found in whole numbers; OpenCV's rounding of d s puts single rows and columns
    one pixel off at some sizes (none of 28, 32 or 96 pixels with a crop up to 6).

    Parameters
    ----------
    pixels
        How much to cut off each side, one number a copy, at least 1; less than half of the image's shorter side.
    """

    pixels: tuple[int, ...]

    def __init__(self, pixels: int | Sequence[int]) -> None:
        _set(self, pixels=(pixels,) if isinstance(pixels, int) else tuple(pixels))
        if any(cut < 1 for cut in self.pixels):
            raise InputError(f"crop: {min(self.pixels)} pixels; expected whole numbers, at least 1")
        check_names(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """`crop(3)`: the pixels cut off each side."""
        return tuple(f"crop({cut})" for cut in self.pixels)

    @property
    def spec(self) -> str:
        """`crop:2`, `crop:1-6` for a range, else `crop:1/3/5`."""
        first, last = self.pixels[0], self.pixels[-1]
        if last > first and self.pixels == tuple(range(first, last + 1)):
            return f"crop:{first}-{last}"
        return f"crop:{'/'.join(map(str, self.pixels))}"

    def check(self, height: int, width: int) -> None:
        """Raise an `InputError` unless every crop leaves at least one pixel."""
        most = (min(height, width) - 1) // 2
        if max(self.pixels) > most:
            possible = f"1 to {most}" if most else "larger images"
            raise InputError(f"crop: {max(self.pixels)} pixels is too much for images of {height} x {width}; expected {possible}")

    def taps(self, height: int, width: int, dtype: torch.dtype) -> Taps:
        """Both axes are enlarged alike, each by its own scale."""
        rows, columns = (np.stack([_enlarged(size, cut) for cut in self.pixels]) for size in (height, width))
        shape = (len(self.pixels), height, width)
        return bilinear_taps(np.broadcast_to(rows[:, :, None], shape), np.broadcast_to(columns[:, None, :], shape), "edge", dtype)


def _enlarged(size: int, cut: int) -> Float64[np.ndarray, " size"]:
    """Where each pixel of an enlarged axis comes from: m + i + f in the words of `Crop`, times the inner size until the end."""
    inner = size - 2 * cut
    d = np.arange(size)
    i = d * inner // size
    f = (d + 1) * inner - (i + 1) * size
    return cut + i + np.where(f > 0, f % inner, 0) / inner


@dataclass(frozen=True)
class Flip(FixedTransform):
    """One copy, the mirror image.

    Parameters
    ----------
    direction
        `horizontal`: left and right change places; `vertical`: top and bottom do.
    """

    direction: str = "horizontal"

    def __post_init__(self) -> None:
        if self.direction not in ("horizontal", "vertical"):
            raise InputError(f"flip: direction {self.direction!r} is unknown; expected horizontal or vertical")

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

    def _write(
        self, images: Shaped[Tensor, "points channels height width"], out: Shaped[Tensor, "points copies channels height width"]
    ) -> None:
        axis = 3 if self.direction == "horizontal" else 2
        for part in blocks(len(images), images[:1].nbytes, CACHED):
            out[part, 0] = images[part].flip(axis)


def _set(transform: object, **fields: object) -> None:
    """Set the fields of a frozen dataclass whose constructor takes more than its fields hold."""
    for name, value in fields.items():
        object.__setattr__(transform, name, value)


def _number(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(value).removesuffix(".0")


def _border_name(border: str, fill: float) -> str:
    """What a copy's name says about a border that is not `edge`."""
    return {"edge": "", "fill": f",fill={_number(fill)}"}.get(border, f",{border}")


def _border_spec(border: str, fill: float) -> str:
    """What a spec says about a border that is not `edge`."""
    return {"edge": "", "fill": f":border=fill:fill={_number(fill)}"}.get(border, f":border={border}")
