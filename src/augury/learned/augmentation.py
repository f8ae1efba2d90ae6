"""What has been learned, as a module for anyone's training loop."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import safetensors.torch
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from augury.errors import InputError
from augury.files import write_atomic
from augury.learned.baselines.combined import Apart, Then, Unchanged, check_share
from augury.learned.bounded import BoundedTransformation
from augury.learned.distribution import TauDistribution
from augury.learned.network import AugmentationNetwork
from augury.learned.saved import METADATA_KEY, made_again, tensors_of
from augury.learned.transformation import WarpingTransformation
from augury.model import Model
from augury.model.cache import content_key
from augury.networks import load_weights, read_weights
from augury.training import Augment, Moment
from augury.transforms.border import Real

LEARNED = 1.0  # nats by which a component of tau diverges from its beginning where something was learned


class Draw(NamedTuple):
    """How each image of a batch is changed.

    Parameters
    ----------
    tau
        What the transformation is given.
    changed
        Which images are changed at all.
    """

    tau: Float[Tensor, "points tau"]
    changed: Bool[Tensor, " points"]


class LearnedAugmentation(nn.Module):
    """Changes images as was learned, each by a draw of its own: G(x, tau) with tau from E.

    In training mode only; after `eval()` it is the identity. Its parameters are frozen, so that it may run in a DataLoader's workers;
    images may require gradients.

    Parameters
    ----------
    transformation
        G.
    network
        E: a distribution of taus, or a network that gives one tau an image.
    share
        The probability with which an image is changed; the others stay as they are, as they did while E was taught.
    record
        How it came about, as JSON can hold it; kept with it when it is saved.
    """

    def __init__(
        self,
        transformation: WarpingTransformation,
        network: TauDistribution | AugmentationNetwork,
        *,
        share: Real = 1.0,
        record: dict[str, Any] | None = None,
    ) -> None:
        check_share(share)
        if network.tau_size != transformation.tau_size:
            raise InputError(f"network: it gives {network.tau_size} components of tau, the transformation takes {transformation.tau_size}")
        super().__init__()
        self.transformation, self.network, self.share = transformation, network, share
        self.record: dict[str, Any] = {} if record is None else record
        self.requires_grad_(requires_grad=False)

    def __repr__(self) -> str:
        return (
            f"LearnedAugmentation({type(self.transformation).__name__}({self.transformation.settings}), {type(self.network).__name__}"
            f"({self.network.settings}), share={self.share:g})"
        )

    def params(self, images: Shaped[Tensor, "points channels height width"], *, generator: torch.Generator | None = None) -> Draw:
        """A draw for these images, to look at, or to replay by `params=`.

        `generator`: a CPU generator, the only source of chance; None: torch's own, which a DataLoader seeds in each worker.
        """
        chance = torch.default_generator if generator is None else generator
        pixels = self._seen(images)
        changed = torch.rand(len(images), generator=chance).to(images.device) < self.share
        with torch.no_grad():
            tau = self.network.sample(pixels, chance) if isinstance(self.network, TauDistribution) else self.network(pixels, chance)
        return Draw(tau, changed)

    def forward(
        self,
        images: Shaped[Tensor, "points channels height width"],
        params: Draw | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Shaped[Tensor, "points channels height width"]:
        """The images, changed.

        Parameters
        ----------
        images
            Floats in [0, 1], or uint8, which come back rounded to the nearest grey level.
        params
            A draw of `params` for as many images; None: a new one.
        generator
            As of `params`.

        Raises
        ------
        InputError
            If the images are not of the shape for which it was learned, or the draw is not for so many images.
        """
        if not self.training:
            return images
        draw = self.params(images, generator=generator) if params is None else params
        if len(draw.changed) != len(images):
            raise InputError(f"params: a draw for {len(draw.changed)} images, given with {len(images)}; draw again, or leave it out")
        made = self.transformation(as_floats(images), draw.tau)
        if images.dtype == torch.uint8:
            made = (made * 255).round().clamp(0, 255).to(torch.uint8)
        return torch.where(draw.changed[:, None, None, None], made, images)

    def unlearned(self) -> LearnedAugmentation:
        """The same before anything was learned, for images that already look as deployed, such as the target's own.

        With an E that gives one tau an image, which begins near the identity, it leaves every image as it is.
        """
        drawn = isinstance(self.network, TauDistribution)
        first = TauDistribution(**self.network.settings).to(next(self.network.parameters())) if drawn else self.network
        return LearnedAugmentation(self.transformation, first, share=self.share if drawn else 0).train(self.training)

    def alone(self, least: Real | None = LEARNED) -> LearnedAugmentation:
        """What was learned, without what E makes as at its beginning, for images that another augmentation has varied already.

        Draws that are kept as at the beginning leave the image as it is: it is changed with probability 1 - kept, and at most `share`.
        Components of tau that diverge from their beginning by no more than `least`, in nats, are left out; None: none is.
        """
        if not isinstance(self.network, TauDistribution):
            return self
        network = TauDistribution(**self.network.settings | {"kept": 0.0, "least": least}).to(next(self.network.parameters()))
        network.load_state_dict(self.network.state_dict())
        return LearnedAugmentation(self.transformation, network, share=min(self.share, 1 - self.network.kept)).train(self.training)

    def summary(self, images: Shaped[Tensor, "points channels height width"]) -> pd.DataFrame:
        """Mean and standard deviation of each component of tau, over the draws and over these images, in [-1, 1]; and their divergence.

        The index are the transformation's names for them where it has any (a `BoundedTransformation` does). Uniform: 0 and 0.577. The
        divergence is that from the beginning, in nats, the mean over the images: what a component has learned. Components above `LEARNED`
        are those that remain `alone`. NaN for a network that gives one tau an image.
        """
        pixels = self._seen(images)
        with torch.no_grad():
            if isinstance(self.network, TauDistribution):
                means, deviations = self.network.moments(pixels)
                divergences = self.network.divergences(pixels)
            else:
                means = self.network.body(pixels).tanh()
                deviations, divergences = torch.zeros_like(means), torch.full_like(means, math.nan)
        spread = (means.var(dim=0, correction=0) + deviations.square().mean(dim=0)).sqrt()
        known = self.transformation.names if isinstance(self.transformation, BoundedTransformation) else None
        names = [f"tau_{i}" for i in range(means.shape[1])] if known is None else known
        told = {"mean": means.mean(dim=0), "deviation": spread, "divergence": divergences.mean(dim=0)}
        return pd.DataFrame({name: values.cpu().numpy() for name, values in told.items()}, index=pd.Index(names, name="component"))

    def _seen(self, images: Tensor) -> Tensor:
        """The images as E takes them, of its weights' precision."""
        expected = (self.transformation.channels, self.transformation.height, self.transformation.width)
        if images.shape[1:] != expected or not (images.dtype == torch.uint8 or images.is_floating_point()):
            found = f"{str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
            raise InputError(f"images: {found}; it was learned for (points, {', '.join(map(str, expected))}): floats in [0, 1], or uint8")
        return as_floats(images).to(next(self.network.parameters()).dtype)

    def save(self, path: str | Path) -> Path:
        """Write everything into one safetensors file, atomically; the same augmentation gives the same bytes."""
        parts = {"transformation": self.transformation, "network": self.network}
        kinds = {name: {"kind": type(part).__name__, "settings": part.settings} for name, part in parts.items()}
        record = {"kind": "LearnedAugmentation", "parts": kinds, "share": self.share, "record": self.record}
        content = safetensors.torch.save(tensors_of(self), {METADATA_KEY: json.dumps(record, sort_keys=True)})
        return write_atomic(path, lambda stream: stream.write(content))

    @classmethod
    def load(cls, path: str | Path) -> LearnedAugmentation:
        """Read what `save` wrote, on the CPU and in training mode.

        Raises
        ------
        InputError
            If the file is missing or damaged, or holds anything else.
        """
        tensors, metadata = read_weights(path)
        try:
            found = cls._made_again(json.loads(metadata[METADATA_KEY]), path, tensors)
        except InputError:
            raise
        except (
            LookupError,
            TypeError,
            AttributeError,
            ArithmeticError,
            ValueError,
            RuntimeError,
        ):  # whatever a record of something else leads to
            raise InputError(
                f"{path}: expected a saved LearnedAugmentation; give the file that its method save, or `augury learn`, wrote"
            ) from None
        load_weights(found, path)
        return found

    @classmethod
    def _made_again(cls, record: dict[str, Any], path: str | Path, tensors: Mapping[str, Tensor]) -> LearnedAugmentation:
        """What a file's record tells of, with its first weights; almost any error if it is the record of something else."""
        if record["kind"] != cls.__name__:
            raise ValueError
        transformation, network = (made_again(record["parts"][name], path, tensors) for name in ("transformation", "network"))
        if not (isinstance(transformation, WarpingTransformation) and isinstance(network, TauDistribution | AugmentationNetwork)):
            raise TypeError
        return cls(transformation, network, share=record["share"], record=record["record"])


