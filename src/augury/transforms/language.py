"""The command line's language of transforms: a comma puts copies side by side, a plus makes copies of copies."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypedDict

from augury.errors import InputError
from augury.transforms.combinations import Compose, Union
from augury.transforms.moved import Flip, Translate
from augury.transforms.transform import Transform, WrittenTransform
from augury.transforms.warped import Crop, Rotate

Given = Mapping[str, str | None]
Reader = Callable[[str], Transform]

USAGE = {
    "translate": "translate[:PIXELS][:diagonal|cardinal][:border=edge|zeros|reflect|fill][:fill=GREY]",
    "rotate": "rotate[:MAXIMUM[:COUNT]] or rotate:angles=A/B/..., then [:border=edge|zeros|reflect|fill][:fill=GREY]",
    "crop": "crop[:PIXELS], PIXELS such as 2, 1-6 or 1/3/5",
    "flip": "flip[:horizontal|vertical]",
}
EXAMPLE = "rotate:30,translate+flip"

NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?"
BORDER = rf"(?::border=(?P<border>edge|zeros|reflect|fill))?(?::fill=(?P<fill>{NUMBER}))?"
GRAMMAR = {
    "translate": rf"(?::(?P<pixels>\d+))?(?::(?P<directions>diagonal|cardinal))?{BORDER}",
    "rotate": rf"(?::angles=(?P<angles>{NUMBER}(?:/{NUMBER})*)|:(?P<maximum>{NUMBER})(?::(?P<count>\d+))?)?{BORDER}",
    "crop": r"(?::(?P<first>\d+)-(?P<last>\d+)|:(?P<pixels>\d+(?:/\d+)*))?",
    "flip": r"(?::(?P<direction>horizontal|vertical))?",
}


def parse(text: str, size: int | tuple[int, int], further: Mapping[str, Reader] | None = None) -> Transform:
    """The transform that a text names, for images of a size.

    `a,b` is a `Union`, `a+b` a `Compose`; plus binds more strongly, and parentheses group. The parts, and what they mean by themselves:

    - `translate[:PIXELS][:diagonal|cardinal]`: a fourteenth of the image's shorter side, at least 1 (28 and 32: 2; 96: 6), diagonally.
    - `rotate[:MAXIMUM[:COUNT]]`: COUNT angles evenly spaced from -MAXIMUM to MAXIMUM, 0 left out: 30 and 15. Or `rotate:angles=A/B`.
    - `crop[:PIXELS]`, such as `crop:2`, `crop:1-6`, `crop:1/3/5`: 1-6, or fewer for images smaller than 28 pixels.
    - `flip[:horizontal|vertical]`: horizontal.

    `translate` and `rotate` also take `:border=edge|zeros|reflect|fill`, and with the last `:fill=GREY`, from 0 to 1.

    Parameters
    ----------
    text
        For example `rotate:30,translate+flip`: 14 rotations, and the mirror images of 4 shifts. Spaces do not matter, but between double
        quotes, where commas, pluses and parentheses are letters too.
    size
        The images' height and width, or the side of square images.
    further
        Names that layers above bring in, such as `learned`, each with what reads a part that begins with it.

    Raises
    ------
    InputError
        If a name is unknown, an option makes no sense, or a transform needs larger images; the message says what is possible.
    """
    shape = (size, size) if isinstance(size, int) else size
    tokens = deque(re.findall(r'[(),+]|(?:"[^"]*"|[^(),+])+', re.sub(r'("[^"]*")|\s', r"\1", text)))
    try:
        return _read_all(tokens, partial(_read_set, shape=shape, further=further or {}))
    except InputError as error:
        raise InputError(f"transform {text!r}: {error}") from None


def _read_all(tokens: deque[str], read: Reader) -> Transform:
    """Read all tokens."""
    transform = _read_union(tokens, read)
    if tokens:
        raise InputError(f"{tokens[0]!r} is out of place; expected a text such as {EXAMPLE!r}")
    return transform


def _read_union(tokens: deque[str], read: Reader) -> Transform:
    """Take what commas join off the tokens."""
    parts = [_read_composition(tokens, read)]
    while tokens and tokens[0] == ",":
        tokens.popleft()
        parts.append(_read_composition(tokens, read))
    return parts[0] if len(parts) == 1 else Union(*parts)


def _read_composition(tokens: deque[str], read: Reader) -> Transform:
    """Take what plus signs join off the tokens."""
    parts = [_read_part(tokens, read)]
    while tokens and tokens[0] == "+":
        tokens.popleft()
        parts.append(_read_part(tokens, read))
    return parts[0] if len(parts) == 1 else Compose(*parts)


def _read_part(tokens: deque[str], read: Reader) -> Transform:
    """Take one name with its options, or what stands in parentheses, off the tokens."""
    part = tokens.popleft() if tokens else ""
    if part != "(":
        return read(part)
    inside = _read_union(tokens, read)
    if not tokens or tokens.popleft() != ")":
        raise InputError(f"a parenthesis is not closed; expected a text such as '({EXAMPLE})+crop:2'")
    return inside


def _read_set(part: str, *, shape: tuple[int, int], further: Mapping[str, Reader]) -> Transform:
    """The set that a name with its options stands for, if images of this shape are large enough for it."""
    name, _, _ = part.partition(":")
    if name in further:
        found = further[name](part)
        if isinstance(found, WrittenTransform):
            found.check(*shape)
        return found
    if name == "custom":
        raise InputError(f"{part!r} names a function, which a text cannot hold; give augury.Custom(function) from Python")
    if name not in READERS:
        raise InputError(f"{part!r} is no transform; expected {', '.join([*USAGE, *further])}, for example {EXAMPLE!r}")
    match = re.fullmatch(GRAMMAR[name], part.removeprefix(name))
    if match is None:
        raise InputError(f"{part!r} cannot be read; expected {USAGE[name]}")
    transform = READERS[name](match.groupdict(), min(shape))
    transform.check(*shape)
    return transform


class _Border(TypedDict):
    border: str
    fill: float


def _border(given: Given) -> _Border:
    return {"border": given["border"] or "edge", "fill": float(given["fill"] or 0)}


def _translate(given: Given, side: int) -> Translate:
    return Translate(int(given["pixels"] or max(1, side // 14)), given["directions"] or "diagonal", **_border(given))


def _rotate(given: Given, _: int) -> Rotate:
    if given["angles"]:
        return Rotate([float(angle) for angle in given["angles"].split("/")], **_border(given))
    return Rotate.up_to(float(given["maximum"] or 30), int(given["count"] or 15), **_border(given))


def _crop(given: Given, side: int) -> Crop:
    if given["pixels"]:
        return Crop([int(cut) for cut in given["pixels"].split("/")])
    first, last = int(given["first"] or 1), int(given["last"] or min(6, max(1, 6 * side // 28)))
    return Crop(range(first, last + 1))


def _flip(given: Given, _: int) -> Flip:
    return Flip(given["direction"] or "horizontal")


READERS: dict[str, Callable[[Given, int], WrittenTransform]] = {"translate": _translate, "rotate": _rotate, "crop": _crop, "flip": _flip}
