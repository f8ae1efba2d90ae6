"""Other libraries' random augmentations as transforms, and one draw of any of them.

None of these libraries is imported: what an augmentation takes is known by where its class comes from and how it is called.

- A module (kornia, a learned augmentation, your own `torch.nn.Module`) takes a batch of floats in [0, 1] and draws for each image. One that
  takes `generator=` is given one; one that takes `tau`, such as `augury.learned.BoundedTransformation`, is given taus uniform in [-1, 1].
- torchvision's transforms, old and new, draw once a call: they are called image by image, in the images' own type.
- Albumentations' style: called image by image as `augmentation(image=array)`, (height, width, channels), and gives `{"image": ...}`.
"""

from __future__ import annotations

import contextlib
import inspect
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from augury.errors import InputError
from augury.networks import seeded
from augury.transforms.transform import Array, Transform, as_tensor, check_images, empty_copies

OVERSHOOT = 0.25  # beyond [0, 1]: what interpolation may add, and is cut off; what lies further out is no image any more


def as_transform(augmentation: Any, copies: int = 4, seed: int = 0) -> Transform:  # noqa: ANN401  (any library's object)
    """A random augmentation as a fixed set of copies, which are the same every time.

    Parameters
    ----------
    augmentation
        A module on batches of floats in [0, 1] (kornia, a learned augmentation, your own), a transform of torchvision, or one called as
        `augmentation(image=array)` (albumentations). A transform of Augury's is given back as it is.
    copies
        How many draws each image gets.
    seed
        Of the draws. A draw follows from the seed, the image's content and the number of the copy: it is the same whatever else is in the
        batch, and different images get different draws.

    Raises
    ------
    InputError
        If it is none of these; `augury.Custom` takes a function that makes all copies at once.

    Notes
    -----
    Cost: a call of the augmentation a copy.
    """
    if hasattr(augmentation, "copies") and hasattr(augmentation, "names"):
        return cast("Transform", augmentation)
    if not is_augmentation(augmentation):
        raise InputError(
            f"transform: got {type(augmentation).__name__}; expected an Augury transform, a torch module, a torchvision transform, or one "
            "called as f(image=array); wrap a function (points, ...) -> (points, copies, ...) in augury.Custom"
        )
    for name, value, least in (("copies", copies, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name}: got {value!r}; expected a whole number, at least {least}")
    return Drawn(augmentation, int(copies), int(seed))


@dataclass(frozen=True)
class Drawn:
    """`count` draws of a random augmentation for each image; see `as_transform`."""

    augmentation: Any
    count: int
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The augmentation's class and the number of the draw, from 1: `RandomRotation-1`."""
        return tuple(f"{type(self.augmentation).__name__}-{number}" for number in range(1, self.count + 1))

    @property
    def spec(self) -> str:
        """`drawn:` and the augmentation's class; a text cannot hold the augmentation, so `parse` refuses it."""
        return f"drawn:{type(self.augmentation).__name__}"

    def __len__(self) -> int:
        return self.count

    def copies(self, images: Shaped[Array, ...]) -> Shaped[Array, "points copies channels height width"]:
        """All draws for all images: uint8, or floats in [0, 1], of the images' kind and dtype.

        Raises
        ------
        InputError
            If the images are no images, or the augmentation gives another shape, or pixels far outside [0, 1].
        """
        check_images(images)
        made: Array = empty_copies(images, self.count)
        source, target = as_tensor(images), as_tensor(made)
        for i in range(len(images)):
            for number in range(self.count):
                target[i, number] = self._draw(source[i : i + 1], number)[0]
        return made

    def copy(self, image: Shaped[np.ndarray, "channels height width"], number: int) -> Shaped[np.ndarray, "channels height width"]:
        """The draw of that number alone, as `copies` has it."""
        found: npt.NDArray[Any] = self._draw(as_tensor(image[None]), number)[0].numpy()
        return found

    def _draw(self, image: Tensor, number: int) -> Tensor:
        return draw(self.augmentation, image, self.seed, content_number(image), number)


def content_number(images: Tensor) -> int:
    """A number that follows from the pixels alone."""
    return zlib.crc32(images.detach().cpu().contiguous().numpy().tobytes())


def is_augmentation(candidate: object) -> bool:
    """Whether `draw` knows how to call it."""
    return isinstance(candidate, nn.Module) or _comes_from(candidate, "torchvision") or _takes_named_image(candidate)


def draw(
    augmentation: Any,  # noqa: ANN401  (any library's object)
    images: Shaped[Tensor, "points channels height width"],
    *entropy: int,
) -> Shaped[Tensor, "points channels height width"]:
    """One draw for each image, from the integers `entropy` alone: same shape, dtype and device, and no gradient.

    The generators that these libraries draw from, torch's, numpy's and Python's global ones and albumentations' own, are seeded, and are
    afterwards as they were.

    Raises
    ------
    InputError
        If the images are no uint8 or floats in [0, 1], or the augmentation gives anything else.
    """
    check_images(images)
    name = type(augmentation).__name__
    if images.is_floating_point() and not _within(images, 0.0):
        raise InputError(f"{name}: the images have pixels outside [0, 1]; augment first and normalise afterwards")
    with torch.no_grad(), seeded(*entropy, device=images.device), _others_seeded(augmentation, entropy):
        if _takes_named_image(augmentation):
            made = _stacked([_called_by_name(augmentation, image) for image in images], name)
        elif _comes_from(augmentation, "torchvision"):
            made = _stacked([augmentation(image) for image in images], name)
        else:
            made = _called_as_module(augmentation, images)
    return _as_before(made, images, name)


def _comes_from(candidate: object, library: str) -> bool:
    return any(base.__module__.split(".")[0] == library for base in type(candidate).__mro__)


def _takes_named_image(candidate: object) -> bool:
    """Albumentations' way of being called: by keyword alone."""
    if _comes_from(candidate, "albumentations"):
        return True
    if isinstance(candidate, nn.Module) or not callable(candidate):
        return False
    image = _parameters(candidate).get("image")
    return image is not None and image.kind is inspect.Parameter.KEYWORD_ONLY


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # built in, without a signature
        return {}


@contextlib.contextmanager
def _others_seeded(augmentation: Any, entropy: tuple[int, ...]) -> Iterator[None]:  # noqa: ANN401  (any library's object)
    """The global generators of numpy and Python, and albumentations' own, as `augury.networks.seeded` does for torch's."""
    kept, kept_legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the global state, to be given back)
    number = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002  (what older libraries draw from)
    owns = hasattr(augmentation, "set_random_state")
    if owns:
        own = augmentation.random_generator, augmentation.py_random
        augmentation.set_random_state(np.random.default_rng(number), random.Random(number))  # noqa: S311  (no secret)
    try:
        yield
    finally:
        if owns:
            augmentation.set_random_state(*own)
        random.setstate(kept)
        np.random.set_state(kept_legacy)  # noqa: NPY002  (given back)


