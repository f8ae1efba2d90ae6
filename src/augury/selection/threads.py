"""One thread for what decides a draw: with several, sums come out in another order, and now and then a draw with them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types


def one_thread() -> AbstractContextManager[object]:
    """Within it, BLAS and OpenMP compute with one thread; after it, with as many as before."""
    limit: AbstractContextManager[object] = _libraries().limit(limits=1)
    return limit


@cache
def _libraries() -> ThreadpoolController:
    """The libraries, found at the first call, when they are loaded; finding them takes longer than a small draw."""
    return ThreadpoolController()
