"""One thread for what decides a draw: with several, sums come out in another order, and now and then a draw with them."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types


def one_thread() -> AbstractContextManager[object]:
    """Within it, BLAS and OpenMP compute with one thread; after it, with as many as before."""
    limit: AbstractContextManager[object] = _libraries(len(sys.modules)).limit(limits=1)
    return limit


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """The libraries that are loaded, looked for anew where there are more `modules`, since that takes longer than a small draw."""
    del modules
    return ThreadpoolController()
