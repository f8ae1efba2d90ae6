"""Every baseline keeps the contract of an augmentation of batches; each does what its name says, as independent libraries have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.nn import functional

from augury.errors import InputError
from augury.learned import BoundedTransformation, FieldTransformation
from augury.learned.baselines import (
    BASELINES,
    AdversarialTau,
    Apart,
    Heuristic,
    RandAugment,
    RandomCrop,
    RandomTau,
    Share,
    Then,
    TrivialAugment,
    Unchanged,
    named_baseline,
    random_affine,
    usual_before,
    usual_crop,
)
from augury.networks import seeded
from augury.training.augment import Augment, Moment

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 9, 12), (3, 17, 10)]


def classifier(channels: int, height: int, width: int) -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 3))


def moment(network: nn.Module | None = None, seed: int = 0) -> Moment:
    return Moment(network or nn.Identity(), 0, 1, torch.Generator().manual_seed(seed))


def pictures(points: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(points, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def labels_for(images: Tensor) -> Tensor:
    return torch.arange(len(images)) % 3


MAKERS: dict[str, Callable[[int, int, int], Augment]] = {
    **{name: lambda *shape, name=name: named_baseline(name, *shape) for name in BASELINES if name != "none"},
    "crop and flip": lambda *_: RandomCrop(3, flip=True, border="reflect"),
    "half": lambda *shape: named_baseline("random-tau", *shape, share=0.5),
    "heuristic alone": lambda channels, *_: Heuristic("cifar10" if channels == 3 else "mnist", length=5),
    "strong": lambda *_: RandAugment(3, 30),
    "trivial alone": lambda *_: TrivialAugment(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_every_baseline_keeps_the_contract(name: str, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    augment = MAKERS[name](*shape)
    assert isinstance(augment, Augment)
    network, images = classifier(*shape).to(dtype).train(), pictures(12, *shape, dtype=dtype)
    labels = labels_for(images)
    before = images.clone(), labels.clone(), torch.get_rng_state()
    made = augment(images, labels, moment(network))
    assert made.shape == images.shape
    assert made.dtype == dtype
    assert made.min() >= 0
    assert made.max() <= 1
    assert not made.requires_grad
    assert not torch.equal(made, images)
    assert torch.equal(augment(images, labels, moment(network)), made)  # the same generator, the same images
    assert not torch.equal(augment(images, labels, moment(network, seed=1)), made)
    for found, expected in zip((images, labels, torch.get_rng_state()), before, strict=True):
        assert torch.equal(found, expected)  # nothing else is touched


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_the_same_image_in_a_batch_has_draws_of_its_own_at_each_place(name: str, shape: tuple[int, int, int]) -> None:
    images = pictures(1, *shape).expand(32, -1, -1, -1)
    made = MAKERS[name](*shape)(images, torch.zeros(32, dtype=torch.int64), moment(classifier(*shape)))
    assert len({image.numpy().tobytes() for image in made}) >= 8


ZEROS: dict[str, Callable[[int, int, int], Augment]] = {
    "unchanged": lambda *_: Unchanged(),
    "none": lambda *shape: named_baseline("none", *shape),
    "no pixels": lambda *_: RandomCrop(0),
    "no functions": lambda *_: Heuristic("mnist", length=0),
    "no operations": lambda *_: RandAugment(n=0),
    "no share": lambda *_: Share(RandomCrop(2), 0),
    "no tau": lambda *shape: RandomTau(BoundedTransformation(*shape), share=0),
    "nothing twice": lambda *_: Then(RandomCrop(0), Unchanged()),
}


@pytest.mark.parametrize("name", ZEROS)
def test_settings_of_zero_are_the_identity(name: str) -> None:
    images = pictures(5, 1, 12, 9)
    assert torch.equal(ZEROS[name](1, 12, 9)(images, labels_for(images), moment()), images)


class Brighter:
    """Adds to each pixel, and notes whom it met."""

    def __init__(self, by: float) -> None:
        self.by = by
        self.met: list[tuple[list[int], list[int]]] = []

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        assert moment.chosen is not None
        self.met.append((labels.tolist(), moment.chosen.tolist()))
        return images + self.by


def test_the_first_points_and_the_rest_are_changed_apart() -> None:
    first, rest, images = Brighter(1), Brighter(2), torch.zeros(5, 1, 2, 2)
    chosen = torch.tensor([4, 0, 3, 9, 1])
    when = replace(moment(), chosen=chosen)
    made = Apart(3, first, rest)(images, chosen * 10, when)
    assert made[:, 0, 0, 0].tolist() == [2, 1, 2, 2, 1]
    assert (first.met, rest.met) == ([([0, 10], [0, 1])], [([40, 30, 90], [4, 3, 9])])
    assert torch.equal(images, torch.zeros(5, 1, 2, 2))
    assert Apart(0, first, rest)(images, chosen, when).unique().tolist() == [2]
    assert len(first.met) == 1  # nobody's turn
    with pytest.raises(InputError, match="moment: it does not tell which points the batch holds; give `chosen`"):
        Apart(3, first, rest)(images, chosen, moment())


def test_a_share_of_the_points_is_told_which_they_are() -> None:
    noted, chosen = Brighter(1), torch.arange(100, 140)
    made = Share(noted, 0.5)(torch.zeros(40, 1, 1, 1), chosen, replace(moment(), chosen=chosen))
    labels, numbers = noted.met[0]
    assert labels == numbers == chosen[made.flatten() > 0].tolist()
    assert 0 < len(numbers) < 40


def test_an_unknown_baseline_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="baseline: 'mixup' is unknown; expected one of none, crop, affine, heuristic, randaugment"):
        named_baseline("mixup", 1, 28, 28)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(-1), "pixels: -1; expected a whole number, at least 0"),
        (lambda: RandomCrop(1, border="torn"), "border: 'torn' is unknown"),
        (lambda: RandomCrop(9)(pictures(2, 1, 9, 12), torch.tensor([0, 1]), moment()), "pixels: 9 is too far for images of 9 x 12"),
        (lambda: Share(Unchanged(), 1.5), "share: 1.5; expected a share of the images, from 0"),
        (lambda: RandomTau(BoundedTransformation(1, 8, 8), share=-0.5), "share: -0.5"),
        (lambda: AdversarialTau(BoundedTransformation(1, 8, 8), draws=0), "draws: 0; expected at least 1"),
        (lambda: Heuristic("mnist", length=-1), "length: -1; expected at least 0"),
        (lambda: Heuristic("svhn"), "functions: 'svhn'; expected one of mnist, cifar10"),
        (lambda: Heuristic("cifar10")(pictures(2, 1, 9, 9), torch.tensor([0, 1]), moment()), "images: 1 channels; .* choose mnist"),
        (lambda: RandAugment(n=-1), "n: -1; expected how many operations"),
        (lambda: RandAugment(m=31), "m: 31; expected a strength from 0 to 30"),
    ],
)
def test_senseless_settings_are_refused(make: Callable[[], Any], message: str, without_type_checks: None) -> None:
    with pytest.raises(InputError, match=message):
        make()


# Crops


BORDERS = {"edge": "edge", "reflect": "reflect", "zeros": "constant"}  # and numpy's names


@given(pixels=st.integers(0, 5), border=st.sampled_from(list(BORDERS)), flip=st.booleans())
def test_a_random_crop_is_a_window_of_the_padded_image(pixels: int, border: str, flip: bool) -> None:  # noqa: FBT001  (hypothesis draws it)
    images = pictures(6, 2, 7, 8)
    made = RandomCrop(pixels, flip=flip, border=border)(images, labels_for(images), moment())
    for image, found in zip(images.numpy(), made.numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (pixels, pixels), (pixels, pixels)), mode=BORDERS[border])  # type: ignore[call-overload]
        windows = np.lib.stride_tricks.sliding_window_view(padded, image.shape)[0].reshape(-1, *image.shape)
        mirrored = windows[..., ::-1] if flip else windows
        assert any(np.array_equal(window, found) for window in (*windows, *mirrored))


def test_all_crops_and_mirror_images_are_equally_likely() -> None:
    image = torch.arange(25.0).view(1, 1, 5, 5) / 25
    made = RandomCrop(1, flip=True)(image.expand(9000, -1, -1, -1), torch.zeros(9000, dtype=torch.int64), moment())
    _, counts = np.unique(made.flatten(1).numpy(), axis=0, return_counts=True)
    assert len(counts) == 18
    assert abs(counts - 500).max() < 5 * np.sqrt(500)


def test_the_usual_crop_is_2_pixels_for_mnist_and_4_with_flip_for_cifar() -> None:
    assert usual_crop(1, 28, 28) == RandomCrop(2)
    assert usual_crop(3, 32, 32) == RandomCrop(4, flip=True)


def test_what_was_learned_comes_after_trivialaugment_for_photographs_alone() -> None:
    assert usual_before(3) == "trivialaugment"
    assert usual_before(1) == usual_before(4) == "crop"


def test_rows_differ_in_what_comes_after_the_usual_crop() -> None:
    for name in BASELINES[2:]:
        augment = named_baseline(name, 1, 28, 28, share=0.8)
        assert isinstance(augment, Then)
        assert augment.first == usual_crop(1, 28, 28) == named_baseline("crop", 1, 28, 28)
        assert isinstance(augment.second, Share)


# Shares and taus


def test_a_share_changes_so_many_images_and_leaves_the_others() -> None:
    images = pictures(4000, 1, 4, 4)
    made = Share(BlackOut(), 0.3)(images, labels_for(images), moment())
    changed = (made == 0).all(dim=(1, 2, 3))
    assert torch.equal(made[~changed], images[~changed])
    assert abs(int(changed.sum()) - 1200) < 5 * np.sqrt(4000 * 0.3 * 0.7)


class BlackOut:
    """Black images; the labels it meets must be those of its images."""

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        assert len(images) == len(labels)
        return torch.zeros_like(images)


def test_then_applies_the_second_to_what_the_first_gives() -> None:
    images = pictures(8, 1, 9, 9)
    labels, shared, apart = labels_for(images), moment(), moment()
    first, second = RandomCrop(1), RandomTau(BoundedTransformation(1, 9, 9))
    assert torch.equal(Then(first, second)(images, labels, shared), second(first(images, labels, apart), labels, apart))


def test_random_tau_is_the_transformation_at_a_uniform_tau() -> None:
    transformation = Recorder()
    images = pictures(3000, 1, 2, 2)
    RandomTau(transformation)(images, labels_for(images), moment())
    (tau,) = transformation.taus
    assert tau.shape == (3000, 4)
    assert_allclose(np.sort(tau.numpy(), axis=0), np.linspace(-1, 1, 3000)[:, None].repeat(4, 1), atol=0.08)  # Kolmogorov and Smirnov
    assert abs(np.corrcoef(tau.numpy().T) - np.eye(4)).max() < 0.1


class Recorder:
    """A transformation that adds the first component of tau to each image, and remembers the taus."""

    tau_size = 4

    def __init__(self) -> None:
        self.taus: list[Tensor] = []

    def __call__(self, images: Tensor, tau: Tensor) -> Tensor:
        self.taus.append(tau)
        return images + tau[:, :1, None, None]


def test_what_a_transformation_gives_beyond_black_and_white_is_cut_off() -> None:
    images = pictures(50, 1, 2, 2)
    for augment in (RandomTau(Recorder()), AdversarialTau(Recorder(), draws=1)):
        made = augment(images, labels_for(images), moment(Slope()))
        assert made.min() == 0
        assert made.max() == 1


class Slope(nn.Module):
    """Scores of three classes: minus, plus and zero times the image's mean, with dropout and batch norm that evaluation mode turns off."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        mean = self.dropout(self.norm(images)).mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean, 0 * mean], dim=1)


