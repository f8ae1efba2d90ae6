"""Teachers: their gradients against known truths, what they leave alone, and what a checkpoint keeps of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import Tensor, nn

from augury.errors import InputError
from augury.learned import AugmentationNetwork, BoundedTransformation, FieldTransformation, TauDistribution, TeachingConfig
from augury.learned.baselines import Unchanged
from augury.learned.classifier import Classifier
from augury.learned.learn import Taught
from augury.learned.objective import effects
from augury.learned.teachers import teacher
from augury.learned.teaching import ChoiceTeacher, Goal, GradientTeacher, Teacher
from augury.training import Learner, Moment, TrainingConfig, loop, train
from conftest import Array

NOTHING: dict[str, Any] = dict.fromkeys(
    ("rotation", "scale", "shear", "flow", "brightness", "contrast", "saturation", "hue", "blur", "stroke", "light", "tint"), 0
)


def digits() -> tuple[Array, Array]:
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64)


def goal(points: int = 60, target: int = 40) -> Goal:
    images, labels = digits()
    return Goal(images[:points], labels[:points], images[points : points + target], labels[points : points + target])


def batch(points: int = 16) -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return torch.from_numpy(images[:points]), torch.from_numpy(labels[:points])


def network(seed: int = 0) -> nn.Sequential:
    """Small, with batch norm and dropout: a teacher has much that it might disturb."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 10))


def moment(F: nn.Module, step: int = 0, *, steps: int = 100, seed: int = 0, **settings: Any) -> Moment:  # noqa: ANN401  (any of its settings)
    return Moment(F, step, steps, torch.Generator().manual_seed(seed), **settings)


def shifts() -> BoundedTransformation:
    return BoundedTransformation(1, 8, 8, **NOTHING, shift=0.25)


class Shown:
    """A transformation that writes tau into the first pixels, so that tests can see it."""

    tau_size = 2

    def __call__(self, images: Tensor, tau: Tensor) -> Tensor:
        made = images.clone()
        made[:, 0, 0, : self.tau_size] = tau
        return made


