"""`learn`: from a network, labelled images and a target to an augmentation."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from augury.learned.augmentation import LearnedAugmentation
from augury.learned.baselines.combined import Share, Then
from augury.learned.baselines.named import usual_crop
from augury.learned.bounded import BoundedTransformation
from augury.learned.distribution import TauDistribution
from augury.learned.network import AugmentationNetwork
from augury.learned.parts import Labelled, Part, held_apart, module_of, on_device, parts_of, read_examples, usual_training
from augury.learned.teachers import teacher, teaches
from augury.learned.teaching import COLUMNS, Goal, Teacher
from augury.learned.teaching_config import TeachingConfig
from augury.learned.transformation import WarpingTransformation
from augury.model import Model, resolve_device
from augury.networks import Network
from augury.training import Augment, Moment, TrainingConfig, train
from augury.transforms.border import Real

KEPT = 0.5  # of the draws, as at E's beginning, where no images as deployed tell what should take their place


@dataclass(frozen=True)
class Taught:
    """A batch augmented on its way to F: first by what comes before in any case, then a share of it by the teacher.

    A `Learner`, whose state is the teacher's.
    """

    before: Augment | None
    teacher: Teacher
    share: Real

    @property
    def module(self) -> nn.Module:
        """E, the direction s and the log."""
        return self.teacher.module

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """E's."""
        return self.teacher.optimizer

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, changed, and E a step further."""
        some = Share(self.teacher, self.share)
        return (some if self.before is None else Then(self.before, some))(images, labels, moment)


def learn(
    model: nn.Module | Model | Network,
    train: Labelled,
    validation: Labelled | None = None,
    *,
    transformation: WarpingTransformation | None = None,
    network: TauDistribution | AugmentationNetwork | None = None,
    config: TeachingConfig | None = None,
    training: TrainingConfig | None = None,
    before: Augment | None = None,
    share: Real = 0.8,
    folds: int = 3,
    seed: int = 0,
    folder: str | Path | None = None,
    device: str | torch.device = "auto",
) -> LearnedAugmentation:
    """An augmentation under which a network like `model` is predicted to do well on the validation images.

    The network F is fitted to the training images while an augmentation network E learns, from the influence of what it makes of them,
    what lowers F's loss on the target (*Learning to Augment Influential Data*); by the rule `matching`, of what it makes of a share to
    which F is not fitted (`TeachingConfig.held`). F is discarded: train anew with the augmentation, on all labels. The model given is only
    copied.

    Parameters
    ----------
    model
        F before it is fitted: a network that ends in a linear layer and gives class scores.
    train
        `Examples`, or (images, labels): uint8 or floats in [0, 1], (points, channels, height, width), and integers.
    validation
        The target, likewise: labelled images as F will meet them. None: the training images themselves, cross-fitted: E is taught in turn
        by `folds` networks, each fitted to all but one fold and judged on that one.
    transformation
        G, what E chooses taus for. None: `BoundedTransformation.wide`, which needs no training.
    network
        E, taught in place. None: a `TauDistribution` shared by all images, which begins within a `BoundedTransformation`'s usual bounds
        however wide its own are (for the rule `matching` with widths, and with what is `kept`); or for the rule `gradient` an
        `AugmentationNetwork`.
    config
        How E is taught. None: `TeachingConfig.matching()`, or `TeachingConfig(rule="gradient")` where `network` is no distribution.
    training
        How F is fitted. None: 1,500 steps of 64 images, or an epoch if that is more; Adam at 0.002 with one cycle.
    before
        What changes every batch first. None: the usual crop, for RGB images with mirroring.
    share
        Of each batch, how much E's images replace.
    folds
        Of the cross-fitting, at least 2.
    seed
        Of folds, E's first weights and all draws.
    folder
        Where checkpoints are kept: a killed call, given the same arguments again, goes on from there to the same result.
    device
        Where to compute: `auto`, `cpu`, `cuda`.

    Returns
    -------
    LearnedAugmentation
        With `.record["history"]`: for each solve, by fold and step of F, the mean predicted effect of E's draws on the target's loss (x
        training points), their spread, the effect of what F was trained on, how far E is from random, and the solve's residual.

    Raises
    ------
    InputError
        If images, labels, network and transformation do not fit each other, or an argument makes no sense.

    Notes
    -----
    Cost by `matching`: every second step of F, about five passes there and back over 200 images more, however large the target is. By
    `choice`: for each step of F, a forward pass of `draws` x `share` x batch images more; for each solve, a pass over target and
    2 x `curvature_points` images.
    """
    config = _config(network) if config is None else config
    examples = read_examples(train)
    channels, height, width = examples.images.shape[1:]
    G = BoundedTransformation.wide(channels, height, width) if transformation is None else transformation
    E = _network(config, G, seed, deployed=validation is not None) if network is None else network
    parts = [held_apart(part, config, seed) for part in parts_of(examples, validation, folds, seed)]
    crop = usual_crop(channels, height, width) if before is None else before
    place = resolve_device(device)
    logs = []
    with on_device(place, G, E):
        for number, part in enumerate(parts):
            fitted = replace(usual_training(len(part.train), seed) if training is None else training, seed=seed + number)
            steps = fitted.epochs * math.ceil(len(part.train) / fitted.batch)
            goal = Goal(part.changed.images, part.changed.labels, part.target.images, part.target.labels)
            taught = teacher(G, E, goal, config, steps)
            what = f"learning {number + 1}/{len(parts)}"
            _fit(model, part, fitted, Taught(crop, taught, share), _checkpoint(folder, number), place, what)
            logs.append(pd.DataFrame(taught.log, columns=list(COLUMNS)).assign(fold=number))
    history = pd.concat(logs, ignore_index=True)
    record = {"config": asdict(config), "seed": seed, "folds": len(parts), "history": history.to_dict("list")}
    return LearnedAugmentation(copy.deepcopy(G), copy.deepcopy(E), share=share, record=record)  # E can be taught further


def _fit(
    model: nn.Module | Model | Network,
    part: Part,
    training: TrainingConfig,
    augment: Taught,
    checkpoint: Path | None,
    device: torch.device,
    what: str,
) -> None:
    """Fit a copy of F; what matters is what the teacher learns meanwhile."""
    F = copy.deepcopy(module_of(model))
    taught, images, labels = math.ceil(augment.teacher.config.until * training.epochs), part.train.images, part.train.labels
    train(F, images, labels, config=training, augment=augment, checkpoint=checkpoint, device=device, stop=taught, what=what)


def _checkpoint(folder: str | Path | None, number: int) -> Path | None:
    return None if folder is None else Path(folder) / f"fold-{number}.safetensors"


def _config(network: nn.Module | None) -> TeachingConfig:
    """How E is taught by default."""
    return TeachingConfig.of("matching" if network is None or teaches("matching", network) else "gradient")


def _network(config: TeachingConfig, G: WarpingTransformation, seed: int, *, deployed: bool) -> TauDistribution | AugmentationNetwork:
    """E by default: a distribution that begins within the usual bounds, or the paper's network; `deployed`: there is a target."""
    shape = (G.channels, G.height, G.width)
    if config.rule == "gradient":
        return AugmentationNetwork(*shape, tau_size=G.tau_size, seed=seed)
    first = G.usual() if isinstance(G, BoundedTransformation) else 1.0
    unless = 0.0 if deployed else KEPT
    moved: dict[str, Any] = {"widths": True, "kept": unless if config.kept is None else config.kept} if config.rule == "matching" else {}
    return TauDistribution(*shape, tau_size=G.tau_size, concentration=first, seed=seed, **moved)
