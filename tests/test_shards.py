"""Tables in files against the same numbers in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import augury
from augury.errors import InputError
from augury.scores import Method, Scores
from augury.selection import Preference
from augury.shards import FeatureTable, ScoreTable, TableMethod, TableOrder, fit_table, score_table, select_table

Array = npt.NDArray[Any]
PREFERENCES = ("proportional", "inverse", "uniform", "softmax", "inverse_softmax")


def problem(classes: int, n: int = 1500, d: int = 6) -> tuple[Array, Array]:
    draws = np.random.default_rng(classes)
    X = draws.standard_normal((n, d)).astype(np.float32)
    return X, (2 * X[:, :classes] + draws.gumbel(size=(n, classes))).argmax(axis=1)


def rows(X: Array, y: Array) -> pa.Table:
    return pa.table({"label": y, "features": pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), X.shape[1])})


def write(folder: Path, X: Array, y: Array, files: int = 3, group: int = 150) -> FeatureTable:
    folder.mkdir(parents=True)
    for number, part in enumerate(np.array_split(np.arange(len(y)), files)):
        pq.write_table(rows(X[part], y[part]), folder / f"{number}.parquet", row_group_size=group)
    return FeatureTable.open(str(folder), rows=2 * group)


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    return write(tmp_path / "table", *problem(3))


def scored(X: Array, y: Array, method: Method = "influence") -> Scores:
    return augury.score(X, y, method, augury.SoftmaxHead(tol=1e-12).fit(X, y), (X, y) if method == "validation" else None)


def test_a_table_is_divided_into_shards_of_whole_row_groups_that_end_with_their_file(table: FeatureTable) -> None:
    assert [(shard.first, shard.rows, shard.start, shard.stop) for shard in table.shards] == [
        (0, 300, 0, 2),
        (300, 200, 2, 4),
        (500, 300, 0, 2),
        (800, 200, 2, 4),
        (1000, 300, 0, 2),
        (1300, 200, 2, 4),
    ]
    assert len(table) == 1500


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("far", [0.0, 60.0])
@pytest.mark.parametrize("sample", [1 << 24, 3000])
def test_the_head_is_the_one_that_is_fitted_in_memory_whether_all_points_or_few_give_the_start(
    tmp_path: Path, classes: int, far: float, sample: int
) -> None:
    X, y = problem(classes)
    X += np.float32(far)
    head, known = fit_table(write(tmp_path / "table", X, y), tol=1e-12, sample=sample), augury.SoftmaxHead(tol=1e-12).fit(X, y)
    assert head.converged_
    np.testing.assert_allclose(head.coef_, known.coef_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(head.intercept_, known.intercept_, rtol=0, atol=1e-10 * max(1.0, far))


def test_where_the_sample_knows_little_of_the_curvature_the_hessian_of_all_points_takes_over(tmp_path: Path) -> None:
    X, y = problem(3)
    X[::25] /= 50  # the sample: points without curvature
    head = fit_table(write(tmp_path / "table", X, y), tol=1e-12, sample=360)
    assert head.converged_
    np.testing.assert_allclose(head.coef_, augury.SoftmaxHead(tol=1e-12).fit(X, y).coef_, rtol=0, atol=1e-10)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", ["influence", "validation", "loss", "uniform"])
def test_scores_are_those_in_memory(tmp_path: Path, classes: int, method: TableMethod) -> None:
    X, y = problem(classes)
    table = write(tmp_path / "table", X, y)
    target = table if method == "validation" else None
    found = score_table(table, str(tmp_path / "scores"), method, head=fit_table(table, tol=1e-12), target=target).to_frame()
    known = scored(X, y, method)
    np.testing.assert_allclose(found["score"], known.values, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found["loss"], known.losses, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found["probability"], known.probabilities, rtol=1e-10)
    assert found["index"].tolist() == list(range(len(y)))
    assert found["label"].tolist() == y.tolist()


@pytest.mark.parametrize("preference", PREFERENCES)
@pytest.mark.parametrize("order", ["ranked", "sampled"])
def test_the_selection_is_the_one_in_memory_point_by_point(
    tmp_path: Path, table: FeatureTable, monkeypatch: pytest.MonkeyPatch, preference: Preference, order: TableOrder
) -> None:
    monkeypatch.setattr("augury.shards.selecting.ROWS", 400)  # so that several rounds keep the best so far
    scores = score_table(table, str(tmp_path / "scores"))
    frame = scores.to_frame()
    known = Scores(
        *(frame[name].to_numpy() for name in ("score", "label", "loss", "probability")),
        "influence",
        ("0", "1", "2"),
        frame["index"].to_numpy(),
    )
    found = select_table(scores, "10%", preference, order, seed=5)
    assert found["index"].tolist() == augury.rank(known, preference, order, seed=5).indices[:150].tolist()
    assert found["rank"].tolist() == list(range(1, 151))
    assert found["score"].tolist() == frame["score"][found["index"]].tolist()


def test_points_without_a_positive_score_are_drawn_as_in_memory(tmp_path: Path, table: FeatureTable) -> None:
    X, y = problem(3)
    scores = score_table(table, str(tmp_path / "scores"), "validation", target=table)
    assert (scores.to_frame()["score"] <= 0).any()
    known = scored(X, y, "validation").values
    found = select_table(scores, len(y), "inverse", "sampled", seed=1)["index"].to_numpy()
    assert set(found[: (known <= 0).sum()]) == set(np.flatnonzero(known <= 0))


@pytest.mark.parametrize("order", ["ranked", "sampled"])
def test_neither_scores_nor_selections_depend_on_how_the_points_are_divided_into_files(tmp_path: Path, order: TableOrder) -> None:
    X, y = problem(3)
    divided = (write(tmp_path / "a", X, y, files=4, group=40), write(tmp_path / "b", X, y, files=1, group=1500))
    one, two = (score_table(table, str(tmp_path / f"s{i}")) for i, table in enumerate(divided))
    np.testing.assert_allclose(one.to_frame()["score"], two.to_frame()["score"], rtol=1e-10)
    assert select_table(one, 99, order=order)["index"].tolist() == select_table(two, 99, order=order)["index"].tolist()


def test_arrow_files_columns_of_numbers_lists_and_texts_as_labels_give_the_same_head(tmp_path: Path, table: FeatureTable) -> None:
    X, y = problem(3)
    names = np.array(["cat", "dog", "emu"])[y]
    lists = pa.array(list(X.astype(np.float64)), pa.list_(pa.float64()))
    pyarrow.feather.write_feather(
        pa.table({"label": pa.array(names).dictionary_encode(), "x": lists}), tmp_path / "a.feather", chunksize=400
    )
    columns = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    pq.write_table(pa.table({"label": names, **columns, "comment": names}), tmp_path / "wide.parquet")
    known = fit_table(table)
    for path in ("a.feather", "wide.parquet"):
        head = fit_table(FeatureTable.open(str(tmp_path / path), rows=500))
        assert head.classes_.tolist() == ["cat", "dog", "emu"]
        np.testing.assert_allclose(head.coef_, known.coef_, rtol=0, atol=1e-11)


def test_features_and_scores_may_lie_on_any_file_system(tmp_path: Path, table: FeatureTable) -> None:
    memory = fsspec.filesystem("memory")
    for path in sorted((tmp_path / "table").iterdir()):
        memory.pipe_file(f"/augury-test/table/{path.name}", path.read_bytes())
    try:
        away = FeatureTable.open("memory://augury-test/table", rows=300)
        scores = score_table(away, "memory://augury-test/scores")
        known = score_table(table, str(tmp_path / "scores")).to_frame()
        assert scores.to_frame().equals(known)
        select_table(scores, 10, out="memory://augury-test/chosen.parquet")
        assert (
            pq.read_table("augury-test/chosen.parquet", filesystem=memory)["index"].to_pylist()
            == select_table(scores, 10)["index"].tolist()
        )
        assert not [name for name in memory.find("/augury-test") if ".part" in name and not name.endswith(".parquet")]
    finally:
        memory.rm("/augury-test", recursive=True)


def test_shards_that_are_scored_are_not_scored_again(tmp_path: Path, table: FeatureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "scores"
    score_table(table, str(out))
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "part-000003.parquet").unlink()
    with pytest.raises(InputError, match="1 of 6 parts are missing"):
        ScoreTable.load(str(out))
    monkeypatch.setattr("augury.shards.scoring.fit_table", None)  # what was fitted is read
    kept = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    score_table(table, str(out))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


KILLED = """
import os, signal, sys
from augury.shards import FeatureTable, score_table, scoring
real, done = scoring._rows, []
def rows(block, *rest):
    done.append(block)
    if len(done) == 4: os.kill(os.getpid(), signal.SIGKILL)
    return real(block, *rest)
