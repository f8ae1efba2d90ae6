"""Every reader of files, each with small valid files to damage."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from mutations import junked, mutated
from PIL import Image

from augury.cells import Cells
from augury.copies import CopyOrdering
from augury.data import load
from augury.evaluation import Curve
from augury.files import METADATA_KEY, read_json, write_json
from augury.learned.augmentation import LearnedAugmentation
from augury.learned.bounded import BoundedTransformation
from augury.learned.distribution import TauDistribution
from augury.learned.saved import load_module, save_module
from augury.learned.transformation import WarpingTransformation
from augury.networks import build, load_weights
from augury.scores import Scores
from augury.selection import Ordering, rank
from augury.training import TrainingConfig, train

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 1, 0, 1])
SCORES = Scores(np.arange(6.0), LABELS, np.arange(6.0), np.linspace(0.1, 0.9, 6), "loss", ("a", "b"), np.arange(6).astype(str), {"C": 1.0})
FRAME = pd.DataFrame({"policy": "p", "seed": 0, "budget": [1, 3, 6], "accuracy": [0.5, 0.6, 0.7]})

Rng = np.random.Generator


@dataclass(frozen=True)
class Reader:
    """What reads a kind of file.

    Parameters
    ----------
    write
        Puts valid files into a folder.
    read
        Reads them.
    damage
        Changes one of them, by a seeded generator: given its path.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    damage: Callable[[Path, Rng], object]


def plain(path: Path, rng: Rng) -> None:
    """Bytes anywhere."""
    path.write_bytes(mutated(path.read_bytes(), rng))


def gzipped(path: Path, rng: Rng) -> None:
    """Bytes of the packed file, or of what is packed in it."""
    if rng.random() < 0.3:
        plain(path, rng)
    else:
        path.write_bytes(gzip.compress(mutated(gzip.decompress(path.read_bytes()), rng), 1))


def zipped(path: Path, rng: Rng) -> None:
    """Bytes of the archive, or of one of its members, whose checksum is then right."""
    if rng.random() < 0.3:
        plain(path, rng)
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[rng.integers(len(members))]
    members[name] = mutated(members[name], rng)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def table(path: Path, rng: Rng) -> None:
    """Bytes of the file; or its record; or a column taken out, of another type, without values, or with its values in disorder."""
    if rng.random() < 0.3:
        plain(path, rng)
        return
    found = pq.read_table(path)
    place = int(rng.integers(found.num_columns))
    metadata = found.schema.metadata or {}
    kind = rng.integers(6)
    if kind <= 1 and METADATA_KEY in metadata:
        metadata = metadata | {METADATA_KEY: json.dumps(junked(json.loads(metadata[METADATA_KEY]), rng)).encode()}
    elif kind <= 1:
        metadata = {key: mutated(value, rng) for key, value in metadata.items()}
    elif kind == 2:
        found = found.drop_columns([found.column_names[place]])
    elif kind == 3:
        others = [
            pa.nulls(len(found)),
            ["x"] * len(found),
            [-1] * len(found),
            [float("nan")] * len(found),
            [[1]] * len(found),
            [{"bytes": b"x", "path": "../x"}] * len(found),
        ]
        found = found.set_column(place, found.column_names[place], pa.array(others[rng.integers(len(others))]))
    elif kind == 4:
        found = found.slice(0, int(rng.integers(len(found))))
    else:
        values = found.column(place).to_pylist()
        values[rng.integers(len(values))] = None if rng.random() < 0.5 else values[rng.integers(len(values))]
        found = found.set_column(place, found.column_names[place], pa.array(values))
    pq.write_table(found.replace_schema_metadata(metadata), path)


def record(path: Path, rng: Rng) -> None:
    """Bytes of a JSON file, or entries of the record in it."""
    if rng.random() < 0.3:
        plain(path, rng)
    else:
        path.write_text(json.dumps(junked(json.loads(path.read_text()), rng)))


def tensors(path: Path, rng: Rng) -> None:
    """Bytes of a safetensors file, or entries of its header, whose announced length is then right."""
    if rng.random() < 0.3:
        plain(path, rng)
        return
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, values = json.loads(content[8 : 8 + length]), content[8 + length :]
    if "augury" in header.get("__metadata__", {}) and rng.random() < 0.7:
        header["__metadata__"]["augury"] = json.dumps(junked(json.loads(header["__metadata__"]["augury"]), rng))
    else:
        header = junked(header, rng)
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + values)


def _idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", side) for side in values.shape) + values.astype(np.uint8).tobytes()


def _write_mnist(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(_idx(GREY))
    (folder / "train-labels-idx1-ubyte").write_bytes(_idx(LABELS))


def _write_mnist_gz(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(GREY)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(LABELS)))


