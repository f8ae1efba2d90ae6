"""`AugmentedDataset`: any PyTorch data set with the chosen copies behind it, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, Int64
from torch.utils.data import Dataset

from augury.adapters.added import Selection, added
from augury.adapters.epoch import Epoch
from augury.adapters.layout import Opened, opened
from augury.arrays import as_numpy
from augury.augmentation import MakesCopies
from augury.copies import CopyOrdering
from augury.data.tables import IMAGE_COLUMNS
from augury.errors import InputError
from augury.selection.ordering import checked_seed
from augury.transforms.foreign import Drawn, draw, is_augmentation

Key = str | int


@runtime_checkable
class MapStyle(Protocol):
    """A data set with a length whose samples are had by their number."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, index: int, /) -> Any:  # noqa: ANN401  (samples of any kind)
        """One sample."""


class AugmentedDataset(Dataset[Any]):
    """The samples of a data set, and then the chosen copies of them.

    Sample i below the data set's length is the data set's own; each further one is the sample of a chosen point, its image replaced by a
    copy. Nothing is made or kept before it is asked for.

    Parameters
    ----------
    dataset
        Map-style: its samples are tuples whose first entry is the image, or mappings with an `image` (or `img`). Images are PIL's (grey or
        RGB), arrays or tensors; a copy is of its image's kind.
    selection
        An `Ordering` or a `CopyOrdering` with its budget, or the chosen points: indices or a mask.
    transform
        What makes copies: an Augury transform (`Rotate(...)`, `as_transform(...)`, ...), whose copies are the same in every epoch; or a
        random augmentation as in `as_transform` (kornia, torchvision, albumentations, a module), which is drawn anew in each.
    copies
        How many copies of each chosen point a random augmentation makes; other transforms know it themselves.
    seed
        Of the draws. A draw follows from the seed, the epoch and the sample's number: workers, restarts and resumed runs agree.
    image
        The image's place in a sample, if it is another: a position or a key.
    weighted
        Whether each sample carries its weight: as a last entry, or as `weight`.
    downweight
        Of chosen points: a point and its k copies weigh 1 / (k + 1) each.
    then
        A function for each image, copy or not, after the copy is made: normalisation belongs here, not into `dataset`.

    Attributes
    ----------
    weights
        (rows,) what each sample is to count in a loss; see `augury.weighted_sampler`.
    copy_of
        (rows,) the sample of `dataset` that each comes from.

    Raises
    ------
    InputError
        If the data set has no length, or the selection was made from others.

    Notes
    -----
    No gradient is recorded, since a tensor that requires one stops a loader's worker. A sample costs all copies of its image where the
    transform is exhaustive, and one draw where it is random.
    """

    def __init__(
        self,
        dataset: Any,  # noqa: ANN401  (any map-style data set)
        selection: Selection,
        transform: Any,  # noqa: ANN401  (any library's object)
        *,
        copies: int = 1,
        seed: int = 0,
        image: Key | None = None,
        weighted: bool = False,
        downweight: bool = False,
        then: Callable[[Any], Any] | None = None,
    ) -> None:
        self.dataset, self.transform = _map_style(dataset), transform
        self.seed, self.image, self.weighted, self.then = checked_seed(seed), image, weighted, then
        found = added(selection, len(dataset), self._per_point(selection, copies), downweight=downweight)
        self.weights: Float64[np.ndarray, " rows"] = found.weights
        self.copy_of: Int64[np.ndarray, " rows"] = np.concatenate([np.arange(len(dataset)), found.point])
        self._copy = found.copy
        self._epoch = Epoch()

    @property
    def epoch(self) -> int:
        """Which epoch's draws are made."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw for another epoch from now on; call it before the loader begins to iterate. Exhaustive transforms do not change."""
        self._epoch.set(epoch)

    def __len__(self) -> int:
        return len(self.copy_of)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401  (samples of any kind)
        number = range(len(self))[index]  # raises the IndexError that ends an iteration
        sample = self.dataset[int(self.copy_of[number])]
        key = image_key(sample) if self.image is None else self.image
        with torch.no_grad():
            changed = sample[key] if number < len(self.dataset) else self._copied(sample[key], number)
            changed = changed if self.then is None else self.then(changed)
        return _with_weight(_replaced(sample, key, changed), self.weights[number] if self.weighted else None)

    def _per_point(self, selection: Selection, copies: int) -> int:
        if isinstance(self.transform, MakesCopies):
            return len(self.transform.names)
        if not is_augmentation(self.transform):
            raise InputError(
                f"transform: got {type(self.transform).__name__}; expected what makes copies, such as augury.Rotate((-15, 15)), or a "
                "random augmentation of torch, torchvision, kornia or albumentations"
            )
        if isinstance(selection, CopyOrdering):
            raise InputError("transform: random, while the chosen copies are certain ones; give the as_transform(...) that made them")
        if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
            raise InputError(f"copies: got {copies!r}; expected how many copies each chosen point gets, at least 1")
        return copies

    def _copied(self, image: Any, number: int) -> Any:  # noqa: ANN401  (an image of any kind)
        picture = opened(image)
        copy = int(self._copy[number - len(self.dataset)])
        return picture.close(self._made(picture, copy, number))

    def _made(self, picture: Opened, copy: int, number: int) -> npt.NDArray[Any]:
        if isinstance(self.transform, Drawn):
            return self.transform.copy(picture.planes, copy)
        if isinstance(self.transform, MakesCopies):
            return as_numpy(self.transform.copies(picture.planes[None])[0, copy])
        return draw(self.transform, torch.tensor(picture.planes[None]), self.seed, self.epoch, number)[0].numpy()


def _map_style(dataset: object) -> MapStyle:
    if not isinstance(dataset, MapStyle):
        raise InputError(f"dataset: got {type(dataset).__name__}, without a length or numbered samples; make it map-style first")
    return dataset


def image_key(sample: object) -> Key:
    """Where a sample has its image: under `image` or `img`, or as its first entry."""
    if not isinstance(sample, Mapping):
        return 0
    found = [name for name in IMAGE_COLUMNS if name in sample]
    if not found:
        raise InputError(f"image: a sample has the keys {', '.join(map(str, sample))}; name the image's as image=")
    return found[0]


def _replaced(sample: Any, key: Key, image: object) -> Any:  # noqa: ANN401  (samples of any kind)
    """The sample with another image: a dict for a mapping, else a tuple."""
    if isinstance(sample, Mapping):
        return {**sample, key: image}
    if not isinstance(sample, Sequence) or isinstance(sample, str | bytes):
        raise InputError(f"dataset: a sample is of type {type(sample).__name__}; expected a tuple (image, label, ...) or a mapping")
    return tuple(image if place == key else value for place, value in enumerate(sample))


def _with_weight(sample: Any, weight: np.float64 | None) -> Any:  # noqa: ANN401  (samples of any kind)
    if weight is None:
        return sample
    return {**sample, "weight": np.float32(weight)} if isinstance(sample, dict) else (*sample, np.float32(weight))
