"""Copies that are fixed warps of the image: rotations and crops."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Shaped

from augury.errors import InputError
from augury.transforms.border import Border, Real, number
from augury.transforms.transform import Array, WrittenTransform, as_tensor, check_names, check_pixels, possible
from augury.transforms.warp import Taps, bilinear_taps, warp

Positions = Float64[np.ndarray, "copies height width"]


class WarpedTransform(WrittenTransform):
    """A transform that reads the image at fixed positions; subclasses say which."""

    @abstractmethod
    def positions(self, height: int, width: int) -> tuple[Positions, Positions]:
        """Row and column that each pixel of each copy comes from, for images of this size."""

    @property
    def border_beyond(self) -> Border:
        """What the copies show beyond the image, where they look there."""
        return Border()

    def write(
        self, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
    ) -> None:
        """Apply the taps, found once for each size of image."""
        source, target = as_tensor(images), as_tensor(out)
        dtype = torch.float32 if source.dtype == torch.uint8 else source.dtype
        taps = _taps(self, *source.shape[2:], dtype, source.device)
        warp(source, target, taps, self.border_beyond.grey(source.dtype))


@lru_cache(maxsize=16)
def _taps(transform: WarpedTransform, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Taps:
    rows, columns = transform.positions(height, width)
    with torch.inference_mode(mode=False):  # what is kept must also serve a later call that needs gradients
        taps = bilinear_taps(rows, columns, transform.border_beyond, dtype)
        return Taps(taps.sources.to(device), taps.weights.to(device))


@dataclass(frozen=True, init=False)
class Rotate(WarpedTransform):
    """One copy an angle, turned about the image's centre ((width - 1) / 2, (height - 1) / 2) and read bilinearly.

    The copy has the image's shape: corners that turn out of it are lost.

    Parameters
    ----------
    angles
        In degrees, all different; positive turns counter-clockwise as displayed, the first row on top.
    border, fill
        What comes in from beyond the image: `edge`, `zeros`, `reflect`, or `fill` with a grey level from 0 to 1; see `Border`.
    """

    angles: tuple[float, ...]
    border: str
    fill: Real

    def __init__(self, angles: Real | Iterable[Real], border: str = "edge", fill: Real = 0.0) -> None:
        listed = angles if isinstance(angles, Iterable) else (angles,)
        object.__setattr__(self, "angles", tuple(float(angle) for angle in listed))
        object.__setattr__(self, "border", border)
        object.__setattr__(self, "fill", fill)
        wrong = [angle for angle in self.angles if not abs(angle) <= 360]
        if wrong:
            raise InputError(f"rotate: an angle of {wrong[0]:g}; expected degrees from -360 to 360")
        check_names(self.names)

    @classmethod
    def up_to(cls, maximum: Real, count: int, border: str = "edge", fill: Real = 0.0) -> Rotate:
        """`count` angles evenly spaced from -`maximum` to `maximum`, 0 left out; paper 2's sets are (30, 15) and (5, 4)."""
        if not 0 < maximum <= 360 or count < 2:
            raise InputError(
                f"rotate: {count} angles up to {maximum:g}; expected at least 2, up to a maximum above 0 and at most 360 degrees"
            )
        turns = (2 * i / (count - 1) - 1 for i in range(count))
        return cls([maximum * turn for turn in turns if turn != 0], border, fill)

    @property
    def names(self) -> tuple[str, ...]:
        """`rotate(-30)`: the angle, to six digits."""
        return tuple(f"rotate({angle:g}{self.border_beyond.name})" for angle in self.angles)

    @property
    def spec(self) -> str:
        """`rotate:30:15` where the angles are evenly spaced as `up_to` spaces them, else `rotate:angles=10/20.5`."""
        angles = self._spacing() or "angles=" + "/".join(map(number, self.angles))
        return f"rotate:{angles}{self.border_beyond.spec}"

    def _spacing(self) -> str | None:
        maximum = abs(self.angles[0])
        for count in (len(self.angles), len(self.angles) + 1):
            if maximum > 0 and count > 1 and Rotate.up_to(maximum, count).angles == self.angles:
                return f"{number(maximum)}:{count}"
        return None

    def check(self, height: int, width: int) -> None:
        """Any size will do."""

    def positions(self, height: int, width: int) -> tuple[Positions, Positions]:
        """Where the turn back takes each pixel; rows grow downwards, so turning back takes what is above to the right."""
        angles = np.radians(self.angles)[:, None, None]
        y, x = (np.arange(size) - (size - 1) / 2 for size in (height, width))
        rows = np.cos(angles) * y[:, None] + np.sin(angles) * x + (height - 1) / 2
        columns = np.cos(angles) * x - np.sin(angles) * y[:, None] + (width - 1) / 2
        return rows, columns

    @property
    def border_beyond(self) -> Border:
        """What the copies show beyond the image."""
        return Border(self.border, self.fill)


@dataclass(frozen=True, init=False)
class Crop(WarpedTransform):
    """One copy a size: so many pixels cut off on all four sides, and the rest enlarged to the full size.

    The enlargement is that of OpenCV's INTER_AREA, which paper 2's experiments used: neither bilinear nor a mean over areas. With
    s = (pixels within the crop) / (pixels of the image), pixel d of an axis is (1 - f) x[i] + f x[i + 1], i = floor(d s),
    f = d + 1 - (i + 1) / s without its whole part, and 0 where that is negative. Here d s is exact; OpenCV rounds it, which puts single
    rows and columns one pixel off at some sizes (at 28, 32 and 96 pixels none up to a crop of 6).

    Parameters
    ----------
    pixels
        How much to cut off each side, one number a copy, all different, at least 1; less than half of the image's shorter side.
    """

    pixels: tuple[int, ...]

    def __init__(self, pixels: int | Iterable[int]) -> None:
        listed = tuple(pixels) if isinstance(pixels, Iterable) else (pixels,)
        for cut in listed:
            check_pixels("crop", cut)
        object.__setattr__(self, "pixels", tuple(int(cut) for cut in listed))
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
        cut, most = max(self.pixels), (min(height, width) - 1) // 2
        if cut > most:
            raise InputError(f"crop: {cut} pixels off each side is too much for images of {height} x {width}; expected {possible(most)}")

    def positions(self, height: int, width: int) -> tuple[Positions, Positions]:
        """Both axes are enlarged alike, each by its own scale: m + i + f, m pixels being cut off."""
        rows, columns = (np.stack([cut + _enlarged(size - 2 * cut, size) for cut in self.pixels]) for size in (height, width))
        shape = (len(self.pixels), height, width)
        return np.broadcast_to(rows[:, :, None], shape), np.broadcast_to(columns[:, None, :], shape)


def _enlarged(inner: int, size: int) -> Float64[np.ndarray, " size"]:
    """Where each of `size` pixels comes from among `inner` ones: i + f of `Crop`'s formula, with f = (whole number) / `inner`."""
    d = np.arange(size)
    i = d * inner // size
    f = ((d + 1) * inner - (i + 1) * size).clip(min=0) % inner / inner
    return i + f
