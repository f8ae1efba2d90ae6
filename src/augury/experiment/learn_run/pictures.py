"""What the report of a learned augmentation shows: images before and after, and one image along a line of taus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from augury.data import Examples
from augury.files import write_atomic
from augury.learned import LearnedAugmentation
from augury.learned.augmentation import as_floats
from augury.model.reading import modes_kept

STRIPS = 3  # images shown along a line of taus,
TAUS = 10  # so many of them, as in Figure 4 of the paper
ROWS, DRAWS = 10, 8  # of the grid before and after


def save_pictures(augmentation: LearnedAugmentation, points: Examples, seed: int, path: Path) -> Path:
    """Write an `.npz`, atomically.

    `strip_*` are the stages of `augury.learned.transformation.Parts` for a few images, each with taus evenly spaced between two draws (or,
    where E gives an image one tau, between zero and that one); `grid_*` are images and draws for them, with the flows of these draws.
    """
    generator = torch.Generator().manual_seed(seed)
    shown = points.select(_spread(points, ROWS))
    images = as_floats(torch.tensor(shown.images)).float()
    with torch.no_grad(), modes_kept(augmentation):
        augmentation.train()
        arrays = _strips(augmentation, images[:STRIPS], generator) | _grid(augmentation, images, generator)
    arrays |= {"grid_before": _bytes(images), "grid_labels": np.array([points.classes[label] for label in shown.labels])}
    return write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))


def _spread(points: Examples, count: int) -> Int64[np.ndarray, " chosen"]:
    """The first points of as many classes as there are, then the second ones."""
    nth = np.zeros(len(points), dtype=np.int64)
    for label in range(len(points.classes)):
        members = np.flatnonzero(points.labels == label)
        nth[members] = np.arange(len(members))
    return np.lexsort((points.labels, nth))[:count].astype(np.int64)


def _strips(augmentation: LearnedAugmentation, images: Tensor, generator: torch.Generator) -> dict[str, Any]:
    ends = [augmentation.params(images, generator=generator).tau for _ in range(2)]
    if torch.equal(*ends):
        ends[0] = torch.zeros_like(ends[1])
    shares = torch.linspace(0, 1, TAUS)[:, None]
    found = [
        augmentation.transformation.parts(image.expand(TAUS, -1, -1, -1), first + shares * (last - first))
        for image, first, last in zip(images, *ends, strict=True)
    ]
    stages = {name: torch.stack([getattr(parts, name) for parts in found]) for name in ("flow", "warped", "change", "images")}
    arrays = {f"strip_{name}": _bytes(stages[name]) for name in ("warped", "images")}
    return arrays | {f"strip_{name}": stages[name].numpy().astype(np.float32) for name in ("flow", "change")}


def _grid(augmentation: LearnedAugmentation, images: Tensor, generator: torch.Generator) -> dict[str, Any]:
    drawn = [augmentation.params(images, generator=generator).tau for _ in range(DRAWS)]
    parts = [augmentation.transformation.parts(images, tau) for tau in drawn]
    flows: Float[np.ndarray, "points draws 2 height width"] = torch.stack([part.flow for part in parts], dim=1).numpy().astype(np.float32)
    return {"grid_after": _bytes(torch.stack([part.images for part in parts], dim=1)), "grid_flow": flows}


def _bytes(images: Tensor) -> npt.NDArray[np.uint8]:
    rounded: npt.NDArray[np.uint8] = (images * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return rounded
