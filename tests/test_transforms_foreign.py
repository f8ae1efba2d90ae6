"""Other libraries' random augmentations as transforms."""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from augury import Flip, Rotate, as_transform, augment, from_arrays
from augury.errors import InputError
from augury.learned import BoundedTransformation, random_tau
from augury.transforms import Transform, Union, parse
from augury.transforms.foreign import draw

Images = np.ndarray[Any, Any]


def images(points: int = 3, channels: int = 3, dtype: Any = np.float32) -> Images:  # noqa: ANN401  (a dtype)
    pixels = np.random.default_rng(0).integers(0, 256, (points, channels, 8, 6))
    return pixels.astype(np.uint8) if dtype == np.uint8 else (pixels / 255).astype(dtype)


class Shade(nn.Module):
    """Every image times a factor of its own, from torch's global generator."""

    def forward(self, batch: Tensor) -> Tensor:
        return batch * torch.rand(len(batch), 1, 1, 1)


class GivenShade(nn.Module):
    """The same, from a generator that is given; the identity in evaluation mode, and with a parameter to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.ones(()))

    def forward(self, batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if not self.training:
            return batch
        return batch * self.strength * torch.rand(len(batch), 1, 1, 1, generator=generator)


def shade(*, image: Images) -> dict[str, Images]:
    """Called as albumentations' are, and drawing from numpy's and Python's global generators as old libraries do."""
    assert image.shape[2] in (1, 3)
    factor = np.random.rand() * random.random()  # noqa: NPY002  (what this test is about)
    return {"image": (image * factor).astype(image.dtype)}


class Stateful:
    """Called as albumentations' are, with generators of its own."""

    def __init__(self) -> None:
        self.set_random_state(np.random.default_rng(), random.Random())

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random) -> None:
        self.random_generator, self.py_random = random_generator, py_random

    def __call__(self, *, image: Images) -> dict[str, Images]:
        return {"image": (image * self.random_generator.random() * self.py_random.random()).astype(image.dtype)}


def bounded() -> BoundedTransformation:
    return BoundedTransformation(3, 8, 6, rotation=20, brightness=0.2)


