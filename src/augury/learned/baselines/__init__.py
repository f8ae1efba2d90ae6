"""What a learned augmentation has to beat: augmentations of a training batch that learn nothing.

Each is an `augury.training.Augment`: images in [0, 1] and labels in, as many images of the same shape out, each changed by draws of its own
from the training's generator.
"""

from __future__ import annotations

from augury.learned.baselines.automatic import RandAugment, TrivialAugment
from augury.learned.baselines.combined import Apart, Share, Then, Unchanged
from augury.learned.baselines.crop import RandomCrop
from augury.learned.baselines.heuristic import Heuristic
from augury.learned.baselines.named import BASELINES, named_baseline, usual_before, usual_crop
from augury.learned.baselines.taus import AdversarialTau, RandomTau, random_affine

__all__ = [
    "BASELINES",
    "AdversarialTau",
    "Apart",
    "Heuristic",
    "RandAugment",
    "RandomCrop",
    "RandomTau",
    "Share",
    "Then",
    "TrivialAugment",
    "Unchanged",
    "named_baseline",
    "random_affine",
    "usual_before",
    "usual_crop",
]
