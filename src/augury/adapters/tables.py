"""Hugging Face data sets, pandas DataFrames and map-style data sets in; selections and copies written back into the first two."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import datasets
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from PIL import Image
from torch import Tensor

from augury.adapters.added import Added, Selection, added
from augury.adapters.dataset import MapStyle, image_key
from augury.adapters.layout import opened
from augury.augmentation import MakesCopies
from augury.copies import CopyOrdering
from augury.data import Examples, from_arrays
from augury.data.tables import IMAGE_COLUMNS, LABEL_COLUMNS, columns, to_examples
from augury.errors import InputError
from augury.progress import track
from augury.selection import Ordering
from augury.transforms.foreign import as_transform

Table = TypeVar("Table", datasets.Dataset, pd.DataFrame)
NAME = Path("dataset")  # what origins begin with: "dataset/train/0"
ADDED = ("score", "copy_of", "copy")  # the columns that are written


def from_dataset(dataset: Any, image: str | int | None = None, label: str | int | None = None, *, size: int | None = None) -> Examples:  # noqa: ANN401  (any library's data set)
    """The labelled images of a data set in memory, in its order, checked as `augury.load` checks those on the disk.

    The names of a Hugging Face `ClassLabel`, of a categorical column or of `dataset.classes` are the classes.

    Parameters
    ----------
    dataset
        A Hugging Face `Dataset`, a pandas DataFrame, or a map-style data set of (image, label) tuples or mappings (PyTorch's). Images
        are PIL's, arrays, tensors, encoded bytes, {bytes, path} or paths.
    image, label
        The columns, keys or positions; None: `image` or `img`, and `label` or `labels`; of tuples the first two entries.
    size
        Give every image this height and width; None: as in `augury.load`.

    Raises
    ------
    InputError
        If a column is missing, or images or labels are none.
    """
    if isinstance(dataset, datasets.Dataset):
        names = _column(dataset.column_names, image, IMAGE_COLUMNS, "image"), _column(dataset.column_names, label, LABEL_COLUMNS, "label")
        renamed = dataset.select_columns(list(names)).rename_columns(dict(zip(names, ("image", "label"), strict=True)))
        return to_examples({"train": columns(renamed.with_format("arrow")[:], NAME)}, "train", size, NAME)
    if isinstance(dataset, pd.DataFrame):
        found = list(dataset.columns)
        pixels, labels = dataset[_column(found, image, IMAGE_COLUMNS, "image")], dataset[_column(found, label, LABEL_COLUMNS, "label")]
        classes = [str(name) for name in labels.cat.categories] if isinstance(labels.dtype, pd.CategoricalDtype) else None
        return _examples(list(pixels), labels.astype(str) if classes else labels.to_numpy(), classes, size)
    if not isinstance(dataset, MapStyle) or isinstance(dataset, datasets.DatasetDict | np.ndarray | Tensor):
        raise InputError(
            f"dataset: got {type(dataset).__name__}; expected a Hugging Face Dataset (one split), a DataFrame, or a map-style data set"
        )
    samples = [_pair(dataset[i], image, label) for i in track(range(len(dataset)), "reading samples")]
    values = np.array([value for _, value in samples])
    classes = getattr(dataset, "classes", None) if values.dtype.kind in "iu" else None
    return _examples([pixels for pixels, _ in samples], values, classes, size)


def select(table: Table, ordering: Ordering, budget: float | int | str | None = None) -> Table:  # noqa: PYI041  (checked at run time, where 1 is no float)
    """The chosen rows, the first to take first, with a column `score`.

    Parameters
    ----------
    table
        A Hugging Face `Dataset` or a DataFrame: the points that were scored, in their order.
    ordering
        What `augury.rank` gave.
    budget
        How many rows: a number, a share, or a text such as "10%"; None: the ordering's own.
    """
    _check(table, ADDED[:1])
    if not isinstance(ordering, Ordering):
        raise InputError(f"ordering: got {type(ordering).__name__}; expected an augury.Ordering of points (add_copies takes chosen copies)")
    if len(ordering) != len(table):
        raise InputError(f"ordering: of {len(ordering)} points, and the table has {len(table)} rows; choose from this table")
    chosen = (ordering if budget is None else ordering.within(budget)).selected
    scores = ordering.scores.values[chosen]
    if isinstance(table, pd.DataFrame):
        return table.iloc[chosen].assign(score=scores)
    return table.select(chosen).add_column("score", scores)


def add_copies(
    table: Table,
    selection: Selection,
    transform: Any,  # noqa: ANN401  (any library's object)
    budget: float | int | str | None = None,  # noqa: PYI041  (checked at run time, where 1 is no float)
    *,
    image: str | None = None,
) -> Table:
    """The table with the chosen copies as further rows, and three columns that tell what they are.

    `score` is the point's score, which its copies share, or, for a `CopyOrdering`, the fall of loss that the copy is predicted to bring
    (missing for the originals); `copy_of` is the row that a copy was made from, and `copy` the copy's name, both missing for the originals.

    Parameters
    ----------
    table
        A Hugging Face `Dataset` or a DataFrame with images: PIL's (grey or RGB) or arrays, each of any size. Copies are of the same
        kind and have their row's other values.
    selection
        An `Ordering`, a `CopyOrdering`, or the chosen rows: indices or a mask (then all scores are missing).
    transform
        An Augury transform, or a random augmentation as in `augury.as_transform`, of which each chosen row gets 4 draws.
    budget
        How much: a number, a share, or a text such as "10%"; None: the selection's own.
    image
        The column of images; None: `image` or `img`.

    Raises
    ------
    InputError
        If the selection was made from other rows, or the table has one of these columns already.
    """
    _check(table, ADDED)
    makes = as_transform(transform)
    if budget is not None:
        if not isinstance(selection, Ordering | CopyOrdering):
            raise InputError("budget: given with rows that are chosen already; leave it out, or give an Ordering")
        selection = selection.within(budget)
    chosen = added(selection, len(table), len(makes.names))
    key = _column(list(table.columns if isinstance(table, pd.DataFrame) else table.column_names), image, IMAGE_COLUMNS, "image")
    made = list(_copies(table[key] if isinstance(table, pd.DataFrame) else table.with_format(None)[key], chosen, makes))
    record = _record(selection, len(table), chosen, makes.names)
    if isinstance(table, pd.DataFrame):
        copies = table.iloc[chosen.point].copy()
        copies[key] = pd.Series(made, index=copies.index, dtype=object)
        return pd.concat([table, copies], ignore_index=True).assign(**{name: record[name].array for name in ADDED})
    rows = table.with_format(None).select(chosen.point)
    images = datasets.Dataset.from_dict({key: made}, features=datasets.Features({key: table.features[key]}))
    whole = datasets.concatenate_datasets(
        [table, datasets.concatenate_datasets([rows.remove_columns(key), images], axis=1).select_columns(table.column_names)]
    )
    extra = datasets.Dataset(pa.Table.from_pandas(record, preserve_index=False))
    return datasets.concatenate_datasets([whole, extra], axis=1).with_format(table.format["type"])


def _copies(images: Any, chosen: Added, transform: MakesCopies) -> Iterator[Any]:  # noqa: ANN401  (a column)
    """The chosen copies; those of one point that stand together are made at once."""
    last, made, close = -1, np.empty(0), None
    for point, copy in track(list(zip(chosen.point.tolist(), chosen.copy.tolist(), strict=True)), "making copies"):
        if point != last:
            picture = opened(images.iloc[point] if isinstance(images, pd.Series) else images[point])
            last, made, close = point, transform.copies(picture.planes[None])[0], picture.close
        yield close(made[copy]) if close else None


def _record(selection: Selection, points: int, chosen: Added, names: Sequence[str]) -> pd.DataFrame:
    """score, copy_of and copy of the originals and then of the copies."""
    score = np.full(points + len(chosen.point), np.nan)
    if isinstance(selection, Ordering):
        score = selection.scores.values[np.concatenate([np.arange(points), chosen.point])]
    elif isinstance(selection, CopyOrdering):
        score[points:] = -selection.influence[: len(chosen.point)]
    copy_of = pd.array([None] * points + chosen.point.tolist(), dtype="Int64")
    copy = pd.array([None] * points + [names[j] for j in chosen.copy], dtype="string")
    return pd.DataFrame({"score": pd.array(score, dtype="float64"), "copy_of": copy_of, "copy": copy})


def _check(table: object, new: Sequence[str]) -> None:
    if not isinstance(table, datasets.Dataset | pd.DataFrame):
        raise InputError(f"table: got {type(table).__name__}; expected a Hugging Face Dataset (one split) or a pandas DataFrame")
    taken = [name for name in new if name in (table.columns if isinstance(table, pd.DataFrame) else table.column_names)]
    if taken:
        raise InputError(f"table: has a column {taken[0]!r} already, which would be written; rename it")


def _column(names: Sequence[Any], given: str | int | None, usual: tuple[str, ...], what: str) -> Any:  # noqa: ANN401  (a column's name)
    found = [name for name in (usual if given is None else (given,)) if name in names]
    if not found:
        wanted = " or ".join(map(repr, usual if given is None else (given,)))
        raise InputError(f"{what}: no column {wanted}; there are {', '.join(map(str, names))}: name it as {what}=")
    return found[0]


def _pair(sample: Any, image: str | int | None, label: str | int | None) -> tuple[Any, Any]:  # noqa: ANN401  (samples of any kind)
    """Image and label of one sample."""
    key = image_key(sample) if image is None else image
    if label is None:
        label = next((name for name in LABEL_COLUMNS if name in sample), "label") if isinstance(sample, Mapping) else 1
    try:
        return sample[key], sample[label]
    except (KeyError, IndexError):
        raise InputError(f"label: a sample has no {label!r}, or no image {key!r}; name them as image= and label=") from None


def _examples(images: list[Any], labels: npt.NDArray[Any] | pd.Series[Any], classes: Sequence[str] | None, size: int | None) -> Examples:
    """Arrays of one shape as they are; everything else as encoded pictures."""
    values = np.asarray(labels)
    origin = [f"{NAME}/train/{i}" for i in range(len(images))]
    arrays = images and all(isinstance(image, np.ndarray | Tensor) for image in images)
    if arrays and len({tuple(image.shape) for image in images}) == 1 and size is None:
        return from_arrays(np.stack([np.asarray(image) for image in images]), values, classes, origin)
    pictures = pa.array([_encoded(image) for image in images], type=pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    table = pa.table({"image": pictures, "label": pa.array(values)})
    found = to_examples({"train": columns(table, NAME)}, "train", size, NAME)
    return from_arrays(found.images, values, classes, origin)


def _encoded(image: Any) -> dict[str, Any]:  # noqa: ANN401  (an image of any kind)
    """An image as its encoded bytes or its path."""
    if isinstance(image, dict):
        return {"bytes": image.get("bytes"), "path": image.get("path")}
    if isinstance(image, str | Path):
        return {"bytes": None, "path": str(image)}
    if isinstance(image, bytes):
        return {"bytes": image, "path": None}
    if isinstance(image, np.ndarray | Tensor):
        planes = opened(image).planes
        if planes.dtype != np.uint8:
            raise InputError("image: float images of different sizes, or to be resized; give bytes (0 to 255), or resize them first")
        image = Image.fromarray(planes[0] if len(planes) == 1 else np.ascontiguousarray(np.moveaxis(planes, 0, 2)))
    if not isinstance(image, Image.Image):
        raise InputError(f"image: got {type(image).__name__}; expected a PIL image, an array, bytes or a path")
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return {"bytes": stream.getvalue(), "path": None}
