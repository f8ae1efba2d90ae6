"""E taught by agreeing gradients: agreements by hand, their derivatives, what is found, and what stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn
from torch.nn import functional

from augury.errors import InputError
from augury.learned import BoundedTransformation, TauDistribution, TeachingConfig
from augury.learned.baselines import Unchanged
from augury.learned.classifier import Classifier
from augury.learned.gradients import FLOOR, GROUPS, OF_TARGET, mean_gradient
from augury.learned.learn import Taught
from augury.learned.matching import NEWER, MatchingTeacher
from augury.learned.objective import Target
from augury.learned.teachers import teacher
from augury.learned.teaching import Goal
from augury.training import Moment, TrainingConfig, train
from test_learned_teaching import NOTHING, batch, digits, goal, moment, network, shifts

POINTS = 60
SETTINGS: dict[str, Any] = {"rule": "matching", "draws": 60, "every": 1, "warmup": 0.0, "learning_rate": 0.1, "divergence": 0.002}


def distribution(tau_size: int = 2, **settings: Any) -> TauDistribution:  # noqa: ANN401  (any of its settings)
    return TauDistribution(1, 8, 8, **{"tau_size": tau_size, "widths": True, "concentration": 8.0} | settings)


def taught(G: Any = None, E: TauDistribution | None = None, aim: Goal | None = None, **settings: Any) -> MatchingTeacher:  # noqa: ANN401
    transformation = shifts() if G is None else G
    found = teacher(
        transformation,
        distribution() if E is None else E,
        goal() if aim is None else aim,
        TeachingConfig(**SETTINGS | settings),
        100,
    )
    assert isinstance(found, MatchingTeacher)
    return found


def flat(F: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient in all weights, by a copy of the network."""
    copied = copy.deepcopy(F).eval()
    functional.cross_entropy(copied(images), labels).backward()
    return torch.cat([weight.grad.flatten() for weight in copied.parameters() if weight.grad is not None])


def test_agreements_are_those_of_each_groups_gradients_in_the_metric_of_their_squares() -> None:
    found, F = taught(), network().eval()
    classifier = Classifier.of(F, batch()[0])
    found._solve(classifier, batch()[0], torch.Generator())
    aim, labels = torch.from_numpy(found.goal.target), torch.from_numpy(found.goal.target_labels)
    metric: Tensor | None = None
    for shift in (1, 2):
        moved = aim.roll(shift, dims=3)
        by_hand = torch.stack([flat(F, moved[labels == k], labels[labels == k]) for k in range(10)])
        found._know(by_hand.square().mean(dim=0))
        squares = by_hand.square().mean(dim=0)
        metric = squares if metric is None else (1 - NEWER) * metric + NEWER * squares
        scale = 1 / (metric.sqrt() + FLOOR * metric.sqrt().max())
        wanted = [flat(F, aim[labels == k], labels[labels == k]) for k in range(10)]
        expected = [1 - ((g - t).square() * scale).sum() / ((g * g + t * t) * scale).sum() for g, t in zip(by_hand, wanted, strict=True)]
        assert_allclose(found._agreements(by_hand), torch.stack(expected), rtol=1e-4)


def test_the_derivative_of_agreement_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    F = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 10)).double().eval()
    images, labels = digits()
    some, its = torch.from_numpy(images[:12]).double(), torch.from_numpy(labels[:12])
    found = taught()
    classifier = Classifier(F, "3")
    found._solve(classifier, some, torch.Generator())
    found.module.direction = torch.randn(1, sum(weight.numel() for weight in F.parameters()), dtype=torch.float64)
    found._know(torch.rand(found.module.direction.shape[1], dtype=torch.float64))

    def agreement(shade: Tensor) -> Tensor:
        return found._agreements(mean_gradient(classifier, Target(some * (1 + shade), its), differentiable=True)[None])

    tau = torch.linspace(-0.5, 0.5, 12, dtype=torch.float64)[:, None, None, None].requires_grad_()
    assert torch.autograd.gradcheck(agreement, (tau,), eps=1e-6, atol=1e-6)


def disagreement(found: MatchingTeacher, there: Tensor, here: Tensor) -> Tensor:
    """The log of 1 - agreement, what the squares are divided by being that of gradients `here`."""
    scale, wanted = found._scale(here), found.module.direction
    lengths = ((here.square() + wanted.square()) * scale**2).sum(dim=1)
    return (((there - wanted).square() * scale**2).sum(dim=1) / lengths).mean().log()


