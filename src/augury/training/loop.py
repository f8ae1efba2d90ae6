"""One loop: order, steps, checkpoints."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from augury.data.examples import Images
from augury.errors import InputError
from augury.files import digest
from augury.model import Model, features, resolve_device
from augury.model.cache import content_key
from augury.model.reading import device_of, exact, forward, modes_kept, to_batch
from augury.networks import seeded
from augury.progress import track
from augury.training.augment import Augment, Learner, Moment
from augury.training.checkpoint import Player, resume, save
from augury.training.config import TrainingConfig
from augury.training.crew import Crew

ORDER, DROPOUT, AUGMENT = 0, 1, 2  # independent streams of one seed


@dataclass(frozen=True)
class TrainingReport:
    """What a training did.

    Parameters
    ----------
    losses
        The mean weighted loss of each epoch, in nats, over its batches as they were met.
    accuracy
        The share of the training examples, unweighted, that the fitted network classifies rightly in evaluation mode.
    resumed
        How many of the epochs came from the checkpoint.
    """

    losses: tuple[float, ...]
    accuracy: float
    resumed: int


def train(
    network: nn.Module,
    images: Images,
    labels: Int64[np.ndarray, " points"],
    *,
    config: TrainingConfig,
    weights: Float[np.ndarray, " points"] | None = None,
    augment: Augment | None = None,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "auto",
    stop: int | None = None,
    what: str = "training",
) -> TrainingReport:
    """Fit `network` to labelled images, in place, by minimising the weighted mean of the cross-entropy.

    A batch B contributes (1 / |B|) sum over B of (w_i / mean w) loss_i, the mean over all examples: its expectation is
    (sum w_i loss_i) / (sum w_i), so that weight 2 means the same as the example twice, and only the ratios of the weights matter.

    The network's modes and device are afterwards as before, its gradients cleared; torch's global generators are untouched. The same
    network, data and configuration give the same bits on the same machine.

    Several processes that `augury.training.joined` has brought together fit one network: see `augury.training.crew`. Each calls this with
    the same arguments and ends with the same network, that of one process but for rounding.

    Parameters
    ----------
    network
        Gives class scores, (points, classes).
    images, labels
        uint8 images are converted batch by batch.
    config
        How.
    weights
        Not negative, and not all zero. None: all equal.
    augment
        Changes each batch before the step on it; a `Learner` learns meanwhile. Its `repr` should tell all its settings, since by that a
        checkpoint knows it.
    checkpoint
        A file that is written whole after each epoch: weights and the optimizer's state as safetensors, those of a `Learner` too, with
        losses and a digest of configuration, data and initial network. If it exists, training goes on from it.
    device
        Where to compute: `auto`, `cpu`, `cuda`.
    stop
        After how many of the epochs to stop, the learning rate's schedule being on its way, at least 1; None: after all.
    what
        What the progress bar says.

    Raises
    ------
    InputError
        If images, labels and weights do not fit each other or the network, the checkpoint is of another training, `stop` makes no sense,
        or the loss is no longer finite (the message names the learning rate).
    """
    relative = _relative_weights(weights, images, labels)
    cause = "" if checkpoint is None else digest(config, content_key(Model(network, ""), images, labels, relative), *_cause(augment))
    place, last = resolve_device(device), _last(config, stop)
    crew = Crew.here()
    with _placed(network, place, config), exact(place), crew.as_one(network):
        fit = _Fit(network, _optimizer(network, config), images, labels, relative, augment, config, place, crew)
        losses = [] if checkpoint is None else resume(Path(checkpoint), cause, fit.players)
        crew.wait()  # until all have read it, the first process writes no other
        resumed = len(losses)
        ticks = cast("Generator[int]", track(range(resumed * fit.per_epoch, last * fit.per_epoch), what))
        with contextlib.closing(ticks) as steps:  # so that the bar ends where an error ends the training
            for epoch in range(resumed, last):
                losses.append(_epoch(fit, epoch, steps))
                if checkpoint is not None and crew.rank == 0:
                    save(Path(checkpoint), cause, fit.players, losses)
        fit.optimizer.zero_grad()
        scores = features(Model(network, ""), images, device=place, what=f"{what}: accuracy")
    return TrainingReport(tuple(losses), float(np.mean(scores.argmax(axis=1) == labels)), resumed)


def _last(config: TrainingConfig, stop: int | None) -> int:
    """How many epochs are fitted."""
    if stop is not None and stop < 1:
        raise InputError(f"stop: {stop} epochs; expected at least 1, or None for all of them")
    return config.epochs if stop is None else min(stop, config.epochs)


@dataclass(frozen=True)
class _Fit:
    network: nn.Module
    optimizer: torch.optim.Optimizer
    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    augment: Augment | None
    config: TrainingConfig
    device: torch.device
    crew: Crew

    @property
    def per_epoch(self) -> int:
        return math.ceil(len(self.images) / self.config.batch)

    @property
    def players(self) -> list[Player]:
        learner = self.augment if isinstance(self.augment, Learner) else None
        return [Player(self.network, self.optimizer)] + ([] if learner is None else [Player(learner.module, learner.optimizer)])

    def batch(self, chosen: npt.NDArray[np.int64], step: int) -> Tensor:
        """The chosen images, as the network is to see them in this step."""
        batch = to_batch(self.images[chosen], self.network, self.device)
        if self.augment is not None:
            entropy = np.random.SeedSequence((self.config.seed, AUGMENT, step)).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(entropy[0]))
            steps, numbers = self.config.epochs * self.per_epoch, torch.from_numpy(chosen)
            moment = Moment(self.network, step, steps, generator, self.config.precision, numbers)
            batch = self.augment(batch, torch.tensor(self.labels[chosen], device=self.device), moment).detach()
        return batch.contiguous(memory_format=self.config.layout)


def _epoch(fit: _Fit, epoch: int, steps: Iterator[int]) -> float:
    """One pass over the examples, and the mean loss in it; takes one of `steps` for each batch."""
    config = fit.config
    order = np.random.default_rng((config.seed, ORDER, epoch)).permutation(len(fit.images))
    batches = np.split(order, range(config.batch, len(order), config.batch))
    fit.network.train()
    with seeded(config.seed, DROPOUT, epoch, device=fit.device):
        sums = [_step(fit, chosen, step) for chosen, step in zip(batches, steps, strict=False)]
    loss = float(torch.stack(sums).sum()) / len(order)
    if not math.isfinite(loss) or not all(weight.isfinite().all() for weight in fit.network.parameters()):
        raise InputError(
            f"learning_rate: with {config.learning_rate:g}, loss or weights are no longer finite in epoch {epoch + 1}; "
            "lower it, tenfold to begin with"
        )
    return loss


def _step(fit: _Fit, chosen: npt.NDArray[np.int64], step: int) -> Float[Tensor, ""]:
    """One step on the chosen examples, and the sum of their weighted losses before it (left on the device, which need not wait for it)."""
    own = fit.crew.share(len(chosen))
    batch = fit.batch(chosen, step)[own]
    with torch.autocast(fit.device.type, torch.bfloat16, enabled=fit.config.precision == "bfloat16"):
        scores = forward(fit.network, batch)
    _check_scores(scores, fit.labels[chosen[own]])
    labels, weights = (torch.tensor(values[chosen[own]], device=fit.device) for values in (fit.labels, fit.weights))
    loss = fit.crew.mean(functional.cross_entropy(scores.float(), labels, reduction="none") * weights, len(chosen))
    for group in fit.optimizer.param_groups:
        group["lr"] = fit.config.rate(step, fit.config.epochs * fit.per_epoch)
    fit.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
    fit.crew.sum_gradients(fit.network)
    fit.optimizer.step()
    return fit.crew.summed(loss.detach() * len(chosen))


def _optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if not weights:
        raise InputError("network: no weight requires a gradient, so there is nothing to fit; set requires_grad on what shall be fitted")
    if config.optimizer == "adam":
        return torch.optim.Adam(weights, config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        weights, config.learning_rate, momentum=config.momentum, nesterov=config.nesterov, weight_decay=config.weight_decay
    )


def _cause(augment: Augment | None) -> tuple[str, ...]:
    """What tells one augmentation from another, and a learner's first state."""
    if augment is None:
        return ()
    return (repr(augment), content_key(Model(augment.module, ""))) if isinstance(augment, Learner) else (repr(augment),)


