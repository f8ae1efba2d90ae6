"""Cells: small finished pieces of long work, each stored whole under its name, so that a killed sweep goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from augury.errors import InputError
from augury.files import read_noun, remove_partial, write_table

NAME = "cell"


@dataclass(frozen=True)
class Cells:
    """A folder of tables of one kind: `GROUP/NAME.parquet` for each finished cell, and `GROUP.parquet` for groups that are packed.

    Parameters
    ----------
    folder
        Where they lie; it need not exist.
    kind
        What the rows are, as the tables' metadata say.
    """

    folder: Path
    kind: str

    def write(self, group: str, name: str, frame: pd.DataFrame) -> Path:
        """Store a finished cell, atomically; its name becomes the column `cell`."""
        return write_table(self.folder / group / f"{name}.parquet", frame.assign(**{NAME: name}), {"kind": self.kind})

    def names(self, group: str) -> set[str]:
        """The names of a group's finished cells."""
        packed = self._packed(group)
        return {path.stem for path in self._loose(group)} | (set() if packed is None else set(packed[NAME]))

    def read(self) -> pd.DataFrame:
        """The rows of all cells, sorted by group and cell, whether packed or not; an empty table where there are none."""
        groups = sorted({path.stem if path.is_file() else path.name for path in self.folder.glob("[!.]*")})
        tables = [self.read_group(group) for group in groups]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({NAME: []})

    def read_group(self, group: str) -> pd.DataFrame:
        """The rows of one group's cells, sorted by cell; those of one cell in the order in which they were written."""
        packed = self._packed(group)
        tables = [] if packed is None else [packed]
        known = set() if packed is None else set(packed[NAME])
        tables += [self._table(path) for path in self._loose(group) if path.stem not in known]
        if not tables:
            return pd.DataFrame({NAME: []})
        return (
            pd.concat(tables, ignore_index=True).sort_values(NAME, kind="stable", ignore_index=True) if tables else pd.DataFrame({NAME: []})
        )

    def pack(self, group: str) -> None:
        """Bring a group's cells into one file, `GROUP.parquet`; killed at any moment, nothing is lost and nothing counts twice."""
        loose = self._loose(group)
        if loose:
            write_table(self.folder / f"{group}.parquet", self.read_group(group), {"kind": self.kind})
        for path in loose:
            path.unlink()
        if (self.folder / group).is_dir():
            remove_partial(self.folder / group)
            (self.folder / group).rmdir()

    def _loose(self, group: str) -> list[Path]:
        return sorted((self.folder / group).glob("[!.]*.parquet"))

    def _packed(self, group: str) -> pd.DataFrame | None:
        path = self.folder / f"{group}.parquet"
        return self._table(path) if path.exists() else None

    def _table(self, path: Path) -> pd.DataFrame:
        return read_noun(path, self.kind, (NAME,), _named)


def _named(frame: pd.DataFrame, _: object) -> pd.DataFrame:
    if not all(isinstance(name, str) for name in frame[NAME]):
        raise InputError(f"{NAME}: expected the names of cells")
    return frame
