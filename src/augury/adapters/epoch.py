"""The number of the epoch, where a loader's workers see it."""

from __future__ import annotations

import torch

from augury.selection.ordering import checked_seed


class Epoch:
    """A number in shared memory: workers that live on from epoch to epoch see it change."""

    def __init__(self) -> None:
        self._number = torch.zeros((), dtype=torch.int64)
        self._number.share_memory_()  # type: ignore[no-untyped-call]  # torch gives this method no types

    def __int__(self) -> int:
        return int(self._number)

    def set(self, number: int) -> None:
        """Change it, for all processes."""
        self._number.fill_(checked_seed(number))
