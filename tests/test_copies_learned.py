"""Copies whose pixels were learned, in one pool with those of other transformations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import augury
from augury import transforms
from augury.copies import CopyOrdering, choose_copies
from augury.experiment import run
from augury.head import SoftmaxHead
from augury.learned import BoundedTransformation, LearnedAugmentation, TauDistribution
from augury.learned.copies import READERS

KINDS = 4 + 2  # shifts, and draws of what was learned


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shifts, and draws of an augmentation that changes brightness."""
    G = BoundedTransformation(1, 8, 8, flow=0, brightness=0.3)
    E = TauDistribution(1, 8, 8, tau_size=G.tau_size, conditional=False, seed=0)
    generator = torch.Generator().manual_seed(0)
    for weight in E.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    file = LearnedAugmentation(G, E, share=0.5).save(tmp_path_factory.mktemp("learned") / "augmentation.safetensors")
    return f"translate:1,learned:{file}:2"


def test_learned_copies_are_chosen_and_written_beside_shifts(text: str, tmp_path: Path) -> None:
    job = {"data": "digits", "classes": "3,8", "first": 60, "epochs": 2, "seeds": 1, "curve": False}
    found = run(**job, transform=text, unit="copies", budget="20%", out=tmp_path / "run")
    assert isinstance(found.ordering, CopyOrdering)
    assert len(found.ordering) == 60 * KINDS
    chosen = found.ordering.copy[: len(found.ordering.selected)]
    assert (chosen < 4).any()
    assert (chosen >= 4).any()
    train = augury.load("digits").only(["3", "8"]).first(60)
    transform = transforms.parse(text, 8, READERS)
    listing = pd.read_parquet(found.folder / "copies.parquet")
    names = [f"{train.origin[i]}#{transform.names[j]}" for i, j in zip(found.ordering.point, found.ordering.copy, strict=True)]
    assert listing["origin"].tolist() == names[: len(chosen)]


def test_learned_copies_listed_after_all_shifts_are_chosen_as_in_one_grid(text: str) -> None:
    train = augury.load("digits").only(["3", "8"]).first(80)
    X = train.images.reshape(80, 64).astype(np.float64)
    copies = transforms.parse(text, 8, READERS).copies(train.images).reshape(80, KINDS, 64).astype(np.float64)
    head = SoftmaxHead().fit(X, train.labels)
    grid = choose_copies(head, (X, train.labels), copies, weight=1)
    places = np.concatenate([np.arange(80 * KINDS).reshape(80, KINDS)[:, kinds].ravel() for kinds in (slice(4), slice(4, KINDS))])
    point = places // KINDS
    listed = choose_copies(head, (X, train.labels), (copies.reshape(-1, 64)[places], train.labels[point], point), weight=1)
    np.testing.assert_array_equal(places[listed.candidates[:40]], grid.candidates[:40])
    np.testing.assert_allclose(listed.loss, grid.loss, rtol=1e-3)
