"""The functions and operations of the baselines are what independent libraries have under the same names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import PIL
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter
from skimage import color, morphology
from skimage.transform import rotate, swirl
from torch import Tensor, nn

from augury.learned.baselines import Heuristic, RandAugment, TrivialAugment
from augury.learned.baselines.automatic import OPERATIONS
from augury.learned.baselines.functions import PIXELWISE, SETS, Function, elastic_flow, flow_of
from augury.learned.warp import warp
from augury.training.augment import Moment


def moment() -> Moment:
    return Moment(nn.Identity(), 0, 1, torch.Generator().manual_seed(0))


def pictures(points: int, *shape: int) -> Tensor:
    return torch.rand(points, *shape, generator=torch.Generator().manual_seed(1))


def test_the_sets_are_the_25_and_33_functions_of_the_code() -> None:
    assert len(set(SETS["mnist"])) == len(SETS["mnist"]) == 25
    assert len(set(SETS["cifar10"])) == len(SETS["cifar10"]) == 33


def warped(function: Function, image: np.ndarray) -> np.ndarray:
    """One grey image through a warp."""
    flow = flow_of(function, *image.shape)
    return warp(torch.from_numpy(image)[None, None], flow[None].double())[0, 0].numpy()


def smooth_picture(height: int = 28, width: int = 28) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(0).random((height, width)), 2) * 4 - 1.5


@pytest.mark.parametrize("degrees", [2.5, -10, 90])
def test_a_rotation_is_scikit_images(degrees: float) -> None:
    image = smooth_picture()
    assert_allclose(warped(Function("rotate", degrees), image), rotate(image, degrees, mode="edge", order=1), atol=1e-4)


@pytest.mark.parametrize("strength", [0.4, -0.1, 2.0])
def test_a_swirl_is_scikit_images(strength: float) -> None:
    image = smooth_picture()
    assert_allclose(warped(Function("swirl", strength), image), swirl(image, strength=strength, radius=100, mode="edge"), atol=1e-4)


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.75, 1.25])
def test_a_zoom_reads_the_picture_nearer_to_or_further_from_its_centre(factor: float) -> None:
    rows, columns = np.mgrid[:29, :33].astype(np.float64)
    assert_allclose(warped(Function("zoom", factor), rows), (14 + (rows - 14) / factor).clip(0, 28), atol=1e-4)
    assert_allclose(warped(Function("zoom", factor), columns), (16 + (columns - 16) / factor).clip(0, 32), atol=1e-4)


def test_a_shear_is_that_of_scikit_image_as_it_was_then_about_the_centre() -> None:
    rows, columns = np.mgrid[:21, :61].astype(np.float64)
    for angle in (0.4, -0.25):
        source = 30 + (columns - 30) - np.sin(angle) * (rows - 10)
        assert_allclose(warped(Function("shear", angle), columns), source.clip(0, 60), atol=1e-4)
        assert_allclose(warped(Function("shear", angle), rows), 10 + np.cos(angle) * (rows - 10), atol=1e-4)


def test_an_elastic_deformation_is_uniform_noise_smoothed_by_scipy() -> None:
    noise = 2 * torch.rand(2, 12, 15, generator=torch.Generator().manual_seed(3)) - 1
    flow = elastic_flow(1.5, 12, 15, torch.Generator().manual_seed(3))
    expected = [1.5 * gaussian_filter(part, 1, mode="constant", cval=0) for part in noise.numpy()]
    assert_allclose(flow, expected, atol=1e-5)


def test_erosion_and_dilation_are_scikit_images() -> None:
    image = pictures(1, 1, 12, 9)
    nothing = torch.zeros(1)
    assert_allclose(PIXELWISE["erode"](image, nothing)[0, 0], morphology.erosion(image[0, 0].numpy()))
    assert_allclose(PIXELWISE["dilate"](image, nothing)[0, 0], morphology.dilation(image[0, 0].numpy()))


@pytest.mark.parametrize("turn", [0.1, -0.25, 1 / 3])
def test_a_turned_hue_is_scikit_images_in_hsv(turn: float) -> None:
    pure = torch.eye(3)[:, :, None, None].expand(-1, -1, 8, 8)
    images = torch.cat([pictures(1, 3, 8, 8), pictures(1, 1, 8, 8).expand(-1, 3, -1, -1), pure])
    hsv = color.rgb2hsv(images.double().numpy(), channel_axis=1)
    hsv[:, 0] = (hsv[:, 0] + turn) % 1
    assert_allclose(PIXELWISE["hue"](images, torch.full((5,), turn)), color.hsv2rgb(hsv, channel_axis=1), atol=1e-5)


def pillow(image: Tensor) -> Image.Image:
    pixels = (255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if len(image) == 1 else pixels)


def bytes_of(points: int, *shape: int) -> Tensor:
    """Images whose pixels are whole grey levels."""
    return (255 * pictures(points, *shape)).round() / 255


def in_levels(image: Tensor) -> np.ndarray:
    levels: np.ndarray = 255 * image.permute(1, 2, 0).double().numpy()
    return levels


ENHANCEMENTS = {"contrast": ImageEnhance.Contrast, "brightness": ImageEnhance.Brightness, "colour": ImageEnhance.Color}


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.25, 1.5])
@pytest.mark.parametrize("kind", ENHANCEMENTS)
def test_enhancements_are_pillows(kind: str, factor: float) -> None:
    images = bytes_of(3, 3, 8, 9)
    made = PIXELWISE[kind](images, torch.full((3,), factor))
    for image, found in zip(images, made, strict=True):
        assert_allclose(in_levels(found), np.asarray(ENHANCEMENTS[kind](pillow(image)).enhance(factor)), atol=1.6)  # Pillow rounds twice


@pytest.mark.parametrize("name", SETS)
def test_a_sequence_of_one_is_one_of_the_functions(name: str) -> None:
    images = pictures(1, 3, 10, 12).expand(400, -1, -1, -1)
    made = Heuristic(name, length=1)(images, torch.zeros(400, dtype=torch.int64), moment())
    found = np.unique(made.flatten(1).numpy(), axis=0)
    fixed = [function for function in SETS[name] if function.kind != "elastic"]
    expected = torch.cat([alone(function, images[:1]) for function in fixed]).flatten(1)
    distances = np.abs(found[:, None] - expected.numpy()).max(axis=2)
    assert (distances.min(axis=0) < 1e-6).all()  # each function is among them
    if name == "cifar10":
        assert (distances.min(axis=1) < 1e-6).all()  # and nothing else


def alone(function: Function, images: Tensor) -> Tensor:
    if function.kind in PIXELWISE:
        return PIXELWISE[function.kind](images, torch.tensor([function.amount]))
    return warp(images, flow_of(function, *images.shape[2:])[None])


def test_functions_follow_each_other_and_are_drawn_with_replacement() -> None:
    image = torch.zeros(1, 1, 31, 31)
    image[0, 0, 15, 15] = 1
    made = Heuristic("mnist", length=40)(image.expand(50, -1, -1, -1), torch.zeros(50, dtype=torch.int64), moment())
    assert (made.sum(dim=(1, 2, 3)) == 0).any()  # the first erosion removes the only bright pixel


# RandAugment's operations, against Pillow, for which they were written


def operated(name: str, images: Tensor, strength: float) -> Tensor:
    return OPERATIONS[name](images, torch.full((len(images),), float(strength)))


OF_PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, _: image,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "solarize": lambda image, strength: ImageOps.solarize(image, int(np.ceil(256 * (1 - abs(strength)) - 1e-3))),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    "color": lambda image, strength: ImageEnhance.Color(image).enhance(1 + 0.9 * strength),
    "contrast": lambda image, strength: ImageEnhance.Contrast(image).enhance(1 + 0.9 * strength),
    "brightness": lambda image, strength: ImageEnhance.Brightness(image).enhance(1 + 0.9 * strength),
    "sharpness": lambda image, strength: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * strength),
    "shear-x": lambda image, strength: affine(image, (1, -0.3 * strength, 0, 0, 1, 0)),
    "shear-y": lambda image, strength: affine(image, (1, 0, 0, -0.3 * strength, 1, 0)),
    "translate-x": lambda image, strength: affine(image, (1, 0, -strength * image.width * 10 / 32, 0, 1, 0)),
    "translate-y": lambda image, strength: affine(image, (1, 0, 0, 0, 1, -strength * image.height * 10 / 32)),
    "rotate": lambda image, strength: image.rotate(30 * strength, Image.Resampling.BILINEAR),
}
WARPS = ("rotate", "shear-x", "shear-y", "translate-x", "translate-y")


def affine(image: Image.Image, back: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [-1, -0.3, 0, 0.5, 1])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_pillows(name: str, strength: float, channels: int) -> None:
    if name == "contrast" and channels == 1 and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow changed the contrast of grey images in its version 13")
    images = bytes_of(3, channels, 16, 16)
    if name in WARPS:  # smooth, for Pillow shears about a corner half a pixel away
        smooth = torch.from_numpy(np.stack([smooth_picture(16, 16), smooth_picture(16, 16).T, smooth_picture(16, 16)[::-1]]))
        images = (255 * smooth[:, None].float().clamp(0, 1).expand(-1, channels, -1, -1)).round() / 255
    made = operated(name, images, strength)
    for image, found in zip(images, made, strict=True):
        expected = np.asarray(OF_PILLOW[name](pillow(image), strength)).reshape(16, 16, channels).astype(float)
        differences = np.abs(in_levels(found) - expected)
        if name in WARPS:
            assert np.median(differences) < 6
            opposite = np.asarray(OF_PILLOW[name](pillow(image), -strength)).reshape(16, 16, channels)
            assert strength == 0 or np.median(differences) < np.median(np.abs(in_levels(found) - opposite)) / 3
        else:
            assert differences.max() <= 1.6


@pytest.fixture
def strengths(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """The strengths with which each operation is called, instead of what it does."""
    called: dict[str, list[float]] = {name: [] for name in OPERATIONS}

    def recording(name: str) -> Callable[[Tensor, Tensor], Tensor]:
        def record(images: Tensor, strengths: Tensor) -> Tensor:
            called[name] += strengths.tolist()
            return images

        return record

    for name in OPERATIONS:
        monkeypatch.setitem(OPERATIONS, name, recording(name))
    return called


def test_trivial_augments_operations_strengths_and_signs_are_uniform(strengths: dict[str, list[float]]) -> None:
    TrivialAugment()(torch.zeros(14_000, 1, 1, 1), torch.zeros(14_000, dtype=torch.int64), moment())
    assert len(strengths) == 14
    assert max(abs(len(found) - 1000) for found in strengths.values()) < 5 * np.sqrt(1000)
    levels, counts = np.unique(np.round(30 * np.concatenate(list(strengths.values())), 4), return_counts=True)
    assert_allclose(levels, np.arange(-30, 31))
    share = np.where(levels == 0, 2, 1) / 62  # 31 strengths and two signs, which nothing has no use for
    assert (abs(counts - 14_000 * share) < 5 * np.sqrt(14_000 * share)).all()


def test_rand_augment_draws_every_operation_anew_at_one_strength(strengths: dict[str, list[float]]) -> None:
    RandAugment(n=3, m=15)(torch.zeros(7000, 1, 1, 1), torch.zeros(7000, dtype=torch.int64), moment())
    assert max(abs(len(found) - 1500) for found in strengths.values()) < 5 * np.sqrt(1500)
    found = np.concatenate(list(strengths.values()))
    assert set(found) == {-0.5, 0.5}
    assert abs(found.sum()) < 5 * 0.5 * np.sqrt(21_000)


def test_autocontrast_leaves_an_even_picture_alone() -> None:
    images = torch.full((2, 3, 8, 8), 0.3)
    assert torch.equal(operated("autocontrast", images, 1), images)
