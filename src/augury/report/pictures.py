"""Pictures as the page carries them: single ones, and one sheet with all images of the gallery."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

LARGEST = 160  # pixels; larger pictures are reduced, since none is shown larger
CRISP = 64  # pixels; pictures up to this size are enlarged without smoothing, so that each pixel shows
THUMBNAIL = 96  # pixels of a gallery's image, at most
BLOCK = 16  # pixels in which a JPEG is coded; images that begin on this grid do not run into each other
COLUMNS = 32
BYTES = 4_800_000  # of a sheet; as text it takes a third more, and with the charts' script the page stays below 8 MB
SMALLER = (96, 64, 48, 32)  # sizes that are tried until a sheet is small enough


@dataclass(frozen=True)
class Picture:
    """One image of the page: its data URI, its size in pixels, and what it shows in words."""

    source: str
    width: int
    height: int
    text: str

    @property
    def crisp(self) -> bool:
        """Whether its pixels are to be shown as squares."""
        return max(self.width, self.height) <= CRISP


@dataclass(frozen=True)
class Sheet:
    """Many images of one size in rows of `columns`: the data URI of all, the size of each, and the distances at which they begin."""

    source: str
    width: int
    height: int
    across: int
    down: int
    crisp: bool
    columns: int = COLUMNS


def picture(image: UInt8[np.ndarray, "channels height width"], text: str) -> Picture:
    """`image` inside the page: a PNG, pixel for pixel, or a JPEG where it is reduced to `LARGEST` pixels."""
    drawn = _drawn(image)
    kind = "png" if max(drawn.size) <= LARGEST else "jpeg"
    drawn.thumbnail((LARGEST, LARGEST))
    return Picture(_source(_encoded(drawn, kind), kind), drawn.width, drawn.height, text)


def reduced(images: UInt8[np.ndarray, "images channels height width"], side: int = THUMBNAIL) -> UInt8[np.ndarray, "images channels h w"]:
    """The images with no side above `side` pixels."""
    if max(images.shape[2:]) <= side or not len(images):
        return images
    found = []
    for image in images:
        drawn = _drawn(image)
        drawn.thumbnail((side, side))
        found.append(np.asarray(drawn).reshape(drawn.height, drawn.width, -1).transpose(2, 0, 1))
    return np.stack(found)


def sheet(images: UInt8[np.ndarray, "images channels height width"]) -> Sheet:
    """All images in one: a PNG, pixel for pixel, where they and it are small enough, or else a JPEG of the largest size that is."""
    height, width = images.shape[2:]
    if max(height, width) <= CRISP:
        content = _encoded(_drawn(_tiled(images, height, width)), "png")
        if len(content) <= BYTES:
            return Sheet(_source(content, "png"), width, height, width, height, crisp=True)
    for side in SMALLER:
        small = reduced(images, side)
        height, width = small.shape[2:]
        down, across = (-(-length // BLOCK) * BLOCK for length in (height, width))
        content = _encoded(_drawn(_tiled(small, down, across)), "jpeg")
        if len(content) <= BYTES:
            break
    return Sheet(_source(content, "jpeg"), width, height, across, down, crisp=max(height, width) <= CRISP)


def _tiled(images: UInt8[np.ndarray, "images channels height width"], down: int, across: int) -> UInt8[np.ndarray, "channels h w"]:
    """The images side by side, row by row, each beginning `down` and `across` from the one before; its edges fill what is between."""
    room = ((0, 0), (0, 0), (0, down - images.shape[2]), (0, across - images.shape[3]))
    padded = np.pad(images, room, mode="edge")
    rows = max(1, -(-len(images) // COLUMNS))
    cells = np.zeros((rows * COLUMNS, *padded.shape[1:]), dtype=np.uint8)
    cells[: len(images)] = padded
    grid = cells.reshape(rows, COLUMNS, *padded.shape[1:]).transpose(2, 0, 3, 1, 4)
    return grid.reshape(padded.shape[1], rows * down, COLUMNS * across)


def _drawn(image: UInt8[np.ndarray, "channels height width"]) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _encoded(drawn: Image.Image, kind: str) -> bytes:
    settings: dict[str, Any] = {"optimize": True} if kind == "png" else {"quality": 85}
    stream = io.BytesIO()
    drawn.save(stream, format=kind, **settings)
    return stream.getvalue()


def _source(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