@contextlib.contextmanager
def _placed(network: nn.Module, device: torch.device, config: TrainingConfig) -> Iterator[None]:
    origin = device_of(network)
    network.to(device)
    _lay_out(network, config.layout)
    try:
        with modes_kept(network):
            yield
    finally:
        network.to(origin)
        _lay_out(network, torch.contiguous_format)


def _lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=layout)


def _relative_weights(
    weights: npt.NDArray[np.floating[Any]] | None, images: npt.NDArray[Any], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The weights over their mean."""
    if len(images) == 0 or len(images) != len(labels):
        raise InputError(f"labels: {len(labels)} labels for {len(images)} images; give one label for each image, and at least one image")
    if weights is None:
        return np.ones(len(images), np.float32)
    if weights.shape != labels.shape:
        raise InputError(f"weights: shape {weights.shape} for {len(images)} images; give one weight for each image")
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
        raise InputError(f"weights: values from {weights.min()} to {weights.max()}; expected finite numbers, none negative, not all zero")
    relative: npt.NDArray[np.float32] = (weights / weights.mean(dtype=np.float64)).astype(np.float32)
    return relative


def _check_scores(scores: object, labels: npt.NDArray[np.int64]) -> None:
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(labels):
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"network: it gives {found} for {len(labels)} images; expected class scores, (points, classes)")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise InputError(
            f"labels: values from {labels.min()} to {labels.max()}, and the network tells {scores.shape[1]} classes apart; "
            f"expected 0 to {scores.shape[1] - 1}: build it with as many classes as there are"
        )
