"""One network fitted by two processes, started by `torchrun` on the CPU: what one process alone comes to, but for rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import nn

from augury.learned import BoundedTransformation, TeachingConfig, learn
from augury.learned.baselines import RandomCrop
from augury.model import Model
from augury.networks import build
from augury.training import Crew, TrainingConfig, joined, shared_features, train

Array = npt.NDArray[Any]

TOLERANCE = 1e-4  # relative to the largest weight: sums of float32 in another order, over some twenty steps
POINTS = 101  # no multiple of two, nor of the batch: the last batch has a single image


def network(seed: int = 0) -> nn.Sequential:
    """Every kind of layer that looks at the whole batch or draws: batch norm over images and over features, dropout of numbers and of maps.

    Before batch norm there is no bias: its derivative is zero, of which Adam makes full steps in the direction of the rounding.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first = [nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten()]
        return nn.Sequential(
            *first, nn.Linear(216, 16, bias=False), nn.BatchNorm1d(16, momentum=None), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 10)
        )


def digits(start: int, stop: int) -> tuple[Array, Array]:
    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)[start:stop], labels[start:stop].astype(np.int64)


def state(module: nn.Module) -> Array:
    """All weights and running statistics, without the counts of batches."""
    return np.concatenate([value.detach().double().numpy().ravel() for value in module.state_dict().values() if value.ndim])


def fitted(folder: Path) -> dict[str, Array]:
    """Everything that is compared: trainings, features, and a learned augmentation."""
    images, labels = digits(0, POINTS)
    weights = np.linspace(0.5, 2, POINTS)
    found: dict[str, Array] = {}
    for name, config in {
        "sgd": TrainingConfig(3, 20, optimizer="sgd", learning_rate=0.05, momentum=0.9),
        "adam": TrainingConfig(2, 20, schedule="onecycle"),
    }.items():
        fitting = network()
        report = train(fitting, images[:-1], labels[:-1], config=config, weights=weights[:-1], augment=RandomCrop(1), device="cpu")
        found |= {name: state(fitting), f"{name} losses": np.array(report.losses), f"{name} accuracy": np.array(report.accuracy)}
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    plain.load_state_dict({name: torch.zeros_like(value) for name, value in plain.state_dict().items()})
    train(plain, images, labels, config=TrainingConfig(2, 20, optimizer="sgd"), device="cpu", checkpoint=folder / "checkpoint.safetensors")
    found["last batch of one image"] = state(plain)
    found["features"] = shared_features(Model(network().eval(), "5"), images, device="cpu")
    augmentation = learn(
        build("tiny", channels=1, height=8, width=8, classes=10, seed=0),
        digits(0, 100),
        digits(100, 160),
        transformation=BoundedTransformation(1, 8, 8),
        config=TeachingConfig(every=3, curvature_points=50),
        training=TrainingConfig(2, 25, learning_rate=5e-3),
        device="cpu",
    )
    found["learned"] = state(augmentation)
    return found


def main(folder: Path) -> None:
    """What each process of `torchrun` does."""
    torch.set_num_threads(1)
    with joined() as crew:
        assert crew.size == 2
        np.savez(folder / f"{crew.rank}.npz", **fitted(folder))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Array]]:
    """What the two processes have come to."""
    folder = tmp_path_factory.mktemp("together")
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = []
    for rank in range(2):
        with np.load(folder / f"{rank}.npz") as arrays:
            found.append(dict(arrays))
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """What this process comes to."""
    assert Crew.here() == Crew(0, 1)
    return fitted(tmp_path_factory.mktemp("alone"))


def test_both_processes_end_with_the_same_bits(together: list[dict[str, Array]]) -> None:
    first, second = together
    for name, values in first.items():
        assert_array_equal(values, second[name], err_msg=name)


@pytest.mark.parametrize("what", ["sgd", "sgd losses", "adam", "adam losses", "last batch of one image", "features", "learned"])
def test_two_processes_come_to_what_one_does(together: list[dict[str, Array]], alone: dict[str, Array], what: str) -> None:
    assert_allclose(together[0][what], alone[what], rtol=0, atol=TOLERANCE * np.abs(alone[what]).max())


def test_the_accuracy_is_that_of_all_images(together: list[dict[str, Array]], alone: dict[str, Array]) -> None:
    assert_allclose(together[0]["sgd accuracy"], alone["sgd accuracy"], atol=1.5 / POINTS)  # one image may lie on the border


@pytest.mark.parametrize(("count", "size"), [(7, 2), (8, 3), (3, 3), (2, 3), (1, 2)])
def test_the_shares_of_a_batch_are_all_of_it_once_or_each_everything(count: int, size: int) -> None:
    shares = [np.arange(count)[Crew(rank, size).share(count)].tolist() for rank in range(size)]
    if count < size:
        assert shares == [list(range(count))] * size
    else:
        assert [place for share in shares for place in share] == list(range(count))
    losses = torch.arange(1.0, count + 1)
    parts = [float(Crew(rank, size).mean(losses[Crew(rank, size).share(count)], count)) for rank in range(size)]
    assert sum(parts) == pytest.approx(float(losses.mean()), rel=1e-6)


def test_without_torchrun_a_process_works_alone() -> None:
    with joined() as crew:
        assert crew == Crew(0, 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
