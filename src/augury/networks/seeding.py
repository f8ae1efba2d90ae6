"""Randomness as an argument: torch draws from a given seed inside a block, and the global generators never notice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from augury.errors import InputError

CPU = torch.device("cpu")


@contextlib.contextmanager
def seeded(*entropy: int, device: torch.device = CPU) -> Iterator[None]:
    """Let torch draw, on the CPU and on `device`, from the integers `entropy` alone; afterwards its generators are as they were."""
    if min(entropy) < 0:
        raise InputError(f"seed: {min(entropy)}; expected an integer that is not negative")
    number = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(number)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield
