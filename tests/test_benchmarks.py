"""The stored results of the benchmarks and the page made from them; what the benchmarks' own tools say."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from augury.files import read_json

FOLDER = Path(__file__).parents[1] / "benchmarks"
STORED = sorted(FOLDER.glob("*.json"))


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scripts import each other by name."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def machine(benchmarks: None) -> ModuleType:
    return importlib.import_module("machine")


@pytest.fixture
def performance(benchmarks: None) -> ModuleType:
    return importlib.import_module("performance")


def test_the_page_of_measured_speed_is_made_from_the_stored_results(performance: ModuleType) -> None:
    assert performance.PAGE.read_text(encoding="utf-8") == performance.page(performance.stored())


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_result_has_its_script_its_cases_and_its_versions(path: Path) -> None:
    record = read_json(path)
    assert path.with_suffix(".py").exists()
    assert record["what"].endswith(".")
    assert {"augury", "numpy", "python", "torch"} <= set(record["versions"])
    for case in record["cases"]:
        assert all(seconds > 0 for times in case["seconds"].values() for seconds in times)
        others = set(case["seconds"]) - {"augury"}
        assert ("ratio" in case) == bool(others)
        if others:
            fastest = min(others, key=lambda side: sorted(case["seconds"][side])[len(case["seconds"][side]) // 2])
            assert case["ratio"]["other"] == fastest


def test_a_row_tells_the_case_both_sides_the_ratio_and_the_share_of_the_floor(performance: ModuleType, machine: ModuleType) -> None:
    seconds = {"augury": [1.0, 2.0, 1.5], "slow": [30.0, 30.0, 30.0], "fast": [3.0, 3.0, 3.0]}
    case = machine.case("a case", seconds, floor=0.75, points=20_000, error=1.25e-9, parts={"left": 1})
    assert performance.row(case) == "| a case | 1.5 | fast 3 | 2 (1.5 to 3) | 50 % | points 20,000, error 1.25e-09 |"
    assert performance.row(machine.case("alone", {"augury": [1234.5]})) == "| alone | 1234 |  |  |  |  |"


def test_the_ratio_is_taken_turn_by_turn(machine: ModuleType) -> None:
    # the second turn met a slow machine, on both sides
    found = machine.ratio({"augury": [1.0, 10.0, 1.0], "other": [2.0, 20.0, 2.0]}, "other")
    assert found == {"other": "other", "median": 2.0, "low": 2.0, "high": 2.0}


def test_the_floor_is_the_longer_of_arithmetic_and_copying(machine: ModuleType) -> None:
    rates = machine.Machine("a processor", 2, 16.0, 1, float32=100.0, float64=50.0, copy=10.0)
    assert rates.floor(operations=200) == 2
    assert rates.floor(operations=200, dtype="float64") == 4
    assert rates.floor(operations=200, moved=50) == 5


def test_sides_are_called_in_turn_and_processor_time_is_counted(machine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(time, "process_time", lambda: float(next(clock)))
    called: list[str] = []
    sides = {name: lambda name=name: called.append(name) for name in ("a", "b")}
    assert machine.interleaved(sides, repeats=2, calls=2) == {"a": [0.5, 0.5], "b": [0.5, 0.5]}
    assert called == [*"ab", *"aabb", *"bbaa"]
    called.clear()
    machine.interleaved(sides, repeats=1, warm=False)
    assert called == [*"ab"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rate_of_a_product_is_operations_over_seconds_and_threads_are_left_as_they_were(
    dtype: str, machine: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "SIDE", {dtype: 8})
    monkeypatch.setattr(machine, "interleaved", lambda sides: {name: [2.0, 4.0] for name, side in sides.items() if side() is not None})
    threads = torch.get_num_threads()
    assert machine.gemm_rate(dtype, threads=2) == 2 * 8**3  # two threads for two seconds of processor time: one second
    assert torch.get_num_threads() == threads


def test_a_result_is_stored_beside_its_script_with_versions_and_machine(tmp_path: Path, machine: ModuleType) -> None:
    rates: Any = machine.Machine("a processor", 2, 16.0, 1, 100.0, 50.0, 10.0)
    path = machine.save(str(tmp_path / "some.py"), "What.", [machine.case("a case", {"augury": [1.0]})], rates, peers=["hypothesis"])
    record = read_json(path)
    assert path == tmp_path / "some.json"
    assert record["machine"]["float32"] == 100
    assert record["versions"]["torch"] == importlib.metadata.version("torch")
    assert "hypothesis" in record["versions"]


def test_synthetic_points_are_the_same_problem_in_every_dtype(benchmarks: None) -> None:
    synthetic = importlib.import_module("data").synthetic
    X, y = synthetic(500, 8, 4, seed=3)
    X32, y32 = synthetic(500, 8, 4, seed=3, dtype=torch.float32)
    assert X.dtype == torch.float64
    assert torch.equal(X32, X.float())
    assert torch.equal(y32, y)
    assert y.unique().tolist() == [0, 1, 2, 3]
    assert not torch.equal(synthetic(500, 8, 4, seed=4)[1], y)