scoring._rows = rows
score_table(FeatureTable.open(sys.argv[1], rows=300), sys.argv[2])
"""


def test_a_job_that_was_killed_goes_on_where_it_stopped_and_comes_to_the_same_bytes(tmp_path: Path, table: FeatureTable) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    command = [sys.executable, "-c", KILLED, table.url, str(cut)]
    ended = subprocess.run(command, check=False, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert ended.returncode == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in cut.glob("part-*.parquet")}
    assert sorted(before) == [f"part-00000{number}.parquet" for number in range(3)]
    score_table(table, str(cut))
    score_table(table, str(whole))
    assert {name: (cut / name).stat().st_mtime_ns for name in before} == before
    assert {path.name: path.read_bytes() for path in cut.glob("part-*")} == {path.name: path.read_bytes() for path in whole.glob("part-*")}


def test_a_folder_of_other_scores_is_refused(tmp_path: Path, table: FeatureTable) -> None:
    out = str(tmp_path / "scores")
    score_table(table, out, "loss")
    with pytest.raises(InputError, match=r"scores: holds scores made from another table or with other settings"):
        score_table(table, out, "influence")
    with pytest.raises(InputError, match=r"scores: holds scores made from another table or with other settings"):
        score_table(table, out, "loss", C=2.0)
    with pytest.raises(InputError, match="Parquet files that are no scores"):
        score_table(table, table.url)


def test_a_table_that_was_written_anew_is_another_table(tmp_path: Path, table: FeatureTable) -> None:
    out = str(tmp_path / "scores")
    score_table(table, out)
    X, y = problem(3)
    pq.write_table(rows(X[:500] + 1, y[:500]), tmp_path / "table" / "0.parquet", row_group_size=150)
    with pytest.raises(InputError, match="another table"):
        score_table(FeatureTable.open(table.url, rows=300), out)


def test_a_damaged_part_is_named_with_the_cure(tmp_path: Path, table: FeatureTable) -> None:
    scores = score_table(table, str(tmp_path / "scores"), "loss")
    content = bytearray(Path(scores.parts[2]).read_bytes())
    content[60] ^= 255
    Path(scores.parts[2]).write_bytes(content)
    with pytest.raises(InputError, match=r"part-000002.parquet: damaged .* score the table again"):
        scores.to_frame()


def test_real_digits_in_files_are_scored_as_in_memory(tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    X = (X / 64).astype(np.float32)  # so that no point determines its own fit
    table = write(tmp_path / "table", X, y)
    found = score_table(table, str(tmp_path / "scores"), head=fit_table(table, tol=1e-12)).to_frame()
    np.testing.assert_allclose(found["score"], scored(X, y).values, rtol=1e-9, atol=1e-13)


BROKEN = {
    "no file": (lambda p: None, r"x.parquet: no Parquet or Arrow file"),
    "no table": (lambda p: p.write_bytes(b"PAR1 nothing"), r"x.parquet: cannot be read"),
    "no label": (lambda p: pq.write_table(pa.table({"f": [[1.0]], "y": [0]}), p), r"no column 'label'; expected some of f, y"),
    "no features": (lambda p: pq.write_table(pa.table({"label": [0, 1]}), p), r"no column holds numbers beside 'label'"),
    "two lists": (lambda p: pq.write_table(pa.table({"label": [0], "a": [[1.0]], "b": [[1.0]]}), p), r"a, b hold lists; name"),
    "uneven": (lambda p: pq.write_table(pa.table({"label": [0, 1], "f": [[1.0, 2.0], [1.0]]}), p), r"expected 2 features for each point"),
    "null label": (lambda p: pq.write_table(pa.table({"label": [0, None], "f": [[1.0], [2.0]]}), p), r"a point has no label"),
    "null features": (lambda p: pq.write_table(pa.table({"label": [0, 1], "f": [[1.0], None]}), p), r"a point lacks features"),
    "nan": (lambda p: pq.write_table(pa.table({"label": [0, 1], "f": [[1.0], [np.nan]]}), p), r"point 1 has a NaN or infinite feature"),
    "one class": (lambda p: pq.write_table(pa.table({"label": [7, 7], "f": [[1.0], [2.0]]}), p), r"only one class, 7"),
    "no row": (lambda p: pq.write_table(pa.table({"label": pa.array([], pa.int64()), "f": pa.array([], pa.float64())}), p), r"no row"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_table_is_refused_with_its_name_and_the_cure(tmp_path: Path, name: str) -> None:
    make, told = BROKEN[name]
    make(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=told):
        fit_table(FeatureTable.open(str(tmp_path / "x.parquet")))


def test_what_cannot_be_scored_is_refused(tmp_path: Path, table: FeatureTable, without_type_checks: None) -> None:
    out = str(tmp_path / "scores")
    with pytest.raises(InputError, match="method: got 'margin'; expected one of influence, loss, validation, uniform for a table"):
        score_table(table, out, "margin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="target: expected a table of target points"):
        score_table(table, out, "validation")
    with pytest.raises(InputError, match="order: got 'stratified'; expected one of sampled, ranked for a table"):
        select_table(score_table(table, out, "loss"), 10, order="stratified")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no scores here"):
        ScoreTable.load(str(tmp_path))
    with pytest.raises(InputError, match="nowhere://x: no such place"):
        FeatureTable.open("nowhere://x")


def test_separable_classes_without_a_penalty_are_told(tmp_path: Path) -> None:
    X, _ = problem(2)
    with pytest.warns(ConvergenceWarning, match="fit_table did not converge"):
        head = fit_table(write(tmp_path / "table", X, (X[:, 0] > 0).astype(int)), C=np.inf)
    assert not head.converged_


def test_a_head_whose_hessian_would_not_fit_is_refused(tmp_path: Path) -> None:
    X = np.zeros((130, 101), np.float32)
    with pytest.raises(InputError, match="head of 13,158 parameters; expected at most 12,000"):
        fit_table(write(tmp_path / "table", X, np.arange(130)))