@pytest.fixture(scope="module")
def v2() -> ModuleType:
    """`torchvision.transforms.v2`, also beside a torch without torchvision's compiled operators."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        return importlib.import_module("torchvision.transforms.v2")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return importlib.import_module("torchvision.transforms.v2")


OPERATORS = torch.library.Library("torchvision", "FRAGMENT")  # what is defined in it lives as long as it does


@pytest.fixture(params=["module", "generator", "tau", "by name", "stateful", "kornia", "torchvision"])
def augmentation(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401  (any library's object)
    made: dict[str, Callable[[], Any]] = {
        "module": Shade,
        "generator": GivenShade,
        "tau": bounded,
        "by name": lambda: shade,
        "stateful": Stateful,
        "kornia": kornia_augmentation,
        "torchvision": lambda: request.getfixturevalue("v2").ColorJitter(0.5, 0.5),
    }
    return made[request.param]()


def kornia_augmentation() -> nn.Module:
    kornia = pytest.importorskip("kornia.augmentation")
    found: nn.Module = kornia.AugmentationSequential(kornia.RandomRotation(30.0), kornia.ColorJitter(0.3, 0.3, p=1.0), data_keys=["input"])
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_each_image_gets_copies_of_its_own_kind_that_are_the_same_every_time(augmentation: Any, dtype: Any) -> None:  # noqa: ANN401
    batch = images(dtype=dtype)
    transform = as_transform(augmentation, copies=3, seed=5)
    made = transform.copies(batch)
    assert made.shape == (3, 3, 3, 8, 6)
    assert made.dtype == dtype
    np.testing.assert_array_equal(transform.copies(batch), made)
    np.testing.assert_array_equal(transform.copies(torch.from_numpy(batch)).numpy(), made)
    flat = made.reshape(9, -1)
    assert len(np.unique(flat, axis=0)) == 9  # each copy of each image is another draw
    assert not np.array_equal(as_transform(augmentation, copies=3, seed=6).copies(batch), made)


def test_copies_of_an_image_do_not_depend_on_what_else_is_in_the_batch(augmentation: Any) -> None:  # noqa: ANN401
    batch, transform = images(points=4), as_transform(augmentation, copies=2)
    made = transform.copies(batch)
    for kept in ([2], [3, 0], [1, 2, 3]):
        np.testing.assert_array_equal(transform.copies(batch[kept]), made[kept])


@pytest.mark.usefixtures("without_type_checks")  # which draw from Python's generator themselves
def test_the_generators_of_the_process_and_the_library_are_left_as_they_were(augmentation: Any) -> None:  # noqa: ANN401
    def drawn() -> list[float]:
        own = [augmentation.random_generator.random(), augmentation.py_random.random()] if isinstance(augmentation, Stateful) else []
        return [float(torch.rand(())), float(np.random.rand()), random.random(), *own]  # noqa: NPY002  (the global generators)

    def seeded() -> None:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002  (the global generator)
        random.seed(1)
        if isinstance(augmentation, Stateful):
            augmentation.set_random_state(np.random.default_rng(1), random.Random(1))

    seeded()
    expected = drawn()
    seeded()
    as_transform(augmentation).copies(images())
    assert drawn() == expected


def test_no_gradient_is_recorded_though_the_augmentation_has_parameters() -> None:
    batch = torch.from_numpy(images())
    assert draw(GivenShade(), batch, 0).requires_grad is False
    assert draw(GivenShade(), batch.requires_grad_(), 0).requires_grad is False


def test_a_transformation_by_tau_is_driven_by_uniform_taus() -> None:
    batch = torch.rand(400, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0 + 0.5
    brighter = BoundedTransformation.only(1, 4, 4, brightness=0.3)
    change = (draw(brighter, batch, 3) - batch)[:, 0, 0, 0] / 0.3
    expected = random_tau(400, 1, torch.Generator().manual_seed(0))[:, 0]
    assert -1 <= float(change.min()) < -0.98 < 0.98 < float(change.max()) <= 1
    assert abs(float(change.mean())) < 0.1
    assert float(change.std()) == pytest.approx(float(expected.std()), rel=0.1)


def test_a_module_on_floats_takes_bytes_and_rounds_to_the_nearest() -> None:
    class Half(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            assert batch.is_floating_point()
            return batch / 2

    batch = images(dtype=np.uint8)
    np.testing.assert_array_equal(as_transform(Half(), copies=1).copies(batch)[:, 0], np.rint(batch / 2))


def test_torchvision_sees_images_one_by_one_in_their_own_type(v2: ModuleType) -> None:
    posterize = v2.RandomPosterize(bits=2, p=1.0)
    batch = images(dtype=np.uint8)
    np.testing.assert_array_equal(as_transform(posterize, copies=1).copies(batch)[:, 0], batch & 0b11000000)
    composed = v2.Compose([v2.RandomHorizontalFlip(p=0.5), v2.RandomVerticalFlip(p=0.5)])
    made = as_transform(composed, copies=8).copies(batch)
    mirrored = [batch, batch[..., ::-1], batch[:, :, ::-1], batch[:, :, ::-1, ::-1]]
    for i in range(3):
        kinds = [next(kind for kind, all_ in enumerate(mirrored) if np.array_equal(copy, all_[i])) for copy in made[i]]
        assert len(set(kinds)) > 1


def test_albumentations_are_called_by_keyword() -> None:
    A = pytest.importorskip("albumentations", reason="albumentations is not installed")
    batch = images(dtype=np.uint8)
    transform = as_transform(A.Compose([A.RandomBrightnessContrast(p=1.0), A.HorizontalFlip()]), copies=3)
    made = transform.copies(batch)
    np.testing.assert_array_equal(transform.copies(batch), made)
    assert len(np.unique(made.reshape(9, -1), axis=0)) == 9


@pytest.mark.parametrize("channels", [1, 3])
def test_a_callable_by_keyword_may_drop_a_single_channel(channels: int) -> None:
    def flat(*, image: Images) -> dict[str, Images]:
        return {"image": image[..., 0] if image.shape[2] == 1 else image}

    batch = images(channels=channels)
    np.testing.assert_array_equal(as_transform(flat, copies=1).copies(batch)[:, 0], batch)


def test_a_drawn_transform_is_a_transform_like_any_other() -> None:
    drawn = as_transform(Shade(), copies=2, seed=1)
    assert isinstance(drawn, Transform)
    assert drawn.names == ("Shade-1", "Shade-2")
    assert len(Union(drawn, Flip())) == 3
    points = from_arrays(images(), [0, 1, 0])
    made = augment(points, [2, 0], Union(drawn, Flip()))
    assert made.origin.tolist() == [f"{i}#{name}" for i in (2, 0) for name in ("Shade-1", "Shade-2", "flip")]
    np.testing.assert_array_equal(made.images[0], drawn.copies(points.images[[2]])[0, 0])
    with pytest.raises(InputError, match="is no transform"):
        parse(drawn.spec, 8)


def test_a_transform_of_augurys_own_is_given_back() -> None:
    rotate = Rotate([-10, 10])
    assert as_transform(rotate) is rotate


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_the_same_integers_give_the_same_draw_and_others_another(first: int, second: int) -> None:
    batch = torch.from_numpy(images(points=1))
    one, other = draw(Shade(), batch, first, 7), draw(Shade(), batch, second, 7)
    assert torch.equal(one, draw(Shade(), batch, first, 7))
    assert torch.equal(one, other) == (first == second)


def applied(function: Callable[[Tensor], Any]) -> nn.Module:
    class Applied(nn.Module):
        def forward(self, batch: Tensor) -> Any:  # noqa: ANN401  (whatever it gives)
            return function(batch)

    return Applied()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda batch: batch[..., :4], r"Applied: it gave \(1, 3, 8, 4\) for images \(1, 3, 8, 6\); .*leave out what resizes"),
        (lambda batch: (batch - 0.5) / 0.1, "Applied: it gave pixels outside .* leave out what normalises"),
        (lambda batch: batch * torch.nan, "Applied: it gave pixels outside"),
        (lambda batch: [batch], "Applied: it gave list"),
        (lambda batch: (batch * 255).to(torch.uint8), "Applied: it gave torch.uint8; expected torch.float32"),
    ],
)
def test_what_is_no_image_of_the_same_shape_is_refused(function: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_transform(applied(function)).copies(images())


def test_interpolation_that_overshoots_is_cut_off() -> None:
    made = as_transform(applied(lambda batch: batch * 1.4 - 0.2), copies=1).copies(images())
    assert made.min() == 0
    assert made.max() == 1


def test_images_that_were_normalised_before_are_refused() -> None:
    with pytest.raises(InputError, match=r"pixels outside .* augment first and normalise afterwards"):
        as_transform(Shade()).copies(images() * 4 - 2)


def test_an_augmentation_in_evaluation_mode_is_refused_where_it_would_change_nothing() -> None:
    with pytest.raises(InputError, match=r"evaluation mode, in which it changes nothing; call train\(\)"):
        as_transform(GivenShade().eval()).copies(images())


@pytest.mark.usefixtures("without_type_checks")
def test_arguments_that_make_no_sense_are_refused() -> None:
    for wrong in (None, "rotate", 3, lambda batch: batch):
        with pytest.raises(InputError, match=r"transform: got .*; expected an Augury transform.* augury\.Custom"):
            as_transform(wrong)
    with pytest.raises(InputError, match="copies: got 0; expected a whole number, at least 1"):
        as_transform(Shade(), copies=0)
    with pytest.raises(InputError, match="seed: got -1; expected a whole number, at least 0"):
        as_transform(Shade(), seed=-1)
