"""Progress of long work: a bar with what, how far and how long still, on standard error, only when that is a terminal.

In pipes and in tests nothing is drawn; the stages of a run are then told by `say`, one plain line each. Inside `silenced()`, and in the
processes that share a command's work, nothing is told at all.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

_silent: ContextVar[bool] = ContextVar("augury_silent", default=False)
_console = Console(stderr=True, highlight=False, emoji=False)


@contextlib.contextmanager
def silenced(silent: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002  (reads as the switch it is: silenced(quiet))
    """Draw nothing inside this block (`--quiet`)."""
    token = _silent.set(silent)
    try:
        yield
    finally:
        _silent.reset(token)


def say(message: str) -> None:
    """Tell a person which stage begins: one line on standard error, unless silenced."""
    if not _hushed():
        _console.print(message, markup=False, soft_wrap=True)


def _hushed() -> bool:
    return _silent.get() or multiprocessing.current_process().name != "MainProcess"


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Pass `items` on and draw how many are done; `total` is needed where `items` has no length."""
    if _hushed() or not _console.is_terminal:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console, transient=True) as bar:
        yield from bar.track(items, description=what, total=total)
