"""Publishers' binary files, gzipped or not: no more is unpacked than an honest file holds."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from augury.data.bombs import most_unpacked
from augury.errors import InputError

CHUNK = 2**24  # bytes read in one go, so that a length in a header costs no memory before there are bytes for it


@dataclass(frozen=True)
class Binary:
    """An open file and how many bytes it can hold at most, unpacked."""

    stream: io.BufferedIOBase
    most: int

    def read(self, count: int) -> bytearray:
        """The next `count` bytes, which an array may be laid over and written to; an `OSError` or `EOFError` if there are fewer."""
        if count > self.most:
            raise OSError(f"its header announces {count} bytes, and it cannot hold more than {self.most}")
        found = bytearray()
        while len(found) < count:
            piece = self.stream.read(min(CHUNK, count - len(found)))
            if not piece:
                raise EOFError(f"it ends {count - len(found)} bytes early")
            found += piece
        return found

    def expect_end(self) -> None:
        """An `OSError` unless all has been read."""
        if self.stream.read(1):
            raise OSError("it is longer than its header says")


@contextlib.contextmanager
def open_binary(folder: Path, pattern: str) -> Iterator[Binary]:
    """Open the file in `folder` that matches `pattern`, or that with `.gz` after it; damage met while it is read names the file."""
    found = [*sorted(folder.glob(pattern)), *sorted(folder.glob(f"{pattern}.gz"))]
    if not found:
        raise InputError(f"{folder}: no file {pattern} nor {pattern}.gz; fetch it from the data set's publisher")
    path = found[0]
    try:
        packed, size = path.suffix == ".gz", path.stat().st_size
        with gzip.open(path) if packed else path.open("rb") as stream:
            yield Binary(stream, most_unpacked(size) if packed else size)
    except (OSError, EOFError, ValueError, zlib.error, MemoryError) as error:
        raise InputError(f"{path}: damaged ({error}); fetch it again from the data set's publisher") from None
