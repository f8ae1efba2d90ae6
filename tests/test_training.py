"""The training loop: equal to PyTorch's optimizers driven by hand, exact in its weights, and the same after a kill."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from augury.errors import InputError
from augury.model import Model, features
from augury.networks import build
from augury.training import Augment, Learner, Moment, TrainingConfig, TrainingReport, loop, train
from augury.training.config import Schedule

Array = npt.NDArray[Any]


class Mixed(nn.Module):
    """Small, with batch norm and dropout: what makes replaying hard."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)), nn.BatchNorm2d(4)
        self.drop, self.fc = nn.Dropout(0.3), nn.Linear(4 * 64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.drop(self.norm(self.conv(images)).relu().flatten(1)))


def digits(points: int = 100) -> tuple[Array, Array]:
    images, labels = load_digits(return_X_y=True)
    images = np.rint(images * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    return images[:points], labels[:points].astype(np.int64)


def mixed(seed: int = 0) -> Mixed:
    torch.manual_seed(seed)
    return Mixed()


def plain(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).to(dtype)


def state(network: nn.Module) -> Array:
    return np.concatenate([value.detach().double().numpy().ravel() for value in network.state_dict().values()])


def unchecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without the type checks of the test run, as users call it."""
    return getattr(function, "__wrapped__", function)


def by_hand(network: nn.Module, optimizer: torch.optim.Optimizer, config: TrainingConfig, images: Array, labels: Array) -> None:
    """The loop as a textbook has it, with the order of the examples that Augury draws."""
    pixels, targets = torch.tensor(images) / 255, torch.tensor(labels)
    for epoch in range(config.epochs):
        order = torch.from_numpy(np.random.default_rng((config.seed, loop.ORDER, epoch)).permutation(len(images)))
        for chosen in order.split(config.batch):
            optimizer.zero_grad()
            functional.cross_entropy(network(pixels[chosen]), targets[chosen]).backward()
            optimizer.step()


@pytest.mark.parametrize(
    ("config", "optimizer"),
    [
        (TrainingConfig(3, 32, learning_rate=0.01), lambda weights: torch.optim.Adam(weights, 0.01)),
        (TrainingConfig(3, 32, weight_decay=0.1), lambda weights: torch.optim.Adam(weights, weight_decay=0.1)),
        (TrainingConfig(3, 100, "sgd", 0.1), lambda weights: torch.optim.SGD(weights, 0.1)),
        (
            TrainingConfig(3, 7, "sgd", 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, seed=6),
            lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
        ),
    ],
)
def test_the_loop_is_pytorchs_optimizer_driven_by_hand(config: TrainingConfig, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    ours, theirs = plain(), plain()
    train(ours, *digits(), config=config)
    by_hand(theirs, optimizer(theirs.parameters()), config, *digits())
    assert_allclose(state(ours), state(theirs), rtol=1e-5, atol=1e-6)
    assert np.abs(state(ours) - state(plain())).max() > 0.01


@pytest.mark.parametrize("steps", [10, 37])
@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        ("constant", lambda optimizer, _: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)),
        ("linear", lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)),
        ("cosine", torch.optim.lr_scheduler.CosineAnnealingLR),
        ("onecycle", lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps, cycle_momentum=False)),
    ],
)
def test_schedules_are_pytorchs(schedule: Schedule, reference: Callable[..., Any], steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    scheduler = reference(optimizer, steps)
    config = TrainingConfig(learning_rate=0.1, schedule=schedule)
    for step in range(steps):
        assert config.rate(step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("schedule", "after"), [("constant", [1, 1, 1, 1, 1, 1]), ("linear", [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])])
def test_a_warm_up_rises_to_the_learning_rate_before_the_schedule_begins(schedule: Schedule, after: list[float]) -> None:
    config = TrainingConfig(epochs=5, learning_rate=0.1, warmup_epochs=2, schedule=schedule)
    rates = [config.rate(step, 10) for step in range(10)]
    assert_allclose(rates, 0.1 * np.array([0.25, 0.5, 0.75, 1, *after]))


def test_the_schedule_reaches_the_optimizer() -> None:
    seen = []

    class Watched(torch.optim.SGD):
        def step(self) -> None:  # type: ignore[override]
            seen.append(self.param_groups[0]["lr"])

    config = TrainingConfig(2, 30, "sgd", 0.1, schedule="cosine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "SGD", Watched)
        train(plain(), *digits(), config=config)
    assert_allclose(seen, [config.rate(step, 8) for step in range(8)])


def test_a_weight_of_two_means_the_same_as_the_example_twice() -> None:
    images, labels = digits(20)
    weights = np.array([2.0, 1, 0, 3] * 5)
    repeated = np.repeat(np.arange(20), weights.astype(int))
    config = TrainingConfig(5, 1000, "sgd", 0.5)
    weighted, doubled = plain(), plain()
    first = train(weighted, images, labels, config=config, weights=weights)
    second = train(doubled, images[repeated], labels[repeated], config=config)
    assert_allclose(state(weighted), state(doubled), atol=1e-6)
    assert_allclose(first.losses, second.losses, rtol=1e-5)


def test_only_the_ratios_of_the_weights_matter() -> None:
    images, labels = digits(30)
    weights = np.random.default_rng(0).uniform(0.1, 3, 30)
    one, other, unweighted = plain(), plain(), plain()
    for network, given in ((one, weights), (other, weights * 1e6), (unweighted, None)):
        train(network, images, labels, config=TrainingConfig(3, 10), weights=given)
    assert_allclose(state(one), state(other), atol=1e-5)
    assert np.abs(state(one) - state(unweighted)).max() > 1e-3


def test_the_mean_gradient_of_an_epochs_batches_is_the_gradient_of_the_weighted_mean() -> None:
    images, labels = digits(30)
    weights = np.random.default_rng(0).uniform(0.1, 3, 30)
    rate = 1e-3
    small, whole = plain(), plain()
    train(small, images, labels, config=TrainingConfig(1, 10, "sgd", rate / 3), weights=weights)
    train(whole, images, labels, config=TrainingConfig(1, 30, "sgd", rate), weights=weights)
    moved = state(whole) - state(plain())
    assert_allclose(state(small) - state(plain()), moved, atol=2e-3 * np.abs(moved).max())


def test_the_report_gives_the_mean_loss_of_each_epoch_and_the_accuracy_at_the_end() -> None:
    images, labels = digits(50)
    network = plain()
    scores = torch.from_numpy(features(Model(network, ""), images))
    report = train(network, images, labels, config=TrainingConfig(2, 50, "sgd", 0.1))
    assert report.losses[0] == pytest.approx(float(functional.cross_entropy(scores, torch.from_numpy(labels))), rel=1e-5)
    assert report.losses[1] < report.losses[0]
    assert report.accuracy == (features(Model(network, ""), images).argmax(1) == labels).mean()
    assert report.resumed == 0


@pytest.mark.parametrize(
    "options", [{}, {"precision": "bfloat16"}, {"channels_last": True}, {"precision": "bfloat16", "channels_last": True}]
)
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(options: dict[str, Any]) -> None:
    def fitted(seed: int, world: int) -> Array:
        network = mixed()
        torch.manual_seed(world)
        train(network, *digits(), config=TrainingConfig(2, 32, seed=seed, **options))
        return state(network)

    assert_array_equal(fitted(1, world=1), fitted(1, world=2))
    assert np.abs(fitted(1, world=1) - fitted(2, world=1)).max() > 1e-4


@pytest.mark.parametrize(("option", "tolerance"), [({"channels_last": True}, 1e-5), ({"precision": "bfloat16"}, 0.02)])
def test_layout_and_precision_change_the_result_by_rounding_only(option: dict[str, Any], tolerance: float) -> None:
    usual, other = mixed(), mixed()
    first = train(usual, *digits(), config=TrainingConfig(2, 32, "sgd", 0.01))
    second = train(other, *digits(), config=TrainingConfig(2, 32, "sgd", 0.01, **option))
    assert_allclose(first.losses, second.losses, rtol=tolerance)
    assert all(weight.is_contiguous() and weight.dtype == torch.float32 for weight in other.parameters())


def test_every_step_draws_afresh_from_seed_and_epoch_in_training_mode() -> None:
    class Drawing(nn.Linear):
        def __init__(self) -> None:
            super().__init__(64, 10)
            self.draws: list[float] = []

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                self.draws.append(float(torch.rand(())))
            return super().forward(images.flatten(1))

    short, long = Drawing().eval(), Drawing().eval()
    train(short, *digits(), config=TrainingConfig(2, 50))
    train(long, *digits(), config=TrainingConfig(3, 50))
    assert len(set(long.draws)) == 6
    assert short.draws == long.draws[:4]


@pytest.mark.parametrize("epochs_before", [1, 3])
@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(5, 32, seed=1),
        TrainingConfig(5, 32, "sgd", 0.05, momentum=0.9, schedule="cosine", warmup_epochs=1),
        TrainingConfig(5, 32, "sgd", 0.05, channels_last=True),
    ],
)
def test_a_training_that_was_killed_and_resumed_ends_with_the_same_bits(
    config: TrainingConfig, epochs_before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path, step = mixed(), tmp_path / "training.safetensors", loop._step
    expected = train(whole, *digits(), config=config)

    def killed(fit: Any, chosen: Array, number: int) -> Tensor:  # noqa: ANN401  (private to the loop)
        if number == epochs_before * 4 + 2:  # two steps into the next epoch
            raise KeyboardInterrupt
        return step(fit, chosen, number)

    monkeypatch.setattr(loop, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(mixed(), *digits(), config=config, checkpoint=path)
    monkeypatch.setattr(loop, "_step", step)
    resumed = mixed()
    report = train(resumed, *digits(), config=config, checkpoint=path)
    assert_array_equal(state(resumed), state(whole))
    assert report == TrainingReport(expected.losses, expected.accuracy, epochs_before)
    assert [path.name for path in tmp_path.iterdir()] == ["training.safetensors"]


def test_a_training_that_was_finished_is_read_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, config = mixed(), mixed(), TrainingConfig(2, 32)
    report = train(first, *digits(), config=config, checkpoint=tmp_path / "c")
    monkeypatch.setattr(loop, "_step", None)
    assert train(second, *digits(), config=config, checkpoint=tmp_path / "c") == TrainingReport(report.losses, report.accuracy, 2)
    assert_array_equal(state(first), state(second))


def test_a_training_that_stops_is_the_beginning_of_the_whole_one_and_can_be_gone_on_with(tmp_path: Path) -> None:
    whole, part, config = mixed(), mixed(), TrainingConfig(4, 32, schedule="cosine")
    expected = train(whole, *digits(), config=config)
    stopped = train(part, *digits(), config=config, checkpoint=tmp_path / "c", stop=2)
    assert stopped.losses == expected.losses[:2]
    rest = mixed()
    assert train(rest, *digits(), config=config, checkpoint=tmp_path / "c", stop=9) == TrainingReport(expected.losses, expected.accuracy, 2)
    assert_array_equal(state(rest), state(whole))
    assert not np.array_equal(state(part), state(whole))


def test_a_training_that_stops_before_it_begins_is_refused() -> None:
    with pytest.raises(InputError, match=r"^stop: 0 epochs; expected at least 1, or None for all of them$"):
        train(mixed(), *digits(), config=TrainingConfig(1, 32), stop=0)


@pytest.mark.parametrize("changed", ["configuration", "pixels", "labels", "weights", "network"])
def test_a_checkpoint_of_another_training_is_refused_and_kept(changed: str, tmp_path: Path) -> None:
    images, labels = digits()
    path, config = tmp_path / "training.safetensors", TrainingConfig(1, 50)
    train(mixed(), images, labels, config=config, checkpoint=path)
    before = path.read_bytes()
    other = {
        "configuration": (mixed(), images, labels, {"config": TrainingConfig(1, 50, seed=1)}),
        "pixels": (mixed(), 255 - images, labels, {"config": config}),
        "labels": (mixed(), images, labels[::-1].copy(), {"config": config}),
        "weights": (mixed(), images, labels, {"config": config, "weights": np.linspace(0, 1, 100)}),
        "network": (mixed(seed=1), images, labels, {"config": config}),
    }
    network, pixels, targets, settings = other[changed]
    with pytest.raises(InputError, match="of a training with another configuration, data or initial network; delete it"):
        train(network, pixels, targets, checkpoint=path, **settings)
    assert path.read_bytes() == before


def test_training_leaves_modes_and_global_generators_as_they_were_and_no_gradient() -> None:
    network = mixed()
    network.eval().drop.train()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  (the global generator is meant)
    train(network, *digits(), config=TrainingConfig(1, 32))
    assert torch.equal(before[0], torch.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert [module.training for module in network.modules()] == [module is network.drop for module in network.modules()]
    assert all(weight.grad is None for weight in network.parameters())


GENERATORS = """
import random
import numpy as np, torch
from augury.model import Model, features
from augury.networks import build
from augury.training import TrainingConfig, train

def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

before = states()
network = build("cnn128", channels=1, height=8, width=8, classes=2, seed=0)
images = np.zeros((6, 1, 8, 8), np.uint8)
train(network.module, images, np.arange(6) % 2, config=TrainingConfig(1, 4))
features(Model.of(network), images)
assert states() == before
"""


def test_no_generator_of_python_numpy_or_torch_moves_in_a_whole_job() -> None:
    subprocess.run([sys.executable, "-c", GENERATORS], check=True)  # on its own: the test run's type checks draw from Python's


def test_frozen_weights_stay() -> None:
    network = mixed()
    network.conv[0].requires_grad_(requires_grad=False)
    before, free = network.conv[0].weight.clone(), network.fc.weight.detach().clone()
    train(network, *digits(), config=TrainingConfig(1, 32))
    assert torch.equal(network.conv[0].weight, before)
    assert not torch.equal(network.fc.weight, free)
    with pytest.raises(InputError, match="network: no weight requires a gradient"):
        train(network.requires_grad_(requires_grad=False), *digits(), config=TrainingConfig(1, 32))


@pytest.mark.parametrize(("batch", "rate"), [(32, 1e20), (100, 3e38)])  # the loss, and the weights after the only step
def test_a_training_that_diverges_names_the_learning_rate_and_leaves_no_checkpoint(batch: int, rate: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"learning_rate: with .*no longer finite in epoch 1; lower it"):
        train(mixed(), *digits(), config=TrainingConfig(1, batch, "sgd", rate, weight_decay=2.0), checkpoint=tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(99), r"shape \(99,\) for 100 images"),
        (np.full(100, np.nan), "values from nan to nan"),
        (np.linspace(-1, 1, 100), "values from -1.0 to 1.0"),
        (np.zeros(100), "values from 0.0 to 0.0"),
    ],
)
def test_senseless_weights_are_refused(weights: Array, message: str) -> None:
    with pytest.raises(InputError, match=f"weights: {message}"):
        unchecked(train)(plain(), *digits(), config=TrainingConfig(1), weights=weights)


def test_labels_that_do_not_fit_are_refused() -> None:
    images, labels = digits()
    with pytest.raises(InputError, match="labels: 99 labels for 100 images"):
        unchecked(train)(plain(), images, labels[:99], config=TrainingConfig(1))
    for shift, span in ((1, "1 to 10"), (-1, "-1 to 8")):
        with pytest.raises(InputError, match=f"labels: values from {span}, and the network tells 10 classes apart; expected 0 to 9"):
            train(plain(), images, labels + shift, config=TrainingConfig(1))


def test_networks_that_do_not_fit_are_refused() -> None:
    images, labels = digits()
    with pytest.raises(InputError, match=r"network: it gives \(100, 4, 8, 8\) for 100 images; expected class scores"):
        train(nn.Conv2d(1, 4, 3, padding=1), images, labels, config=TrainingConfig(1))
    with pytest.raises(InputError, match=r"refuses a batch of shape \(100, 1, 8, 8\)"):
        train(nn.Conv2d(3, 4, 3), images, labels, config=TrainingConfig(1))
    with pytest.raises(InputError, match="network: no weight requires a gradient"):
        train(nn.Flatten(), images, labels, config=TrainingConfig(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs: 0; expected a finite number, at least 1"),
        ({"batch": 0}, "batch: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0; expected a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate: nan"),
        ({"weight_decay": float("inf")}, "weight_decay: inf"),
        ({"optimizer": "lion"}, "optimizer: 'lion'; expected one of adam, sgd"),
        ({"schedule": "steps"}, "schedule: 'steps'; expected one of constant, cosine, linear, onecycle"),
        ({"precision": "float16"}, "precision: 'float16'; expected one of float32, bfloat16"),
        ({"momentum": 0.9}, "momentum: 0.9 with adam"),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov: needs momentum"),
        ({"schedule": "onecycle", "warmup_epochs": 1}, "warmup_epochs: the schedule onecycle has its own rise"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        unchecked(TrainingConfig.__init__)(object.__new__(TrainingConfig), **settings)


def test_the_tiny_network_learns_digits_within_seconds() -> None:
    images, labels = digits(1797)
    order = np.random.default_rng(0).permutation(1797)
    seen, unseen = order[:1000], order[1000:]
    network = build("tiny", channels=1, height=8, width=8, classes=10, seed=0)
    config = TrainingConfig(epochs=10, batch=64, learning_rate=5e-3, schedule="onecycle")
    report = train(network.module, images[seen], labels[seen], config=config)
    assert report.accuracy > 0.99
    assert (features(Model(network.module, ""), images[unseen]).argmax(1) == labels[unseen]).mean() > 0.97


class Seen(NamedTuple):
    """What an augmentation is told with a batch."""

    images: Tensor
    labels: Tensor
    step: int
    steps: int
    draws: list[float]
    training: bool
    precision: str
    chosen: Tensor | None


class Watching:
    """Leaves the images as they are, and keeps what it was told; its draws are its own affair."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def __repr__(self) -> str:
        return "Watching()"

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        draws = torch.rand(3, generator=moment.generator).tolist()
        torch.manual_seed(int(1e6 * draws[0]))  # dropout has its own stream, which nobody should meet here
        self.seen.append(Seen(images, labels, moment.step, moment.steps, draws, moment.network.training, moment.precision, moment.chosen))
        return images


class Inverting:
    """White for black; with a graph behind the result, as a careless augmentation may give it."""

    def __repr__(self) -> str:
        return "Inverting()"

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        return torch.ones((), requires_grad=True) - images


class Tuning:
    """A learner: one number that all images are multiplied by, fitted to their mean, with noise."""

    def __init__(self, start: float = 1.0) -> None:
        self.module = nn.Module()
        self.module.factor = nn.Parameter(torch.tensor(start))
        self.module.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.optimizer = torch.optim.Adam(self.module.parameters(), 0.01)

    def __repr__(self) -> str:
        return "Tuning()"

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        noise = torch.rand((), generator=moment.generator)
        self.optimizer.zero_grad()
        with moment.reading() as network:
            ((self.module.factor * images.mean() - noise) ** 2 + 1e-3 * network(images[:1] * self.module.factor).sum()).backward()
        network.zero_grad()
        self.optimizer.step()
        self.module.steps += 1
        return images * self.module.factor


def test_an_augmentation_that_changes_nothing_changes_no_bit() -> None:
    plainly, watched = plain(), plain()
    config = TrainingConfig(2, 32)
    first, second = train(plainly, *digits(), config=config), train(watched, *digits(), config=config, augment=Watching())
    assert_array_equal(state(plainly), state(watched))
    assert first == second


def test_the_network_is_trained_on_what_the_augmentation_gives() -> None:
    images, labels = digits()
    augmented, inverted, config = plain(), plain(), TrainingConfig(2, 32)
    assert isinstance(Inverting(), Augment)
    assert not isinstance(Inverting(), Learner)
    train(augmented, images, labels, config=config, augment=Inverting())
    train(inverted, 255 - images, labels, config=config)
    assert_allclose(state(augmented), state(inverted), atol=1e-6)
    assert np.abs(state(augmented) - state(plain())).max() > 1e-3


def test_an_augmentation_is_told_the_batch_and_the_moment() -> None:
    (images, labels), watching = digits(), Watching()
    train(mixed(), images, labels, config=TrainingConfig(2, 32, precision="bfloat16"), augment=watching)
    seen = watching.seen
    assert [one.step for one in seen] == list(range(8))
    assert {(one.steps, one.training, one.precision) for one in seen} == {(8, True, "bfloat16")}
    order = np.random.default_rng((0, loop.ORDER, 1)).permutation(100)[:32]
    assert_allclose(seen[4].images, images[order] / 255, rtol=1e-6)
    assert_array_equal(seen[4].labels, labels[order])
    assert seen[4].chosen is not None
    assert_array_equal(seen[4].chosen, order)


def test_a_moment_of_some_points_tells_their_numbers() -> None:
    moment = Moment(nn.Identity(), 3, 9, torch.Generator(), chosen=torch.tensor([7, 2, 5]))
    some = moment.of(torch.tensor([True, False, True]))
    assert some.chosen is not None
    assert some.chosen.tolist() == [7, 5]
    assert some.step == 3
    unknown = Moment(nn.Identity(), 3, 9, torch.Generator())
    assert unknown.of(torch.tensor([True])) is unknown


def test_its_generator_follows_from_the_seed_and_the_step_alone(tmp_path: Path) -> None:
    def draws(epochs: int, points: int = 100, checkpoint: Path | None = None, **settings: Any) -> list[list[float]]:  # noqa: ANN401  (settings)
        watching = Watching()
        train(plain(), *digits(points), config=TrainingConfig(epochs, 50, **settings), augment=watching, checkpoint=checkpoint)
        return [one.draws for one in watching.seen]

    expected = draws(3)
    assert len({tuple(one) for one in expected}) == 6
    assert draws(2) == expected[:4]
    assert draws(3, points=51) == expected  # the last batch has one image
    assert draws(3, learning_rate=0.1, optimizer="sgd") == expected
    assert not {tuple(one) for one in draws(3, seed=1)} & {tuple(one) for one in expected}


def test_reading_the_network_gives_its_modes_back_even_after_an_error() -> None:
    network = mixed().train()
    network.drop.eval()
    moment = Moment(network, 0, 1, torch.Generator())
    modes = []

    def fail() -> None:
        with moment.reading() as read:
            modes.extend(module.training for module in read.modules())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any(modes)
    assert [module.training for module in network.modules()] == [module is not network.drop for module in network.modules()]


def test_a_learner_is_kept_in_the_checkpoint_with_its_optimizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, path, save = TrainingConfig(4, 32, seed=1), tmp_path / "c", loop.save

    def fitted(checkpoint: Path | None) -> tuple[Array, TrainingReport]:
        network, tuning = mixed(), Tuning()
        assert isinstance(tuning, Learner)
        report = train(network, *digits(), config=config, augment=tuning, checkpoint=checkpoint)
        adam = tuning.optimizer.state_dict()["state"][0]
        return np.concatenate([state(network), state(tuning.module), [float(adam[name]) for name in sorted(adam)]]), report

    def killed(*arguments: Any) -> None:  # noqa: ANN401  (those of `save`)
        save(*arguments)
        raise KeyboardInterrupt

    expected, report = fitted(None)
    monkeypatch.setattr(loop, "save", killed)
    for _ in range(4):  # at every boundary between epochs
        with pytest.raises(KeyboardInterrupt):
            fitted(path)
    found, resumed = fitted(path)
    assert_array_equal(found, expected)
    assert resumed == TrainingReport(report.losses, report.accuracy, 4)
    assert expected[-3] != 1.0


def test_a_checkpoint_of_another_augmentation_is_refused(tmp_path: Path) -> None:
    config, path = TrainingConfig(1, 50), tmp_path / "c"
    train(plain(), *digits(), config=config, augment=Tuning(), checkpoint=path)
    train(plain(), *digits(), config=config, augment=Tuning(), checkpoint=path)
    for other in (None, Inverting(), Tuning(start=1.1)):
        with pytest.raises(InputError, match="of a training with another configuration"):
            train(plain(), *digits(), config=config, augment=other, checkpoint=path)


def test_a_copy_of_the_network_is_not_touched() -> None:
    network = mixed()
    twin = copy.deepcopy(network)
    train(network, *digits(), config=TrainingConfig(1, 32))
    assert_array_equal(state(twin), state(mixed()))
