"""Pictures of training points and their copies, as the page shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt8
from PIL import Image

from augury.report.folder import Gallery

LARGEST = 160  # pixels; larger pictures are reduced, since none is shown larger
CRISP = 64  # pixels; pictures up to this size are enlarged without smoothing, so that each pixel shows


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
class Card:
    """A training point: its picture, its row of the selection (label, origin, score, ...), and its copies where they are shown."""

    picture: Picture
    row: Mapping[Hashable, Any]
    copies: tuple[Picture, ...] = ()


def picture(image: UInt8[np.ndarray, "channels height width"], text: str) -> Picture:
    """`image` inside the page: a PNG, pixel for pixel, or a JPEG where it is reduced to `LARGEST` pixels."""
    drawn = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    kind, settings = ("png", {"optimize": True}) if max(drawn.size) <= LARGEST else ("jpeg", {"quality": 85})
    drawn.thumbnail((LARGEST, LARGEST))
    stream = io.BytesIO()
    drawn.save(stream, format=kind, **settings)
    return Picture(f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", drawn.width, drawn.height, text)


def cards(
    points: Int64[np.ndarray, " shown"], images: UInt8[np.ndarray, "shown channels height width"], selection: pd.DataFrame
) -> list[Card]:
    """One card a point, with its numbers from `selection` (an `Ordering`'s frame)."""
    rows = selection.set_index("index").loc[points].to_dict("records")
    return [Card(picture(image, f"{row['label']}: {row['origin']}"), row) for row, image in zip(rows, images, strict=True)]


def cards_with_copies(gallery: Gallery, selection: pd.DataFrame) -> list[Card]:
    """One card a chosen point, with its copies; each copy's text is its name."""
    names = [str(name) for name in gallery.copy_names]
    originals = cards(gallery.chosen, gallery.chosen_images, selection)
    return [
        replace(card, copies=tuple(picture(copy, name) for copy, name in zip(copies, names, strict=True)))
        for card, copies in zip(originals, gallery.chosen_copies, strict=True)
    ]
