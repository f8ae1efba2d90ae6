"""A learned augmentation as a transform: its copies, its text, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from augury import data, transforms
from augury.errors import InputError
from augury.experiment import RunConfig, augment_data, load_selection, run
from augury.learned import AugmentationNetwork, BoundedTransformation, LearnedAugmentation, LearnedCopies, TauDistribution
from augury.learned.copies import READERS
from augury.transforms import Compose, Flip, Transform, Union

SMALL: dict[str, Any] = {"flow": 0, "brightness": 0.3}


def made(*, conditional: bool = False, dropout: float | None = None, seed: int = 0, share: float = 0.5) -> LearnedAugmentation:
    """Something learned: a network whose weights are drawn."""
    G = BoundedTransformation(1, 8, 8, **SMALL)
    if dropout is not None:
        return LearnedAugmentation(G, AugmentationNetwork(1, 8, 8, tau_size=G.tau_size, dropout=dropout, seed=seed), share=share)
    E = TauDistribution(1, 8, 8, tau_size=G.tau_size, conditional=conditional, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for weight in E.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    return LearnedAugmentation(G, E, share=share)


@pytest.fixture
def images() -> np.ndarray:
    return data.load("digits").first(12).images


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return made().save(tmp_path / "augmentation.safetensors")


def read(text: str, size: int = 8) -> Transform:
    return transforms.parse(text, size, READERS)


@pytest.mark.parametrize("kind", [{}, {"conditional": True}, {"dropout": 0.5}])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
def test_copies_are_of_the_images_kind_and_have_the_same_bits_whatever_else_is_there(
    images: np.ndarray, kind: dict[str, Any], dtype: str
) -> None:
    given = np.rint(images * 255).astype(np.uint8) if dtype == "uint8" else images.astype(dtype)
    transform = LearnedCopies(made(**kind), copies=3, seed=5)
    copies = transform.copies(given)
    assert copies.shape == (12, 3, 1, 8, 8)
    assert copies.dtype == given.dtype
    order = np.random.default_rng(0).permutation(12)
    assert np.array_equal(transform.copies(given[order]), copies[order])
    assert np.array_equal(np.concatenate([transform.copies(given[i : i + 1]) for i in range(12)]), copies)
    assert np.array_equal(transform.copies(torch.from_numpy(given)).numpy(), copies)


def test_every_copy_is_changed_and_no_two_of_an_image_are_alike(images: np.ndarray) -> None:
    copies = LearnedCopies(made(share=0.01), copies=4).copies(images)
    everything = np.concatenate([images[:, None], copies], axis=1).reshape(12, 5, -1)
    for pictures in everything:
        assert len(np.unique(pictures, axis=0)) == 5


def test_over_many_images_the_draws_are_distributed_as_was_learned() -> None:
    G = BoundedTransformation.only(1, 8, 8, brightness=0.25)
    E = TauDistribution(1, 8, 8, tau_size=1, widths=True)
    E.shared.data = torch.tensor([[0.35], [-0.325]])  # the parameters are about e^1 and e^0.3
    greys = np.linspace(0.3, 0.7, 1500, dtype=np.float32)
    images = np.broadcast_to(greys[:, None, None, None], (1500, 1, 8, 8)).copy()
    taus = (LearnedCopies(LearnedAugmentation(G, E), copies=2).copies(images) - images[:, None]).mean(axis=(2, 3, 4)) / 0.25
    a, b = E.parameters_of(torch.from_numpy(images[:1]))[:, 0, 0].tolist()
    for copy in taus.T:
        assert stats.kstest((copy + 1) / 2, stats.beta(a, b).cdf).pvalue > 0.01
    assert abs(np.corrcoef(taus.T)[0, 1]) < 0.08  # 3 deviations; the copies of an image are drawn apart


def test_another_seed_gives_other_copies_and_the_same_one_the_same(images: np.ndarray) -> None:
    first, again, other = (LearnedCopies(made(), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert hash(first) == hash(again)
    assert first != other
    assert np.array_equal(first.copies(images), again.copies(images))
    assert not np.array_equal(first.copies(images), other.copies(images))


def test_the_augmentation_keeps_its_mode_and_copies_do_not_depend_on_it(images: np.ndarray) -> None:
    augmentation = made(dropout=0.5)
    expected = LearnedCopies(augmentation).copies(images)
    augmentation.eval()
    assert np.array_equal(LearnedCopies(augmentation).copies(images), expected)
    assert not augmentation.training


def test_a_text_names_it_and_its_own_text_names_the_same(file: Path, images: np.ndarray) -> None:
    found = read(f"learned:{file}:2:7")
    assert isinstance(found, Transform)
    assert found == LearnedCopies(made(), 2, 7)
    assert found.names == ("learned(1)", "learned(2)")
    assert read(found.spec) == found
    assert len(read(f"learned:{file}")) == 4
    both = read(f"learned:{file}:2+flip,flip")
    assert both == Union(Compose(LearnedCopies(made(), 2), Flip()), Flip())
    assert both.copies(images).shape == (12, 3, 1, 8, 8)


def test_a_name_with_spaces_and_commas_stands_in_quotes(file: Path) -> None:
    odd = file.rename(file.with_name("my own, (first)+.safetensors"))
    found = read(f'learned:"{odd}":2')
    assert read(found.spec) == found
    assert f'"{odd}"' in found.spec


def test_a_text_that_knows_another_augmentation_is_refused(file: Path) -> None:
    spec = read(f"learned:{file}:2").spec
    made(seed=1).save(file)
    with pytest.raises(InputError, match="holds another augmentation"):
        read(spec)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learned", "cannot be read; expected learned:FILE"),
        ("learned:{file}:x", "cannot be read; expected learned:FILE"),
        ("learned:{file}:0", "copies: 0; expected a whole number, at least 1"),
        ("learned:nowhere.safetensors", "nowhere.safetensors: no such file"),
        ("learnt:{file}", "is no transform; expected translate, rotate, crop, flip, learned"),
    ],
)
def test_a_text_that_names_nothing_is_refused(file: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read(text.format(file=file))


def test_images_of_another_size_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match="learned: for images of 8 x 8 pixels, and these have 28 x 28"):
        read(f"learned:{file}", size=28)


def test_copies_that_would_all_be_the_same_are_refused(images: np.ndarray) -> None:
    with pytest.raises(InputError, match="copies: 4, and this augmentation makes one image of each, always the same"):
        LearnedCopies(made(dropout=0.0))
    assert LearnedCopies(made(dropout=0.0), copies=1).copies(images).shape == (12, 1, 1, 8, 8)


def test_without_its_reader_the_name_is_unknown(file: Path) -> None:
    with pytest.raises(InputError, match="is no transform"):
        transforms.parse(f"learned:{file}", 8)


@pytest.mark.parametrize("unit", ["points", "copies"])
def test_selection_and_a_learned_augmentation_combine(file: Path, tmp_path: Path, unit: str) -> None:
    settings: dict[str, Any] = {"data": "digits", "first": 60, "classes": ("3", "8"), "epochs": 2, "unit": unit, "seeds": 2, "budget": 6}
    found = run(**settings, transform=f"learned:{file}:2", out=tmp_path / "run")
    assert found.curve is not None
    assert found.config["transform"] == LearnedCopies(made(), 2, file=file).spec
    chosen = {"points": 12, "copies": 6}[unit]
    assert len(list((tmp_path / "run" / "augmented").rglob("*.png"))) == chosen
    selection = load_selection(tmp_path / "run" / "selection.parquet")
    config = RunConfig(**{name: settings[name] for name in ("data", "first", "classes", "unit")}, transform=f"learned:{file}:2")
    augment_data(config, selection, out=tmp_path / "alone.npz")
    with np.load(tmp_path / "alone.npz") as arrays:
        assert len(arrays["images"]) == chosen


def test_a_run_with_another_augmentation_in_the_same_file_is_refused(file: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data": "digits", "first": 60, "classes": ("3", "8"), "epochs": 1, "curve": False, "copies": "none"}
    run(**settings, transform=f"learned:{file}:1", out=tmp_path / "run")
    made(seed=1).save(file)
    with pytest.raises(InputError, match="holds a run with transform = "):
        run(**settings, transform=f"learned:{file}:1", out=tmp_path / "run")
