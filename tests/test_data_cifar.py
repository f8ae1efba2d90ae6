"""CIFAR-10's python batches: read in every form, and never able to run anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from augury.data import load
from augury.errors import InputError


def write_cifar(folder: Path, batches: Sequence[object], *, protocol: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, batch in enumerate(batches, start=1):
        (folder / f"data_batch_{i}").write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"left", b"right"]}, protocol))


def batch(seed: int, key: Callable[[str], str | bytes] = str) -> dict[str | bytes, Any]:
    rng = np.random.default_rng(seed)
    return {key("data"): rng.integers(0, 256, (2, 3072), dtype=np.uint8), key("labels"): [0, 1]}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("key", [str, str.encode], ids=["text keys", "byte keys"])
def test_cifar10_batches_of_every_pickle_protocol_are_read(tmp_path: Path, protocol: int, key: Callable[[str], str | bytes]) -> None:
    batches = [batch(seed, key) for seed in range(5)]
    write_cifar(tmp_path / "cifar-10-batches-py", batches, protocol=protocol)
    examples = load("cifar10", data_dir=tmp_path)
    assert_array_equal(examples.images.reshape(10, -1), np.concatenate([one[key("data")] for one in batches]))
    assert examples.classes == ("left", "right")
    assert_array_equal(examples.labels, [0, 1] * 5)


def test_a_function_that_numpy_uses_but_no_published_file_asks_for_is_refused(tmp_path: Path) -> None:
    write_cifar(tmp_path, [batch(seed) for seed in range(5)], protocol=5)
    with pytest.raises(InputError, match=r"asks for numpy\._?core\.numeric\._frombuffer"):
        load("cifar10", data_dir=tmp_path)


class Hostile:
    """An object whose unpickling calls `function(argument)`."""

    def __init__(self, function: Callable[[str], object], argument: str) -> None:
        self.reduced = (function, (argument,))

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return self.reduced


@pytest.mark.parametrize(("function", "name"), [(os.system, "system"), (eval, "eval")])
@pytest.mark.parametrize("file", ["data_batch_2", "batches.meta"])
def test_a_hostile_pickle_is_refused_by_name_and_never_run(tmp_path: Path, function: Callable[[str], object], name: str, file: str) -> None:
    marker = tmp_path / "marker"
    argument = f"touch '{marker}'" if function is os.system else f"open({str(marker)!r}, 'w').close()"
    hostile = pickle.dumps({"data": Hostile(function, argument)}, protocol=2)
    pickle.loads(hostile)
    assert marker.exists()  # it is hostile: an ordinary unpickler runs it
    marker.unlink()
    write_cifar(tmp_path, [batch(seed) for seed in range(5)])
    (tmp_path / file).write_bytes(hostile)
    with pytest.raises(InputError, match=rf"{file}: asks for \w+\.{name}, which"):
        load("cifar10", data_dir=tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (pickle.dumps([1, 2]), "expected a dictionary, got list"),
        (pickle.dumps({"labels": [0]}), "expected `data`"),
        (pickle.dumps({"data": np.zeros((2, 3072)), "labels": [0, 1]}, 2), "expected `data`"),
        (pickle.dumps({"data": np.zeros((2, 3000), np.uint8), "labels": [0, 1]}, 2), "expected `data`"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, 2), "a list of 2 whole numbers"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, "1"]}, 2), "a list of 2 whole numbers"),
        (b"c_codecs\nencode\n(Vx\nVzlib\ntR.", "encoding 'zlib'"),
        (pickle.dumps(batch(0), 2)[:-40], "damaged"),
    ],
)
def test_damaged_cifar10_batches_are_refused_and_named(tmp_path: Path, content: bytes, reason: str) -> None:
    write_cifar(tmp_path, [batch(seed) for seed in range(5)])
    (tmp_path / "data_batch_4").write_bytes(content)
    with pytest.raises(InputError, match=f"data_batch_4: .*{reason}"):
        load("cifar10", data_dir=tmp_path)


def test_cifar10_without_one_of_its_files_or_names_is_refused(tmp_path: Path) -> None:
    write_cifar(tmp_path, [batch(seed) for seed in range(4)])
    with pytest.raises(InputError, match="data_batch_5: no such file"):
        load("cifar10", data_dir=tmp_path)
    write_cifar(tmp_path, [batch(seed) for seed in range(5)])
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": None}))
    with pytest.raises(InputError, match=r"batches\.meta: expected `label_names`"):
        load("cifar10", data_dir=tmp_path)