def test_e_is_pulled_along_the_derivative_where_gradients_have_no_chance_in_them() -> None:
    torch.manual_seed(0)
    found = taught()
    found.module.direction, first, along = torch.randn(3, 4, 50, dtype=torch.float64).unbind()
    found._know(torch.rand(50, dtype=torch.float64))
    assert_allclose(disagreement(found, first, first), torch.log1p(-found._agreements(first).mean()))
    there, back = (disagreement(found, first + step * along, first) for step in (1e-6, -1e-6))
    for _ in range(2):  # there is none before, and the same before
        assert_allclose((found._pull(first) * along).sum(), (there - back) / 2e-6, rtol=1e-6)


@hypothesis.given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_the_unit_of_the_loss_makes_no_difference(seed: int, unit: float) -> None:
    found, other, generator = taught(), taught(), torch.Generator().manual_seed(seed)
    wanted, first, second = torch.randn(3, 4, 50, dtype=torch.float64, generator=generator).unbind()
    found.module.direction, other.module.direction = wanted, unit * wanted
    for one, factor in ((found, 1.0), (other, unit)):
        one._know((factor * first).square().mean(dim=0))
        one._pull(factor * first)
    assert_allclose(found._agreements(second), other._agreements(unit * second))
    assert_allclose(found._pull(second), unit * other._pull(unit * second))


