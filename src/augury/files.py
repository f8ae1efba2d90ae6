"""Files that are either whole or absent: atomic writes, content digests, tables that carry their cause.

A process killed at any moment leaves the previous file or the new one, never a part: each write goes to a temporary file in the same
folder, is flushed to the disk, and then replaces the target in one step. Tables are Parquet with a JSON record in the schema's metadata
(what made them), written without time stamps, so that the same results give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from augury.errors import InputError

METADATA_KEY = b"augury"
PARTIAL = ".augury.part"  # ends the names of temporary files: so distinct that no one else's file has it
MOST_ROWS = 100  # a byte of a table's file: an honest one has fewer by far, since rows differ

Noun = TypeVar("Noun")


def write_atomic(path: str | Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step; on any failure `path` is untouched.

    Raises
    ------
    InputError
        If the place cannot be written to: no right to, a folder, no room left, no possible name.
    """
    path = Path(path)
    if "\0" in str(path):
        raise InputError(f"{str(path)!r}: no file can have a name with a zero byte; choose another")
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}{PARTIAL}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise InputError(
                f"{path}: cannot be written ({first_line(error)}); choose another place, or see to its rights and room"
            ) from error
        raise
    return path


def remove_partial(folder: str | Path) -> None:
    """Remove what killed writes have left in a folder and below it: their temporary files."""
    for path in Path(folder).rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def first_line(error: BaseException) -> str:
    """Why an operation failed, in the system's words, on one line; the kind of error where it has none."""
    return getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "") or type(error).__name__


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8, atomically."""
    return write_atomic(path, lambda stream: stream.write(text.encode()))


def write_json(path: str | Path, record: Mapping[str, Any]) -> Path:
    """Write a record as indented JSON with sorted keys, atomically."""
    return write_text(path, json.dumps(record, indent=2, sort_keys=True) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read what `write_json` wrote; a missing or damaged file is an `InputError` that names it."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from None
    except (ValueError, RecursionError) as error:  # no JSON, no text, or nested without end
        raise InputError(f"{path}: not a JSON file ({first_line(error)}); delete it and run the step again that made it") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record


def write_table(path: str | Path, frame: pd.DataFrame, metadata: Mapping[str, Any]) -> Path:
    """Write `frame` as Parquet, atomically, with `metadata` (anything JSON can hold) in the schema: same content, same bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(dict(metadata), sort_keys=True).encode()})
    return write_atomic(path, lambda stream: pq.write_table(table, stream, compression="zstd", write_page_checksum=True))


def read_table(path: str | Path, kind: str, columns: Sequence[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table of `columns` that `write_table` wrote and whose metadata names the noun `kind`; anything else is an `InputError`."""
    try:
        with Path(path).open("rb") as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            check_rows(file, path)
            table = file.read()
            metadata = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the {kind} that an earlier step wrote") from None
    except (pa.ArrowException, OSError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({first_line(error)}); expected the {kind} that an earlier step wrote"
        ) from None
    found = (metadata.get("kind") if isinstance(metadata, dict) else None) or "a table without Augury's record"
    if found != kind:
        raise InputError(f"{path}: expected {kind}, found {found}; give the file that the step before this one wrote")
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: the {kind} lack the column {missing[0]!r}; give the file as the step before this one wrote it")
    try:
        return table.to_pandas(), metadata
    except Exception as error:  # noqa: BLE001  (pandas' own record in a damaged table raises nearly any kind)
        raise _damaged(path, kind, error) from None


def read_noun(path: str | Path, kind: str, columns: Sequence[str], make: Callable[[pd.DataFrame, dict[str, Any]], Noun]) -> Noun:
    """What `make` builds from the table and the record that `read_table` reads: junk in either is an `InputError` that names the file."""
    frame, record = read_table(path, kind, columns)
    try:
        return make(frame, record)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001  (junk leads to nearly any kind)
        raise _damaged(path, kind, error) from None


def check_rows(file: pq.ParquetFile, path: str | Path) -> None:
    """Refuse a Parquet file that announces more rows than an honest one of its size holds, before memory is taken for them."""
    rows, size = file.metadata.num_rows, Path(path).stat().st_size
    if rows > MOST_ROWS * size:
        raise InputError(f"{path}: announces {rows} rows in {size} bytes, which no honest table does; do not use this file")


def _damaged(path: str | Path, kind: str, error: Exception) -> InputError:
    what = f"{type(error).__name__}: {first_line(error)}"
    return InputError(f"{path}: the {kind} are damaged ({what}); run the step again that made them")


def digest(*parts: object) -> str:
    """A hexadecimal SHA-256 over content: arrays (dtype, shape, bytes), bytes, and anything else by its `repr`. 64 characters.

    Each part goes in with its kind and length, so that no two sequences of parts look the same.
    """
    state = hashlib.sha256()
    for part in parts:
        kind, content = _content(part)
        state.update(f"{kind}:{content.nbytes}:".encode())
        state.update(content)
    return state.hexdigest()


def _content(part: object) -> tuple[str, memoryview]:
    if isinstance(part, np.ndarray):
        return f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
    if isinstance(part, bytes):
        return "bytes", memoryview(part)
    return "repr", memoryview(repr(part).encode())
