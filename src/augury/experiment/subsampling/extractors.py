"""The networks that give the features: ready weights, or trained here without augmentation, as the paper trained its own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augury import data, model
from augury.errors import InputError
from augury.files import read_json, write_json
from augury.model import Model, features
from augury.networks import build, load_weights
from augury.parallel import one_thread
from augury.progress import say
from augury.training import TrainingConfig, train

READY = "AUGURY_MODELS"  # the environment variable that names a folder of ready weights
BATCH = 64


@dataclass(frozen=True)
class Extractor:
    """A network trained on all classes of a data set, without augmentation."""

    data: str
    network: str
    training: TrainingConfig


_RESNET = TrainingConfig(
    epochs=20,
    batch=256,
    optimizer="sgd",
    learning_rate=0.2,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule="linear",
    warmup_epochs=2,
    precision="bfloat16",
    channels_last=True,
)
_NORB = TrainingConfig(
    epochs=20, batch=128, learning_rate=4e-3, schedule="onecycle", weight_decay=1e-4, precision="bfloat16", channels_last=True
)
EXTRACTORS = {
    "resnet20-noaug": Extractor("cifar10", "resnet20", _RESNET),
    "resnet56-noaug": Extractor("cifar10", "resnet56", _RESNET),
    "norbnet": Extractor("norb", "norbnet", _NORB),
    "norbnet1152": Extractor("norb", "norbnet1152", _NORB),
}


def network_of(name: str) -> str:
    """The architecture of the features called `name`: `resnet20-noaug` is a `resnet20`."""
    return EXTRACTORS[name].network if name in EXTRACTORS else re.sub(r"-.*", "", name)


def ready_weights(name: str, folder: Path, data_dir: str | None) -> Path | None:
    """The file of the features' weights, trained first where they are to be trained on all classes; None: trained on a task's own points.

    They are looked for in `folder`, then in the folder that AUGURY_MODELS names.
    """
    kept = folder / f"{name}.safetensors"
    if not kept.exists() and os.environ.get(READY):
        given = Path(os.environ[READY]) / f"{name}.safetensors"
        if given.exists():
            return given
    if kept.exists() or name not in EXTRACTORS:
        return kept if kept.exists() else None
    return _trained(name, kept, data_dir)


def _trained(name: str, path: Path, data_dir: str | None) -> Path:
    extractor = EXTRACTORS[name]
    points = data.load(extractor.data, split="train", data_dir=data_dir)
    say(f"features: training {name} on all {len(points):,} points of {extractor.data}")
    channels, height, width = points.shape
    network = build(extractor.network, channels=channels, height=height, width=width, classes=len(points.classes), seed=0)
    checkpoint = path.with_suffix(".training.safetensors")
    train(network.module, points.images, points.labels, config=extractor.training, checkpoint=checkpoint, what=f"training {name}")
    model.save(Model.of(network), path)
    checkpoint.unlink(missing_ok=True)
    return path


def accuracy_of(name: str, weights: Path, folder: Path, dataset: str, data_dir: str | None) -> float:
    """Accuracy of ready weights on the whole test set of their data, measured once; NaN where they do not classify it."""
    path = folder / f"{name}.accuracy.json"
    if not path.exists():
        test = data.load(dataset, split="test", data_dir=data_dir)
        channels, height, width = test.shape
        network = build(network_of(name), channels=channels, height=height, width=width, classes=len(test.classes), seed=0)
        try:
            load_weights(network.module, weights)
        except InputError:
            return float("nan")
        with one_thread():
            scores = features(Model(network.module, ""), test.images, batch=BATCH, what=f"accuracy of {name}")
        write_json(path, {"accuracy": float(np.mean(scores.argmax(axis=1) == test.labels)), "test_images": len(test), "data": dataset})
    return float(read_json(path)["accuracy"])