def known(worth: Callable[[Tensor], Tensor]) -> type[ChoiceTeacher]:
    """A teacher for whom a tau is worth what `worth` says, and that keeps its losses' gradients instead of following them."""

    class Known(ChoiceTeacher):
        gradient: Tensor

        def _effects(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
            return worth(images[:, 0, 0, :2])

        def _learn(self, compared: Tensor, kept: Tensor) -> None:
            distribution = self.module.network
            assert isinstance(distribution, TauDistribution)
            (self.gradient,) = torch.autograd.grad(compared + kept, distribution.shared, retain_graph=True)
            super()._learn(compared, kept)

    return Known


def told(worth: Callable[[Tensor], Tensor], E: TauDistribution, *, points: int, steps: int = 1, **settings: Any) -> tuple[Any, Tensor]:  # noqa: ANN401  (any setting)
    """The teacher after some steps, and what it made of the images in the last one."""
    found = known(worth)(Shown(), E, goal(), TeachingConfig(warmup=0, **{"draws": 4, "keep": "best", "every": 1000} | settings), steps)
    found.module.direction = torch.zeros(10, 257)
    images, labels = (part[:1].expand(points, *part.shape[1:]) for part in batch())
    made, F = images, network()
    for step in range(1, steps + 1):  # never a multiple of `every`: no solve
        made = found(images, labels, moment(F, step, seed=step))
    return found, made


def leaning(seed: int = 1) -> TauDistribution:
    E = TauDistribution(1, 8, 8, tau_size=2, widths=True)
    with torch.no_grad():
        a, b = torch.randn(2, 2, generator=torch.Generator().manual_seed(seed))  # about the parameters' logarithms
        E.shared.copy_(torch.stack([(a - b) / 2, -(a + b) / 4]))
    return E


def first_pixels(images: Tensor) -> Tensor:
    return images[:, 0, 0, :2]


@pytest.mark.parametrize("draws", [2, 4])
@pytest.mark.parametrize("divergence", [0.0, 0.3])
def test_the_choice_rule_follows_the_gradient_of_the_expected_effect(draws: int, divergence: float) -> None:
    E = leaning()
    a, b = E.parameters_of(batch(1)[0])[:, 0]
    share = a / (a + b)
    second = share * (a + 1) / (a + b + 1)  # moments of a Beta distribution on (0, 1)
    mean = (2 * share[0] - 1) + 3 * (4 * second[1] - 4 * share[1] + 1)
    (expected,) = torch.autograd.grad(mean, E.shared, retain_graph=True)
    (pull,) = torch.autograd.grad(E.divergence(batch(1)[0]).mean(), E.shared)
    teacher, _ = told(lambda tau: tau[:, 0] + 3 * tau[:, 1].square(), copy.deepcopy(E), points=30_000, draws=draws, divergence=divergence)
    drawn = E.sample(batch(1)[0].expand(30_000, 1, 8, 8), torch.Generator().manual_seed(9))
    deviation = float((drawn[:, 0] + 3 * drawn[:, 1].square()).std())
    # comparing with the mean of the draws, the draw itself among them, leaves (draws - 1) / draws of the gradient and of the variance
    rest = (draws - 1) / draws
    assert_allclose(teacher.gradient, rest * expected / (deviation * rest**0.5) + divergence * pull, atol=0.015)
    assert float(expected.abs().amax(dim=0).min()) / deviation > 0.05  # a width alone hardly moves the mean of tau


@pytest.mark.parametrize("conditional", [False, True])
def test_draws_that_lower_the_targets_loss_become_likelier(*, conditional: bool) -> None:
    E = TauDistribution(1, 8, 8, tau_size=2, conditional=conditional)
    told(lambda tau: tau[:, 0] - 2 * tau[:, 1], E, points=16, steps=80, learning_rate=0.02, divergence=0.05)
    mean, deviation = E.moments(batch(1)[0]).detach()[:, 0]
    assert mean[0] < -0.3
    assert mean[1] > 0.5
    assert conditional or float(deviation.min()) > 0.15  # one that all images share learns slowly, and keeps varying


def test_where_nothing_matters_the_divergence_pulls_back_to_random() -> None:
    E = leaning()
    before = float(E.divergence(batch(1)[0]).detach())
    told(lambda tau: torch.zeros(len(tau)), E, points=4, steps=150, divergence=0.05, learning_rate=0.03)
    assert before > 0.2
    assert float(E.divergence(batch(1)[0]).detach()) < 0.01


def test_where_nothing_matters_and_nothing_pulls_e_stays_as_it_is() -> None:
    E = leaning()
    told(lambda tau: torch.zeros(len(tau)), E, points=4, steps=3, divergence=0)
    assert torch.equal(E.shared, leaning().shared)


@pytest.mark.parametrize(("keep", "expected"), [("best", -0.6), ("drawn", 0.0)])  # the least of four numbers uniform on (-1, 1): -1 + 2 / 5
def test_f_is_trained_on_the_best_draw_or_on_any(keep: Any, expected: float) -> None:  # noqa: ANN401  (a literal)
    _, made = told(lambda tau: tau[:, 0], TauDistribution(1, 8, 8, tau_size=2), points=4000, keep=keep)
    first, second = first_pixels(made).mean(dim=0)
    assert float(first) == pytest.approx(expected, abs=0.05)
    assert float(second) == pytest.approx(0, abs=0.05)


def test_the_best_draw_is_each_images_own() -> None:
    seen: list[Tensor] = []

    def worth(tau: Tensor) -> Tensor:
        seen.append(tau)
        return (tau[:, 0] * 3).sin()

    _, made = told(worth, TauDistribution(1, 8, 8, tau_size=2), points=9)
    draws = seen[0].view(4, 9, 2)
    best = (draws[:, :, 0] * 3).sin().argmin(dim=0)
    assert torch.equal(first_pixels(made), draws[best, torch.arange(9)])


def settled(config: TeachingConfig, E: nn.Module, G: Any = None) -> Teacher:  # noqa: ANN401  (any transformation)
    """A teacher that needs no solve for s."""
    found = teacher(shifts() if G is None else G, E, goal(), config, 100)
    found.module.direction = torch.randn(10, 257, generator=torch.Generator().manual_seed(3)) / 60
    return found


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("preserve", [0.0, 0.7])
@pytest.mark.parametrize("clip", [None, 1e-3])
def test_the_gradient_rule_is_autograd_by_hand(*, bounded: bool, preserve: float, clip: float | None) -> None:
    E, F, G, (images, labels) = AugmentationNetwork(1, 8, 8, tau_size=2), network(), shifts(), batch()
    config = TeachingConfig(rule="gradient", warmup=0, bounded=bounded, preserve=preserve, clip=clip)
    found, copied = settled(config, E), copy.deepcopy(E)
    found.optimizer = torch.optim.SGD(E.parameters(), 1.0)  # whose step is the gradient
    made = found(images, labels, moment(F, 1))

    hook: list[Tensor] = []
    reading = copy.deepcopy(F).eval()
    reading[5].register_forward_pre_hook(lambda _, inputs: hook.append(inputs[0]))
    by_hand = G(images, copied(images))
    worth = []
    for pictures in (by_hand, images):
        scores = reading(pictures)
        f = torch.cat([hook[-1], torch.ones(len(images), 1)], dim=1)
        r = scores.softmax(1) - nn.functional.one_hot(labels, 10)
        value = -torch.einsum("nc,cp,np->n", r, found.module.direction, f) * 60
        worth.append(value * scores.softmax(1)[torch.arange(16), labels] if bounded else value)
    kept = nn.functional.cross_entropy(reading(by_hand), labels)
    expected = torch.autograd.grad((worth[0] - worth[1]).mean() + preserve * kept, list(copied.parameters()))
    norm = float(torch.stack([part.square().sum() for part in expected]).sum().sqrt())
    factor = 1 if clip is None else clip / norm
    assert norm > 1e-3  # so that it is clipped
    for new, old, gradient in zip(E.parameters(), copied.parameters(), expected, strict=True):
        assert_allclose((old - new).detach(), factor * gradient, atol=2e-5 * max(norm * factor, 1e-2))
    assert_allclose(made, by_hand.detach(), atol=1e-6)


def test_each_rule_has_its_descent() -> None:
    paper = settled(TeachingConfig.paper(), AugmentationNetwork(1, 8, 8, tau_size=2))
    choice = settled(TeachingConfig(learning_rate=0.02), TauDistribution(1, 8, 8, tau_size=2))
    assert isinstance(paper, GradientTeacher)
    assert isinstance(choice, ChoiceTeacher)
    assert paper.optimizer.defaults["betas"] == (0.9, 0.99)
    assert choice.optimizer.defaults["significance"] == TeachingConfig().significance
    assert [found.optimizer.defaults["lr"] for found in (paper, choice)] == [TeachingConfig.paper().learning_rate, 0.02]


def made_for(rule: str, tau_size: int) -> nn.Module:
    if rule == "gradient":
        return AugmentationNetwork(1, 8, 8, tau_size=tau_size)
    return TauDistribution(1, 8, 8, tau_size=tau_size)


@pytest.mark.parametrize("rule", ["choice", "matching", "gradient"])
def test_f_and_g_are_left_exactly_as_they_were(rule: Any) -> None:  # noqa: ANN401  (a literal)
    G, F = FieldTransformation(1, 8, 8, tau_size=3), network()
    F[4].eval()
    E = made_for(rule, 3)
    found = teacher(G, E, goal(), TeachingConfig(rule=rule, warmup=0, significance=0), 100)
    before = [copy.deepcopy(module.state_dict()) for module in (F, G, E)]
    images, labels = batch()
    copied, chance = images.clone(), torch.get_rng_state()
    for step in range(2):
        made = found(images, labels, moment(F, step))
        assert not made.requires_grad
        assert made.shape == images.shape
    for module, state in zip((F, G), before[:2], strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
        assert all(weight.grad is None and weight.requires_grad for weight in module.parameters())
    assert [layer.training for layer in F] == [True, True, True, True, False, True]
    assert not all(torch.equal(value, before[2][name]) for name, value in E.state_dict().items())
    assert torch.equal(images, copied)
    assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize("rule", ["choice", "gradient"])
def test_until_it_is_warm_e_draws_and_is_not_taught(rule: Any) -> None:  # noqa: ANN401  (a literal)
    E = made_for(rule, 2)
    found, (images, labels), F = (
        teacher(shifts(), E, goal(), TeachingConfig(rule=rule, warmup=0.2, every=50, significance=0), 100),
        batch(),
        network(),
    )
    before = copy.deepcopy(E.state_dict())
    made = found(images, labels, moment(F, 19))
    assert not torch.equal(made, images)
    assert all(torch.equal(value, before[name]) for name, value in E.state_dict().items())
    assert found.module.direction.numel() == 0
    found(images, labels, moment(F, 20))
    assert found.module.direction.shape == (10, 257)
    assert not all(torch.equal(value, before[name]) for name, value in E.state_dict().items())


@pytest.mark.parametrize("rule", ["choice", "matching", "gradient"])
def test_the_direction_is_renewed_as_often_as_asked_and_the_log_tells_of_it(rule: Any) -> None:  # noqa: ANN401  (a literal)
    found = teacher(shifts(), made_for(rule, 2), goal(), TeachingConfig(rule=rule, warmup=0.07, every=10), 35)
    directions, (images, labels), F = [], batch(), network()
    for step in range(35):
        found(images, labels, moment(F, step, steps=35, seed=step))
        directions.append(found.module.direction)
    changed = [step for step in range(1, 35) if directions[step] is not directions[step - 1]]
    assert changed == [3, 10, 20, 30]
    assert found.log[:, 0].tolist() == changed
    assert np.isfinite(found.log).all()
    assert (found.log[:, 5] <= 1e-3).all()  # how well each solve solves
    if rule == "choice":
        assert (found.log[:, 3] < found.log[:, 1]).all()  # the best draw against their mean
        assert (found.log[:, 4] >= 0).all()


@pytest.mark.parametrize("rule", ["choice", "matching", "gradient"])
def test_the_moments_generator_decides_everything(rule: Any) -> None:  # noqa: ANN401  (a literal)
    def after(seed: int) -> tuple[Tensor, Array]:
        E, F = made_for(rule, 2), network()
        found = teacher(shifts(), E, goal(), TeachingConfig(rule=rule, warmup=0, significance=0), 100)
        made = [found(*batch(), moment(F, step, seed=seed)) for step in range(3)][-1]
        return made, np.concatenate([value.detach().ravel() for value in E.parameters()])

    (made, weights), (same, again), (_, other) = after(1), after(1), after(2)
    assert torch.equal(made, same)
    assert_array_equal(weights, again)
    assert np.abs(weights - other).max() > 0


@pytest.mark.parametrize("rule", ["choice", "matching", "gradient"])
def test_in_bfloat16_only_f_is_less_precise(rule: Any) -> None:  # noqa: ANN401  (a literal)
    directions = []
    for precision in ("float32", "bfloat16"):
        config = TeachingConfig(rule=rule, draws=60, warmup=0, significance=0)  # so many that the whole target is looked at
        found = teacher(shifts(), made_for(rule, 2), goal(), config, 100)
        made = found(*batch(), moment(network(), precision=precision))
        assert made.dtype == torch.float32
        assert found.log[0, 5] <= 1e-3  # the solve is as good
        directions.append(found.module.direction)
    assert_allclose(directions[1], directions[0], atol=0.05 * float(directions[0].abs().max()))


def test_a_batch_of_one_image_is_no_trouble() -> None:
    for rule in ("choice", "matching", "gradient"):
        found = teacher(shifts(), made_for(rule, 2), goal(), TeachingConfig(rule=rule, warmup=0, significance=0), 100)  # type: ignore[arg-type]
        assert found(*batch(1), moment(network())).shape == (1, 1, 8, 8)
        assert np.isfinite(found.log).all()


def test_another_network_is_looked_at_anew() -> None:
    found, (images, labels) = settled(TeachingConfig(warmup=0), TauDistribution(1, 8, 8, tau_size=2)), batch()
    found(images, labels, moment(network(), 1))
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Linear(20, 10))
    found(images, labels, moment(other, 100, steps=200))
    assert found.module.direction.shape == (10, 21)


def test_a_network_without_a_linear_layer_is_refused_before_it_is_trained() -> None:
    found = teacher(shifts(), TauDistribution(1, 8, 8, tau_size=2), goal(), TeachingConfig(), 100)
    with pytest.raises(InputError, match="model: it has no linear layer"):
        found(*batch(), moment(nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())))


