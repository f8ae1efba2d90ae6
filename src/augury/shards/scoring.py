"""Scores of a table's points, written shard by shard: a job that was killed goes on with the shards that are missing."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from augury.choices import TableMethod
from augury.curvature import ExactCurvature, FittedHead, PointSet
from augury.errors import InputError
from augury.files import METADATA_KEY, digest
from augury.head import SoftmaxHead
from augury.influence.own import own_influence
from augury.parallel import LOCAL, Engine, each, held
from augury.progress import say, track
from augury.shards import storage
from augury.shards.fit import check_size, fit_table, fitted_head, place_of, table_hessian
from augury.shards.passes import Place, sums
from augury.shards.table import Block, Columns, FeatureTable, Shard
from augury.softmax import Local, SoftmaxProblem, local, offset, project
from augury.solvers import NotPositiveDefiniteError, cholesky

TOGETHER = 4  # times as many points as elsewhere are scored at once, since H^-1 is read anew for them
RECORD, STATE, KIND = "scores.json", "state.npz", "score table"


@dataclass(frozen=True)
class ScoreTable:
    """Scores of a table's points in a folder of Parquet files, one a shard, with the columns index, label, score, loss, probability.

    Parameters
    ----------
    url
        The folder, on any file system.
    parts
        The files, in the order of the points.
    record
        What made the scores: table, method, settings of the head, numbers of points and parts.
    """

    url: str
    parts: tuple[str, ...]
    record: Mapping[str, Any]

    @classmethod
    def load(cls, url: str) -> ScoreTable:
        """Find what `score_table` wrote; an `InputError` where it is not there, or not finished."""
        record = _read_record(url)
        if record is None:
            raise InputError(f"{url}: no scores here; expected a folder that scoring a table has written")
        parts = tuple(_part(url, number) for number in range(record["parts"]))
        missing = set(parts) - set(storage.listed(url, (".parquet",)))
        if missing:
            raise InputError(f"{url}: {len(missing)} of {len(parts)} parts are missing; score the table again, which does only these")
        return cls(url, parts, record)

    def __len__(self) -> int:
        return int(self.record["points"])

    def to_frame(self) -> pd.DataFrame:
        """All rows, in memory."""
        frames: list[pd.DataFrame] = [read_part(part).to_pandas() for part in self.parts]
        return pd.concat(frames, ignore_index=True)


def score_table(
    table: FeatureTable,
    out: str,
    method: TableMethod = "influence",
    *,
    head: SoftmaxHead | None = None,
    C: float = 1.0,
    target: FeatureTable | None = None,
    engine: Engine = LOCAL,
) -> ScoreTable:
    """Score each point of a table by what augmenting it is predicted to be worth: `augury.score` for what does not fit in memory.

    Parameters
    ----------
    table
        Features and labels in files.
    out
        A folder, on any file system. Shards that are scored there are not scored again, and the head is not fitted again.
    method
        `influence` (magnitude of the leave-one-out influence), `loss`, `validation` (predicted fall of the target's mean loss), `uniform`:
        see `augury.scores`.
    head
        Fitted to the table; None: one is fitted here.
    C
        Inverse strength of that head's penalty.
    target
        For `validation`: the points whose mean loss is to fall.
    engine
        Where the work is done; no result depends on it.

    Raises
    ------
    InputError
        If `out` holds scores of another table or with other settings.

    Notes
    -----
    After the fit, `influence` takes one pass for the Hessian and one of n ((C - 1) (d + 1))^2 operations for the scores; `validation` one
    for the Hessian, one over the target and one of 2 n C d operations. Memory, and what a worker reads before its first shard: three
    matrices of ((C - 1) (d + 1))^2 numbers.
    """
    _check(method, target)
    settings = _settings(table, method, head, C, target)
    _claim(out, settings)
    with held(engine) as workers:
        place = storage.join(out, STATE)
        if not storage.exists(place):
            state = _prepared(table, method, head or fit_table(table, C=C, engine=workers), target, workers)
            storage.write(place, state)
        done = set(storage.listed(out, (".parquet",)))
        missing = [shard for shard in table.shards if _part(out, shard.number) not in done]
        say(f"shards: {len(table.shards) - len(missing)} of {len(table.shards)} scored before, {len(missing)} to score")
        calls = ((table.columns, shard, out, method, settings["digest"]) for shard in missing)
        for _ in track(each(_scored, calls, workers, ordered=False), "scoring", total=len(missing)):
            pass
    return ScoreTable.load(out)


def read_part(url: str) -> pa.Table:
    """One part of a score table, checked."""
    try:
        with storage.opened(url) as source, pq.ParquetFile(source, page_checksum_verification=True) as file:
            return file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{url}: damaged ({error}); delete it and score the table again, which does only this part") from None


def _check(method: str, target: FeatureTable | None) -> None:
    if method not in get_args(TableMethod):
        raise InputError(f"method: got {method!r}; expected one of {', '.join(get_args(TableMethod))} for a table")
    if (target is None) == (method == "validation"):
        raise InputError("target: expected a table of target points with method='validation', and only there")


def _settings(table: FeatureTable, method: str, head: SoftmaxHead | None, C: float, target: FeatureTable | None) -> dict[str, Any]:
    """What the scores depend on, and its digest."""
    made: dict[str, Any] = {"table": table.url, "label": table.columns.label, "method": method, "points": len(table)}
    made |= {"C": float(C if head is None else head.C), "parts": len(table.shards), "target": target and target.url}
    if head is not None:
        check_is_fitted(head)
        made["head"] = digest(head.coef_, head.intercept_)
    contents = (table.identity, target and target.identity, [(shard.url, shard.first, shard.rows) for shard in table.shards])
    return made | {"digest": digest(json.dumps(made, sort_keys=True), *contents, table.columns)}


def _claim(out: str, settings: Mapping[str, Any]) -> None:
    """Make the folder this job's, or find that it is."""
    found = _read_record(out)
    if found is not None and found["digest"] != settings["digest"]:
        raise InputError(f"{out}: holds scores made from another table or with other settings; give another folder, or delete it")
    if found is None:
        if storage.listed(out, (".parquet",)):
            raise InputError(f"{out}: holds Parquet files that are no scores; give another folder")
        storage.write(storage.join(out, RECORD), json.dumps({"kind": KIND, **settings}, indent=2, sort_keys=True).encode())


def _read_record(url: str) -> dict[str, Any] | None:
    place = storage.join(url, RECORD)
    if not storage.exists(place):
        return None
    record: dict[str, Any] = json.loads(storage.read(place))
    if record.get("kind") != KIND:
        raise InputError(f"{place}: not the record of a score table; give another folder")
    return record


def _part(out: str, number: int) -> str:
    return storage.canonical(storage.join(out, f"part-{number:06d}.parquet"))


def _prepared(table: FeatureTable, method: TableMethod, head: SoftmaxHead, target: FeatureTable | None, engine: Engine) -> bytes:
    """All that scoring a shard needs beside the shard: V, and the Hessian's factor or what it makes of the target's gradient."""
    check_size(len(head.classes_), table)
    first = torch.from_numpy(next(table.shards[0].blocks(table.columns)).X)
    shift = offset(first)
    V = head.directions(first, shift)
    found: dict[str, Any] = {"V": V.numpy(), "classes": head.classes_} | ({} if shift is None else {"shift": shift.numpy()})
    if method in ("influence", "validation"):
        place = place_of(V, head.classes_, shift)
        factor = _factor(table_hessian(table, place, 1 / head.C, engine), table)
        found |= {"factor": factor.numpy()} if target is None else {"along": _along(target, place, factor, engine)}
    stream = io.BytesIO()
    np.savez(stream, **found)
    return stream.getvalue()


def _factor(hessian: Tensor, table: FeatureTable) -> Tensor:
    try:
        return cholesky(hessian)
    except NotPositiveDefiniteError:
        raise InputError(
            f"{table.url}: the head's Hessian is singular to working precision: standardise features of very different scale, leave out "
            "constant or duplicated ones, or lower C"
        ) from None


def _along(target: FeatureTable, place: Place, factor: Tensor, engine: Engine) -> npt.NDArray[np.float64]:
    """The matrix s = H^-1 mean_T g of `augury.influence.head`."""
    mean = torch.from_numpy(sums(target, place, engine).gradient) / len(target)
    return torch.cholesky_solve(mean.reshape(-1, 1), factor).reshape(mean.shape).numpy()


@dataclass(frozen=True)
class _State:
    """What `_prepared` wrote."""

    place: Place
    factor: Tensor | None
    along: Tensor | None


@lru_cache(maxsize=1)
def _state(out: str, digested: str) -> _State:  # noqa: ARG001  (it tells one job's from another's in the same folder)
    """Read once by each worker."""
    with np.load(io.BytesIO(storage.read(storage.join(out, STATE)))) as found:
        arrays = {name: found[name] for name in found.files}
    place = Place(arrays["V"], arrays["classes"], arrays.get("shift"))
    factor, along = (torch.from_numpy(arrays[name]) if name in arrays else None for name in ("factor", "along"))
    return _State(place, factor, along)


def _scored(columns: Columns, shard: Shard, out: str, method: TableMethod, digested: str) -> None:
    """Score a shard, and store it whole."""
    state = _state(out, digested)
    with torch.inference_mode():
        parts = [_rows(block, state, method, shard.url) for block in shard.blocks(columns, TOGETHER)]
    table = pa.concat_tables(parts)
    values = table["score"].to_numpy()
    positive = values[values > 0]
    record = {"kind": KIND, "digest": digested, "smallest": float(positive.min()) if len(positive) else math.inf}
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(record).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    storage.write(_part(out, shard.number), memoryview(sink.getvalue()))


def _rows(block: Block, state: _State, method: TableMethod, name: str) -> pa.Table:
    problem, V = state.place.problem(block, name), torch.from_numpy(state.place.V)
    points = PointSet(problem.rows(slice(None)), problem.labels, problem.weights)
    found = local(project(points.features, V), points.labels, problem.basis)
    values = _values(problem, points, state, method, found)
    if not bool(values.isfinite().all()):
        raise InputError(f"{name}: a score is not finite; standardise features of very different scale, or lower C")
    losses = found.losses.numpy()
    columns: Sequence[Any] = (
        np.arange(block.first, block.first + len(block)),
        pa.array(block.y),
        values.numpy(),
        losses,
        np.exp(-losses),
    )
    return pa.table(dict(zip(("index", "label", "score", "loss", "probability"), columns, strict=True)))


def _values(problem: SoftmaxProblem, points: PointSet, state: _State, method: TableMethod, found: Local) -> Tensor:
    if state.along is not None:
        return (found.r * project(points.features, state.along)).sum(dim=1)
    if state.factor is None:
        return found.losses if method == "loss" else torch.ones_like(found.losses)
    head = fitted_head(SoftmaxHead(), state.place.classes, state.place.V, None)
    unknown = state.factor.new_tensor(math.nan).expand_as(state.factor)  # H itself, by which nothing is multiplied here
    curvature = ExactCurvature(unknown, state.factor)
    return own_influence(FittedHead(head, problem, points, torch.from_numpy(state.place.V), curvature), points).abs()
