"""Images as users hold them, and the planes (channels, height, width) that transforms work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from augury.errors import InputError

MODES = ("L", "RGB")
LAYOUTS = "(height, width), (channels, height, width) or (height, width, channels)"


@dataclass(frozen=True)
class Layout:
    """The shape of one image: (height, width), (channels, height, width) or (height, width, channels).

    Where both of the last two fit, the first axis is taken for the channels.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise InputError(f"image_shape: got {self.shape}; expected {LAYOUTS}")

    @property
    def channels_last(self) -> bool:
        """Whether the channels are the last axis: it has 1 or 3 entries, and the first has not."""
        return len(self.shape) == 3 and self.shape[0] not in (1, 3) and self.shape[2] in (1, 3)

    def planes(self, images: Shaped[np.ndarray, "points ..."]) -> Shaped[np.ndarray, "points channels height width"]:
        """Images of this shape, or flattened, as transforms take them."""
        shaped = images.reshape(len(images), *self.shape)
        if len(self.shape) == 2:
            return shaped.reshape(len(images), 1, *self.shape)
        return np.moveaxis(shaped, 3, 1) if self.channels_last else shaped

    def back(self, planes: Shaped[np.ndarray, "points channels height width"]) -> Shaped[np.ndarray, "points ..."]:
        """The inverse of `planes`: images of this shape."""
        return np.moveaxis(planes, 1, 3) if self.channels_last else planes.reshape(len(planes), *self.shape)


class Opened(NamedTuple):
    """One image of any kind: its planes, and what makes of other planes an image of the same kind."""

    planes: Shaped[np.ndarray, "channels height width"]
    close: Callable[[Shaped[np.ndarray, "channels height width"]], Any]


def opened(image: Any) -> Opened:  # noqa: ANN401  (whatever a data set holds)
    """Read one image: a PIL image (grey or RGB), an array or a tensor, of a `Layout`'s shape.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if isinstance(image, Image.Image):
        return _opened_picture(image)
    if not isinstance(image, Tensor | np.ndarray):
        raise InputError(f"image: got {type(image).__name__}; expected a PIL image, an array or a tensor")
    if image.ndim not in (2, 3):
        raise InputError(f"image: shape {tuple(image.shape)}; expected {LAYOUTS}")
    layout = Layout(tuple(image.shape))
    if isinstance(image, np.ndarray):
        return Opened(layout.planes(image[None])[0], lambda planes: layout.back(planes[None])[0])
    array, device = image.detach().cpu().numpy(), image.device
    return Opened(layout.planes(array[None])[0], lambda planes: torch.from_numpy(layout.back(planes[None])[0].copy()).to(device))


def _opened_picture(image: Image.Image) -> Opened:
    if image.mode not in MODES:
        raise InputError(f"image: of mode {image.mode!r}; expected {' or '.join(MODES)}: call convert('RGB') on it")
    array = np.asarray(image)
    planes = array[None] if image.mode == "L" else np.moveaxis(array, 2, 0)
    return Opened(planes, lambda made: Image.fromarray(made[0] if len(made) == 1 else np.ascontiguousarray(np.moveaxis(made, 0, 2))))