def state(*modules: nn.Module) -> Array:
    return np.concatenate([value.detach().double().numpy().ravel() for module in modules for value in module.state_dict().values()])


@pytest.mark.parametrize("rule", ["choice", "matching", "gradient"])
def test_a_training_killed_after_every_epoch_teaches_the_same_bits(
    rule: Any,  # noqa: ANN401  (a literal)
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, labels = digits()
    config, save = TrainingConfig(5, 16, learning_rate=0.01), loop.save

    def fitted(checkpoint: Path | None) -> tuple[Array, Array, int]:
        found = teacher(shifts(), made_for(rule, 2), goal(), TeachingConfig(rule=rule, warmup=0.05, every=7), 20)
        taught, F = Taught(Unchanged(), found, 0.7), network()
        assert isinstance(taught, Learner)
        report = train(F, images[:60], labels[:60], config=config, augment=taught, checkpoint=checkpoint)
        adam = [value for entry in taught.optimizer.state_dict()["state"].values() for _, value in sorted(entry.items())]
        return np.concatenate([state(F, taught.module), *(value.double().numpy().ravel() for value in adam)]), found.log, report.resumed

    def killed(*arguments: Any) -> None:  # noqa: ANN401  (those of `save`)
        save(*arguments)
        raise KeyboardInterrupt

    expected, log, _ = fitted(None)
    monkeypatch.setattr(loop, "save", killed)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path / "c")
    found, again, resumed = fitted(tmp_path / "c")
    assert resumed == 5
    assert_array_equal(found, expected)
    assert_array_equal(again, log)
    assert len(log) == 3


