"""What the machine can do, and how long two ways of doing the same take on it.

Times are processor seconds, not wall seconds, so that other work on the machine is not counted. Sides are timed in turn, so that a change
of the processor's speed meets all of them alike. A benchmark is some cases, each with its sides' seconds, the ratio, and the floor: the
time that the operations would take at the rate of a matrix product, or the bytes at the rate of a plain copy, whichever is longer.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from augury.files import write_json

OURS = "augury"
PACKAGES = ("augury", "joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "torch")
SIDE = {"float32": 3072, "float64": 2048}  # of the matrices multiplied: large enough for the full rate
COPIED = 2**27  # bytes: larger than any cache
REPEATS = 5


@dataclass(frozen=True)
class Machine:
    """The rates to which a benchmark is held: floating-point operations a second of `threads` threads, and bytes copied a second by one."""

    processor: str
    cores: int
    memory_gib: float
    threads: int
    float32: float
    float64: float
    copy: float

    @classmethod
    def measured(cls, threads: int = 1) -> Machine:
        """Measure the machine that this runs on; about ten seconds."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        rates = {dtype: gemm_rate(dtype, threads) for dtype in SIDE}
        return cls(processor(), os.cpu_count() or 1, round(memory, 1), threads, **rates, copy=copy_rate())

    def floor(self, *, operations: float = 0.0, moved: float = 0.0, dtype: str = "float32") -> float:
        """Processor seconds that `operations` multiplications and additions, or `moved` bytes read and written, take at least."""
        return max(operations / getattr(self, dtype), moved / self.copy)


def gemm_rate(dtype: str, threads: int) -> float:
    """Floating-point operations a second of a large matrix product on `threads` threads: the better of torch's and numpy's."""
    side = SIDE[dtype]
    a, b = np.random.default_rng(0).random((2, side, side)).astype(dtype)
    out, tensors = np.empty_like(a), (torch.from_numpy(a), torch.from_numpy(b))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            sides = {"numpy": lambda: np.matmul(a, b, out=out), "torch": lambda: torch.matmul(*tensors)}
            seconds = min(map(min, interleaved(sides).values())) / threads
    finally:
        torch.set_num_threads(before)
    return 2 * side**3 / seconds


def copy_rate() -> float:
    """Bytes a second that one thread reads and writes when it copies an array larger than any cache into memory already in use."""
    source, target = np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)
    return 2 * COPIED / min(interleaved({"copy": lambda: np.copyto(target, source)})["copy"])


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def interleaved(
    sides: Mapping[str, Callable[[], object]], repeats: int = REPEATS, calls: int = 1, *, warm: bool = True
) -> dict[str, list[float]]:
    """Processor seconds of a call of each side, `repeats` times in turn, each a mean of `calls`; `warm`: a first call is not counted.

    Every second time in the opposite order, since what a side leaves in the caches and in the allocator is felt by the next.
    """
    if warm:
        for side in sides.values():
            side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name, side in reversed(sides.items()) if repeat % 2 else sides.items():
            start = time.process_time()
            for _ in range(calls):
                side()
            seconds[name].append((time.process_time() - start) / calls)
    return seconds


def calls_for(side: Callable[[], object], seconds: float) -> int:
    """How many calls of a short side take about so many processor seconds."""
    start = time.process_time()
    side()
    return max(1, math.ceil(seconds / max(time.process_time() - start, 1e-6)))


def ratio(seconds: Mapping[str, Sequence[float]], other: str) -> dict[str, float | str]:
    """How many times as long the other side takes as ours: the median over the turns, with the least and the most."""
    ratios = [theirs / ours for ours, theirs in zip(seconds[OURS], seconds[other], strict=True)]
    return {"other": other, "median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def case(name: str, seconds: Mapping[str, Sequence[float]], floor: float | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401  (what JSON holds)
    """One line of a benchmark: its sides' seconds, the ratio to the fastest other side, the floor, and anything else that is worth keeping.

    Parameters
    ----------
    name
        What is done, on what: `self-influence, n = 20,000, d = 256, C = 10, float32`.
    seconds
        By side, ours under `augury`, as `interleaved` gives them.
    floor
        Seconds that the machine needs at least, from `Machine.floor`; None where there is none to tell.
    more
        Errors, counts, sizes.
    """
    others = {side: statistics.median(times) for side, times in seconds.items() if side != OURS}
    found: dict[str, Any] = {"case": name, "seconds": dict(seconds), **more}
    if others:
        found["ratio"] = ratio(seconds, min(others, key=others.__getitem__))
    if floor is not None:
        found |= {"floor_seconds": floor, "floor_share": floor / statistics.median(seconds[OURS])}
    return found


def save(script: str, what: str, cases: Sequence[Mapping[str, Any]], machine: Machine | None = None, peers: Sequence[str] = ()) -> Path:
    """Write a benchmark's cases beside its script, with the machine and the versions, atomically: `scoring.py` writes `scoring.json`.

    `what` says in a sentence or two what was measured, for the page; `peers` names the other sides' packages, whose versions are kept.
    """
    versions = {name: importlib.metadata.version(name) for name in (*PACKAGES, *peers)} | {"python": platform.python_version()}
    record = {"what": what, "cases": list(cases), "versions": versions}
    if machine is not None:
        record["machine"] = asdict(machine)
    return write_json(Path(script).with_suffix(".json"), record)
