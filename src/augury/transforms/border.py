"""What lies beyond an image: the one place that knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from augury.errors import InputError

Real = int | float  # `float` alone would not be true at run time: 30 is not an instance of it
KINDS = ("edge", "zeros", "reflect", "fill")


@dataclass(frozen=True)
class Border:
    """What a copy shows where it looks beyond the image.

    Parameters
    ----------
    kind
        `edge`: the outermost pixels, repeated. `reflect`: the image mirrored about the centres of its outermost pixels, which are not
        repeated (numpy's and torch's "reflect", scipy's "mirror", OpenCV's BORDER_REFLECT_101). `zeros`: black. `fill`: a grey level.
    fill
        The grey level for `fill`, from 0 (black) to 1 (white), for uint8 images too.
    """

    kind: str = "edge"
    fill: Real = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"border: {self.kind!r} is unknown; expected one of {', '.join(KINDS)}")
        if not 0 <= self.fill <= 1:
            raise InputError(f"fill: {self.fill:g}; expected a number from 0 (black) to 1 (white), for uint8 images too")
        if self.fill != 0 and self.kind != "fill":
            raise InputError(f"fill: {self.fill:g} has no effect with border={self.kind!r}; give border='fill' as well")

    @property
    def name(self) -> str:
        """What a copy's name says about a border that is not `edge`: `,zeros`."""
        return {"edge": "", "fill": f",fill={number(self.fill)}"}.get(self.kind, f",{self.kind}")

    @property
    def spec(self) -> str:
        """What a spec says about a border that is not `edge`: `:border=zeros`."""
        return {"edge": "", "fill": f":border=fill:fill={number(self.fill)}"}.get(self.kind, f":border={self.kind}")

    def grey(self, dtype: torch.dtype) -> float:
        """The grey level in the pixels' unit: 255 is white for uint8."""
        return 255 * self.fill if dtype == torch.uint8 else self.fill

    def index(self, index: Int64[np.ndarray, "copies height width"], size: int) -> Int64[np.ndarray, "copies height width"]:
        """The pixel of an axis of `size` pixels that stands for the one at `index`; -1 for the grey level."""
        if self.kind == "edge":
            return index.clip(0, size - 1)
        if self.kind == "reflect":
            period = 2 * size - 2
            return np.zeros_like(index) if size == 1 else np.minimum(index % period, -index % period)
        return np.where((index >= 0) & (index < size), index, -1)

    def extend(
        self, images: Shaped[Tensor, "points channels height width"], axis: int, margin: int
    ) -> Shaped[Tensor, "points channels _ _"]:
        """The images with `margin` more pixels at both ends of an axis; `margin` is less than the axis is long."""
        if margin == 0:
            return images
        size, shape = images.shape[axis], list(images.shape)
        shape[axis] = margin
        if self.kind == "edge":
            before, after = (images.narrow(axis, end, 1).expand(shape) for end in (0, size - 1))
        elif self.kind == "reflect":
            before, after = (images.narrow(axis, first, margin).flip(axis) for first in (1, size - 1 - margin))
        else:
            grey = self.grey(images.dtype)
            before = after = images.new_full(shape, round(grey) if images.dtype == torch.uint8 else grey)
        return torch.cat([before, images, after], axis)


def number(value: Real) -> str:
    """The shortest text that reads back as the same number."""
    return repr(float(value)).removesuffix(".0")