@pytest.mark.parametrize("changed", ["weights of G", "bounds of G", "E", "target", "training images", "config", "share", "before"])
def test_a_checkpoint_of_another_teaching_is_refused(changed: str, tmp_path: Path) -> None:
    images, labels = digits()

    def fit(changed: str | None) -> None:
        G: Any = FieldTransformation(1, 8, 8, tau_size=2)
        if changed == "weights of G":
            with torch.no_grad():
                G.decoder[0].bias[0] += 1
        if changed == "bounds of G":
            G = FieldTransformation(1, 8, 8, tau_size=2, spatial_bound=0.3)
        E = TauDistribution(1, 8, 8, tau_size=2, concentration=2 if changed == "E" else 1)
        aim = goal(target=41 if changed == "target" else 40)
        if changed == "training images":
            aim.images = images[1:61]
        config = TeachingConfig(damping=0.21 if changed == "config" else 0.12)
        taught = Taught(None if changed == "before" else Unchanged(), teacher(G, E, aim, config, 2), 0.5 if changed == "share" else 0.7)
        train(network(), images[:32], labels[:32], config=TrainingConfig(1, 16), augment=taught, checkpoint=tmp_path / "c")

    fit(None)
    fit(None)
    with pytest.raises(InputError, match=r"checkpoint: .* is of a training with another configuration"):
        fit(changed)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_draws_are_compared_by_the_objective_times_the_number_of_images(*, bounded: bool, aligned: bool) -> None:
    found = settled(TeachingConfig(bounded=bounded, aligned=aligned), TauDistribution(1, 8, 8, tau_size=2))
    assert isinstance(found, ChoiceTeacher)
    F, (images, labels) = network().eval(), batch()
    classifier = Classifier.of(F, images)
    expected = 60 * effects(found.module.direction, *classifier(images), labels, bounded=bounded, aligned=aligned)
    assert_allclose(found._effects(classifier, images, labels).detach(), expected.detach(), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: teacher(shifts(), made_for("gradient", 2), goal(), TeachingConfig(), 9),
            "network: the rule choice teaches a TauDis",
        ),
        (
            lambda: teacher(shifts(), made_for("choice", 2), goal(), TeachingConfig.paper(), 9),
            "network: the rule gradient teaches an AugmentationNetwork, or another module from images to tau; got a TauDistribution",
        ),
        (lambda: teacher(shifts(), made_for("choice", 3), goal(), TeachingConfig(), 9), "network: it gives 3 components of tau"),
        (lambda: teacher(shifts(), nn.Linear(2, 2), goal(), TeachingConfig.paper(), 9), "network: it gives None components of tau"),
        (lambda: Goal(*digits(), digits()[0][:5], digits()[1][:4]), "target: 5 images with 4 labels; expected as many of each"),
        (lambda: goal(target=0), "target: 0 images with 0 labels; expected as many of each, and at least one"),
    ],
    ids=range(6),
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], message: str, without_type_checks: None) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "both"}, "rule: 'both'; expected matching or choice or gradient"),
        ({"keep": "worst"}, "keep: 'worst'; expected best or drawn"),
        ({"draws": 1}, "draws: 1; expected a finite number, at least 2"),
        ({"every": 0}, "every: 0"),
        ({"curvature_points": 0}, "curvature_points: 0"),
        ({"divergence": -0.1}, "divergence: -0.1"),
        ({"preserve": float("nan")}, "preserve: nan"),
        ({"damping": 0}, "damping: 0; expected a positive number, such as 0.1"),
        ({"learning_rate": float("inf")}, "learning_rate: inf"),
        ({"warmup": 1}, "warmup: 1; expected a share of the steps, from 0 to below 1"),
        ({"until": 0.05}, "until: 0.05; expected a share of the steps, above warmup \\(0.05\\) and at most 1"),
        ({"held": 1}, "held: 1; expected a share of the training images, from 0 to below 1, such as 0.33"),
        ({"averaging": 1}, "averaging: 1; expected how much of the mean is kept at a step, from 0 to below 1, such as 0.98"),
        ({"kept": 1}, "kept: 1; expected a share of E's draws, from 0 to below 1, such as 0.5, or None"),
        ({"clip": 0}, "clip: 0; expected a positive norm, such as 1, or None"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], message: str, without_type_checks: None) -> None:
    with pytest.raises(InputError, match=message):
        TeachingConfig(**settings)