def _called_by_name(augmentation: Any, image: Tensor) -> Tensor:  # noqa: ANN401  (any library's object)
    """As (height, width, channels) bytes or float32, which is what OpenCV takes."""
    array = image.cpu().numpy().transpose(1, 2, 0)
    given = np.ascontiguousarray(array if array.dtype == np.uint8 else array.astype(np.float32))
    made = np.asarray(augmentation(image=given)["image"])
    return torch.from_numpy(np.ascontiguousarray(made.reshape(*made.shape[:2], -1).transpose(2, 0, 1)))  # some drop a single channel


def _called_as_module(module: nn.Module, images: Tensor) -> Any:  # noqa: ANN401  (whatever it gives)
    weight = next((weight for weight in module.parameters() if weight.is_floating_point()), None)
    scaled = images if images.is_floating_point() else images.float() / 255
    if weight is not None:
        scaled = scaled.to(weight)
    takes = _parameters(module.forward)
    if "tau" in takes:
        tau = 2 * torch.rand(len(images), int(module.tau_size)) - 1  # type: ignore[arg-type]  # an int, says its Protocol
        return module(scaled, tau.to(scaled))
    if "generator" not in takes:
        return module(scaled)
    if not module.training:
        raise InputError(f"{type(module).__name__}: it is in evaluation mode, in which it changes nothing; call train() on it first")
    return module(scaled, generator=torch.Generator().manual_seed(torch.initial_seed()))


def _stacked(made: list[Any], name: str) -> Tensor:
    if not all(isinstance(image, Tensor) and image.shape == made[0].shape for image in made):
        raise InputError(f"{name}: expected from it one image for each, all of one shape; leave out what resizes or converts images")
    return torch.stack(made)


def _as_before(made: Any, images: Tensor, name: str) -> Tensor:  # noqa: ANN401  (whatever an augmentation gave)
    """The images in the dtype and on the device of those they were made from, once it is sure that they are images of that shape."""
    if not isinstance(made, Tensor) or made.shape != images.shape:
        found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise InputError(f"{name}: it gave {found} for images {tuple(images.shape)}; expected the same shape: leave out what resizes")
    if made.is_floating_point():
        if not _within(made, OVERSHOOT):
            raise InputError(f"{name}: it gave pixels outside [0, 1]; leave out what normalises, and do that afterwards")
        made = made.clamp(0, 1)
        made = made if images.is_floating_point() else (made * 255).round()
    elif made.dtype != images.dtype:
        raise InputError(f"{name}: it gave {made.dtype}; expected {images.dtype}, as the images were")
    result: Tensor = made.detach().to(images)
    return result


def _within(images: Tensor, slack: float) -> bool:
    """Whether all pixels are in [0, 1], give or take so much; NaN is not."""
    return not images.numel() or bool(((images >= -slack) & (images <= 1 + slack)).all())
