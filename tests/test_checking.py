"""Predicted against measured: the effect of augmented batches on a target's loss."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from augury import data
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.learned import BoundedTransformation, LearnedAugmentation, TauDistribution, check_predictions
from augury.learned.baselines import usual_crop
from augury.model import Model
from augury.networks import build
from augury.training import TrainingConfig, train

POINTS = data.load("digits").only(["3", "5", "8"]).first(160)
TRAIN, TARGET = POINTS.split(0.4, 0)


def augmentation(**bounds: float) -> LearnedAugmentation:
    G = BoundedTransformation.only(1, 8, 8, **bounds) if bounds else BoundedTransformation(1, 8, 8)
    return LearnedAugmentation(G, TauDistribution(1, 8, 8, tau_size=G.tau_size), share=0.5)


class Pixels(nn.Module):
    """The pixels themselves as features."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear(images.flatten(1))
        return scores


PIXELS = Pixels()


@pytest.mark.parametrize("effect", ["add", "replace"])
def test_small_batches_do_what_was_predicted(effect: Literal["add", "replace"]) -> None:
    found = check_predictions(PIXELS, TRAIN, TARGET, augmentation(), effect=effect, batches=40, batch=4, C=0.01)
    assert found.shape == (40, 2)
    assert found.corr().iloc[0, 1] > 0.97
    assert np.polyfit(found["predicted"], found["measured"], 1)[0] == pytest.approx(1, abs=0.15)


def test_measured_is_the_change_of_the_mean_loss_after_an_independent_refit() -> None:
    same = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0, "flow": 0, "contrast": 0, "brightness": 1e-9}
    found = check_predictions(PIXELS, TRAIN, TARGET, augmentation(**same), batches=3, batch=5, C=0.1, seed=4)
    X, y, Xt, yt = (part.reshape(len(part), -1).astype(np.float64) for part in (TRAIN.images, TRAIN.labels, TARGET.images, TARGET.labels))
    y, yt = y[:, 0].astype(int), yt[:, 0].astype(int)

    def loss(rows: np.ndarray) -> float:
        head = SoftmaxHead(C=0.1, tol=1e-12).fit(X[rows], y[rows])
        return float(-np.log(head.predict_proba(Xt)[np.arange(len(yt)), yt]).mean())

    for number in range(3):
        twice = np.random.default_rng((4, number)).permutation(len(X))[:5]  # images that are not changed come in once more
        assert found["measured"][number] == pytest.approx(loss(np.r_[np.arange(len(X)), twice]) - loss(np.arange(len(X))), rel=1e-5)


def test_images_replaced_by_themselves_change_nothing() -> None:
    same = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0, "flow": 0, "contrast": 0, "brightness": 1e-9}
    found = check_predictions(PIXELS, TRAIN, TARGET, augmentation(**same), effect="replace", batches=3, batch=5)
    assert np.abs(found.to_numpy()).max() < 1e-8


def test_a_fitted_network_of_many_features_is_checked_along_its_principal_directions() -> None:
    network = build("strided", channels=1, height=16, width=16, classes=3, seed=0)
    large = TRAIN.images.repeat(2, axis=2).repeat(2, axis=3)
    points, target = (
        (type(TRAIN)(images, part.labels, part.classes, part.origin))
        for images, part in ((large, TRAIN), (TARGET.images.repeat(2, axis=2).repeat(2, axis=3), TARGET))
    )
    train(network.module, points.images, points.labels, config=TrainingConfig(15, 32), augment=usual_crop(1, 16, 16))
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    G = BoundedTransformation(1, 16, 16)
    learned = LearnedAugmentation(G, TauDistribution(1, 16, 16, tau_size=G.tau_size)).eval()
    found = check_predictions(network, points, target, learned, batches=12, batch=2)
    assert found.corr().iloc[0, 1] > 0.98
    assert np.polyfit(found["predicted"], found["measured"], 1)[0] == pytest.approx(1, abs=0.2)
    assert not learned.training
    assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())
    again = check_predictions(Model.of(network), points, target, learned, batches=12, batch=2)
    assert again.equals(found)


def test_another_seed_draws_other_batches() -> None:
    first, again, other = (check_predictions(PIXELS, TRAIN, TARGET, augmentation(), batches=3, batch=2, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"batches": 2}, "batches: 2; expected at least 3"),
        ({"batch": 1000}, "batch: 1000 of 96 training points; expected 1 to 96"),
        ({"batch": 0}, "batch: 0 of 96 training points"),
        ({"C": 0.0}, "C: got 0.0; expected a positive number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        check_predictions(PIXELS, TRAIN, TARGET, augmentation(), **settings)


def test_a_network_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(InputError, match="model: it has no linear layer"):
        check_predictions(nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()), TRAIN, TARGET, augmentation())
