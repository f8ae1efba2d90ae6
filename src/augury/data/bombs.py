"""Limits that tell honest files from decompression bombs: small files that unpack to more than the memory holds."""

from __future__ import annotations

HARMLESS = 2**30  # bytes that any file may unpack to
DENSEST = 100  # beyond that, how many times its own size; images of real things shrink some ten times at most


def most_unpacked(size: int) -> int:
    """The number of bytes that a packed file of so many bytes may unpack to."""
    return max(HARMLESS, DENSEST * size)
