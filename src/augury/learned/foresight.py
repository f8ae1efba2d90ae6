"""`foresee`: which augmentation suits a target, told before anyone trains with any of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from augury.choices import PLAIN
from augury.errors import InputError
from augury.learned.augmentation import LearnedAugmentation, as_augment
from augury.learned.baselines import BASELINES, named_baseline, usual_before
from augury.learned.classifier import Classifier
from augury.learned.gradients import Groups, agreements, mean_gradient, scale_of
from augury.learned.objective import Target
from augury.learned.parts import Labelled, Part, held_apart, module_of, read_examples, read_target, usual_training
from augury.learned.teaching import Goal
from augury.learned.teaching_config import TeachingConfig
from augury.model import Model, resolve_device
from augury.networks import Network
from augury.training import Augment, Moment, TrainingConfig, train
from augury.transforms.border import Real

USUAL = "random-tau"  # on what it makes F is fitted, whatever is to be foreseen
LOOKS = 8  # at F on its way
DRAWS = 400  # training images in each


def foresee(
    model: nn.Module | Model | Network,
    train: Labelled,
    target: Labelled,
    augmentations: Mapping[str, Augment | LearnedAugmentation] | None = None,
    *,
    training: TrainingConfig | None = None,
    share: Real = 0.8,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> pd.DataFrame:
    """How well each augmentation prepares a network like `model` for the target's images, and how hard its images are.

    `agreement`, 1 at most, is the one between the gradients of the network's loss on training images as an augmentation changes them and on
    the target's (`augury.learned.gradients`), the mean over 8 looks at a single network in the first part of its training, on random
    changes: what `learn` makes as large as it can. More is better; only comparisons mean something. It tells how far an augmentation makes
    of the training images what the target's are, and nothing else: where the target does not differ from them, it puts images that are
    hardly changed first, and what counts is how an augmentation varies them.

    `loss` is the network's mean loss on the images that an augmentation makes, in nats: how far it goes. One that destroys labels makes the
    hardest images.

    Parameters
    ----------
    model
        A network before it is fitted. It is only copied.
    train
        `Examples`, or (images, labels): uint8 or floats in [0, 1], (points, channels, height, width), and integers. A third is held apart,
        to be changed: the network that is asked does not know these images.
    target
        Likewise: labelled images as the network will meet them, of about 20 of each class.
    augmentations
        What to compare, by name: anything that `augury.training.train` takes as `augment`, or what `learn` has found. None: the baselines,
        each after the usual crop.
    training
        How the network is fitted; only the first 30 % of it happens. None: 1,500 steps of 64 images, or an epoch if that is more.
    share
        Of each batch, how much the baselines change after the usual crop.
    seed
        Of the images held apart, the network's training and all draws.
    device
        Where to compute: `auto`, `cpu`, `cuda`.

    Returns
    -------
    pandas.DataFrame
        A row an augmentation, the largest agreement first: `agreement` and `loss`. What is told of one does not depend on which others are
        asked.

    Raises
    ------
    InputError
        If images, labels and network do not fit each other, or there is nothing to compare.

    Notes
    -----
    Cost: 30 % of one training, and for each augmentation 8 passes there and back over 400 images.
    """
    examples = read_examples(train)
    place = resolve_device(device)
    compared = _compared(augmentations, examples.shape, share, place)
    config = TeachingConfig.matching()
    part = held_apart(Part(examples, examples, read_target(target, examples, "target")), config, seed)
    fitted = replace(usual_training(len(part.train), seed) if training is None else training, seed=seed)
    steps = fitted.epochs * math.ceil(len(part.train) / fitted.batch)
    groups = Groups(Goal(part.changed.images, part.changed.labels, part.target.images, part.target.labels), DRAWS)
    looks = np.linspace(config.warmup * steps, config.until * steps, LOOKS, endpoint=False).astype(int)
    usual = named_baseline(USUAL, *examples.shape, share=share, device=place)
    asked = _Asked(usual, compared, groups, config.averaging, frozenset(looks.tolist()))
    _fit(copy.deepcopy(module_of(model)), part, fitted, asked, math.ceil(config.until * fitted.epochs), place)
    found = pd.DataFrame({name: np.mean(values, axis=0) for name, values in asked.told.items()}, index=["agreement", "loss"]).T
    return found.rename_axis("augmentation").sort_values("agreement", ascending=False, kind="stable")


def _fit(F: nn.Module, part: Part, training: TrainingConfig, augment: Augment, stop: int, device: torch.device) -> None:
    train(F, part.train.images, part.train.labels, config=training, augment=augment, device=device, stop=stop, what="foreseeing")


def _compared(
    augmentations: Mapping[str, Augment | LearnedAugmentation] | None, shape: tuple[int, int, int], share: Real, device: torch.device
) -> dict[str, Augment]:
    """What is asked; what was learned comes after what it comes after in `augury learn`'s comparison."""
    if augmentations is None:
        return {name: named_baseline(name, *shape, share=share, device=device) for name in BASELINES}
    if not augmentations:
        raise InputError("augmentations: none; expected some to compare, by name, or None for the usual ones")
    before = usual_before(shape[0])
    beneath = named_baseline(before, *shape, share=share, device=device)
    plain = before in PLAIN
    return {
        name: as_augment(copy.deepcopy(found).to(device), beneath, alone=not plain) if isinstance(found, LearnedAugmentation) else found
        for name, found in augmentations.items()
    }


