"""Bad input, over the API and the command line: one line that names the argument or the file and the cure, and nothing half-written.

Each row of a table is a sentence, what is done, and a part of the message. What looks bad and is fine has its own tests at the end.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import pickle
import resource
import string
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image

import augury
from augury import cli
from augury.data import from_arrays, load
from augury.files import digest, write_json
from augury.learned.distribution import TauDistribution
from augury.learned.saved import load_module
from augury.model import Model
from augury.networks import build
from augury.scores import Scores
from augury.selection import Order, Preference, budget_size, rank
from augury.training import TrainingConfig
from test_files import without_rights

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
Y = np.arange(20) % 2
GREY = RNG.integers(0, 256, (20, 8, 8), dtype=np.uint8)
FLOATS = GREY[:, None].astype(np.float32) / 255
HEAD = augury.SoftmaxHead().fit(X, Y)
SCORES = Scores(np.arange(20.0), Y, np.arange(20.0), np.linspace(0.1, 0.9, 20), "loss", ("a", "b"), np.arange(20).astype(str))

Act = Callable[[], object]
Bad = Any  # whatever a caller may give

pytestmark = pytest.mark.usefixtures("without_type_checks")


def spoilt(values: Bad, place: Bad, value: Bad) -> Bad:
    """A copy with one entry replaced."""
    copy = np.array(values)
    copy[place] = value
    return copy


def fit(features: Bad = X, labels: Bad = Y, weights: Bad = None, **settings: Bad) -> Act:
    return lambda: augury.SoftmaxHead(**settings).fit(features, labels, weights)


def score(method: str = "influence", features: Bad = X, labels: Bad = Y, **settings: Bad) -> Act:
    return lambda: augury.score(features, labels, method, **settings)  # type: ignore[arg-type]


def order(**settings: Bad) -> Act:
    return lambda: rank(SCORES, **settings)


def budget(value: Bad) -> Act:
    return lambda: budget_size(value, 20)


def influence(candidates: Bad = (X, Y), target: Bad = (X, Y), train: Bad = (X, Y), effect: Bad = "add") -> Act:
    return lambda: augury.influence(HEAD, train, candidates, target, effect=effect)


def copies(candidates: Bad, **settings: Bad) -> Act:
    return lambda: augury.choose_copies(HEAD, (X, Y), candidates, **settings)


def images(pixels: Bad = GREY, labels: Bad = Y, *more: Bad) -> Act:
    return lambda: from_arrays(pixels, labels, *more)


def selector(**settings: Bad) -> Act:
    return lambda: augury.AugmentationSelector(**({"transform": "flip"} | settings)).fit(FLOATS, Y)


def training(labels: Bad = Y, **settings: Bad) -> Act:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    return lambda: augury.training.train(network, GREY[:, None], labels, config=TrainingConfig(**({"epochs": 1} | settings)), device="cpu")


COPIES = np.stack([X, X + 0.1], axis=1)
EXAMPLES = from_arrays(GREY, Y)
SEPARABLE = np.column_stack([Y * 2.0 - 1, np.zeros(20)])

CALLS: dict[str, tuple[Act, str]] = {
    # shapes and types
    "features with three axes": (fit(X[:, :, None]), "X, y: "),
    "features of no point": (fit(X[:0], Y[:0]), "X, y: "),
    "features that are words": (fit([["a", "b"]] * 20), "X, y: "),
    "features that are complex": (fit(X + 1j), "X, y: "),
    "features whose rows differ in length": (fit([[1.0]] * 19 + [[1.0, 2.0]]), "X, y: "),
    "features as a tensor with three axes": (fit(torch.zeros(20, 3, 1)), "X: shape"),
    "more labels than points": (fit(X, Y[:-1]), "y: "),
    "labels with two columns": (fit(torch.tensor(X), np.column_stack([Y, Y])), "y: labels of shape"),
    "weights for other points": (fit(X, Y, np.ones(3)), "sample_weight: shape"),
    "candidates of another width": (influence(candidates=(X[:, :2], Y)), "candidates"),
    "copies of other points": (copies(COPIES[:5]), "copies: "),
    "copies without an axis of copies": (copies(X), "copies: "),
    "images with two axes": (images(GREY[0]), "images: shape"),
    "images with two channels": (images(np.zeros((20, 2, 8, 8), np.uint8)), "images: shape"),
    "images of whole numbers beyond bytes": (images(GREY.astype(np.int64)), "images: type int64"),
    "images from 0 to 255 as floats": (images(GREY.astype(np.float32)), "divide by 255"),
    "one-hot labels of images": (images(GREY, np.eye(2)[Y]), "take the argmax"),
    "a mask of other points": (lambda: augury.augmentation.augment(EXAMPLES, np.ones(3, bool), "flip"), "chosen: shape"),
    "a point beyond the last": (lambda: augury.augmentation.augment(EXAMPLES, [20], "flip"), "chosen: indices from 20"),
    "a point chosen twice": (lambda: augury.augmentation.augment(EXAMPLES, [1, 1], "flip"), "chosen: a point is there twice"),
    "halves of points": (lambda: augury.augmentation.augment(EXAMPLES, [0.5], "flip"), "chosen: shape"),
    # NaN and infinity
    "a NaN feature": (fit(spoilt(X, (4, 1), np.nan)), "X, y: "),
    "an infinite feature": (fit(spoilt(X, (4, 1), np.inf)), "X, y: "),
    "a NaN feature in a tensor": (fit(torch.tensor(spoilt(X, (4, 1), np.nan))), "X: point 4 has a NaN or infinite feature"),
    "a NaN feature of a candidate": (influence(candidates=(spoilt(X, (4, 1), np.nan), Y)), "candidates"),
    "a NaN feature of a copy": (copies(spoilt(COPIES, (4, 1), np.nan)), "copies"),
    "a NaN weight": (fit(X, Y, spoilt(np.ones(20), 3, np.nan)), "sample_weight: expected finite weights"),
    "a NaN pixel": (images(spoilt(GREY / 255, (3, 1, 1), np.nan)), "image 3 has a NaN"),
    "a NaN score": (lambda: Scores(spoilt(X[:, 0], 3, np.nan), Y, Y * 1.0, Y * 1.0, "loss", ("a", "b"), Y.astype(str)), "point 3 is nan"),
    "a C that is no number": (fit(C=np.nan), "C: got nan"),
    # labels
    "one class": (fit(X, Y * 0), "y: only one class, 0"),
    "one class of images": (images(GREY, Y * 0), "labels: all 20 points are of the single class"),
    "a class with one point, to be split": (
        lambda: from_arrays(GREY, Y * 0 + (np.arange(20) == 3)).split(0.5, 0),
        "class '1' has a single",
    ),
    "a class with one point, for the margin's SVM": (score("margin", X, Y * 0 + (np.arange(20) == 3)), "y: a class has 1 points"),
    "labels that are absent": (fit(X, None), "y: "),
    "labels of images that are absent": (images(GREY, [None] * 20), "labels: type object"),
    "labels of images that are NaN": (images(GREY, spoilt(Y * 1.0, 2, np.nan)), "labels: type float64"),
    "labels that are measurements": (fit(X, X[:, 0]), "label"),
    "a candidate of an unknown class": (influence(candidates=(X, Y + 5)), "candidates: label 5 is none of the head's classes"),
    "a label beyond the classes": (images(GREY, Y + 1, ["a", "b"]), "labels: values from 1 to 2"),
    "a class named twice": (images(GREY, Y, ["a", "a"]), "classes: a name stands twice"),
    "a class whose every point has weight 0": (fit(X, Y, Y * 1.0), "every point of class 0 has weight 0"),
    "a label that the network does not tell apart": (training(Y + 1), "the network tells 2 classes apart"),
    # budgets
    "a budget of 0": (budget(0), "budget: 0 of 20 points; expected a number from 1 to 20"),
    "a negative budget": (budget(-3), "budget: -3 of 20"),
    "a budget above n": (budget(21), "budget: 21 of 20"),
    "a budget of 0 %": (budget("0%"), "budget: a share of 0"),
    "a budget of 101 %": (budget("101%"), "budget: a share of 1.01"),
    "a budget of ten in letters": (budget("ten"), "budget: got 'ten'; expected a number of points such as 50, or a share such as 10%"),
    "a budget of nan": (budget(np.nan), "budget: a share of nan"),
    "a budget of an infinite share": (budget("inf%"), "budget: a share of inf"),
    "a budget that is a truth": (budget(Y[1] == 1), "budget: got np.True_"),
    "a budget that is a list": (budget([3]), "budget: got [3]"),
    "an empty budget": (budget(""), "budget: got ''"),
    "a selector's budget in letters": (selector(budget="ten"), "budget: got 'ten'"),
    "a budget of copies above their number": (copies(COPIES, budget=41), "budget: 41 of 40"),
    "half a point as an ordering's budget": (
        lambda: augury.Ordering(np.arange(20), SCORES, "uniform", "ranked", 0, 0.5),
        "budget: got 0.5",
    ),  # type: ignore[arg-type]
    # settings
    "an unknown preference": (order(preference="best"), "preference: got 'best'; expected one of proportional"),
    "an unknown order": (order(order="shuffled"), "order: got 'shuffled'"),
    "a negative seed": (order(seed=-1), "seed: got -1"),
    "a seed in letters": (order(seed="one"), "seed: got 'one'"),
    "a stratified order without features": (order(order="stratified"), "features: missing"),
    "more clusters than points": (order(order="stratified", features=X, clusters=21), "clusters: got 21"),
    "a determinantal order without a budget": (order(order="determinantal", features=X), "budget: missing"),
    "an unknown score": (score("accuracy"), "method: got 'accuracy'; expected one of influence"),
    "a validation score without a target": (score("validation"), "target: expected (X, y)"),
    "a head of another kind": (score(head=object()), "head: got object"),
    "an effect that there is not": (influence(effect="double"), "effect: got 'double'"),
    "a target that there is not": (copies(COPIES, target="test"), "target: got 'test'"),
    "a C of 0": (fit(C=0), "C: got 0"),
    "a negative C": (fit(C=-1.0), "C: got -1.0"),
    "a C in letters": (fit(C="one"), "C: got 'one'"),
    "no step at all": (fit(max_iter=0), "max_iter: got 0"),
    "negative weights": (fit(X, Y, -np.ones(20)), "sample_weight: expected finite weights that are not negative"),
    "weights that are all zero": (fit(X, Y, np.zeros(20)), "sample_weight: every weight is zero"),
    "an unknown transformation": (lambda: augury.transforms.parse("wobble", size=8), "wobble"),
    "a rotation by letters": (lambda: augury.transforms.parse("rotate:far", size=8), "far"),
    "an unknown network": (lambda: build("vgg", channels=1, height=8, width=8, classes=2, seed=0), "no network is called 'vgg'"),
    "an image too small for the network": (lambda: build("lenet", channels=1, height=8, width=8, classes=2, seed=0), "at least 16 x 16"),
    "a layer that there is not": (lambda: Model(torch.nn.Linear(2, 2), "avgpool"), "no layer called 'avgpool'"),
    "a learning rate that blows up": (training(learning_rate=1e38, epochs=3, optimizer="sgd"), "learning_rate: with 1e+38"),
    "a split that there is not": (lambda: load("digits", split="holdout"), "split: digits has no split 'holdout'; it has train, test"),
    "a split of everything": (lambda: EXAMPLES.split(20, 0), "split: cannot take 20 of 20"),
    "a size of 0 pixels": (lambda: load("digits", size=0), "size: 0"),
    "a name with a zero byte to write to": (lambda: SCORES.save("a\0b"), "zero byte"),
    "a name with a zero byte to read from": (lambda: Scores.load("a\0b"), "null byte"),
}


@contextlib.contextmanager
def refused(told: str) -> Iterator[None]:
    """The block ends with an `InputError` of one line that says so."""
    with pytest.raises(augury.InputError) as caught:
        yield
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def contents(folder: Path) -> dict[str, str]:
    """The names of all files below the folder and what is in them."""
    return {str(path.relative_to(folder)): digest(path.read_bytes()) if path.is_file() else "" for path in folder.rglob("*")}


@pytest.mark.parametrize("case", CALLS)
def test_a_bad_call_is_refused_in_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call, told = CALLS[case]
    monkeypatch.chdir(tmp_path)
    with refused(told):
        call()
    assert contents(tmp_path) == {}


def png(side: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(stream, "png")
    return stream.getvalue()


def npy(values: Bad) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    """An array's header alone."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def archive(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def bomb(path: Path) -> Path:
    """An archive of a mebibyte that says it unpacks to 2 GiB."""
    content = bytearray(archive(path, images=header((2, 2**15, 2**15)) + RNG.bytes(2**20)).read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # of the unpacked size, in the archive's list of its members
    content[place : place + 4] = struct.pack("<I", 2**31 + 128)
    return written(path, bytes(content))


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def picture(folder: Path, content: bytes) -> Path:
    """A folder of two classes, one of whose images has this content."""
    written(folder / "a" / "0.png", png())
    written(folder / "b" / "1.png", content)
    return folder


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def large_png(side: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


def idx(folder: Path, images: bytes, ending: str = "") -> Path:
    written(folder / f"train-images-idx3-ubyte{ending}", images)
    written(folder / "train-labels-idx1-ubyte", bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + bytes([0, 1]))
    return folder


def batches(folder: Path, content: bytes) -> Path:
    for i in range(1, 6):
        written(folder / f"data_batch_{i}", content)
    return folder


def module(path: Path, record: object) -> Path:
    safetensors.torch.save_file({"shared": torch.zeros(2, 3)}, path, {"augury": json.dumps(record)})
    return path


def table(path: Path, **columns: Bad) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def pickled(data: bytes) -> bytes:
    """A batch in whose place of the pixels stand other instructions."""
    return b"\x80\x02}U\x04data" + data + b"s."


Write = Callable[[Path], Path]
IDX = bytes([0, 0, 8, 3])
E = {"channels": 1, "height": 8, "width": 8, "tau_size": 3, "concentration": 1.0, "conditional": False, "seed": 0}
NESTED = b"N\x85q\x000" + b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(60)) + b"h%c" % 60  # 2**60 tuples to hash

FILES: dict[str, tuple[Write, Callable[[Path], object], str]] = {
    "an archive cut in half": (
        lambda at: written(at / "a.npz", archive(at / "b", images=npy(GREY)).read_bytes()[:300]),
        load,
        "a.npz: not an .npz",
    ),
    "an archive with Python objects": (
        lambda at: archive(at / "a.npz", images=npy(GREY), labels=npy(np.array([{}] * 20))),
        load,
        "a pickle can run code",
    ),
    "an archive that is no zip": (lambda at: written(at / "a.npz", b"PK, but no"), load, "a.npz: not an .npz archive"),
    "an archive without labels": (lambda at: archive(at / "a.npz", images=npy(GREY)), load, "no array called 'labels', only images"),
    "an archive of 2 GiB in 2 MiB": (lambda at: bomb(at / "a.npz"), load, "a.npz: cannot be read (images.npy unpacks to 2147483776 bytes"),
    "an array that announces more than it holds": (
        lambda at: archive(at / "a.npz", images=header((2**40, 8, 8)), labels=npy(Y)),
        load,
        "images.npy announces the shape",
    ),
    "an array packed by another method": (lambda at: archive(at / "a.npz", zipfile.ZIP_LZMA, images=npy(GREY)), load, "in another way"),
    "a corrupted PNG file": (lambda at: picture(at / "a", png(64)[:50]), load, "1.png: not a readable image"),
    "a text that is called PNG": (lambda at: picture(at / "a", b"hello"), load, "1.png: not a readable image"),
    "a PNG file of 100 million pixels": (
        lambda at: picture(at / "a", large_png(10_000)),
        load,
        "1.png: 100 million pixels; expected at most 50",
    ),
    "a PNG file of 10 billion pixels": (lambda at: picture(at / "a", large_png(100_000)), load, "pixels; expected at most 50 million"),
    "a folder without images": (
        lambda at: written(at / "a" / "b" / "notes.txt", b"").parent.parent,
        load,
        "no images; expected one sub-folder a class",
    ),
    "images without labels": (lambda at: written(at / "a" / "0.png", png()).parent, load, "labels are missing"),
    "a Parquet file without images": (
        lambda at: table(at / "a.parquet", label=[0, 1]),
        load,
        "no column of images; expected one called image or img",
    ),
    "a Parquet file without labels": (lambda at: table(at / "a.parquet", image=[png(), png()]), load, "no column of labels"),
    "a Parquet file with labels missing": (
        lambda at: table(at / "a.parquet", image=[png(), png()], label=[0, None]),
        load,
        "labels are missing in 1 rows",
    ),
    "a Parquet file of no row": (
        lambda at: table(at / "a.parquet", image=pa.array([], pa.binary()), label=pa.array([], pa.int64())),
        load,
        "the set is empty",
    ),
    "a Parquet file cut short": (
        lambda at: written(at / "c.parquet", table(at / "a.parquet", image=[png()] * 2, label=[0, 1]).read_bytes()[:-9]),
        load,
        "c.parquet: not a readable Parquet file",
    ),
    "a table that names a device as an image": (
        lambda at: table(at / "a.parquet", image=[{"path": "/dev/zero"}, {"path": "/dev/random"}], label=[0, 1]),
        load,
        "a folder or a device",
    ),
    "a table that names a missing image": (
        lambda at: table(at / "a.parquet", image=[{"path": "x"}, {"path": "y"}], label=[0, 1]),
        load,
        "row 0: x: not a readable image",
    ),
    "an IDX file that ends early": (
        lambda at: idx(at / "a", IDX + struct.pack(">3I", 2, 8, 8) + bytes(127)),
        lambda at: load("mnist", data_dir=at),
        "ends 1 bytes early",
    ),
    "an IDX file that goes on": (
        lambda at: idx(at / "a", IDX + struct.pack(">3I", 2, 8, 8) + bytes(129)),
        lambda at: load("mnist", data_dir=at),
        "longer than its header says",
    ),
    "an IDX file that announces a billion images": (
        lambda at: idx(at / "a", IDX + struct.pack(">3I", 2**30, 28, 28) + bytes(9)),
        lambda at: load("mnist", data_dir=at),
        "it cannot hold more than 25",
    ),
    "a gzipped IDX file that announces a billion images": (
        lambda at: idx(at / "a", gzip.compress(IDX + struct.pack(">3I", 2**30, 28, 28)), ".gz"),
        lambda at: load("mnist", data_dir=at),
        "it cannot hold more than",
    ),
    "an IDX file of floats": (
        lambda at: idx(at / "a", bytes([0, 0, 13, 3]) + bytes(40)),
        lambda at: load("mnist", data_dir=at),
        "begins with 00000d03",
    ),
    "a batch that asks for a command": (
        lambda at: batches(at / "a", pickled(b"cos\nsystem\n(U\x04trueTR".replace(b"TR", b"tR"))),
        lambda at: load("cifar10", data_dir=at),
        "asks for os.system",
    ),
    "a batch with an instruction for objects": (
        lambda at: batches(at / "a", pickled(b"(cnumpy\nndarray\no")),
        lambda at: load("cifar10", data_dir=at),
        "an instruction that no batch needs",
    ),
    "a batch that changes a function": (
        lambda at: batches(at / "a", pickled(b"c_codecs\nencode\nN}U\x01aU\x01bs\x86b")),
        lambda at: load("cifar10", data_dir=at),
        "a state for a function",
    ),
    "a batch that makes a huge array": (
        lambda at: batches(at / "a", pickled(b"cnumpy\nndarray\n\x8a\x06\0\0\0\0\0\x01\x85R")),
        lambda at: load("cifar10", data_dir=at),
        "expected `data`",
    ),
    "a batch with a key that takes for ever": (
        lambda at: batches(at / "a", b"\x80\x02}" + NESTED + b"Ns."),
        lambda at: load("cifar10", data_dir=at),
        "whose keys are not texts",
    ),
    "weights with settings of another kind": (
        lambda at: module(at / "a", {"kind": "TauDistribution", "settings": E | {"tau_size": "3"}}),
        lambda at: load_module(at, TauDistribution),
        "its settings are damaged",
    ),
    "weights with settings that there are not": (
        lambda at: module(at / "a", {"kind": "TauDistribution", "settings": E | {"x": 1}}),
        lambda at: load_module(at, TauDistribution),
        "unexpected keyword argument 'x'",
    ),
    "weights without settings": (
        lambda at: module(at / "a", {"kind": "TauDistribution"}),
        lambda at: load_module(at, TauDistribution),
        "its settings are damaged",
    ),
    "weights with a list as record": (
        lambda at: module(at / "a", []),
        lambda at: load_module(at, TauDistribution),
        "found a file without Augury's record",
    ),
    "weights for images of a billion pixels": (
        lambda at: module(at / "a", {"kind": "AugmentationNetwork", "settings": {"channels": 1, "height": 2**15, "width": 2**15}}),
        lambda at: load_module(at, torch.nn.Module),
        "height is 32768, and the most is 4096",
    ),
    "weights for a tau of millions": (
        lambda at: module(
            at / "a", {"kind": "AugmentationNetwork", "settings": {"channels": 1, "height": 4096, "width": 4096, "tau_size": 4096}}
        ),
        lambda at: load_module(at, torch.nn.Module),
        "more than the file holds",
    ),
    "a pickle as weights": (
        lambda at: written(at / "a", pickle.dumps({})),
        lambda at: load_module(at, TauDistribution),
        "not a readable safetensors file",
    ),
    "an image as scores": (lambda at: written(at / "a", png()), Scores.load, "not a readable Parquet file"),
    "another table as scores": (lambda at: table(at / "a", score=[1.0]), Scores.load, "found a table without Augury's record"),
    "a folder as scores": (lambda at: at, Scores.load, "not a readable Parquet file"),
    "JSON that is nested without end": (lambda at: written(at / "a", b"[" * 10**5), augury.files.read_json, "not a JSON file"),
    "JSON with a number of 5,000 digits": (
        lambda at: written(at / "a", b'{"a": ' + b"9" * 5000 + b"}"),
        augury.files.read_json,
        "not a JSON file",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_refused_in_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read, told = FILES[case]
    path = write(tmp_path)
    before = contents(tmp_path)
    with refused(told):
        read(path)
    assert contents(tmp_path) == before


DATA = ["digits", "--first", "60", "--classes", "3,8"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good and bad files for the command line; no test changes it."""
    folder = tmp_path_factory.mktemp("place")
    points = load("digits").only(["3", "8"]).first(60)
    labels = np.array(points.labels)
    Scores(np.zeros(60), labels, np.ones(60), np.ones(60) / 2, "loss", ("3", "8"), points.origin).save(folder / "scores.parquet")
    rank(Scores.load(folder / "scores.parquet")).within(5).save(folder / "selection.parquet")
    points.save(folder / "data.npz")
    (folder / "cut.npz").write_bytes((folder / "data.npz").read_bytes()[:500])
    (folder / "cut.parquet").write_bytes((folder / "scores.parquet").read_bytes()[:500])
    np.savez(folder / "lonely.npz", images=GREY, labels=np.arange(20) == 3)
    np.savez(folder / "single.npz", images=GREY, labels=Y * 0)
    np.savez(folder / "infinite.npz", images=np.full(GREY.shape, np.inf), labels=Y)
    table(folder / "bare.parquet", label=[0, 1])
    picture(folder / "broken", png()[:30])
    write_json(folder / "strange" / "config.json", {"data": "digits"})
    (folder / "notes.txt").write_text("no data")
    return folder


COMMANDS: dict[str, tuple[list[str], str]] = {
    "no such command": (["forecast"], "No such command 'forecast'"),
    "no such option": (["run", "digits", "--budgets", "10"], "No such option"),
    "an option without its value": (["run", "digits", "--budget"], "requires an argument"),
    "no data": (["run"], "Missing argument 'DATA'"),
    "data that there are not": (["run", "minst", "--out", "o"], "no file or folder 'minst'"),
    "data of an unknown kind": (["run", "notes.txt", "--out", "o"], "of an unknown kind (.txt)"),
    "data cut short": (["run", "cut.npz", "--out", "o"], "cut.npz: not an .npz archive"),
    "data of one class": (["run", "single.npz", "--out", "o"], "of the single class"),
    "data with a class of one point": (["run", "lonely.npz", "--out", "o"], "class '1' has a single point"),
    "data with infinite pixels": (["run", "infinite.npz", "--out", "o"], "image 0 has a NaN or infinite pixel"),
    "data without images": (["run", "bare.parquet", "--out", "o"], "no column of images"),
    "data with a broken image": (["run", "broken", "--out", "o"], "1.png: not a readable image"),
    "named data without a folder": (["run", "mnist", "--out", "o"], "AUGURY_DATA is not set"),
    "a class that there is not": (["run", "digits", "--classes", "3,x", "--out", "o"], "no class is called 'x'"),
    "a budget of 0 to run": (["run", *DATA, "--budget", "0", "--out", "o"], "budget: 0"),
    "a negative budget to select": (["select", "scores.parquet", "--budget", "-5", "--out", "o"], "budget: -5 of 60 points"),
    "a budget above n to select": (["select", "scores.parquet", "--budget", "61", "--out", "o"], "budget: 61 of 60 points"),
    "0 % to select": (["select", "scores.parquet", "--budget", "0%", "--out", "o"], "budget: a share of 0"),
    "ten in letters to select": (["select", "scores.parquet", "--budget", "ten", "--out", "o"], "budget: got 'ten'"),
    "ten in letters to run": (["run", *DATA, "--budget", "ten", "--out", "o"], "budget: got 'ten'"),
    "a test share of everything": (["run", *DATA, "--test-share", "1", "--out", "o"], "test_share: got '1'"),
    "a seed in letters to run": (["run", *DATA, "--seed", "x", "--out", "o"], "seed: got 'x'"),
    "no seeds": (["run", *DATA, "--seeds", "0", "--out", "o"], "seeds: got '0'"),
    "a C of zero to run": (["run", *DATA, "--C", "0", "--out", "o"], "C: got '0'"),
    "a C of nan to run": (["run", *DATA, "--C", "nan", "--out", "o"], "C: got 'nan'"),
    "a score that there is not": (["score", *DATA, "--score", "luck", "--out", "o"], "score: got 'luck'"),
    "a transformation that there is not": (["run", *DATA, "--transform", "wobble", "--out", "o"], "wobble"),
    "a network that there is not": (["run", *DATA, "--model", "vgg", "--out", "o"], "vgg"),
    "a device that there is not": (["run", *DATA, "--device", "abacus", "--out", "o"], "device: 'abacus'"),
    "weights that are no weights": (["score", *DATA, "--weights", "notes.txt", "--out", "o"], "notes.txt: not a readable safetensors file"),
    "scores cut short": (["select", "cut.parquet", "--out", "o"], "cut.parquet: not a readable Parquet file"),
    "scores that are not there": (["select", "nowhere.parquet", "--out", "o"], "nowhere.parquet: no such file"),
    "a selection where scores belong": (["select", "selection.parquet", "--out", "o"], "expected scores, found selection"),
    "a folder with something else": (["run", *DATA, "--out", "broken"], "out: broken holds files but no run"),
    "a folder with a strange record": (["run", *DATA, "--out", "strange"], "out: strange holds files but no run"),
    "a file in place of the run folder": (["run", *DATA, "--out", "notes.txt"], "out: notes.txt is a file"),
    "a file in place of the folder above": (["select", "scores.parquet", "--out", "notes.txt/o"], "cannot be written"),
    "a folder in place of the file": (["select", "scores.parquet", "--out", "broken"], "cannot be written"),
    "a device in place of the folder": (["select", "scores.parquet", "--out", "/dev/null/o"], "cannot be written"),
    "results inside the data": (["run", "broken", "--out", "broken/o"], "inside the data"),
    "a report of no run": (["report", "broken"], "config.json: no such file"),
    "an extra that is missing": (["run", *DATA, "--model", "timm:resnet18", "--out", "o"], "pip install 'augury[timm]'"),
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: its exit code, and what it says on both streams."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command sets, and pytest puts back
    monkeypatch.delenv("AUGURY_DATA", raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["augury", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return (left.value.code or 0, *capfd.readouterr())  # type: ignore[return-value]

    return call


@pytest.mark.parametrize("case", COMMANDS)
def test_a_bad_command_ends_with_one_line_and_2_and_leaves_nothing(
    case: str, place: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]]
) -> None:
    words, told = COMMANDS[case]
    monkeypatch.chdir(place)
    monkeypatch.setitem(sys.modules, "timm", None)
    before = contents(place)
    code, out, err = command(*words)
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, len(said)) == (2, "", 1)
    assert told in said[0]
    assert err.splitlines()[-1] == said[0]
    assert "Traceback" not in err
    assert contents(place) == before


@pytest.mark.parametrize(("words", "told"), [COMMANDS[case] for case in ("ten in letters to select", "no such option")])
def test_a_bad_command_in_a_process_of_its_own_shows_no_trace(words: list[str], told: str, place: Path) -> None:
    before = contents(place)
    found = subprocess.run([sys.executable, "-m", "augury.cli", *words], cwd=place, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert told in found.stderr
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
    assert contents(place) == before


@contextlib.contextmanager
def full_disk(room: int = 2000) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk does to a writer, whoever writes and wherever."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITERS: dict[str, Callable[[Path], object]] = {
    "scores": lambda folder: SCORES.save(folder / "scores.parquet"),
    "a selection": lambda folder: rank(SCORES).save(folder / "selection.parquet"),
    "a record": lambda folder: write_json(folder / "a.json", {"a": "x" * 5000}),
    "examples": lambda folder: from_arrays(RNG.random((20, 32, 32)), Y).save(folder / "a.npz"),
    "weights": lambda folder: augury.model.save(Model.of(build("tiny", channels=1, height=8, width=8, classes=2, seed=0)), folder / "net"),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_told_and_leaves_the_earlier_file(what: str, tmp_path: Path) -> None:
    WRITERS[what](tmp_path)
    before = contents(tmp_path)
    with full_disk(), refused("cannot be written (File too large); choose another place"):
        WRITERS[what](tmp_path)
    assert contents(tmp_path) == before


def test_a_disk_that_is_really_full_is_told(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", tmp_path / "small"], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk is the administrator's")
    try:
        with refused("No space left on device"):
            WRITERS["examples"](tmp_path / "small")
        assert contents(tmp_path / "small") == {}
    finally:
        subprocess.run(["umount", tmp_path / "small"], check=True)


@pytest.mark.parametrize("what", WRITERS)
def test_a_read_only_folder_is_told_and_left_as_it_is(what: str, tmp_path: Path) -> None:
    tmp_path.parent.chmod(0o755)
    with without_rights(tmp_path), refused("cannot be written (Permission denied)"):
        WRITERS[what](tmp_path)
    assert contents(tmp_path) == {}


def test_a_full_disk_ends_a_command_with_2(place: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    with full_disk():
        code, out, err = command("select", str(place / "scores.parquet"), "--out", str(tmp_path / "selection.parquet"))
    assert (code, out) == (2, "")
    assert "cannot be written (File too large)" in err
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("given", "size"), [("100%", 20), (1.0, 20), (20, 20), ("1%", 1), (1, 1), (np.int64(7), 7), (" 10 % ", 2), ("20", 20)]
)
def test_budgets_up_to_everything_are_fine(given: float | str, size: int) -> None:
    assert budget_size(given, 20) == size
    assert len(rank(SCORES).within(given).selected) == size


@pytest.mark.parametrize("how", get_args(Order))
@pytest.mark.parametrize("preference", get_args(Preference))
def test_scores_that_are_all_zero_give_an_ordering(preference: Preference, how: Order) -> None:
    nothing = Scores(np.zeros(20), Y, np.zeros(20), np.ones(20), "loss", ("a", "b"), np.arange(20).astype(str))
    found = rank(nothing, preference, how, 3, features=X, budget=5)
    assert sorted(found.indices) == list(range(20))
    assert len(found.selected) == 5


def test_duplicate_points_share_their_score_and_are_both_ordered() -> None:
    twice, labels = np.concatenate([X, X]), np.concatenate([Y, Y])
    found = augury.score(twice, labels, "influence")
    np.testing.assert_allclose(found.values[:20], found.values[20:], rtol=1e-9)
    assert sorted(rank(found).indices) == list(range(40))


def test_a_constant_feature_changes_no_influence() -> None:
    constant = np.column_stack([X, np.full(20, 7.0)])
    plain, more = (augury.score(features, Y, "influence").values for features in (X, constant))
    np.testing.assert_allclose(more, plain, rtol=1e-6)


def test_features_that_are_all_constant_score_alike_within_a_class() -> None:
    found = augury.score(np.ones((20, 3)), Y, "influence").values
    np.testing.assert_allclose(found, found[0], rtol=1e-9)


HOSTILE = [
    *("../../up", "/etc/cron.d/x", "C:\\windows\\x", "nul", "COM1.txt", "a\0b", "..", ".", "", "-rf", "~/.ssh", "a/../../b"),
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_class_or_a_point_leads_out_of_the_output_folder(name: str, tmp_path: Path) -> None:
    points = from_arrays(GREY[:2], [0, 1], [name, "other"], [f"{name}1", f"{name}2"])
    folder = tmp_path / "in" / "augmented"
    augury.augmentation.write_images(points, folder, folder / "copies.parquet")
    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) == 3
    for path in written:
        parts = path.relative_to(folder).parts
        assert len(parts) <= 2
        assert all(set(part) <= set(string.ascii_letters + string.digits + "._+-") for part in parts)
        assert not any(part.startswith((".", "-")) or part.split(".")[0].upper() in {"NUL", "COM1"} for part in parts)


def test_separable_data_without_penalty_are_told_with_their_cure() -> None:
    head = augury.SoftmaxHead(C=np.inf)
    with pytest.warns(UserWarning, match="give a finite C"):
        head.fit(SEPARABLE, Y)
    assert not head.converged_
    with refused("C"):
        augury.self_influence(head, (SEPARABLE, Y))
