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
        tables = {name: columns(part.with_format("arrow")[:], f"{self.path} ({name})") for name, part in _parts(self.path).items()}
        return to_examples(tables, split, self.size, self.path)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or ((folder / "dataset_info.json").is_file() and (folder / "state.json").is_file())


def _parts(path: Path) -> dict[str, datasets.Dataset]:
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable Hugging Face data set ({error}); write it again with save_to_disk") from None
    if isinstance(found, datasets.DatasetDict):
        return by_standard_name(found, path)
    return {"train": found}
