"""One process at a time in a folder of results: a second one is refused, and told which process is at work there.

The lock is the kernel's (`flock`, on the folder itself): it leaves no file, and ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import types
from collections.abc import Iterator
from pathlib import Path

from augury.errors import InputError
from augury.progress import say

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None

LOCKS = Path("/proc/locks")  # where Linux tells who holds what


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder` during the block; folders that are made for it and still empty at the end go again.

    Where the file system knows no such locks (as some network file systems do not), this is told, and the block runs without.

    Raises
    ------
    InputError
        If another process holds the folder, or the folder cannot be made.
    """
    made = _make(folder)
    try:
        with contextlib.ExitStack() as opened:
            _lock(folder, opened)
            yield
    finally:
        with contextlib.suppress(OSError):  # what is not empty stays
            for path in made:
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make the folder; the folders that this took, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: {folder} cannot be written ({error.strerror}); choose another place, or see to its rights") from None
    return missing


def _lock(folder: Path, opened: contextlib.ExitStack) -> None:
    """Lock the folder until `opened` closes it."""
    if fcntl is None:
        say(f"lock: none on {folder}, for this system has none; let no second process work there")
        return
    try:
        file = os.open(folder, os.O_RDONLY)
        opened.callback(os.close, file)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"out: {folder} is in use by {_holder(folder)}; wait until that has ended, or give another folder") from None
    except OSError as error:
        say(f"lock: none on {folder} ({error.strerror}); let no second process work there")


def _holder(folder: Path) -> str:
    """The process that holds the lock, where the kernel tells."""
    inode = re.compile(rf"FLOCK +ADVISORY +WRITE +([1-9]\d*) +\S+:{folder.stat().st_ino} ")
    with contextlib.suppress(OSError):
        found = {int(told[1]) for told in inode.finditer(LOCKS.read_text())}
        if len(found) == 1:
            return f"process {found.pop()}"
    return "another process"
