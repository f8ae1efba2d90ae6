"""What benchmarks compute on, so that both sides of every comparison see the same numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def synthetic(n: int, d: int, C: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Gaussian features (n, d), and as labels (n,) the largest of C linear scores with noise: a head fits them well, but not wholly.

    It is drawn in float64, and so is the same problem in every dtype, up to rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    W = torch.randn(d, C, generator=generator, dtype=torch.float64) * 3 / d**0.5
    y = (X @ W + torch.randn(n, C, generator=generator, dtype=torch.float64)).argmax(1)
    return X.to(dtype), y