def mean_pulls(mean: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """Of 2,000 steps whose gradients have chance in them, twice as long as their mean; and how the chance is pulled to be longer."""
    found, generator = taught(), torch.Generator().manual_seed(0)
    found._know(torch.ones(mean.shape[1], dtype=torch.float64))
    found.module.direction = target
    chance = [2 * torch.randn(mean.shape, dtype=torch.float64, generator=generator) for _ in range(2000)]
    pulls = [found._pull(mean + some) for some in chance]
    longer = [float((pull * some).sum()) for pull, some in zip(pulls, chance, strict=True)]
    return torch.stack(pulls[1:]).mean(dim=0), float(np.mean(longer[1:]))


def test_chance_in_the_gradients_leaves_the_pull_where_their_means_pull() -> None:
    mean, apart = torch.randn(2, 1, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).unbind()
    pull, longer = mean_pulls(mean, mean + apart)
    assert functional.cosine_similarity(pull, -apart) > 0.99
    assert abs(longer) < 0.02  # derived from one batch it is twice the share of the chance in |g - t|^2, 1.6
    still, longer = mean_pulls(mean, mean)
    assert still.norm() < 0.1 * pull.norm()  # nothing moves where the means agree
    assert abs(longer) < 0.02


def test_the_pull_is_finite_where_nothing_disagrees_and_where_there_is_none() -> None:
    found = taught()
    found.module.direction = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    found._know(torch.ones(50))
    assert found._pull(found.module.direction.clone()).isfinite().all()
    assert found._pull(torch.zeros(4, 50)).isfinite().all()
    assert found._pull(-found.module.direction).isfinite().all()


@pytest.mark.parametrize("right", [2, -2])
@pytest.mark.usefixtures("without_type_checks")  # hundreds of steps
def test_the_shift_of_the_target_is_found(right: int) -> None:
    images, labels = digits()
    wanted = np.roll(images, right, axis=3)
    E = distribution()
    aim = Goal(images[:600], labels[:600], wanted[600:900], labels[600:900])
    found = teacher(shifts(), E, aim, TeachingConfig(**SETTINGS | {"every": 2, "until": 0.5, "draws": 100}), 300)
    config = TrainingConfig(epochs=30, batch=64, learning_rate=5e-3, seed=0)
    train(network(), images[:600], labels[:600], config=config, augment=Taught(Unchanged(), found, 1.0), device="cpu", stop=15)
    (across, down), _ = E.shared_moments()
    assert float(across) * np.sign(right) > 0.7  # of 2 pixels, which are tau = 1
    assert abs(float(down)) < 0.2
    assert len(found.log) == 75  # every 2 steps, up to step 148
    assert found.log[-20:, 1].mean() < found.log[-20:, 3].mean() - 0.1  # it agrees better than at its beginning
    assert len(np.unique(found.log[:, 3])) == 8  # which is looked at every 10 of its steps


@pytest.mark.usefixtures("without_type_checks")  # hundreds of steps
def test_where_the_target_is_as_the_training_images_e_hardly_moves() -> None:
    images, labels = digits()
    E, aim = distribution(), Goal(images[:600], labels[:600], images[600:900], labels[600:900])
    found = teacher(shifts(), E, aim, TeachingConfig(**SETTINGS | {"every": 2, "until": 0.5, "draws": 100}), 300)
    config = TrainingConfig(epochs=30, batch=64, learning_rate=5e-3, seed=0)
    train(network(), images[:600], labels[:600], config=config, augment=Taught(Unchanged(), found, 1.0), device="cpu", stop=15)
    assert float(E.shared_moments()[0].abs().max()) < 0.2


def test_f_is_fitted_to_what_e_made_at_its_beginning() -> None:
    found, F, (images, labels) = taught(), network(), batch()
    for step in range(3):
        made = found(images, labels, moment(F, step, seed=step))
    first = distribution().sample(images, _after_a_step(found, F, images, 2))
    assert torch.equal(made, found.transformation(images, first))
    assert float(found._distribution.shared_moments()[0].abs().max()) > 0.01


def _after_a_step(found: MatchingTeacher, F: nn.Module, images: Tensor, seed: int) -> torch.Generator:
    """The generator after what a step draws from it; E takes another step."""
    generator = torch.Generator().manual_seed(seed)
    found._step(Classifier.of(copy.deepcopy(F).eval(), images), images, generator)
    return generator


@pytest.mark.usefixtures("without_type_checks")  # hundreds of steps
def test_components_that_are_not_tried_stay_as_they_are() -> None:
    G = BoundedTransformation(1, 8, 8, **NOTHING | {"flow": 0.1, "rotation": 20}, shift=0)
    E = distribution(G.tau_size, concentration=1.0)
    found, F, (images, labels) = taught(G, E, draws=200), network(), batch()
    for step in range(40):  # in which what is rounded would add up
        found(images, labels, moment(F, step))
    tried = torch.tensor(G.tried)
    assert tried.tolist() == [name == "rotation" for name in G.names]
    assert (E.shared[:, ~tried] == 0).all()
    assert float(E.shared.detach()[:, tried].abs().max()) > 1e-2


def test_what_nothing_speaks_for_is_pulled_back_to_the_beginning() -> None:
    E = distribution()
    with torch.no_grad():
        E.shared[:, 1] = 1.0
    found, F, (images, labels) = taught(E=E, divergence=100.0), network(), batch()
    before = float(E.divergence(images[:1]).detach())
    for step in range(10):
        found(images, labels, moment(F, step))
    assert float(E.divergence(images[:1]).detach()) < before / 2


def test_e_is_taught_from_warmup_until_its_end_and_comes_to_rest() -> None:
    found, F, (images, labels) = taught(warmup=0.1, until=0.5, every=10), network(), batch()
    rates = []
    for step in range(100):
        found(images, labels, moment(F, step, seed=step))
        rates += [found.optimizer.param_groups[0]["lr"]] if step in found.log[:, 0] else []
    assert found.log[:, 0].tolist() == [10, 20, 30, 40]
    assert_allclose(rates, 0.1 * np.array([1, 0.75, 0.5, 0.25]), rtol=1e-6)


@pytest.mark.parametrize("averaging", [0.0, 0.75])
def test_e_is_taught_by_the_mean_of_the_networks_last_weights_and_statistics(averaging: float) -> None:
    found, (images, labels) = taught(averaging=averaging), batch()
    F = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    seen: list[list[Tensor]] = []
    for step in range(8):
        with torch.no_grad():
            F(images + step)  # which changes the statistics of the images
            F[2].weight.add_(torch.randn(10, 64, generator=torch.Generator().manual_seed(step)))
        now = [value.clone() for value in F.state_dict().values()]
        seen.append([value for value in now if value.is_floating_point()])
        found(images, labels, moment(F, step))
        assert all(torch.equal(value, before) for value, before in zip(F.state_dict().values(), now, strict=True))
    weights = np.ones(1)
    for step in range(1, 8):
        newest = max(1 - averaging, 1 / (step + 1))
        weights = np.append((1 - newest) * weights, newest)
    assert found._classifier is not None
    read = [value for value in found._classifier.network.state_dict().values() if value.is_floating_point()]
    assert not found._classifier.network.training
    for place, value in enumerate(read):
        expected = sum(weight * values[place].double() for weight, values in zip(weights, seen, strict=True))
        assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


def test_many_classes_are_matched_in_groups_and_drawn_as_often_as_the_target_has_them() -> None:
    images = np.random.default_rng(0).random((230, 1, 8, 8), dtype=np.float32)
    labels = np.arange(230) % 23
    few = np.repeat([3, 13, 5, 50], [3, 9, 4, 2])  # 50 is no training image's
    found = taught(aim=Goal(images, labels, images[: len(few)], few), draws=4000)
    assert [group.tolist() for group in found._groups.labels] == [[3], [5], [13]]
    many = taught(aim=Goal(images, labels, images, labels))
    assert len(many._groups.labels) == GROUPS
    assert sorted(label for group in many._groups.labels for label in group) == list(range(23))
    one = Goal(images, labels, images[:12], np.repeat([3, 13], [3, 9]))
    drawn = taught(aim=one)._groups.drawn_of(np.array([3, 13]), network(), torch.zeros(1), torch.Generator().manual_seed(0))
    share = float((drawn.labels == 13).double().mean())
    assert share == pytest.approx(0.75, abs=0.2)
    place = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert_array_equal([place[image.tobytes()] for image in drawn.images.numpy()], drawn.labels)


def test_of_a_large_target_a_few_images_of_each_group_are_looked_at_anew_in_every_step() -> None:
    images, labels = digits()
    F = network().eval()
    classifier, generator = Classifier.of(F, batch()[0]), torch.Generator().manual_seed(0)
    found = taught(aim=Goal(images[:50], labels[:50], images, labels), draws=60)
    most = OF_TARGET * 60 // len(found._groups.labels)
    assert min(np.bincount(labels)) > 2 * most
    seen: list[tuple[int, int]] = []

    def look(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del network
        seen.append((len(inputs[0]), len(torch.unique(inputs[0].flatten(1), dim=0))))

    handle = F.register_forward_pre_hook(look)
    solved = []
    for _ in range(300):
        found._solve(classifier, torch.zeros(1), generator)
        solved.append(found.module.direction)
    handle.remove()
    assert set(seen) == {(most, most)}  # no image twice
    everything = taught(aim=Goal(images[:50], labels[:50], images, labels), draws=2 * len(labels))
    everything._solve(classifier, torch.zeros(1), generator)
    whole, mean = everything.module.direction, torch.stack(solved).mean(dim=0)
    chance = torch.stack(solved).var(dim=0).sum(dim=1) / len(solved)
    assert bool(((mean - whole).square().sum(dim=1) < 2 * chance).all())
    assert bool((chance < whole.square().sum(dim=1) / 100).all())


def test_a_target_of_other_classes_is_refused() -> None:
    images, labels = digits()
    with pytest.raises(InputError, match="target: none of its labels is among the training images'; expected images of the same classes"):
        taught(aim=Goal(images[:50], labels[:50], images[50:60], np.full(10, 12)))


class Attention(nn.Module):
    """Rows of pixels that attend to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        rows = images[:, 0][:, None]
        scores: Tensor = self.last(functional.scaled_dot_product_attention(rows, rows, rows).flatten(1))
        return scores


def test_a_network_with_attention_can_teach() -> None:
    found, (images, labels) = taught(), batch()
    found(images, labels, moment(Attention()))
    assert np.isfinite(found.log).all()
    assert float(found._distribution.shared.detach().abs().max()) > 0


def test_a_distribution_that_depends_on_the_image_is_taught_too() -> None:
    E = distribution(conditional=True, widths=False)
    found, F, (images, labels) = taught(E=E, learning_rate=0.003), network(), batch()
    for step in range(3):
        found(images, labels, moment(F, step))
    assert float(E.moments(images).detach()[0].std(dim=0).max()) > 0


class Watched:
    """A taught augmentation that counts its batches, and may be interrupted."""

    def __init__(self, found: MatchingTeacher, stop: int | None) -> None:
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
        augment = Watched(MatchingTeacher(shifts(), E, goal(), TeachingConfig(**SETTINGS | {"every": 3}), 24), stop)
        config = TrainingConfig(epochs=6, batch=16, learning_rate=5e-3, seed=0)
        train(network(), images[:POINTS], labels[:POINTS], config=config, augment=augment, checkpoint=checkpoint, device="cpu")
        return E.shared.detach(), augment.calls

    whole, steps = learned(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path / "part.safetensors", stop=14)
    resumed, left = learned(tmp_path / "part.safetensors")
    assert left < steps == 24
    assert torch.equal(resumed, whole)


def test_the_defaults_of_a_rule_are_its_own() -> None:
    assert TeachingConfig.of("choice") == TeachingConfig()
    assert TeachingConfig.of("matching") == TeachingConfig.matching()
    assert TeachingConfig.of("gradient").rule == "gradient"
