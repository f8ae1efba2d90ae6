"""Publishers' binary files, gzipped or not."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from augury.errors import InputError


@contextlib.contextmanager
def open_binary(folder: Path, pattern: str) -> Iterator[io.BufferedIOBase]:
    """Open the file in `folder` that matches `pattern`, or that with `.gz` after it; damage met while it is read names the file."""
    found = [*sorted(folder.glob(pattern)), *sorted(folder.glob(f"{pattern}.gz"))]
    if not found:
        raise InputError(f"{folder}: no file {pattern} nor {pattern}.gz; fetch it from the data set's publisher")
    path = found[0]
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield stream
    except (OSError, EOFError, zlib.error, MemoryError, OverflowError) as error:
        raise InputError(f"{path}: damaged ({error}); fetch it again from the data set's publisher") from None


def read_exactly(stream: io.BufferedIOBase, count: int) -> bytes:
    """The next `count` bytes; an `EOFError` if there are fewer."""
    data = stream.read(count)
    if len(data) < count:
        raise EOFError(f"it ends {count - len(data)} bytes early")
    return data


def expect_end(stream: io.BufferedIOBase) -> None:
    """An `EOFError` unless all has been read."""
    if stream.read(1):
        raise EOFError("it is longer than its header says")
