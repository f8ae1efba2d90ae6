"""Parquet: one file, or a folder of files, whose paths may name the splits as on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augury.data.examples import Examples
from augury.data.splits import ordered, split_in
from augury.data.tables import Columns, column_names, columns, to_examples
from augury.errors import InputError
from augury.files import check_rows, first_line


@dataclass(frozen=True)
class ParquetFiles:
    """A Parquet file (all `train`) or a folder of them, sorted by path; `train-00000-of-00001.parquet` and `test/0.parquet` name splits."""

    path: Path
    size: int | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the files' paths name; ("train",) where they name none."""
        return tuple(_files(self.path))

    def read(self, split: str) -> Examples:
        """One split. The others are opened too: the classes, the size and the channels are those of all splits."""
        tables = {name: _columns(files) for name, files in _files(self.path).items()}
        return to_examples(tables, split, self.size, self.path)


def holds_parquet(folder: Path) -> bool:
    """Whether Parquet files lie in the folder or in its sub-folders."""
    return any(_below(folder))


def _below(folder: Path) -> list[Path]:
    files = [*folder.glob("*.parquet"), *folder.glob("*/*.parquet")]
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _files(path: Path) -> dict[str, list[Path]]:
    if path.is_file():
        return {"train": [path]}
    files = _below(path)
    named = {file: split_in(file.relative_to(path).as_posix()) for file in files}
    if not any(named.values()):
        return {"train": files}
    nameless = [file for file, split in named.items() if split is None]
    if nameless:
        raise InputError(
            f"{nameless[0]}: names no split, while other files do; put train, validation or test into its name, or move it away"
        )
    return {split: [file for file in files if named[file] == split] for split in ordered(str(name) for name in named.values())}


def _columns(files: list[Path]) -> Columns:
    parts = [_read(file) for file in files]
    try:
        return columns(pa.concat_tables(parts, promote_options="permissive"), files[0].parent if len(files) > 1 else files[0])
    except pa.ArrowException as error:
        raise InputError(f"{files[0].parent}: the Parquet files differ in their columns ({error}); give each its own folder") from None


def _read(file: Path) -> pa.Table:
    try:
        with pq.ParquetFile(file, memory_map=True) as opened:
            check_rows(opened, file)
            return opened.read(columns=column_names(opened.schema_arrow, file))
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise InputError(f"{file}: not a readable Parquet file ({first_line(error)}); fetch or write it again") from None