def as_augment(
    augmentation: LearnedAugmentation,
    before: Augment,
    points: int | None = None,
    *,
    alone: bool = False,
    least: Real | None = LEARNED,
) -> Augment:
    """What a training's batches are changed by: first by another augmentation, then as was learned.

    Parameters
    ----------
    augmentation, before
        Which.
    points
        How many of the points that are trained on are training images; those behind them, which already look as deployed, are changed as
        before anything was learned, or they would be changed twice. None: all are training images.
    alone
        Whether the other augmentation is to vary the images, in the place of what E makes as at its beginning: then the latter is left out,
        and images that look as deployed are changed by the other one alone.
    least
        As of `LearnedAugmentation.alone`.
    """
    learned = Applied(augmentation.alone(least) if alone else augmentation)
    if points is None:
        return Then(before, learned)
    return Then(before, Apart(points, learned, Unchanged() if alone else Applied(augmentation.unlearned())))


@dataclass(frozen=True)
class Applied:
    """A learned augmentation of a training's batches; see `augury.training.Augment`."""

    augmentation: LearnedAugmentation

    def __repr__(self) -> str:
        return f"Applied({self.augmentation}, {content_key(Model(self.augmentation, ''))})"

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, changed as was learned."""
        del labels
        changed: Tensor = self.augmentation(images, generator=moment.generator)
        return changed


def as_floats(images: Shaped[Tensor, "points channels height width"]) -> Float[Tensor, "points channels height width"]:
    """Floats in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images
