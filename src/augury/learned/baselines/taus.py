"""A transformation without anything that learns which tau to take: at random, or the hardest of a few."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from augury.errors import InputError
from augury.learned.baselines.combined import changed_where, check_share, drawn_share
from augury.learned.bounded import BoundedTransformation
from augury.learned.transformation import Transformation, random_tau
from augury.model.reading import modes_kept
from augury.training.augment import Moment
from augury.transforms.border import Real


@dataclass(frozen=True)
class RandomTau:
    """Each image by a tau of its own, uniform on [-1, 1] in every component: G without E.

    Parameters
    ----------
    transformation
        What tau means; it lies on the images' device.
    share
        The probability with which an image is changed at all.
    """

    transformation: Transformation
    share: Real = 1.0

    def __post_init__(self) -> None:
        check_share(self.share)

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, changed at random."""
        del labels
        tau = random_tau(len(images), self.transformation.tau_size, moment.generator).to(images)
        chosen = drawn_share(len(images), self.share, moment.generator).to(images.device)
        return changed_where(chosen, images, lambda part: self.transformation(part, tau[chosen]).clamp(0, 1))


@dataclass(frozen=True)
class AdversarialTau:
    """Of a few random taus, for each image the one on which the network's loss is largest now.

    The network is asked in evaluation mode, and neither its modes nor its gradients change. Cost: a forward pass of `draws` images for
    each one.

    Parameters
    ----------
    transformation
        What tau means; it lies on the images' device.
    draws
        How many taus each image may choose from, at least 1 (which is `RandomTau`).
    """

    transformation: Transformation
    draws: int = 4

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"draws: {self.draws}; expected at least 1, such as 4")

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, each changed as is hardest for the network."""
        points = len(images)
        tau = random_tau(points * self.draws, self.transformation.tau_size, moment.generator).to(images)
        made = self.transformation(images.repeat_interleave(self.draws, dim=0), tau).clamp(0, 1)
        losses = _losses(moment.network, made, labels.repeat_interleave(self.draws))
        hardest = losses.view(points, self.draws).argmax(dim=1)
        return made.view(points, self.draws, *images.shape[1:])[torch.arange(points, device=images.device), hardest]


def random_affine(channels: int, height: int, width: int, device: torch.device | None = None) -> RandomTau:
    """Random turns, sizes, shears and shifts within `BoundedTransformation`'s bounds, of images on this device; no flow and no colour."""
    return RandomTau(BoundedTransformation.only(channels, height, width, rotation=20, scale=0.2, shear=15, shift=0.1).to(device))


def _losses(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with modes_kept(network):
        network.eval()
        losses: Tensor = functional.cross_entropy(network(images).float(), labels, reduction="none")
    return losses
