"""Where work is done changes no result, and a worker that dies takes nothing with it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from augury import transforms
from augury.choices import EngineName
from augury.errors import InputError
from augury.model import Model, copy_features, features
from augury.networks import build
from augury.parallel import LOCAL, Engine, each, held, one_thread
from augury.shards import FeatureTable, score_table, scoring

CLUSTERS = ("ray", "dask")


def square(number: int) -> int:
    return number * number


def threads_of(_: int) -> int:
    return torch.get_num_threads()


def refused(number: int) -> None:
    raise InputError(f"number: got {number}; expected none")


def dies(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies_once(flag: Path, *arguments: Any) -> Any:  # noqa: ANN401  (whatever is scored)
    """Score a shard, but when the third comes for the first time, die in the middle of it."""
    if arguments[1].number == 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return scoring._scored(*arguments)


def pid(_: int) -> int:
    return os.getpid()


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    draws = np.random.default_rng(0)
    X = draws.standard_normal((4000, 16)).astype(np.float32)
    y = (X[:, :4] + draws.gumbel(size=(4000, 4))).argmax(axis=1)
    columns = {"label": y, "features": pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), 16)}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet", row_group_size=500)
    return FeatureTable.open(str(tmp_path / "table.parquet"), rows=500)


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*.parquet")}


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("engine", [LOCAL, Engine(2)], ids=["one", "two"])
def test_each_gives_the_result_of_every_call_and_in_order_where_that_is_asked_for(
    engine: Engine,
    ordered: bool,  # noqa: FBT001  (both are tested alike)
) -> None:
    found = list(each(square, [(i,) for i in range(20)], engine, ordered=ordered))
    assert (found if ordered else sorted(found)) == [i * i for i in range(20)]


@pytest.mark.parametrize("engine", [LOCAL, Engine(2)], ids=["one", "two"])
def test_workers_compute_with_one_thread_and_leave_the_caller_its_own(engine: Engine) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(each(threads_of, [(0,), (1,), (2,)], engine)) == {1}
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError), one_thread():
            1 / 0  # noqa: B018  (it raises)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_two_processes_score_a_table_to_the_same_bytes_as_one(tmp_path: Path, table: FeatureTable) -> None:
    for name, engine in (("one", LOCAL), ("two", Engine(2))):
        score_table(table, str(tmp_path / name), engine=engine)
    assert len(parts(tmp_path / "one")) == 8
    assert parts(tmp_path / "one") == parts(tmp_path / "two")


def read_by(engine: Engine) -> tuple[Any, Any]:
    """Features of 203 images and of their copies, in blocks of 8 and of 2 points."""
    images = np.random.default_rng(0).integers(0, 256, (203, 1, 8, 8), dtype=np.uint8)
    network = Model.of(build("tiny", channels=1, height=8, width=8, classes=3, seed=0))
    turns = transforms.parse("rotate:30:4", size=8)
    copied = copy_features(network, images, turns.copies, per_point=len(turns), batch=8, device="cpu", engine=engine)
    return features(network, images, batch=8, device="cpu", engine=engine), copied


def test_two_processes_extract_the_same_features_as_one_to_the_last_bit() -> None:
    for alone, shared in zip(read_by(LOCAL), read_by(Engine(2)), strict=True):
        np.testing.assert_array_equal(alone, shared)


def test_a_feature_that_is_not_finite_is_told_with_its_point_from_another_process() -> None:
    images = np.zeros((50, 1, 8, 8), np.float32)
    images[37] = np.nan
    with pytest.raises(InputError, match="features: point 37 has a feature that is nan"):
        features(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), images, batch=2, device="cpu", engine=Engine(2))


def test_a_network_that_cannot_be_sent_to_another_process_is_told() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    network.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(InputError, match="jobs: the work cannot be sent to a worker"):
        features(network, np.zeros((50, 1, 8, 8), np.uint8), batch=2, device="cpu", engine=Engine(2))


@pytest.mark.parametrize("engine", [LOCAL, Engine(2)], ids=["one", "two"])
def test_what_the_function_refuses_reaches_the_caller_as_it_is(engine: Engine) -> None:
    with pytest.raises(InputError, match="number: got 7; expected none"):
        list(each(refused, [(7,)], engine))


def test_a_worker_of_this_machine_that_ends_is_told_with_the_cure_and_others_work_afterwards() -> None:
    with pytest.raises(InputError, match=r"jobs: a worker process ended .* lack of memory; give fewer jobs \(now 2\)"):
        list(each(dies, [(i,) for i in range(8)], Engine(2)))
    assert list(each(square, [(i,) for i in range(4)], Engine(2))) == [0, 1, 4, 9]


@pytest.mark.parametrize(("name", "package", "module"), [("ray", "ray", "ray"), ("dask", "distributed", "distributed")])
def test_an_engine_that_is_not_installed_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: EngineName, package: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"engine '{name}' needs the package '{package}'.*pip install 'augury\[{name}\]'"):
        list(each(square, [(1,)], Engine(name=name)))


def test_what_is_no_engine_is_refused(without_type_checks: None) -> None:
    with pytest.raises(InputError, match="engine: got 'spark'; expected one of local, ray, dask"):
        Engine(name="spark")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="jobs: got 0"):
        Engine(0)
    with pytest.raises(InputError, match="address: 'auto' given, and the engine is local"):
        Engine(address="auto")
    assert Engine.of(3) == Engine(3)
    assert Engine.of(Engine(2, "dask")) == Engine(2, "dask")


def test_an_engine_says_nothing_of_the_workers_that_it_holds() -> None:
    with held(Engine(2)) as engine:
        assert engine == Engine(2)
        assert "Parallel" not in repr(engine)


@contextlib.contextmanager
def ray_cluster() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def dask_cluster() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Two worker processes that know this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # or a busy machine starves them
        with {"ray": ray_cluster, "dask": dask_cluster}[request.param]() as address:
            yield Engine(name=request.param, address=address)


@pytest.mark.cluster
def test_a_cluster_scores_to_the_same_bytes_in_two_processes_neither_of_which_is_this_one(
    cluster: Engine, tmp_path: Path, table: FeatureTable
) -> None:
    score_table(table, str(tmp_path / "local"))
    with held(cluster) as engine:
        score_table(table, str(tmp_path / "away"), engine=engine)
        workers = set(each(pid, [(i,) for i in range(40)], engine))
        with pytest.raises(InputError, match="number: got 7; expected none"):
            list(each(refused, [(7,)], engine))
    assert len(workers) == 2
    assert os.getpid() not in workers
    assert parts(tmp_path / "local") == parts(tmp_path / "away")


@pytest.mark.cluster
def test_a_cluster_extracts_the_same_features_to_the_last_bit(cluster: Engine) -> None:
    with held(cluster) as engine:
        for alone, shared in zip(read_by(LOCAL), read_by(engine), strict=True):
            np.testing.assert_array_equal(alone, shared)


@pytest.mark.cluster
def test_a_worker_killed_in_the_middle_of_a_shard_loses_nothing(
    cluster: Engine, tmp_path: Path, table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_table(table, str(tmp_path / "local"))
    flag = tmp_path / "killed"
    monkeypatch.setattr(scoring, "_scored", partial(dies_once, flag))
    score_table(table, str(tmp_path / "away"), engine=cluster)
    assert flag.exists()
    assert parts(tmp_path / "local") == parts(tmp_path / "away")


@pytest.mark.cluster
def test_work_that_kills_every_worker_that_takes_it_is_told_with_the_cure(cluster: Engine) -> None:
    with pytest.raises(InputError, match=r"jobs: a worker process ended before its work was done, 4 times in a row"):
        list(each(dies, [(i,) for i in range(8)], cluster))


@pytest.mark.cluster
@pytest.mark.parametrize("name", CLUSTERS)
def test_an_address_where_no_cluster_answers_is_told(name: EngineName) -> None:
    address = {"ray": "127.0.0.1:9", "dask": "tcp://127.0.0.1:9"}[name]
    with pytest.raises(InputError, match=rf"address: no (Ray|Dask) cluster answers at '{address}'"):
        list(each(square, [(1,)], Engine(name=name, address=address)))
