"""Features and labels in files, read in blocks: what does not fit in memory, on any file system.

A table is Parquet files (`.parquet`) or Arrow files (`.arrow`, `.feather`): one, or a folder of them in the order of their names. The label
is a column; the features are one column of lists of equal length, or many columns of numbers. Files on this machine are mapped into memory.

A shard is some consecutive rows of one file, the unit of work: results depend on the rows and on the shards, never on who computes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64, Shaped

from augury.errors import InputError
from augury.shards import storage
from augury.softmax import BLOCK_ELEMENTS

PARQUET, ARROW = (".parquet",), (".arrow", ".feather")
ROWS = 131_072  # of a shard at least, unless its file ends


class Block(NamedTuple):
    """Some consecutive rows: the index of the first in the table, features in double precision, labels as they are."""

    first: int
    X: Float64[np.ndarray, "points features"]
    y: Shaped[np.ndarray, " points"]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Columns:
    """Which columns hold the label and the features, and how many features there are."""

    label: str
    features: tuple[str, ...]
    width: int


@dataclass(frozen=True)
class Shard:
    """Row groups (of Arrow files: record batches) from `start` up to `stop` of a file; `first` is their first row's index in the table."""

    number: int
    url: str
    start: int
    stop: int
    first: int
    rows: int

    def blocks(self, columns: Columns, times: int = 1) -> Iterator[Block]:
        """The rows, so many `times` as a block of `augury.softmax` holds at once; an `InputError` names the row that is no point."""
        first, step = self.first, max(1, times * BLOCK_ELEMENTS // (columns.width + 1))
        for batch in self.batches((columns.label, *columns.features), step):
            X, y = _features(batch, columns, self.url), _labels(batch, columns.label, self.url)
            if not np.isfinite(X.sum()) and not np.isfinite(X).all():
                row = first + int(np.flatnonzero(~np.isfinite(X).all(axis=1))[0])
                raise InputError(f"{self.url}: point {row} has a NaN or infinite feature; mend or leave out this point")
            yield Block(first, X, y)
            first += len(y)

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Some columns, so many rows at a time."""
        with storage.opened(self.url) as source:
            if self.url.endswith(PARQUET):
                with pq.ParquetFile(source) as file:
                    groups = list(range(self.start, self.stop))
                    yield from file.iter_batches(rows, row_groups=groups, columns=list(names), use_threads=False)
                return
            with pa.ipc.open_file(source) as file:
                for number in range(self.start, self.stop):
                    batch = file.get_batch(number).select(list(names))
                    yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


@dataclass(frozen=True)
class FeatureTable:
    """Features and labels in files, divided into shards; see the module's text, and `open`."""

    url: str
    columns: Columns
    shards: tuple[Shard, ...]

    @classmethod
    def open(cls, url: str, *, label: str = "label", features: Sequence[str] | None = None, rows: int = ROWS) -> FeatureTable:
        """Look at the files' heads, and divide them into shards.

        Parameters
        ----------
        url
            A file or a folder, on this machine or on any file system that fsspec knows.
        label
            The column of labels: integers or texts.
        features
            One column of lists, or several of numbers; None: the one of lists, or else all that hold numbers but the label.
        rows
            That a shard has at least, unless its file ends. It has whole row groups, so that large ones make large shards.

        Raises
        ------
        InputError
            If there are no such files or columns, or if files differ in their columns.
        """
        files = storage.listed(url, PARQUET + ARROW)
        if not files:
            raise InputError(f"{url}: no Parquet or Arrow file; expected a file or folder of {', '.join(PARQUET + ARROW)}")
        shards: list[Shard] = []
        found: Columns | None = None
        for file in files:
            schema, sizes = _head(file)
            found = _columns(schema, file, label, features if found is None else found.features)
            shards += _divided(file, sizes, rows, shards[-1] if shards else None)
        if found is None or not shards:
            raise InputError(f"{url}: no row; expected at least one point")
        return cls(url, Columns(label, found.features, _width(shards[0], found)), tuple(shards))

    def __len__(self) -> int:
        return self.shards[-1].first + self.shards[-1].rows

    @property
    def identity(self) -> list[str]:
        """What changes when a file's content does."""
        return [storage.version(url) for url in dict.fromkeys(shard.url for shard in self.shards)]


def _head(url: str) -> tuple[pa.Schema, list[int]]:
    """A file's columns, and the rows of each of its row groups or record batches."""
    try:
        with storage.opened(url) as source:
            if url.endswith(PARQUET):
                with pq.ParquetFile(source) as file:
                    return file.schema_arrow, [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            with pa.ipc.open_file(source) as file:
                return file.schema, [len(file.get_batch(i)) for i in range(file.num_record_batches)]
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{url}: cannot be read ({reason}); expected a Parquet file, or an Arrow file in the file format") from None


def _divided(url: str, sizes: Sequence[int], rows: int, last: Shard | None) -> list[Shard]:
    """A file's row groups as shards of at least so many rows, the last one as many as are left."""
    number, first = (0, 0) if last is None else (last.number + 1, last.first + last.rows)
    shards: list[Shard] = []
    start = held = 0
    for stop, size in enumerate(sizes, start=1):
        held += size
        if held >= rows or (stop == len(sizes) and held):
            shards.append(Shard(number + len(shards), url, start, stop, first, held))
            start, first, held = stop, first + held, 0
    return shards


def _columns(schema: pa.Schema, url: str, label: str, features: Sequence[str] | None) -> Columns:
    wanted = (label, *(features or ()))
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise InputError(f"{url}: no column {missing[0]!r}; expected some of {', '.join(schema.names[:20])}")
    if features:
        return Columns(label, tuple(features), 0)
    lists = [field.name for field in schema if _is_list(field.type)]
    if len(lists) > 1:
        raise InputError(f"{url}: {', '.join(lists)} hold lists; name the features' column")
    numeric = [field.name for field in schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)]
    numbers = [name for name in numeric if name != label]
    if not lists and not numbers:
        raise InputError(f"{url}: no column holds numbers beside {label!r}; expected a column of lists, or columns of numbers")
    return Columns(label, tuple(lists or numbers), 0)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _width(shard: Shard, columns: Columns) -> int:
    """How many features a point has, by the first one."""
    row = next(shard.batches(columns.features, 1))
    lists = [len(row.column(i)[0]) if _is_list(row.column(i).type) and row.column(i)[0].is_valid else 1 for i in range(row.num_columns)]
    return int(sum(lists))


def _features(batch: pa.RecordBatch, columns: Columns, url: str) -> npt.NDArray[np.float64]:
    """The features as a matrix in double precision."""
    parts = [batch.column(name) for name in columns.features]
    if any(part.null_count for part in parts):
        raise InputError(f"{url}: a point lacks features (null); mend or leave out such points")
    if not _is_list(parts[0].type):
        return np.column_stack([part.to_numpy().astype(np.float64) for part in parts])
    numbers, points = parts[0].flatten(), len(batch)
    even = pa.types.is_fixed_size_list(parts[0].type) or bool((np.diff(parts[0].offsets.to_numpy()) == columns.width).all())
    if len(parts) > 1 or not even or len(numbers) != points * columns.width or numbers.null_count:
        raise InputError(f"{url}: expected {columns.width} features for each point in one column of lists, without nulls")
    X: npt.NDArray[np.float64] = numbers.to_numpy().reshape(points, columns.width).astype(np.float64)
    return X


def _labels(batch: pa.RecordBatch, name: str, url: str) -> npt.NDArray[Any]:
    """The labels as numpy knows them, texts as numpy's texts."""
    column = batch.column(name)
    if column.null_count:
        raise InputError(f"{url}: a point has no label (null in {name!r}); mend or leave out such points")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    labels: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return labels.astype(str) if labels.dtype.kind == "O" else labels
