"""`augury doctor`: what there is on this machine, found and told."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from augury import doctor
from augury.cli import app


def told(*words: str) -> str:
    result = CliRunner().invoke(app, ["doctor", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUGURY_DATA", raising=False)


def write_mnist(folder: Path) -> None:
    """Files of MNIST's format with 3 training and 2 test images."""
    folder.mkdir(parents=True)
    for prefix, points in (("train", 3), ("t10k", 2)):
        header = np.array([0x803, points, 28, 28], dtype=">u4").tobytes()
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + bytes(points * 784))
        labels = np.array([0x801, points], dtype=">u4").tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels + bytes(range(points)))


def test_versions_threads_and_devices_are_those_of_this_process() -> None:
    found = json.loads(told("--json"))
    assert found["augury"] == importlib.metadata.version("augury")
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert found["threads"]["torch"] == torch.get_num_threads()
    assert found["devices"].get("cuda") == (None if torch.cuda.is_available() else "none")


def test_data_sets_are_counted_where_they_are_and_otherwise_named_with_the_cure(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw")
    found = json.loads(told("--json", "--data-dir", str(tmp_path)))["data"]
    assert found["folder"] == str(tmp_path)
    assert found["digits"] == "1,000 train, 797 test"
    assert found["mnist"] == "3 train, 2 test"
    assert found["norb"].startswith("not found: data_dir: no norb")
    assert "none; AUGURY_DATA is not set" in told()


def test_a_damaged_data_set_is_told(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    assert "t10k-images-idx3-ubyte" in json.loads(told("--json", "--data-dir", str(tmp_path)))["data"]["mnist"]


def test_what_is_not_installed_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ["numpy>=2.0", "nowhere>=1 ; extra == 'cloud'", 'pandas>=2.2; extra == "tables"', "beartype>=0.19; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: listed)
    found = doctor.examine()
    assert found["packages"] == {"numpy": np.__version__}
    assert found["extras"] == {"nowhere": "missing; pip install 'augury[cloud]'", "pandas": importlib.metadata.version("pandas")}


def test_people_are_told_the_same_a_line_a_thing() -> None:
    lines = told().splitlines()
    assert lines[0] == f"augury: {importlib.metadata.version('augury')}"
    assert "environment:" in lines
    assert f"  torch: {importlib.metadata.version('torch')}" in lines
    assert "  digits: 1,000 train, 797 test" in lines