@dataclass
class _Asked:
    """The usual augmentation of F's batches; at some steps others are asked what they would do to the network."""

    usual: Augment
    compared: Mapping[str, Augment]
    groups: Groups
    averaging: Real
    looks: frozenset[int]
    told: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    mean: AveragedModel | None = None

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images as F is fitted to them."""
        with moment.reading() as network:
            if self.mean is None:
                self.mean = AveragedModel(network, avg_fn=self._averaged, use_buffers=True)
            self.mean.update_parameters(network)
            if moment.step in self.looks:
                self._look(images, replace(moment, network=self.mean.module.eval(), chosen=None))
        return self.usual(images, labels, moment)

    def _averaged(self, mean: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        """At first the mean of all weights so far, then of the last ones."""
        newest = max(1 - self.averaging, 1 / (int(count) + 1))
        return mean.lerp(new, newest) if mean.is_floating_point() else new

    def _look(self, like: Tensor, moment: Moment) -> None:
        """How well the gradients of all agree with the target's now, and the loss on all of their images."""
        classifier = Classifier.of(moment.network, like, moment.precision)
        drawn = self.groups.drawn(moment.network, like, moment.generator)
        wanted = self.groups.wanted(classifier, like, moment.generator)
        chance = int(torch.randint(2**31, (), generator=moment.generator))

        def changed(augment: Augment) -> list[Target]:
            """By group, the same images for all, and by the same chance."""
            images, labels = torch.cat([some.images for some in drawn]), torch.cat([some.labels for some in drawn])
            made = augment(images, labels, replace(moment, generator=torch.Generator().manual_seed(chance))).detach()
            sizes = [len(some.labels) for some in drawn]
            return [Target(*part) for part in zip(torch.split(made, sizes), torch.split(labels, sizes), strict=True)]

        def gradients(parts: list[Target]) -> Tensor:
            return torch.stack([mean_gradient(classifier, part) for part in parts])

        scale = scale_of(gradients(changed(self.usual)).square().mean(dim=0))
        for name, augment in self.compared.items():
            parts = changed(augment)
            agreement = float(agreements(gradients(parts), wanted, scale).mean())
            self.told.setdefault(name, []).append((agreement, _loss(classifier, parts)))


@torch.no_grad()
def _loss(classifier: Classifier, parts: list[Target]) -> float:
    """The mean over the groups."""
    return float(np.mean([float(functional.cross_entropy(classifier(part.images)[1], part.labels)) for part in parts]))
