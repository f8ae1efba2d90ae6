"""E taught by whole batches: agreements by hand, what becomes likely, and what stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from augury.errors import InputError
from augury.learned import BoundedTransformation, TauDistribution, TeachingConfig
from augury.learned.baselines import Unchanged
from augury.learned.classifier import Classifier
from augury.learned.learn import Taught
from augury.learned.population import FLOOR, NEWER, PopulationTeacher
from augury.learned.teachers import teacher
from augury.learned.teaching import Goal
from augury.training import Moment, TrainingConfig, train
from test_learned_teaching import NOTHING, batch, digits, goal, moment, network, shifts

POINTS = 60
SETTINGS: dict[str, Any] = {"rule": "population", "draws": 16, "every": 1, "warmup": 0.0, "learning_rate": 0.3}


def distribution(tau_size: int = 2, **settings: Any) -> TauDistribution:  # noqa: ANN401  (any of its settings)
    return TauDistribution(1, 8, 8, **{"tau_size": tau_size, "widths": True, "concentration": 8.0} | settings)


def taught(G: Any = None, E: TauDistribution | None = None, **settings: Any) -> PopulationTeacher:  # noqa: ANN401
    transformation = shifts() if G is None else G
    found = teacher(transformation, distribution() if E is None else E, goal(), TeachingConfig(**SETTINGS | settings), 100)
    assert isinstance(found, PopulationTeacher)
    return found


def flat(F: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient in all weights, by a copy of the network."""
    copied = copy.deepcopy(F).eval()
    nn.functional.cross_entropy(copied(images), labels).backward()
    return torch.cat([weight.grad.flatten() for weight in copied.parameters() if weight.grad is not None])


def test_agreements_are_cosines_of_whole_gradients_in_the_metric_of_their_squares() -> None:
    found, F, (images, labels) = taught(), network(), batch()
    classifier = Classifier.of(F, images)
    F.eval()
    tau = torch.tensor([[0.0, 0.0], [0.9, -0.4], [-1.0, 1.0]])
    found._solve(classifier, images, torch.Generator())
    metric: Tensor | None = None
    for _ in range(2):
        agreements = found._agreements(classifier, images, labels, tau)
        by_hand = torch.stack([flat(F, found.transformation(images, one.expand(16, 2)), labels) for one in tau])
        squares = by_hand.square().mean(dim=0)
        metric = squares if metric is None else (1 - NEWER) * metric + NEWER * squares
        scale = 1 / (metric.sqrt() + FLOOR * metric.sqrt().max())
        aim = flat(F, torch.from_numpy(found.goal.target), torch.from_numpy(found.goal.labels))
        expected = [(g * aim * scale).sum() / ((g * g * scale).sum() * (aim * aim * scale).sum()).sqrt() for g in by_hand]
        assert_allclose(agreements, torch.stack(expected), rtol=1e-4)


@pytest.mark.parametrize("right", [2, -2])
def test_the_shift_of_the_target_is_found(right: int) -> None:
    images, labels = digits()
    wanted = np.roll(images, right, axis=3)
    E = distribution()
    found = teacher(
        shifts(), E, Goal(images[:600], wanted[600:900], labels[600:900]), TeachingConfig(**SETTINGS | {"every": 5, "until": 0.6}), 300
    )
    config = TrainingConfig(epochs=30, batch=64, learning_rate=5e-3, seed=0)
    train(network(), images[:600], labels[:600], config=config, augment=Taught(Unchanged(), found, 1.0), device="cpu")
    (across, down), deviation = E.shared_moments()
    assert float(across) * np.sign(right) > 0.5  # of 2 pixels, which are tau = 1
    assert abs(float(down)) < 0.35
    assert len(found.log) == 37  # every 5 steps, up to step 180
    assert (deviation > 0.9 * distribution().shared_moments()[1]).all()


def test_f_is_fitted_to_what_e_made_at_its_beginning() -> None:
    found, F, (images, labels) = taught(), network(), batch()
    for step in range(3):
        made = found(images, labels, moment(F, step, seed=step))
    generator = torch.Generator().manual_seed(2)
    found._generation(*_seen(found, F, images), generator)  # what was drawn before
    assert torch.equal(made, found.transformation(images, distribution().sample(images, generator)))
    assert float(found._distribution.shared_moments()[0].abs().max()) > 0.05