def _write_cifar(folder: Path) -> None:
    for i in range(1, 6):
        batch = {"data": RNG.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": [0, 1]}
        (folder / f"data_batch_{i}").write_bytes(pickle.dumps(batch, 2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b"]}, 2))


def pickled(path: Path, rng: Rng) -> None:
    """Bytes of a pickle, most of them where its opcodes are, not its pixels."""
    content = path.read_bytes()
    begin = content.find(b"\x80\x02") + 180
    path.write_bytes(mutated(content[:begin], rng) + content[begin:] if rng.random() < 0.7 else mutated(content, rng))


def _write_norb(folder: Path) -> None:
    pairs = RNG.integers(0, 256, (6, 2, 8, 8), dtype=np.uint8)
    (folder / "smallnorb-training-dat.mat").write_bytes(struct.pack("<6i", 0x1E3D4C55, 4, *pairs.shape) + pairs.tobytes())
    (folder / "smallnorb-training-cat.mat").write_bytes(struct.pack("<5i", 0x1E3D4C54, 1, 6, 1, 1) + LABELS.astype("<i4").tobytes())


def _write_npz(folder: Path) -> None:
    np.savez_compressed(folder / "data.npz", images=GREY, labels=LABELS, classes=np.array(["a", "b"]), origin=np.arange(6).astype(str))


def _png(pixels: np.ndarray, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _write_parquet(folder: Path) -> None:
    images = [{"bytes": _png(pixels), "path": f"{i}.png"} for i, pixels in enumerate(GREY)]
    pq.write_table(pa.table({"image": images, "label": LABELS}), folder / "train.parquet")


def _write_nested(folder: Path) -> None:
    pq.write_table(pa.table({"image": GREY.tolist(), "label": ["x", "y"] * 3}), folder / "train.parquet")


def _write_saved(folder: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [{"bytes": _png(pixels), "path": None} for pixels in GREY], "label": LABELS.tolist()}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(folder / "set"))


def _write_folder(folder: Path) -> None:
    kinds = {"png": "png", "jpg": "jpeg", "bmp": "bmp", "gif": "gif", "webp": "webp", "tif": "tiff", "pgm": "ppm"}
    for number, (ending, kind) in enumerate(kinds.items()):
        place = folder / "set" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.{ending}").write_bytes(_png(GREY[number % 6], kind))


def _write_weights(folder: Path) -> None:
    network = build("tiny", channels=1, height=8, width=8, classes=2, seed=0)
    safetensors.torch.save_file(network.module.state_dict(), folder / "net.safetensors", {"augury": json.dumps({"kind": "model"})})


def _read_weights(folder: Path) -> None:
    load_weights(build("tiny", channels=1, height=8, width=8, classes=2, seed=0).module, folder / "net.safetensors")


def _write_module(folder: Path) -> None:
    save_module(TauDistribution(1, 8, 8, tau_size=3), folder / "e.safetensors")
    save_module(BoundedTransformation(1, 8, 8, control=4), folder / "g.safetensors")


def _read_module(folder: Path) -> None:
    load_module(folder / "e.safetensors", TauDistribution)
    load_module(folder / "g.safetensors", WarpingTransformation)  # type: ignore[type-abstract]


def _write_learned(folder: Path) -> None:
    transformation = BoundedTransformation(1, 8, 8, control=4)
    made = LearnedAugmentation(transformation, TauDistribution(1, 8, 8, tau_size=transformation.tau_size), share=0.5, record={"a": 1})
    made.save(folder / "learned.safetensors")


class _Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(64, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1))


def _read_checkpoint(folder: Path) -> None:
    config = TrainingConfig(epochs=1, batch=6)
    train(_Linear(), GREY[:, None], LABELS, config=config, checkpoint=folder / "checkpoint.safetensors", device="cpu")


def _write_copies(folder: Path) -> None:
    order = RNG.permutation(12)
    curve = (np.array([0, 4, 12]), np.array([0.5, 0.4, 0.45]), np.array([0.8, 0.9, 0.85]))
    CopyOrdering(order, order // 2, order % 2, RNG.random(12), *curve, 2.0, 3, {"target": "self"}).save(folder / "selection.parquet")


def _write_cells(folder: Path) -> None:
    cells = Cells(folder, "trials")
    for name in ("one", "two"):
        cells.write("group", name, FRAME)


READERS = {
    "MNIST": Reader(_write_mnist, lambda folder: load("mnist", data_dir=folder), plain),
    "MNIST gzipped": Reader(_write_mnist_gz, lambda folder: load("mnist", data_dir=folder), gzipped),
    "CIFAR-10": Reader(_write_cifar, lambda folder: load("cifar10", data_dir=folder), pickled),
    "small NORB": Reader(_write_norb, lambda folder: load("norb", data_dir=folder), plain),
    "npz": Reader(_write_npz, lambda folder: load(folder / "data.npz"), zipped),
    "Parquet of pictures": Reader(_write_parquet, lambda folder: load(folder / "train.parquet"), table),
    "Parquet of pixels": Reader(_write_nested, lambda folder: load(folder / "train.parquet"), table),
    "saved data set": Reader(_write_saved, lambda folder: load(folder / "set"), plain),
    "image folder": Reader(_write_folder, lambda folder: load(folder / "set"), plain),
    "weights": Reader(_write_weights, _read_weights, tensors),
    "saved module": Reader(_write_module, _read_module, tensors),
    "learned augmentation": Reader(_write_learned, lambda folder: LearnedAugmentation.load(folder / "learned.safetensors"), tensors),
    "checkpoint": Reader(_read_checkpoint, _read_checkpoint, tensors),
    "scores": Reader(lambda folder: SCORES.save(folder / "scores.parquet"), lambda folder: Scores.load(folder / "scores.parquet"), table),
    "selection": Reader(
        lambda folder: rank(SCORES, seed=1).within(2).save(folder / "selection.parquet"),
        lambda folder: Ordering.load(folder / "selection.parquet"),
        table,
    ),
    "selection of copies": Reader(_write_copies, lambda folder: CopyOrdering.load(folder / "selection.parquet"), table),
    "curve": Reader(
        lambda folder: Curve(FRAME, 0.5, 0.7, 6, {"test": "plain"}).save(folder / "curve.parquet"),
        lambda folder: Curve.load(folder / "curve.parquet").summary(),
        table,
    ),
    "cells": Reader(_write_cells, lambda folder: Cells(folder, "trials").read(), table),
    "record": Reader(
        lambda folder: write_json(folder / "config.json", {"data": "digits", "seeds": 5}),
        lambda folder: read_json(folder / "config.json"),
        record,
    ),
}
