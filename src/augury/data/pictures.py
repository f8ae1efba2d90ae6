"""Encoded pictures (PNG, JPEG, ...) to arrays of one size: headers first, to choose the size and the channels, then pixels."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, UInt8
from PIL import ExifTags, Image

from augury.data.examples import Images
from augury.errors import InputError
from augury.files import first_line
from augury.progress import say, track

Squares = UInt8[np.ndarray, "points channels {size} {size}"] | Float32[np.ndarray, "points channels {size} {size}"]

# The only decoders ever tried, whatever a file is called: Pillow knows others that start programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
MAX_PIXELS = 50_000_000
SMALLER = f"expected at most {MAX_PIXELS // 10**6} million: make the image smaller or leave it out"
LARGEST_DEFAULT = 64

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """An encoded picture: what an error calls it, and its file or its bytes (Arrow's buffers stay on the disk until they are looked at)."""

    name: str
    content: Path | bytes | pa.Buffer


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before it is decoded, upright as EXIF's orientation has it."""

    grey: bool
    height: int
    width: int


def read_pictures(
    splits: Mapping[str, Sequence[Picture]], split: str, size: int | None, source: str
) -> UInt8[np.ndarray, "points channels height width"]:
    """The pictures of one split, alike in size and channels with those of all the others."""
    total = sum(len(pictures) for pictures in splits.values())
    headers = [_header(picture) for picture in track(chain(*splits.values()), "Looking at headers", total=total)]
    height, width = _common_size(headers, size, f"{source} ({split})")
    grey = all(header.grey for header in headers)
    images = np.empty((len(splits[split]), 1 if grey else 3, height, width), dtype=np.uint8)
    for i, picture in enumerate(track(splits[split], "Reading images")):
        images[i] = _decode(picture, height, width, grey=grey)
    return images


def resized(images: Images, size: int) -> Squares:
    """Each image with its shorter side resized to `size` (bilinear, antialiased) and the centre of the longer one kept."""
    result = np.empty((*images.shape[:2], size, size), dtype=images.dtype)
    for i, image in enumerate(track(images, "Resizing images")):
        for channel, plane in enumerate(image):
            result[i, channel] = _fit(Image.fromarray(plane), size, size)
    return result if images.dtype == np.uint8 else result.clip(0, 1)


def _common_size(headers: Sequence[Header], size: int | None, source: str) -> tuple[int, int]:
    if size is not None:
        return size, size
    sizes = sorted({(header.height, header.width) for header in headers})
    if len(sizes) == 1 and min(sizes[0]) <= LARGEST_DEFAULT:
        return sizes[0]
    median = int(np.median([min(header.height, header.width) for header in headers]))
    side = max(1, min(LARGEST_DEFAULT, median))
    shown = " to ".join(dict.fromkeys(f"{width} x {height}" for height, width in (sizes[0], sizes[-1])))
    say(f"{source}: images of {shown} pixels; resized and centre-cropped to {side} x {side} (`size` sets another)")
    return side, side


def _header(picture: Picture) -> Header:
    with _opened(picture) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        return Header(image.mode in GREY_MODES, height, width)


def _decode(picture: Picture, height: int, width: int, *, grey: bool) -> UInt8[np.ndarray, "channels height width"]:
    with _opened(picture) as image:
        turn = ORIENTATIONS.get(_orientation(image))
        image.load()
        flat = _grey(image) if image.mode in GREY_MODES else _over_white(image, "RGB")
        flat = flat.convert("L" if grey else "RGB")
        upright = flat if turn is None else flat.transpose(turn)
        pixels = np.asarray(_fit(upright, height, width))
    return pixels[np.newaxis] if grey else pixels.transpose(2, 0, 1)


@contextlib.contextmanager
def _opened(picture: Picture) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata concern nobody here
            with _stream(picture.content) as stream, Image.open(stream, formats=FORMATS) as image:
                _refuse_large(picture, image.width * image.height)
                yield image
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{picture.name}: hundreds of millions of pixels; {SMALLER}") from None
    except Exception as error:  # noqa: BLE001  (a broken file makes Pillow's decoders raise nearly any kind)
        raise InputError(f"{picture.name}: not a readable image ({first_line(error)}); mend or delete it") from None


def _stream(content: Path | bytes | pa.Buffer) -> io.BytesIO | io.BufferedReader:
    """A stream even of a file: given a path, Pillow maps some TIFF files into memory, and then mixes up those that lie on their side."""
    if not isinstance(content, Path):
        return io.BytesIO(content)
    if content.exists() and not content.is_file():
        raise OSError("a folder or a device, not a file")  # a table may name any path, and reading some of them never ends
    return content.open("rb")


def _refuse_large(picture: Picture, pixels: int) -> None:
    if pixels > MAX_PIXELS:
        raise InputError(f"{picture.name}: {pixels // 10**6} million pixels; {SMALLER}")


def _orientation(image: Image.Image) -> int:
    """How the stored picture lies, in EXIF's code: 1 is upright, from 5 on it lies on its side."""
    if image.format == "TIFF":
        return 1  # Pillow turns these itself
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole picture to look for a record behind it
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  (a broken record raises nearly any kind, and does not break the picture)
        return 1
    return found if found in ORIENTATIONS else 1


def _grey(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        return _scaled(image, highest=1.0)
    if image.mode.startswith("I"):
        return _scaled(image, highest=65535.0)
    return _over_white(image, "L")


def _scaled(image: Image.Image, highest: float) -> Image.Image:
    pixels = np.asarray(image).astype(np.float64)
    if not (pixels.min() >= 0 and pixels.max() <= highest):
        raise ValueError(f"pixels from {pixels.min():g} to {pixels.max():g}, expected 0 to {highest:g}")
    return Image.fromarray(np.rint(pixels * (255 / highest)).astype(np.uint8))


def _over_white(image: Image.Image, mode: str) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert(mode)
    layered = image.convert(f"{mode}A")
    background = Image.new(mode, image.size, "white")
    background.paste(layered.convert(mode), mask=layered.getchannel("A"))
    return background


def _fit(image: Image.Image, height: int, width: int) -> Image.Image:
    """The image itself if it has that size; else its shorter side is resized to fit and the centre of the longer one kept."""
    if image.size == (width, height):
        return image
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