def _seen(found: PopulationTeacher, F: nn.Module, images: Tensor) -> tuple[Classifier, Tensor, Tensor]:
    return Classifier.of(copy.deepcopy(F).eval(), images), images, batch()[1]


def test_e_moves_part_of_the_way_to_its_best_draws() -> None:
    found, F, (images, labels) = taught(learning_rate=0.5, elite=0.25), network(), batch()
    classifier, generator = Classifier.of(F.eval(), images), torch.Generator().manual_seed(5)
    found._solve(classifier, images, generator)
    before = found._distribution.shared_moments()
    tau = found._distribution.sample(images, torch.Generator().manual_seed(5))
    told = found._generation(classifier, images, labels, torch.Generator().manual_seed(5))
    agreements = found._agreements(classifier, images, labels, tau)
    best = agreements.argsort(descending=True)[:4]
    after = found._distribution.shared_moments()
    assert_allclose(after[0], (before[0] + tau[best].mean(dim=0)) / 2, atol=1e-4)
    assert_allclose(after[1], torch.maximum(before[1], (before[1] + tau[best].std(dim=0)) / 2), atol=1e-4)
    assert told[2] == pytest.approx(-float(agreements[best].mean()), rel=0.2)  # the metric has moved a little since


def test_components_that_are_not_tried_stay_as_they_are() -> None:
    G = BoundedTransformation(1, 8, 8, **NOTHING | {"flow": 0.1, "rotation": 20}, shift=0)
    E = distribution(G.tau_size)
    found, F, (images, labels) = taught(G, E), network(), batch()
    first = distribution(G.tau_size).shared_moments()
    for step in range(4):
        found(images, labels, moment(F, step))
    tried = torch.tensor(G.tried)
    assert tried.tolist() == [name == "rotation" for name in G.names]
    assert_allclose(E.shared_moments()[:, ~tried], first[:, ~tried], atol=1e-6)
    assert float((E.shared_moments()[0, tried] - first[0, tried]).abs()) > 1e-3


def test_e_is_taught_from_warmup_until_its_end() -> None:
    found, F, (images, labels) = taught(warmup=0.1, until=0.3, every=10), network(), batch()
    for step in range(100):
        found(images, labels, moment(F, step, seed=step))
    assert found.log[:, 0].tolist() == [10, 20, 30]
    assert (found.log[:, 3] < found.log[:, 1]).all()  # the best part against all


class Watched:
    """A taught augmentation that counts its batches, and may be interrupted."""

    def __init__(self, found: PopulationTeacher, stop: int | None) -> None:
        self.found, self.stop, self.calls = Taught(Unchanged(), found, 1.0), stop, 0
        self.module, self.optimizer = self.found.module, self.found.optimizer

    def __repr__(self) -> str:
        return repr(self.found)

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        if self.calls == self.stop:
            raise KeyboardInterrupt
        self.calls += 1
        return self.found(images, labels, moment)


def test_a_teaching_that_was_interrupted_goes_on_to_the_same_e(tmp_path: Path) -> None:
    def learned(checkpoint: Path, stop: int | None = None) -> tuple[Tensor, int]:
        E, (images, labels) = distribution(), digits()
        augment = Watched(PopulationTeacher(shifts(), E, goal(), TeachingConfig(**SETTINGS | {"every": 3}), 24), stop)
        config = TrainingConfig(epochs=6, batch=16, learning_rate=5e-3, seed=0)
        train(network(), images[:POINTS], labels[:POINTS], config=config, augment=augment, checkpoint=checkpoint, device="cpu")
        return E.shared.detach(), augment.calls

    whole, steps = learned(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path / "part.safetensors", stop=14)
    resumed, left = learned(tmp_path / "part.safetensors")
    assert left < steps == 24
    assert torch.equal(resumed, whole)


@pytest.mark.parametrize("settings", [{"widths": False}, {"conditional": True}])
def test_a_distribution_that_cannot_be_moved_is_refused(settings: dict[str, bool]) -> None:
    with pytest.raises(InputError, match="network: the rule population teaches a TauDistribution with widths=True that does not depend"):
        taught(E=distribution(**settings))


def test_the_defaults_of_a_rule_are_its_own() -> None:
    assert TeachingConfig.of("choice") == TeachingConfig()
    assert TeachingConfig.of("population") == TeachingConfig.population()
    assert TeachingConfig.of("gradient").rule == "gradient"
