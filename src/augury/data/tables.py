"""Tables with a column of images and one of labels, as Parquet files and Hugging Face data sets hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from augury.data.arrays import encode, from_arrays, label_values
from augury.data.examples import Examples
from augury.data.pictures import Picture, read_pictures
from augury.errors import InputError
from augury.files import first_line

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels")


@dataclass(frozen=True)
class Columns:
    """The two columns of one split, and the classes' names where the table carries them."""

    images: pa.ChunkedArray
    labels: pa.ChunkedArray
    classes: tuple[str, ...] | None


def column_names(schema: pa.Schema, source: object) -> list[str]:
    """What the image and the label column are called; a table without one of the two is an `InputError`."""
    return [_find(schema, IMAGE_COLUMNS, "image", source), _find(schema, LABEL_COLUMNS, "label", source)]


def columns(table: pa.Table, source: object) -> Columns:
    """The image and the label column of a table; one without rows is an `InputError`."""
    image, label = column_names(table.schema, source)
    if table.num_rows == 0:
        raise InputError(f"{source}: the set is empty; expected at least one row")
    try:
        table.select([image, label]).validate(full=True)  # offsets that lead out of a damaged file would end the process
        feature = datasets.Features.from_arrow_schema(table.schema)[label]
        parts = _plain(table[image]), _plain(table[label])
    except Exception as error:  # noqa: BLE001  (a damaged schema raises nearly any kind)
        raise InputError(f"{source}: damaged ({first_line(error)}); fetch or write it again") from None
    return Columns(*parts, tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None)


def to_examples(splits: Mapping[str, Columns], split: str, size: int | None, source: Path) -> Examples:
    """One split of a table; classes, size and channels are those of all splits together."""
    labels, classes = _labels(splits, split, source)
    origin = [f"{source.stem}/{split}/{i}" for i in range(len(labels))]
    return from_arrays(_images(splits, split, size, source), labels, classes, origin)


def _labels(splits: Mapping[str, Columns], split: str, source: Path) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    column, classes = splits[split].labels, splits[split].classes
    if column.null_count:
        raise InputError(f"{source} ({split}): labels are missing in {column.null_count} rows; fill them or leave the rows out")
    values = label_values(column.to_numpy())
    if classes is None:
        return values.astype(str), _all_classes(splits)
    if values.dtype.kind == "i" and values.min() < 0:
        raise InputError(f"{source} ({split}): labels are missing: {np.count_nonzero(values < 0)} rows hold {values.min()}, not a class")
    return values, classes


def _find(schema: pa.Schema, names: tuple[str, ...], what: str, source: object) -> str:
    found = [name for name in names if name in schema.names]
    if not found:
        raise InputError(
            f"{source}: no column of {what}s; expected one called {' or '.join(names)}, found {', '.join(schema.names)}: rename it"
        )
    return found[0]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column.type, pa.ExtensionType):
        column = column.cast(column.type.storage_type)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _all_classes(splits: Mapping[str, Columns]) -> tuple[str, ...]:
    """The distinct labels of all splits, sorted (numbers as numbers)."""
    values = [label_values(part.labels.drop_null().to_numpy()) for part in splits.values()]
    return encode(np.concatenate(values), None)[1]


def _images(splits: Mapping[str, Columns], split: str, size: int | None, source: Path) -> npt.NDArray[Any]:
    column = splits[split].images
    if column.null_count:
        raise InputError(f"{source} ({split}): {column.null_count} rows have no image; leave them out")
    if _is_list(column.type):
        return _nested(column, source)
    pictures = {name: _pictures(part.images, f"{source} ({name})", source) for name, part in splits.items()}
    return read_pictures(pictures, split, size, str(source))


def _pictures(column: pa.ChunkedArray, name: str, source: Path) -> list[Picture]:
    folder = source if source.is_dir() else source.parent
    rows = chain.from_iterable(_encoded(chunk, name) for chunk in column.chunks)
    return [_picture(content, path, f"{name}, row {i}", folder) for i, (content, path) in enumerate(rows)]


def _encoded(chunk: pa.Array, name: str) -> Iterable[tuple[pa.Buffer | None, str | None]]:
    """Bytes and path of each row, either of which may be missing."""
    if pa.types.is_binary(chunk.type) or pa.types.is_large_binary(chunk.type):
        return ((scalar.as_buffer(), None) for scalar in chunk)
    fields = {field.name for field in chunk.type} if pa.types.is_struct(chunk.type) else set()
    if not fields & {"bytes", "path"}:
        raise InputError(f"{name}: images of type {chunk.type}; expected encoded bytes, {{bytes, path}}, or nested lists of pixels")
    nothing = pa.nulls(len(chunk))
    contents = (chunk.field("bytes") if "bytes" in fields else nothing).cast(pa.large_binary())
    paths = chunk.field("path") if "path" in fields else nothing
    return ((content.as_buffer(), path.as_py()) for content, path in zip(contents, paths, strict=True))


def _picture(content: pa.Buffer | None, path: str | None, name: str, folder: Path) -> Picture:
    if content is not None:
        return Picture(f"{name} ({path})" if path else name, content)
    if path is None:
        raise InputError(f"{name}: neither the image's bytes nor its path; leave the row out")
    return Picture(f"{name}: {path}", folder / path)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _nested(column: pa.ChunkedArray, source: Path) -> npt.NDArray[Any]:
    """Nested lists as one array, without a Python object a pixel; whole numbers are grey values from 0 to 255."""
    chunks = [_unnest(chunk, source) for chunk in column.chunks if len(chunk)]
    if len({chunk.shape[1:] for chunk in chunks}) > 1:
        raise _ragged(source)
    pixels = np.concatenate(chunks)
    if pixels.dtype.kind not in "iu" or pixels.dtype == np.uint8:
        return pixels
    if pixels.min() < 0 or pixels.max() > 255:
        raise InputError(f"{source}: pixels from {pixels.min()} to {pixels.max()}; expected 0 to 255, or floats in [0, 1]")
    return pixels.astype(np.uint8)


def _unnest(values: pa.Array, source: Path) -> npt.NDArray[Any]:
    shape = [len(values)]
    while _is_list(values.type):
        lengths = pc.list_value_length(values).unique().to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise _ragged(source)
        shape.append(lengths[0])
        values = values.flatten()
    if values.null_count:
        raise InputError(f"{source}: {values.null_count} pixels are missing; fill them or leave these images out")
    flat: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return flat.reshape(shape)


def _ragged(source: Path) -> InputError:
    return InputError(f"{source}: nested lists of different lengths; expected pixels of images that all have one size")
