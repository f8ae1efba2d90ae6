"""Whether a dense Hessian fits in memory."""

from __future__ import annotations

import os
from pathlib import Path

MATRICES = 4  # of the Hessian's size at once: it, its factor, its inverse, and what is formed on the way
SURE = 4_000  # parameters of which 4 matrices take half a GiB


def dense_fits(params: int) -> bool:
    """Whether the Hessian of so many parameters, its factor and its inverse take at most half of the memory that is free."""
    return params <= SURE or MATRICES * 8 * params**2 <= free_memory() / 2


def dense_size(params: int) -> str:
    """What they take, and what is free, in words."""
    return f"{MATRICES * 8 * params**2 / 2**30:,.1f} GiB, and {free_memory() / 2**30:,.1f} GiB are free"


def free_memory() -> int:
    """Bytes that may be had without swapping; where the system does not tell, 8 GiB."""
    told = Path("/proc/meminfo")
    if told.exists():
        lines = dict(line.split(":", 1) for line in told.read_text(encoding="ascii").splitlines())
        if "MemAvailable" in lines:
            return int(lines["MemAvailable"].split()[0]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 8 << 30
