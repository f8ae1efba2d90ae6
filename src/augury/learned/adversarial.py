"""Adversarial training of G: its images must look like images, its flows like affine ones, and neither like the identity."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from augury.data.examples import Images
from augury.errors import InputError
from augury.learned.adversarial_config import AdversarialConfig
from augury.learned.game import LOSSES, Game
from augury.learned.statistics import Statistics, measure
from augury.learned.transformation import WarpingTransformation
from augury.model import resolve_device
from augury.model.reading import device_of, exact
from augury.progress import track
from augury.training.checkpoint import Player, resume, save

MEASURED = tuple(field.name for field in fields(Statistics))
COLUMNS = ("step", *LOSSES, *MEASURED)


@dataclass(frozen=True)
class AdversarialReport:
    """What a training of G did.

    Parameters
    ----------
    log
        One row every `log_every` steps: `step`; the means since the row before of `image_distance` and `flow_distance` (how much higher the
        critics score what is real: estimates of the Wasserstein distance), `image_penalty` and `flow_penalty` (how far the critics are
        from slope 1) and `anti_identity` (the sum of the inverse mean squares); then the `Statistics` on fixed images and taus.
    statistics
        Of G as it is now.
    resumed
        How many of the steps came from the checkpoint.
    warnings
        What is wrong with G and what to do about it; empty if nothing is.
    """

    log: pd.DataFrame
    statistics: Statistics
    resumed: int
    warnings: tuple[str, ...]

    @property
    def identity(self) -> bool:
        """Whether G changes nothing to speak of."""
        return self.statistics.identity

    @property
    def collapsed(self) -> bool:
        """Whether G changes pictures alike, whatever tau is."""
        return self.statistics.collapsed


def train_transformation(
    transformation: WarpingTransformation,
    images: Images,
    *,
    config: AdversarialConfig,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "auto",
    what: str = "training G",
) -> AdversarialReport:
    """Fit G to unlabelled images, in place, against two critics (*Learning to Augment Influential Data*, section 4.3).

    An image critic learns to tell G(x, tau) from x, and a flow critic to tell G's flows from those of random affine maps, both as
    Wasserstein GANs with gradient penalty. G minimises, over batches with tau uniform on [-1, 1],

        - mean D_image(G(x, tau)) - flow_weight mean D_flow(s) + anti_identity (1 / mean (G(x, tau) - x)^2 + 1 / mean s^2),

    s being its flow in units of half the picture. A G that moves nothing has no terms in s, and one that never recolours keeps both.

    torch's global generators are untouched. The same G, images and configuration give the same bits on the same machine, in one go or
    after any number of kills.

    Parameters
    ----------
    transformation
        With parameters to fit, such as a `FieldTransformation`.
    images
        uint8 images are converted batch by batch.
    config
        How.
    checkpoint
        A file that is written whole at each row of the log: G, critics and the optimizer's state as safetensors, with the log. If it
        exists, training goes on from it.
    device
        Where to compute: `auto`, `cpu`, `cuda`.
    what
        What the progress bar says.

    Raises
    ------
    InputError
        If G has nothing to fit, the images are not of its shape, the checkpoint is of another training, or a loss is no longer finite.

    Warns
    -----
    UserWarning
        If G ends up as the identity, or gives the same picture for every tau; the message names the cure.
    """
    _check(transformation, images)
    place = resolve_device(device)
    with _placed(transformation, place), exact(place):
        game = Game(transformation, images, config, place)
        state = [Player(game.players, game.optimizer)]
        numbers = [] if checkpoint is None else resume(Path(checkpoint), game.cause, state)
        resumed = int(numbers[-len(COLUMNS)]) if numbers else 0
        ticks = cast("Generator[int]", track(range(resumed, config.steps), what))
        with contextlib.closing(ticks):  # so that the bar ends where an error ends the training
            for stop in config.stops(len(numbers) // len(COLUMNS)):
                start = int(numbers[-len(COLUMNS)]) if numbers else 0
                numbers += [float(stop), *game.play(start, stop, ticks), *asdict(measure(transformation, images)).values()]
                if checkpoint is not None:
                    save(Path(checkpoint), game.cause, state, numbers)
    return _report(numbers, resumed, config)


def _report(numbers: list[float], resumed: int, config: AdversarialConfig) -> AdversarialReport:
    log = pd.DataFrame(np.reshape(numbers, (-1, len(COLUMNS))), columns=list(COLUMNS)).astype({"step": np.int64})
    statistics = Statistics(*numbers[-len(MEASURED) :])
    found = tuple(_faults(statistics, config))
    for message in found:
        warnings.warn(message, stacklevel=3)
    return AdversarialReport(log, statistics, resumed, found)


def _faults(statistics: Statistics, config: AdversarialConfig) -> Iterator[str]:
    """What is wrong with G, and what to do about it."""
    if statistics.identity:
        yield (
            f"G changes nothing to speak of (by {statistics.change:.1%} of the images' contrast): raise anti_identity, "
            f"now {config.anti_identity:g}, tenfold to begin with, or steps, now {config.steps}"
        )
    if statistics.collapsed:
        yield (
            f"G has collapsed: it changes images by {statistics.change:.0%} of their contrast, and of that tau decides "
            f"{statistics.variety:.0%}: lower learning_rate, now {config.learning_rate:g}, or anti_identity, now {config.anti_identity:g}, "
            "or train with another seed"
        )


@contextlib.contextmanager
def _placed(transformation: WarpingTransformation, device: torch.device) -> Iterator[None]:
    origin = device_of(transformation)
    transformation.to(device)
    try:
        yield
    finally:
        transformation.to(origin)


def _check(transformation: WarpingTransformation, images: Images) -> None:
    if not any(weight.requires_grad for weight in transformation.parameters()):
        raise InputError("transformation: it has nothing to fit; expected one with parameters, such as a FieldTransformation")
    expected = (transformation.channels, transformation.height, transformation.width)
    if len(images) == 0 or images.shape[1:] != expected:
        raise InputError(f"images: shape {images.shape}; expected at least one image of the transformation's shape {expected}")
