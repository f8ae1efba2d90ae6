"""`augury run` with a network of one's own: a factory, its weights, and the layer whose output are the features."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import save_file
from torch import nn

import augury as package
from augury import data
from augury.experiment import RunConfig, pipeline, run
from augury.experiment.pipeline import Pipeline
from augury.files import read_json
from augury.networks import load_weights
from augury.scores import Scores
from conftest import Augury
from test_resume import contents, times

MODULE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(48, classes)

    def forward(self, images):
        return self.fc(self.avgpool(self.conv(images).relu()).flatten(1))

def factory():
    return Net()

def regression():
    return Net(1)

def several_labels():
    return nn.Sequential(Net(), nn.Sigmoid())

def of_ten():
    return Net(10)
"""
DATA = ["digits", "--first", "60", "--classes", "3,8"]
SETTINGS = {"data": "digits", "first": 60, "classes": ("3", "8"), "transform": "flip", "curve": False, "copies": "none"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with a module and weights of one's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_model.py").write_text(MODULE)
    torch.manual_seed(3)
    net = nn.ModuleDict({"conv": nn.Conv2d(1, 12, 3), "fc": nn.Linear(48, 2)})
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    yield tmp_path
    sys.modules.pop("own_model", None)


def test_features_of_ones_own_network_are_its_layers_mean_over_the_places(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "train", None)
    stages = Pipeline(RunConfig(**SETTINGS, model="own_model:factory", weights="net.safetensors", layer="avgpool"), here / "work")
    found = stages.features(stages.splits.train, "features")
    network = stages.model.network
    with torch.no_grad():
        images = torch.from_numpy(stages.splits.train.images)
        expected = network.avgpool(network.conv(images).relu()).mean(dim=(2, 3))
    assert found.shape == (60, 12)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_run_with_ones_own_network_scores_by_its_features(augury: Augury, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "train", None)
    words = ["--model", "own_model:factory", "--checkpoint", "net.safetensors", "--layer", "avgpool", "--transform", "flip", "--seeds", 1]
    answer = augury("run", *DATA, *words, "--out", "run")
    assert answer.code == 0, answer.err
    record = read_json(here / "run" / "config.json")
    assert (record["model"], record["layer"], record["features"]) == ("own_model:factory", "avgpool", 12)
    assert "--model own_model:factory --weights net.safetensors --layer avgpool" in record["command"]
    points = data.load("digits").only(["3", "8"]).first(60)
    own = sys.modules["own_model"].factory()
    load_weights(own, "net.safetensors")
    X = package.features(own, points.images, layer="avgpool", device="cpu", batch=64)
    assert_allclose(Scores.load(here / "run" / "scores.parquet").values, package.score(X, points.labels).values, rtol=1e-6)
    before = times(here / "run")
    assert augury("run", *DATA, *words, "--out", "run").code == 0
    assert times(here / "run") == before


def test_without_weights_ones_own_network_is_trained_and_taken_up_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS | {"model": "own_model:factory", "epochs": 2}
    run(**settings, out=here / "run")
    assert (here / "run" / "model.safetensors").exists()
    whole = contents(here / "run")
    (here / "run" / "scores.parquet").unlink()
    monkeypatch.setattr(pipeline, "train", None)
    run(**settings, out=here / "run")
    assert contents(here / "run") == whole


def test_with_no_epochs_the_network_stays_as_it_was_made(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "train", None)
    settings = SETTINGS | {"model": "own_model:of_ten", "epochs": 0}
    run(**settings, out=here / "run")
    assert not (here / "run" / "model.safetensors").exists()
    text = (
        (here / "own_model.py").read_text().replace("Net(10)", "Net(1 + 10)")
    )  # of another length, by which Python knows a changed file within the second
    (here / "own_model.py").write_text(text)
    del sys.modules["own_model"]
    with pytest.raises(package.InputError, match=r"a run of the same settings on other weights \(weights_digest differs\)"):
        run(**settings, out=here / "run")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "own_modle:factory"], "model: no module 'own_modle' in "),
        (["--model", "own_model:factry"], "model: own_model has nothing to call 'factry'; expected a function or class, such as factory"),
        (
            ["--layer", "avgpol", "--checkpoint", "net.safetensors"],
            "layer: the network has no layer called 'avgpol'; expected one of conv, avgpool",
        ),
        (
            ["--model", "own_model:of_ten", "--checkpoint", "net.safetensors"],
            "net.safetensors: fc.bias has shape (2,), and the network's has (10,)",
        ),
        (["--checkpoint", "own_model.py"], "own_model.py: not a readable safetensors file"),
        (["--checkpoint", "nowhere.safetensors"], "nowhere.safetensors: no such file; expected weights as safetensors"),
        (
            ["--model", "own_model:regression"],
            "model: it gives one number an image, as for regression or a single logit, which Augury cannot handle yet",
        ),
        (
            ["--model", "own_model:several_labels"],
            "model: it ends in a sigmoid, as for several labels an image, which Augury cannot handle yet",
        ),
        (["--model", "own_model:of_ten"], "model: it gives the shape (2, 10) for 2 images of 2 classes, and is to be trained on them"),
    ],
)
def test_what_is_wrong_with_ones_own_network_is_one_line(augury: Augury, here: Path, words: list[str], told: str) -> None:
    given = ["--model", "own_model:factory"] if "--model" not in words else []
    answer = augury("run", *DATA, *given, *words, "--quiet", "--out", "run")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.startswith(f"error: {told}")
    assert not (here / "run").exists()


def test_images_that_ones_own_network_refuses_are_told_with_their_shape(augury: Augury, here: Path) -> None:
    images = np.random.default_rng(0).random((20, 3, 8, 8))
    np.savez(here / "rgb.npz", images=images, labels=np.arange(20) % 2)
    answer = augury("run", "rgb.npz", "--model", "own_model:factory", "--quiet")
    assert answer.code == 2
    assert "error: images: the network refuses a batch of shape (2, 3, 8, 8)" in answer.err
