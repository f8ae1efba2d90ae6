"""`learn`, whole: what it learns where the truth is known, from which seeds and folders, and what it refuses."""

from __future__ import annotations

import copy
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import Tensor, nn

from augury.data import Examples, from_arrays
from augury.errors import InputError
from augury.learned import (
    AugmentationNetwork,
    BoundedTransformation,
    FieldTransformation,
    LearnedAugmentation,
    TauDistribution,
    TeachingConfig,
    learn,
)
from augury.learned.baselines import Unchanged
from augury.learned.teaching import Goal
from augury.model import Model
from augury.networks import build
from augury.training import TrainingConfig, loop
from conftest import Array

NOTHING: dict[str, Any] = dict.fromkeys(
    ("rotation", "scale", "shear", "flow", "brightness", "contrast", "saturation", "hue", "blur", "stroke", "light", "tint"), 0
)
QUICK = TrainingConfig(2, 32, learning_rate=5e-3)
OFTEN = TeachingConfig(every=3, curvature_points=50, significance=0)
PAPER = TeachingConfig(rule="gradient", every=3, curvature_points=50)


def digits(start: int = 0, stop: int = 120) -> tuple[Array, Array]:
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)[start:stop], labels[start:stop].astype(np.int64)


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))


def shifts() -> BoundedTransformation:
    return BoundedTransformation(1, 8, 8, **NOTHING, shift=0.25, border="zeros")


def quickly(**settings: Any) -> LearnedAugmentation:  # noqa: ANN401  (any of learn's)
    usual: dict[str, Any] = {"transformation": shifts(), "config": OFTEN, "training": QUICK, "device": "cpu"}
    given = {"model": network(), "train": digits(), "validation": digits(120, 180)} | settings
    return learn(given.pop("model"), given.pop("train"), given.pop("validation"), **usual | given)


def state(module: nn.Module) -> Array:
    return np.concatenate([value.detach().double().numpy().ravel() for value in module.state_dict().values()])


def beside(images: Array, pixels: int) -> Array:
    """The images, moved to the right, or for negative pixels to the left."""
    moved = np.roll(images, pixels, axis=3)
    moved[..., slice(pixels) if pixels > 0 else slice(pixels, None)] = 0
    return moved


@pytest.mark.parametrize(
    "config",
    [
        TeachingConfig(every=10, learning_rate=0.05, curvature_points=100),
        TeachingConfig(rule="gradient", every=10, learning_rate=0.005, curvature_points=100),
    ],
    ids=["choice", "gradient"],
)
@pytest.mark.parametrize("side", [1, -1], ids=["right", "left"])
def test_where_deployment_is_shifted_to_one_side_that_shift_is_learned(config: TeachingConfig, side: int) -> None:
    (images, labels), (target, answers) = digits(0, 300), digits(300, 450)
    F = build("tiny", channels=1, height=8, width=8, classes=10, seed=0)
    found = quickly(
        model=F,
        train=(images, labels),
        validation=(beside(target, 2 * side), answers),
        config=config,
        training=TrainingConfig(10, 32, learning_rate=5e-3),
        before=Unchanged(),
        share=0.5,
    )
    assert side * found.summary(torch.from_numpy(images)).loc["shift_x", "mean"] > 0.2


@pytest.mark.parametrize("validation", [digits(120, 180), None], ids=["validation", "folds"])
@pytest.mark.parametrize("config", [OFTEN, PAPER], ids=["choice", "gradient"])
def test_it_gives_an_augmentation_and_tells_how_it_came_about(validation: Any, config: TeachingConfig) -> None:  # noqa: ANN401  (one or none)
    found = quickly(validation=validation, config=config, folds=3, share=0.6, seed=5)
    images = torch.from_numpy(digits()[0])
    made = found(images, generator=torch.Generator().manual_seed(0))
    assert isinstance(found, LearnedAugmentation)
    assert made.shape == images.shape
    assert not any(value.requires_grad for value in found.parameters())
    assert (found.share, found.record["seed"]) == (0.6, 5)
    assert found.record["folds"] == (1 if validation is not None else 3)
    assert found.record["config"]["rule"] == config.rule
    history = found.record["history"]
    assert set(history) == {"step", "effect", "spread", "kept", "divergence", "residual", "fold"}
    assert sorted(set(history["fold"])) == ([0] if validation is not None else [0, 1, 2])
    assert np.isfinite([history[name] for name in history]).all()
    assert isinstance(found.network, TauDistribution if config is OFTEN else AugmentationNetwork)


def test_what_it_learns_survives_its_file(tmp_path: Path) -> None:
    found = quickly(validation=None)
    back = LearnedAugmentation.load(found.save(tmp_path / "a.safetensors"))
    assert back.record == found.record
    assert_array_equal(state(back), state(found))


