"""Files that are either whole or absent: atomic writes, content digests, tables that carry their cause.

A process killed at any moment leaves the previous file or the new one, never a part: each write goes to a temporary file in the same
folder, is flushed to the disk, and then replaces the target in one step. Tables are Parquet with a JSON record in the schema's metadata
(what made them), written without time stamps, so that the same results give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from augury.errors import InputError

METADATA_KEY = b"augury"


def write_atomic(path: str | Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step; on any failure `path` is untouched."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def remove_partial(folder: str | Path) -> None:
    """Remove what killed writes have left in a folder and below it: their temporary files."""
    for path in Path(folder).rglob(".*.part"):
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); delete it and run the step again that made it") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record


def write_table(path: str | Path, frame: pd.DataFrame, metadata: Mapping[str, Any]) -> Path:
    """Write `frame` as Parquet, atomically, with `metadata` (anything JSON can hold) in the schema: same content, same bytes."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(dict(metadata), sort_keys=True).encode()})
    return write_atomic(path, lambda stream: pq.write_table(table, stream, compression="zstd"))


def read_table(path: str | Path, kind: str, columns: Sequence[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table of `columns` that `write_table` wrote and whose metadata names the noun `kind`; anything else is an `InputError`."""
    try:
        table = pq.read_table(str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the {kind} that an earlier step wrote") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a readable Parquet file ({reason}); expected the {kind} that an earlier step wrote") from None
    record = (table.schema.metadata or {}).get(METADATA_KEY)
    metadata: dict[str, Any] = json.loads(record) if record else {}
    if metadata.get("kind") != kind or not set(columns) <= set(table.column_names):
        found = metadata.get("kind", "a table without Augury's record")
        raise InputError(f"{path}: expected {kind}, found {found}; give the file that the step before this one wrote")
    return table.to_pandas(), metadata


def digest(*parts: object) -> str:
    """A hexadecimal SHA-256 over content: arrays (dtype, shape, bytes), bytes, and anything else by its `repr`. 64 characters."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f"{part.dtype.str}{part.shape}".encode())
            state.update(np.ascontiguousarray(part).data)
        elif isinstance(part, bytes):
            state.update(part)
        else:
            state.update(repr(part).encode())
        state.update(b"\0")
    return state.hexdigest()
