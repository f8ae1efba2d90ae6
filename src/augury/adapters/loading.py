"""For PyTorch's `DataLoader`: a collate function that augments whole batches, and a sampler that draws by weights or scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import WeightedRandomSampler, default_collate

from augury.adapters.dataset import AugmentedDataset, Key, image_key
from augury.adapters.epoch import Epoch
from augury.arrays import ArrayLike, as_numpy
from augury.errors import InputError
from augury.scores import Scores
from augury.selection import Preference
from augury.selection.odds import log_odds
from augury.selection.ordering import checked_seed
from augury.transforms.foreign import content_number, draw, is_augmentation


class Collate:
    """A batch whose images have been augmented; see `collate`."""

    def __init__(self, augmentation: Any, together: Callable[[Any], Any], image: Key | None, seed: int) -> None:  # noqa: ANN401  (any library's object)
        self.augmentation, self.together, self.image, self.seed = augmentation, together, image, seed
        self._epoch = Epoch()

    def set_epoch(self, epoch: int) -> None:
        """Draw for another epoch from now on; call it before the loader begins to iterate."""
        self._epoch.set(epoch)

    def __call__(self, samples: list[Any]) -> Any:  # noqa: ANN401  (what the collate function makes)
        """The samples as one batch, its images augmented."""
        batch = self.together(samples)
        key = image_key(batch) if self.image is None else self.image
        images = batch[key]
        if not isinstance(images, Tensor):
            raise InputError(f"image: the batch holds {type(images).__name__}; expected a tensor of images: name its place as image=")
        augmented = draw(self.augmentation, images, self.seed, int(self._epoch), content_number(images))
        if isinstance(batch, Mapping):
            return {**batch, key: augmented}
        return [augmented if place == key else value for place, value in enumerate(batch)]


def collate(
    augmentation: Any,  # noqa: ANN401  (any library's object)
    *,
    collate_fn: Callable[[Any], Any] = default_collate,
    image: Key | None = None,
    seed: int = 0,
) -> Collate:
    """A `collate_fn` that augments each batch: every image by a draw of its own, the labels as they are.

    Parameters
    ----------
    augmentation
        A module on batches of floats in [0, 1], called as `augmentation(images, generator=...)` where it takes a generator: a learned
        augmentation, kornia, your own; `augury.learned.BoundedTransformation`, driven by uniform taus; or one of torchvision's or
        albumentations', image by image. Keep it on the CPU where the loader has workers.
    collate_fn
        What makes a batch of samples.
    image
        The images' place in a batch; None: first, or under `image` or `img`.
    seed
        Of the draws. They follow from the seed, the epoch (`set_epoch`) and the batch's own pixels, so that workers, restarts and resumed
        runs that make the same batch agree.

    Notes
    -----
    It runs without gradients, since a tensor that requires one stops a loader's worker: to train the augmentation, call it in the loop.
    """
    if not is_augmentation(augmentation):
        raise InputError(
            f"augmentation: got {type(augmentation).__name__}; expected a torch module, or a transform of torchvision or albumentations"
        )
    return Collate(augmentation, collate_fn, image, checked_seed(seed))


def weighted_sampler(
    weights: Scores | AugmentedDataset | ArrayLike,
    *,
    num_samples: int | None = None,
    preference: Preference = "proportional",
    replacement: bool = True,
    seed: int = 0,
) -> WeightedRandomSampler:
    """A PyTorch sampler that draws points by weights or scores.

    Parameters
    ----------
    weights
        Scores, turned into odds by `preference` as in `augury.rank`; an `AugmentedDataset`, for its weights; or one weight a point, not
        negative.
    num_samples
        How many draws make an epoch; None: as many as there are points.
    preference
        What a score is worth as odds; weights are odds already.
    replacement
        Whether a point may be drawn again within an epoch.
    seed
        Of the sampler's own generator, which goes on from epoch to epoch.

    Raises
    ------
    InputError
        If the weights are no weights, or more points are to be drawn without replacement than have a positive weight.
    """
    odds = _odds(weights, preference)
    count = len(odds) if num_samples is None else num_samples
    most = int(np.count_nonzero(odds))
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InputError(f"num_samples: got {count!r}; expected a whole number, at least 1")
    if not replacement and count > most:
        raise InputError(f"num_samples: {count} without replacement, and {most} points have a positive weight; draw fewer")
    generator = torch.Generator().manual_seed(checked_seed(seed))
    return WeightedRandomSampler(odds.tolist(), int(count), replacement=replacement, generator=generator)


def _odds(weights: Scores | AugmentedDataset | ArrayLike, preference: Preference) -> npt.NDArray[np.float64]:
    if isinstance(weights, Scores):
        logs = log_odds(weights.values, preference)
        odds: npt.NDArray[np.float64] = np.exp(logs - logs.max())
        return odds
    if preference != "proportional":
        raise InputError("preference: turns scores into odds, and weights are odds already; give augury.Scores, or leave it out")
    found = np.asarray(weights.weights if isinstance(weights, AugmentedDataset) else as_numpy(weights), dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all() or not (found >= 0).all() or not (found > 0).any():
        raise InputError(f"weights: shape {found.shape}; expected one finite weight a point, none negative and one positive")
    return found
