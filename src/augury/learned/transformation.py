"""G: what changes an image by parameters tau, differentiably in both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.errors import InputError
from augury.files import digest
from augury.learned.layers import check_shape
from augury.learned.warp import warp
from augury.transforms.border import Border, Real

PRECISE = (torch.float32, torch.float64)  # positions need these; images of half precision are transformed in float32


@runtime_checkable
class Transformation(Protocol):
    """A module that changes each image by its own tau.

    Differentiable in images and tau, deterministic, and the same for an image whatever else is in the batch. The result has the images'
    shape, dtype and device. tau is meant to lie in [-1, 1], component by component.
    """

    tau_size: int

    def __call__(self, images: Float[Tensor, "points ..."], tau: Float[Tensor, "points tau"]) -> Float[Tensor, "points ..."]:
        """The changed images."""


class Fields(NamedTuple):
    """What a tau means at each pixel; None for a part that the transformation lacks. Height and width may be 1: the same everywhere.

    Parameters
    ----------
    flow
        (points, 2, height, width): how far from each pixel its value is fetched, in pixels, to the right and down.
    weights
        (points, channels, channels, height, width): c_w of the appearance model, by new and by old channel.
    bias
        (points, channels, height, width): c_b of the appearance model.
    """

    flow: Tensor | None
    weights: Tensor | None
    bias: Tensor | None


class Parts(NamedTuple):
    """A transformation's stages, as Figure 4 of *Learning to Augment Influential Data* shows them.

    Parameters
    ----------
    flow
        As in `Fields`, zero for a transformation that moves nothing.
    warped
        The images, moved.
    change
        What the appearance model adds to them.
    images
        The result.
    """

    flow: Float[Tensor, "points 2 height width"]
    warped: Float[Tensor, "points channels height width"]
    change: Float[Tensor, "points channels height width"]
    images: Float[Tensor, "points channels height width"]


class WarpingTransformation(nn.Module, ABC):
    """Moves pixels by a flow, then adds c_w x + c_b to each pixel x; subclasses say how tau gives flow, c_w and c_b.

    Parameters
    ----------
    channels, height, width
        The images' shape.
    tau_size
        How many numbers an image's tau has.
    border, fill
        What comes in from beyond the image: `edge`, `zeros`, `reflect`, or `fill` with a grey level from 0 to 1; see `Border`.
    clamp
        Whether the result is kept in [0, 1].
    settings
        The arguments that make the same transformation again, as JSON can hold them.
    """

    def __init__(
        self, channels: int, height: int, width: int, tau_size: int, *, border: str, fill: Real, clamp: bool, settings: dict[str, Any]
    ) -> None:
        check_shape(channels, height, width)
        super().__init__()
        self.channels, self.height, self.width, self.tau_size = channels, height, width, tau_size
        self.border, self.clamp = Border(border, fill), clamp
        shape = {"channels": channels, "height": height, "width": width}
        self.settings = shape | settings | {"border": border, "fill": fill, "clamp": clamp}

    def __repr__(self) -> str:
        """With settings and weights, since by this text a training knows its augmentation again."""
        weights = digest(*(value.detach().cpu().numpy() for value in self.state_dict().values()))[:16]
        return f"{type(self).__name__}({self.settings}, {weights})"

    @property
    @abstractmethod
    def moves(self) -> bool:
        """Whether it has a flow."""

    @property
    def tried(self) -> list[bool]:
        """Of each component of tau, whether it is worth trying on whole batches: not where many together make one change."""
        return [True] * self.tau_size

    @abstractmethod
    def fields(self, tau: Float[Tensor, "points tau"]) -> Fields:
        """What each tau means at each pixel."""

    def touched(
        self, images: Float[Tensor, "points channels height width"], tau: Float[Tensor, "points tau"]
    ) -> Float[Tensor, "points channels height width"]:
        """The moved images after changes that look at more than the pixel itself; here there are none."""
        del tau
        return images

    def relit(
        self, images: Float[Tensor, "points channels height width"], tau: Float[Tensor, "points tau"]
    ) -> Float[Tensor, "points channels height width"]:
        """The changed images after what comes last, when colours have their places; here there is nothing."""
        del tau
        return images

    def flow(self, tau: Float[Tensor, "points tau"]) -> Float[Tensor, "points 2 height width"]:
        """How far from each pixel its value is fetched, in pixels, to the right and down; zero for a transformation that moves nothing."""
        self._check_tau(tau, len(tau))
        precise = _precise(tau)
        return self._flow(self.fields(precise), precise)

    def parts(self, images: Float[Tensor, "points channels height width"], tau: Float[Tensor, "points tau"]) -> Parts:
        """The result, and all that leads to it."""
        self._check_images(images)
        self._check_tau(tau, len(images))
        precise = _precise(images)
        fields = self.fields(_precise(tau))
        flow = self._flow(fields, precise)
        warped = precise if fields.flow is None else warp(precise, flow, self.border)
        amounts = _precise(tau).to(warped.dtype)
        touched = self.touched(warped, amounts)
        coloured = touched + _filtered(touched, fields)
        change = (touched - warped) + (self.relit(coloured, amounts) - touched)
        changed = warped + change
        result = changed.clamp(0, 1) if self.clamp else changed
        return Parts(flow, *(part.to(images.dtype) for part in (warped, change, result)))

    def forward(
        self, images: Float[Tensor, "points channels height width"], tau: Float[Tensor, "points tau"]
    ) -> Float[Tensor, "points channels height width"]:
        """The images, each changed by its own tau.

        Parameters
        ----------
        images
            Floats in [0, 1].
        tau
            One row an image, in [-1, 1].

        Raises
        ------
        InputError
            If the images are no floats or of another shape than the transformation was made for, or the taus do not fit.
        """
        return self.parts(images, tau).images

    def _flow(self, fields: Fields, like: Tensor) -> Tensor:
        """The flow in the precision of `like`."""
        if fields.flow is None:
            return like.new_zeros(len(like), 2, self.height, self.width)
        return fields.flow.to(like.dtype)

    def _check_images(self, images: Tensor) -> None:
        if not images.is_floating_point():
            raise InputError(f"images: dtype {str(images.dtype).removeprefix('torch.')}; expected floats in [0, 1]: divide bytes by 255")
        if images.shape[1:] != (self.channels, self.height, self.width):
            expected = f"(points, {self.channels}, {self.height}, {self.width})"
            raise InputError(f"images: shape {tuple(images.shape)}; this transformation was made for {expected}; make one for these images")

    def _check_tau(self, tau: Tensor, points: int) -> None:
        if tau.shape != (points, self.tau_size):
            raise InputError(f"tau: shape {tuple(tau.shape)} for {points} images; expected ({points}, {self.tau_size}), one row an image")


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype in PRECISE else values.float()


def _filtered(images: Tensor, fields: Fields) -> Tensor:
    """c_w x + c_b."""
    if fields.weights is None or fields.bias is None:
        return torch.zeros_like(images)
    weights, bias = fields.weights.to(images.dtype), fields.bias.to(images.dtype)
    return (weights * images[:, None]).sum(dim=2) + bias


def places(height: int, width: int) -> Float[Tensor, "2 height width"]:
    """Each pixel's distance from the picture's centre, in pixels, to the right and down."""
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
    return torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])


def random_tau(points: int, tau_size: int, generator: torch.Generator) -> Float[Tensor, "points tau"]:
    """Independent taus, each component uniform on [-1, 1], on the generator's device."""
    return 2 * torch.rand(points, tau_size, generator=generator, device=generator.device) - 1
