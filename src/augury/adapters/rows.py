"""What scikit-learn's users give as X and y, as Augury works on it, and back with copies behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from augury.adapters.layout import Layout

PIXELS = (np.uint8, np.float32, np.float64)  # what transforms take; other numbers become the last


@dataclass(frozen=True)
class Rows:
    """Training points as given and as checked.

    Parameters
    ----------
    X, y
        As given.
    points
        (points, features), or images (points, channels, height, width): what transforms and backbones see.
    labels
        (points,) checked.
    layout
        The shape of one image; None for rows of features.
    """

    X: Any
    y: Any
    points: Shaped[np.ndarray, "points ..."]
    labels: Shaped[np.ndarray, " points"]
    layout: Layout | None

    def __len__(self) -> int:
        return len(self.labels)

    def with_copies(self, copies: Shaped[np.ndarray, "added ..."], source: Int64[np.ndarray, " added"]) -> tuple[Any, Any]:
        """X and y with copies of the points `source` behind them, as what they were given as: arrays, tensors, or pandas'."""
        X, new = (self._as_given(points) for points in (self.points, copies))
        return _joined(self.X, X, new), _joined(self.y, self.labels, self.labels[source])

    def _as_given(self, points: Shaped[np.ndarray, "points ..."]) -> Shaped[np.ndarray, "points ..."]:
        rows = points if self.layout is None else self.layout.back(points)
        return rows if getattr(self.X, "ndim", 2) > 2 else rows.reshape(len(rows), -1)


def points_of(flat: npt.NDArray[Any], layout: Layout | None) -> npt.NDArray[Any]:
    """Checked rows as the points that transforms see."""
    if layout is None:
        return flat
    return layout.planes(flat if flat.dtype in PIXELS else flat.astype(np.float64))


def flattened(X: Any) -> tuple[Any, tuple[int, ...] | None]:  # noqa: ANN401  (arrays, tensors, frames, lists)
    """X as rows, and the shape of one image where X holds images."""
    if isinstance(X, Tensor):
        X = X.detach().cpu().numpy()
    if isinstance(X, np.ndarray) and X.ndim in (3, 4):
        return X.reshape(len(X), -1), X.shape[1:]
    return X, None


def _joined(given: Any, checked: npt.NDArray[Any], new: npt.NDArray[Any]) -> Any:  # noqa: ANN401  (arrays, tensors, frames, lists)
    if isinstance(given, pd.DataFrame):
        return pd.concat([given, pd.DataFrame(new, columns=given.columns)], ignore_index=True)
    if isinstance(given, pd.Series):
        return pd.concat([given, pd.Series(new, name=given.name).astype(given.dtype)], ignore_index=True)
    if isinstance(given, Tensor):
        return torch.cat([given.detach(), torch.as_tensor(new, device=given.device)])
    return np.concatenate([checked, new])