def test_adversarial_tau_takes_the_draw_of_largest_loss_in_evaluation_mode() -> None:
    transformation, network = Recorder(), Slope()
    images, labels = pictures(40, 1, 4, 4) / 10 + 0.45, torch.arange(40) % 2
    made = AdversarialTau(transformation, draws=5)(images, labels, moment(network))
    added = transformation.taus[0][:, 0].view(40, 5)
    worst = torch.where(labels == 0, added.max(dim=1).values, added.min(dim=1).values)  # brighter images cost class 0, darker ones class 1
    expected = (images + worst[:, None, None, None]).clamp(0, 1)
    losses = [functional.cross_entropy(network.eval()(candidate), labels, reduction="none") for candidate in (made, expected)]
    assert_allclose(losses[0], losses[1], atol=1e-6)  # equal losses, where two draws go beyond white
    assert float((made - expected).abs().flatten(1).max(dim=1).values.median()) == 0


def test_adversarial_tau_leaves_modes_statistics_and_gradients_of_the_network_as_they_were() -> None:
    network = Slope().train()
    network.dropout.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = pictures(8, 1, 4, 4).requires_grad_()
    made = AdversarialTau(BoundedTransformation(1, 4, 4))(images, torch.zeros(8, dtype=torch.int64), moment(network))
    assert (network.training, network.norm.training, network.dropout.training) == (True, True, False)
    assert not made.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_random_affine_moves_straight_lines_to_straight_lines_and_keeps_colours() -> None:
    transformation = random_affine(3, 24, 24).transformation
    assert isinstance(transformation, BoundedTransformation)
    assert transformation.names == ("rotation", "scale", "shear", "shift_x", "shift_y")


def test_a_training_tells_bounds_and_weights_of_transformations_apart() -> None:
    told = {repr(RandomTau(BoundedTransformation(1, 12, 12, rotation=degrees))) for degrees in (10, 20)}
    told |= {repr(RandomTau(FieldTransformation(1, 12, 12, seed=seed))) for seed in (0, 1)}
    assert len(told) == 4
    assert repr(FieldTransformation(1, 12, 12, seed=0)) == repr(FieldTransformation(1, 12, 12, seed=0))
