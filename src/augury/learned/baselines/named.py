"""The baselines by their names in tables and on the command line."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import torch

from augury.choices import PLAIN
from augury.errors import InputError
from augury.learned.baselines.automatic import RandAugment, TrivialAugment
from augury.learned.baselines.combined import Share, Then, Unchanged
from augury.learned.baselines.crop import RandomCrop
from augury.learned.baselines.heuristic import Heuristic
from augury.learned.baselines.taus import AdversarialTau, RandomTau, random_affine
from augury.learned.bounded import BoundedTransformation
from augury.learned.transformation import Transformation
from augury.training.augment import Augment
from augury.transforms.border import Real

RGB = 3  # channels
LARGE = 32  # pixels, from which a side counts as large: MNIST's 28 is not, CIFAR's 32 is

AFTER_CROP: dict[str, Callable[[int, int, int, Transformation, torch.device | None], Augment]] = {
    "affine": lambda channels, height, width, _, device: random_affine(channels, height, width, device),
    "heuristic": lambda channels, *_: Heuristic("cifar10" if channels == RGB else "mnist"),
    "randaugment": lambda *_: RandAugment(),
    "trivialaugment": lambda *_: TrivialAugment(),
    "random-tau": lambda *settings: RandomTau(settings[3]),
    "adversarial-tau": lambda *settings: AdversarialTau(settings[3]),
}
BASELINES = (*PLAIN, *AFTER_CROP)
BEFORE = MappingProxyType({"grey": "crop", "RGB": "trivialaugment"})


def usual_crop(channels: int, height: int, width: int) -> RandomCrop:
    """Up to 2 pixels for images below 32 pixels, else an eighth of the shorter side (CIFAR's 4); RGB images are mirrored too."""
    side = min(height, width)
    return RandomCrop(side // 8 if side >= LARGE else min(2, side - 1), flip=channels == RGB)


def usual_before(channels: int) -> str:
    """The baseline after which what was learned comes, unless one says otherwise: for RGB images TrivialAugment, else the crop."""
    return BEFORE["RGB" if channels == RGB else "grey"]


def named_baseline(
    name: str,
    channels: int,
    height: int,
    width: int,
    *,
    transformation: Transformation | None = None,
    share: Real = 1,
    device: torch.device | None = None,
) -> Augment:
    """The augmentation that a table calls `name`, for images of this shape.

    All but `none` and `crop` come after the usual crop, so that rows differ in what comes on top of it.

    Parameters
    ----------
    name
        `none`, `crop`, `affine`, `heuristic`, `randaugment`, `trivialaugment`, `random-tau`, `adversarial-tau`.
    channels, height, width
        The images' shape.
    transformation
        What the last two draw taus for, None: a `BoundedTransformation`, which needs no training.
    share
        The share of the images that are changed further after the crop.
    device
        The images', for a transformation of its own; None: the CPU.

    Raises
    ------
    InputError
        If there is no such baseline.
    """
    if name not in BASELINES:
        raise InputError(f"baseline: {name!r} is unknown; expected one of {', '.join(BASELINES)}")
    if name == "none":
        return Unchanged()
    crop = usual_crop(channels, height, width)
    if name == "crop":
        return crop
    drawn = BoundedTransformation(channels, height, width).to(device) if transformation is None else transformation
    further = AFTER_CROP[name](channels, height, width, drawn, device)
    return Then(crop, further if share == 1 else Share(further, share))