@pytest.mark.parametrize("validation", [digits(120, 180), None], ids=["validation", "folds"])
def test_the_seed_decides_the_result_and_global_generators_nothing(validation: Any) -> None:  # noqa: ANN401  (one or none)
    def learned(seed: int, world: int) -> Array:
        with torch.random.fork_rng():
            torch.manual_seed(world)
            return state(quickly(validation=validation, seed=seed))

    before = torch.get_rng_state()
    assert_array_equal(learned(1, world=1), learned(1, world=2))
    assert np.abs(learned(1, world=1) - learned(2, world=1)).max() > 1e-4
    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_is_only_copied_and_may_come_in_any_form() -> None:
    F = network().eval()
    F[3].train()
    before = copy.deepcopy(F)
    results = [quickly(model=F), quickly(model=Model(F, "1")), quickly(model=Model(F, "4:input"))]
    assert_array_equal(state(F), state(before))
    assert [module.training for module in F.modules()] == [module.training for module in before.modules()]
    assert all(value.grad is None and value.requires_grad for value in F.parameters())
    for other in results[1:]:
        assert_array_equal(state(other), state(results[0]))


def test_labelled_images_may_come_in_any_form() -> None:
    (images, labels), (target, answers) = digits(), digits(120, 180)
    given: list[Any] = [
        ((images, labels), (target, answers)),
        ((torch.from_numpy(images), torch.from_numpy(labels)), (torch.from_numpy(target), answers.tolist())),
        (from_arrays(images, labels), from_arrays(target, answers)),
        (from_arrays(images, labels), (target, answers)),
        ((images[:, 0], labels), (target, answers)),
    ]
    results = [state(quickly(train=train, validation=validation)) for train, validation in given]
    for other in results[1:]:
        assert_array_equal(other, results[0])


def test_e_is_taught_in_place_and_can_be_taught_further() -> None:
    G, E = FieldTransformation(1, 8, 8, tau_size=3), TauDistribution(1, 8, 8, tau_size=3)
    weights = state(G)
    first = quickly(transformation=G, network=E)
    kept = state(first)
    assert_array_equal(state(first.network), state(E))
    assert float(E.shared.detach().abs().max()) > 0
    assert E.shared.requires_grad
    second = quickly(transformation=G, network=E, seed=1)
    assert_array_equal(state(first), kept)
    assert np.abs(state(second) - kept).max() > 0
    assert_array_equal(state(G), weights)
    assert all(weight.grad is None and weight.requires_grad for weight in G.parameters())


@pytest.mark.parametrize("folds", [0, 2])
@pytest.mark.parametrize("config", [OFTEN, PAPER], ids=["choice", "gradient"])
def test_a_call_that_was_killed_and_resumed_ends_with_the_same_bits(
    folds: int, config: TeachingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"config": config, "seed": 3}
    given |= {"validation": None, "folds": folds} if folds else {}
    save = loop.save

    def killed(*arguments: Any) -> None:  # noqa: ANN401  (those of `save`)
        save(*arguments)
        raise KeyboardInterrupt

    whole = quickly(**given)
    monkeypatch.setattr(loop, "save", killed)
    for _ in range(2 * max(1, folds)):  # after each epoch of each fold
        with pytest.raises(KeyboardInterrupt):
            quickly(**given, folder=tmp_path)
    resumed = quickly(**given, folder=tmp_path)
    assert_array_equal(state(resumed), state(whole))
    assert resumed.record == whole.record


def test_a_folder_of_another_call_is_refused(tmp_path: Path) -> None:
    quickly(folder=tmp_path)
    quickly(folder=tmp_path)
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"config": TeachingConfig(every=4, curvature_points=50)},
        {"transformation": BoundedTransformation(1, 8, 8, **NOTHING, shift=0.2, border="zeros")},
        {"validation": digits(121, 181)},
        {"model": network(1)},
        {"share": 0.5},
    ]
    for other in others:
        with pytest.raises(InputError, match=r"checkpoint: .*fold-0\.safetensors is of a training with another configuration"):
            quickly(**other, folder=tmp_path)


