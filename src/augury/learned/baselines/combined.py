"""No augmentation, one after another, and for a share of the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from augury.errors import InputError
from augury.training.augment import Augment, Moment
from augury.transforms.border import Real


@dataclass(frozen=True)
class Unchanged:
    """The images as they are."""

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The same images."""
        del labels, moment
        return images


@dataclass(frozen=True)
class Then:
    """The second augmentation applied to what the first one gives."""

    first: Augment
    second: Augment

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, changed twice."""
        return self.second(self.first(images, labels, moment), labels, moment)


@dataclass(frozen=True)
class Share:
    """An augmentation of some of the images alone, drawn anew for every batch.

    Parameters
    ----------
    augment
        What changes them.
    share
        The probability, from 0 to 1, with which each image is among them.
    """

    augment: Augment
    share: Real

    def __post_init__(self) -> None:
        check_share(self.share)

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, some of them changed."""
        chosen = drawn_share(len(images), self.share, moment.generator).to(images.device)
        return changed_where(chosen, images, lambda part: self.augment(part, labels[chosen], moment.of(chosen)))


@dataclass(frozen=True)
class Apart:
    """One augmentation for the first of the points that are trained on, and another for the rest.

    Parameters
    ----------
    count
        How many are the first.
    first, rest
        What changes either, for themselves: the training images and, behind them, the target's, say, which already look as deployed.
    """

    count: int
    first: Augment
    rest: Augment

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, each changed by its own augmentation."""
        if moment.chosen is None:
            raise InputError("moment: it does not tell which points the batch holds; give `chosen`, their numbers among those trained on")
        among = moment.chosen < self.count
        for part, augment in ((among, self.first), (~among, self.rest)):
            place = part.to(images.device)
            images = changed_where(place, images, lambda some: augment(some, labels[place], moment.of(part)))  # noqa: B023  (called at once)
        return images


def check_share(share: Real) -> None:
    """Raise an `InputError` unless `share` is a probability."""
    if not 0 <= share <= 1:
        raise InputError(f"share: {share:g}; expected a share of the images, from 0 (none) to 1 (all)")


def drawn_share(points: int, share: Real, generator: torch.Generator) -> Tensor:
    """A mask over the points, each true with probability `share`."""
    return torch.rand(points, generator=generator) < share


def changed_where(chosen: Tensor, images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The images, those of the mask changed all at once."""
    if not bool(chosen.any()):
        return images
    result = images.clone()
    result[chosen] = change(images[chosen])
    return result
