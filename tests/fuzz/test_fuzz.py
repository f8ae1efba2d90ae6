"""Damaged files: each reader either reads them or says in one line what is wrong, soon, and in little memory.

`AUGURY_FUZZ` is the number of damaged inputs a reader, 100 if not set; `make fuzz` takes 10,000. Input number i of a reader is the same
in every run. On a failure, the damaged files lie in the test's folder, whose name pytest tells.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np
import pytest
from readers import READERS

from augury.errors import InputError

INPUTS = int(os.environ.get("AUGURY_FUZZ", "100"))
SECONDS = 5  # of the processor, and twenty times that on the clock, which a busy machine may need
BYTES = 2**30  # of address space that a reader may take beyond what the process has; the valid files need a thousandth of it


class TooLongError(BaseException):
    """The time limit is over; no `Exception`, so that no reader's own net catches it."""


@contextmanager
def limited(seconds: float, more_bytes: int) -> Iterator[None]:
    """At most so much time and further address space within the block."""

    def stop(_: int, __: FrameType | None) -> NoReturn:
        raise TooLongError(f"more than {seconds} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    clocks = {signal.ITIMER_PROF: (signal.SIGPROF, seconds), signal.ITIMER_REAL: (signal.SIGALRM, 20 * seconds)}
    handlers = {number: signal.signal(number, stop) for number, _ in clocks.values()}
    resource.setrlimit(resource.RLIMIT_AS, (now + more_bytes, before[1]))
    for clock, (_, limit) in clocks.items():
        signal.setitimer(clock, limit)
    try:
        yield
    finally:
        for clock in clocks:
            signal.setitimer(clock, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit on memory is Linux's")
@pytest.mark.filterwarnings("ignore")  # a damaged file may be warned of
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path, without_type_checks: None) -> None:
    reader = READERS[name]
    valid, damaged = tmp_path / "valid", tmp_path / "damaged"
    valid.mkdir()
    reader.write(valid)
    reader.read(valid)
    files = sorted(path.relative_to(valid) for path in valid.rglob("*") if path.is_file())
    shutil.copytree(valid, damaged)
    refused = 0
    for number in range(INPUTS):
        rng = np.random.default_rng((sum(name.encode()), number))
        file = files[rng.integers(len(files))]
        reader.damage(damaged / file, rng)
        told = "nothing"
        try:
            with limited(SECONDS, BYTES):
                reader.read(damaged)
        except InputError as error:
            refused += 1
            told = str(error)
        except (Exception, TooLongError) as error:
            raise AssertionError(f"{name}, input {number} ({file}): {type(error).__name__}: {error}") from error
        assert len(told.splitlines()) == 1, f"{name}, input {number} ({file}): {told!r}"
        shutil.copyfile(valid / file, damaged / file)
    assert refused > INPUTS // 20, "the damage is too small to find anything"