def test_without_a_training_given_small_sets_get_enough_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainingConfig] = []

    def stop(*_: object, config: TrainingConfig, **__: object) -> None:
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("augury.learned.learn"), "train", stop)  # the package's `learn` is the function
    for points in (120, 1700):
        with pytest.raises(KeyboardInterrupt):
            quickly(train=digits(0, points), training=None)
    steps = [config.epochs * -(-points // config.batch) for config, points in zip(seen, (120, 1700), strict=True)]
    assert_allclose(steps, 1500, atol=30)


def mirrored(given: Examples) -> Examples:
    return Examples(given.images, given.labels, given.classes[::-1], given.origin)


def fails(message: str, **settings: Any) -> Any:  # noqa: ANN401  (a parameter of pytest's)
    return pytest.param(settings, message, id=message[:30])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        fails("validation: its classes are 9, 8, 7", validation=mirrored(from_arrays(*digits(120, 180)))),
        fails("labels: values from 5 to 14 for 10 classes", validation=(digits(120, 180)[0], digits(120, 180)[1] + 5)),
        fails(
            r"validation: images of shape \(1, 9, 9\), those of train \(1, 8, 8\)",
            validation=(np.zeros((60, 1, 9, 9), np.float32), digits(120, 180)[1]),
        ),
        fails("folds: 50, and the smallest class has 9 points; expected 2 to that number", validation=None, folds=50),
        fails("folds: 1, and the smallest class has 9 points", validation=None, folds=1),
        fails("network: it gives 3 components of tau", network=TauDistribution(1, 8, 8, tau_size=3)),
        fails("network: the rule choice teaches a TauDistribution", network=AugmentationNetwork(1, 8, 8, tau_size=2)),
        fails("network: the rule gradient teaches", network=TauDistribution(1, 8, 8, tau_size=2), config=PAPER),
        fails("model: it has no linear layer", model=nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())),
        fails("model: its output is not that of '1'", model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(dim=1))),
        fails("labels: values from 0 to 9, and the network tells 5 classes apart", model=nn.Sequential(nn.Flatten(), nn.Linear(64, 5))),
        fails(
            r"images: shape .* this transformation was made for \(points, 1, 28, 28\)",
            transformation=BoundedTransformation(1, 28, 28, **NOTHING, shift=0.2),
        ),
        fails(r"share: 1\.5; expected a share", share=1.5),
        fails("labels: 119 labels for 120 images", train=(digits()[0], digits()[1][:-1])),
        fails("images: shape", train=(digits()[0].reshape(120, 64), digits()[1])),
        fails("device: 'tpu' cannot be used here", device="tpu"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str, without_type_checks: None) -> None:
    with pytest.raises(InputError, match=message):
        quickly(**settings)


def test_of_each_batch_the_share_alone_goes_through_the_transformation() -> None:
    met: list[int] = []

    class Watched(BoundedTransformation):
        def forward(self, images: Tensor, tau: Tensor) -> Tensor:
            met.append(len(images))
            return super().forward(images, tau)

    for share in (0.5, 1.0):
        G = Watched(1, 8, 8, **NOTHING, shift=0.25)
        quickly(transformation=G, share=share, training=TrainingConfig(10, 120), config=TeachingConfig(warmup=0.99))  # no draws compared
    assert len(met) == 20
    assert 540 < sum(met[:10]) < 660
    assert met[10:] == [120] * 10


@pytest.mark.parametrize(
    ("kept", "target", "expected"), [(None, True, 0), (None, False, 0.5), (0.25, True, 0.25), (0.25, False, 0.25), (0, False, 0)]
)
def test_of_matching_half_of_the_draws_stay_as_they_were_only_without_a_target(
    kept: float | None, *, target: bool, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("augury.learned.learn"), "train", lambda *_, **__: None)
    given = {} if target else {"validation": None, "folds": 2}
    found = quickly(config=replace(TeachingConfig.matching(), kept=kept), **given)
    assert isinstance(found.network, TauDistribution)
    assert found.network.kept == expected
    assert found.record["config"]["kept"] == kept


@pytest.mark.parametrize("share", [0.33, 0.9])
def test_for_matching_f_is_not_fitted_to_the_images_that_e_changes(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("augury.learned.learn")
    fitted: list[tuple[Array, Array]] = []
    goals: list[Goal] = []
    monkeypatch.setattr(module, "train", lambda _, images, labels, **__: fitted.append((images, labels)))
    monkeypatch.setattr(module, "Goal", lambda *given: goals.append(Goal(*given)) or goals[-1])
    images, labels = digits()
    once = np.flatnonzero((labels != 3) | (np.cumsum(labels == 3) == 1))  # a class of one image
    quickly(train=(images[once], labels[once]), config=replace(TeachingConfig.matching(), held=share))
    quickly(train=(images[once], labels[once]), config=replace(TeachingConfig.matching(), held=0))
    quickly(train=(images[once], labels[once]), config=replace(OFTEN, held=share))
    (kept, its), everything, chosen = fitted
    assert_array_equal(everything[0], images[once])
    assert_array_equal(chosen[0], images[once])
    assert_array_equal(goals[1].images, images[once])
    assert_array_equal(goals[2].images, images[once])
    assert_array_equal(sorted(image.tobytes() for image in [*kept, *goals[0].images]), sorted(image.tobytes() for image in images[once]))
    counts, held = (np.bincount(some, minlength=10) for some in (its, goals[0].labels))
    assert counts[3] == 1
    assert held[3] == 0
    others = np.arange(10) != 3
    whole = np.bincount(labels[once])[others]
    assert_array_equal(held[others], np.minimum(np.round(share * whole), whole - 1))
