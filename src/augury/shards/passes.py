"""One pass over a table: what is summed over all points, shard by shard, and added up in the shards' order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, Shaped

from augury.arrays import encode
from augury.errors import InputError
from augury.parallel import Engine, each
from augury.progress import track
from augury.shards.table import Block, Columns, FeatureTable, Shard
from augury.softmax import SoftmaxProblem

SAMPLE = 1 << 24  # numbers, 128 MiB of float64
Array = npt.NDArray[np.float64]
T = TypeVar("T")


class Survey(NamedTuple):
    """A look at a table: the labels' names, sorted; how many points have each; and every `stride`-th point."""

    classes: Shaped[np.ndarray, " classes"]
    counts: Shaped[np.ndarray, " classes"]
    X: Float64[np.ndarray, "points features"]
    labels: Shaped[np.ndarray, " points"]
    stride: int


def over_shards(table: FeatureTable, engine: Engine, what: str, work: Callable[..., T], *arguments: object) -> Iterator[T]:
    """`work(columns, shard, *arguments)` of each shard, in their order."""
    calls = ((table.columns, shard, *arguments) for shard in table.shards)
    return track(each(work, calls, engine), what, total=len(table.shards))


def survey(table: FeatureTable, engine: Engine, sample: int = SAMPLE) -> Survey:
    """The classes, and a sample of about so many numbers, evenly spread; by one pass, in which every point is checked."""
    stride = math.ceil(len(table) * table.columns.width / sample)
    counts: Counter[Any] = Counter()
    parts = []
    for found, X, labels in over_shards(table, engine, "looking at the points", _surveyed, stride):
        counts.update(found)
        parts.append((X, labels))
    try:
        names = sorted(counts)
    except TypeError:
        raise InputError(f"{table.url}: labels of several kinds in {table.columns.label!r}; expected integers or texts alone") from None
    if len(names) < 2:
        raise InputError(f"{table.url}: only one class, {names[0]!r}; expected at least two")
    numbers = np.array([counts[name] for name in names])
    return Survey(np.array(names), numbers, np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts]), stride)


def _surveyed(columns: Columns, shard: Shard, stride: int) -> tuple[dict[Any, int], Array, npt.NDArray[Any]]:
    counts: Counter[Any] = Counter()
    X, labels = [], []
    for block in shard.blocks(columns):
        names, times = np.unique(block.y, return_counts=True)
        counts.update(dict(zip(names.tolist(), times.tolist(), strict=True)))
        start = -block.first % stride
        X.append(block.X[start::stride])
        labels.append(block.y[start::stride])
    return dict(counts), np.concatenate(X), np.concatenate(labels)


@dataclass(frozen=True)
class Place:
    """A head at some parameters V, for features from which `shift` has been subtracted: all that a worker must know of it."""

    V: Float64[np.ndarray, "directions params"]
    classes: Shaped[np.ndarray, " classes"]
    shift: Float64[np.ndarray, " features"] | None

    def problem(self, block: Block, name: str) -> SoftmaxProblem:
        """The block's points, each of weight 1, without a penalty."""
        X, codes = torch.from_numpy(block.X), torch.from_numpy(encode(block.y, self.classes, name))
        shift = None if self.shift is None else torch.tensor(self.shift)
        return SoftmaxProblem(X, codes, X.new_ones(len(X)), len(self.classes), 0.0, shift)


class Sums(NamedTuple):
    """Sums over points: of the losses, of their gradients in V, and of their Hessians, if those were asked for."""

    loss: float
    gradient: Float64[np.ndarray, "directions params"]
    hessian: Float64[np.ndarray, "size size"] | None = None


def sums(table: FeatureTable, place: Place, engine: Engine, *, hessian: bool = False) -> Sums:
    """Losses and gradients, and with `hessian` Hessians, summed over all points by one pass.

    Cost: 4 n (C - 1) (d + 1) operations, for the Hessian n (C - 1) C (d + 1)^2; 8 bytes come back for each number of the sums, a shard.
    """
    loss, gradient, total = 0.0, np.zeros_like(place.V), None
    for part in over_shards(table, engine, "summing curvature" if hessian else "summing gradients", _summed, place, hessian):
        loss, gradient = loss + part.loss, gradient + part.gradient
        if part.hessian is not None:
            total = part.hessian.copy() if total is None else np.add(total, part.hessian, out=total)  # a cluster's arrays are read-only
    return Sums(loss, gradient, total)


def _summed(columns: Columns, shard: Shard, place: Place, hessian: bool) -> Sums:  # noqa: FBT001  (called by position, on a worker)
    V = torch.tensor(place.V)
    loss, gradient = 0.0, torch.zeros_like(V)
    total = torch.zeros(V.numel(), V.numel(), dtype=V.dtype) if hessian else None
    with torch.inference_mode():
        for block in shard.blocks(columns):
            problem = place.problem(block, shard.url)
            found = problem.evaluate(V)
            loss, gradient = loss + found[0], gradient + found[1]
            if total is not None:
                total += problem.hessian(V)
    return Sums(loss, gradient.numpy(), None if total is None else total.numpy())
