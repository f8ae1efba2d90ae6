"""Data sets that Hugging Face's `save_to_disk` wrote, with or without splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow as pa

from augury.data.examples import Examples
from augury.data.splits import by_standard_name
from augury.data.tables import columns, to_examples
from augury.errors import InputError
from augury.files import first_line


@dataclass(frozen=True)
class SavedDataset:
    """A folder that holds a `Dataset` (all `train`) or a `DatasetDict`. `ClassLabel` names become the classes."""

    path: Path
    size: int | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The keys of the `DatasetDict`, under their usual names; ("train",) for a `Dataset`."""
        return tuple(_parts(self.path))

    def read(self, split: str) -> Examples:
        """One split. The classes, the size and the channels are those of all splits."""
        tables = {name: columns(_table(part, self.path), f"{self.path} ({name})") for name, part in _parts(self.path).items()}
        return to_examples(tables, split, self.size, self.path)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or ((folder / "dataset_info.json").is_file() and (folder / "state.json").is_file())


def _table(part: datasets.Dataset, path: Path) -> pa.Table:
    """All rows, once it is sure that no offset leads out of the file, which would end the process."""
    try:
        part.data.validate(full=True)
        return part.with_format("arrow")[:]
    except Exception as error:  # noqa: BLE001  (damaged files raise nearly any kind)
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a readable Hugging Face data set ({first_line(error)}); write it again with save_to_disk")


def _parts(path: Path) -> dict[str, datasets.Dataset]:
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # noqa: BLE001  (damaged records raise nearly any kind)
        raise _unreadable(path, error) from None
    if isinstance(found, datasets.DatasetDict):
        return by_standard_name(found, path)
    return {"train": found}
