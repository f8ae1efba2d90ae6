"""Scores and selections as small tables of static HTML, with thumbnails where images are given: what a notebook shows of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from augury.errors import InputError

ROWS = 8
SIDE = 48  # pixels of a thumbnail's longer side, as shown
FLAGS = ("preference", "order", "method", "seed", "budget")  # what a heading tells, where a result has it


@runtime_checkable
class Tabular(Protocol):
    """`Scores`, `Ordering`, `CopyOrdering`, or anything else with a table of its own."""

    def to_frame(self) -> pd.DataFrame:
        """One row a point or copy."""


@dataclass(frozen=True)
class Shown:
    """What `show` gives: a notebook shows it as HTML, `print` as text."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.text


def show(result: Tabular, images: Any = None, rows: int = ROWS) -> Shown:  # noqa: ANN401  (Examples or an array)
    """The first rows of `Scores` (the highest first), an `Ordering` or a `CopyOrdering`, as a table.

    Parameters
    ----------
    result
        What to show.
    images
        For thumbnails: the scored `Examples`, an array (points, channels, height, width), or for chosen copies all copies (points, copies,
        channels, height, width); uint8, or floats in [0, 1].
    rows
        How many rows.
    """
    if not isinstance(result, Tabular):
        raise InputError(f"result: got {type(result).__name__}; expected augury.Scores, an Ordering or a CopyOrdering")
    frame = result.to_frame()
    if "rank" not in frame:
        frame = frame.sort_values("score", ascending=False, kind="stable")
    heading = _heading(result, frame)
    pixels = None if images is None else _checked(images, frame)
    head = frame.head(rows)
    pictures = [] if pixels is None else [_thumbnail(row, pixels) for row in head.to_dict("records")]
    return Shown(_html(heading, head, pictures, len(frame) - len(head)), f"{heading}\n{head.to_string(index=False)}")


def _checked(images: Any, frame: pd.DataFrame) -> npt.NDArray[Any]:  # noqa: ANN401  (Examples or an array)
    pixels = np.asarray(getattr(images, "images", images))
    if pixels.ndim not in (4, 5) or pixels.shape[-3] not in (1, 3):
        raise InputError(f"images: shape {pixels.shape}; expected (points, channels, height, width), with 1 or 3 channels")
    last = int(frame["index" if "index" in frame else "point"].max())
    if len(pixels) <= last:
        raise InputError(f"images: {len(pixels)}, and the points go up to number {last}; expected one for each point")
    return pixels


def _heading(result: Tabular, frame: pd.DataFrame) -> str:
    things = "copies" if "copy" in frame else "points"
    told = [f"{name} {getattr(result, name)}" for name in FLAGS if getattr(result, name, None) is not None]
    return ", ".join([f"{type(result).__name__} of {len(frame):,} {things}", *told])


def _html(heading: str, frame: pd.DataFrame, pictures: list[str], left: int) -> str:
    titles = [*(["image"] if pictures else []), *map(str, frame.columns)]
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    lines = []
    for i, row in enumerate(frame.itertuples(index=False)):
        cells = [pictures[i]] if pictures else []
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in [*cells, *(escape(_text(value)) for value in row)]) + "</tr>")
    rest = f"<p>and {left:,} more</p>" if left else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<div><p><strong>{escape(heading)}</strong></p>{table}{rest}</div>"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _thumbnail(row: Mapping[Hashable, Any], pixels: npt.NDArray[Any]) -> str:
    """The row's own image as an element with a data URI."""
    image = pixels[row["point"], row["copy"]] if pixels.ndim == 5 else pixels[row.get("index", row.get("point"))]
    if image.dtype != np.uint8:
        image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, 2)))
    height, width = (round(SIDE * side / max(image.shape[1:])) for side in image.shape[1:])
    picture.thumbnail((2 * SIDE, 2 * SIDE))  # twice what is shown, for screens of many pixels
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    name = escape(" ".join(str(row[key]) for key in ("label", "point", "copy") if key in row), quote=True)
    data = base64.b64encode(stream.getvalue()).decode()
    style = "image-rendering:pixelated" if max(image.shape[1:]) <= 2 * SIDE else ""
    return f'<img alt="{name}" width="{max(1, width)}" height="{max(1, height)}" style="{style}" src="data:image/png;base64,{data}">'
