"""One number a candidate: more means more worth augmenting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from augury.errors import InputError
from augury.files import read_table, write_table


@dataclass(frozen=True)
class Scores:
    """What each training point is predicted to be worth as a source of augmented copies.

    Parameters
    ----------
    values
        (points,) more means more worth augmenting; the unit is the method's.
    labels
        (points,) integers from 0.
    losses
        (points,) cross-entropy of each point under the head, in nats.
    probabilities
        (points,) the head's probability of the point's own label.
    method
        The score's name: `influence`, `loss`, `validation`, `margin` or `uniform`.
    classes
        The classes' names, by label.
    origin
        (points,) where each point came from; the index where nothing else is known.
    cause
        What made the scores (settings of the head, of the target, ...): anything JSON can hold.
    """

    values: Float64[np.ndarray, " points"]
    labels: Int64[np.ndarray, " points"]
    losses: Float64[np.ndarray, " points"]
    probabilities: Float64[np.ndarray, " points"]
    method: str
    classes: tuple[str, ...]
    origin: Shaped[np.ndarray, " points"]
    cause: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.isfinite(self.values).all():
            i = int(np.flatnonzero(~np.isfinite(self.values))[0])
            raise InputError(
                f"scores: the score of point {i} is {self.values[i]}; expected finite numbers: is the head fitted and regularised?"
            )

    def __len__(self) -> int:
        return len(self.values)

    def to_frame(self) -> pd.DataFrame:
        """One row a point: index, origin, label (the class's name), score, loss, probability."""
        return pd.DataFrame(
            {
                "index": np.arange(len(self)),
                "origin": self.origin.astype(str),
                "label": np.array(self.classes)[self.labels],
                "score": self.values,
                "loss": self.losses,
                "probability": self.probabilities,
            }
        )

    def save(self, path: str | Path) -> Path:
        """Write `to_frame()` as Parquet, atomically; method, classes and cause travel in its metadata."""
        return write_table(path, self.to_frame(), self.record())

    def record(self) -> dict[str, Any]:
        """What the metadata of a saved table holds."""
        return {"kind": "scores", "method": self.method, "classes": list(self.classes), "cause": dict(self.cause)}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote."""
        return cls.from_frame(*read_table(path, "scores"))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, record: Mapping[str, Any]) -> Self:
        """The scores whose `to_frame()` and `record()` these are."""
        classes = tuple(record["classes"])
        labels = pd.Index(classes).get_indexer(frame["label"]).astype(np.int64)
        columns = (frame[name].to_numpy(dtype=np.float64) for name in ("score", "loss", "probability"))
        values, losses, probabilities = columns
        origin = frame["origin"].to_numpy(dtype=str)
        return cls(values, labels, losses, probabilities, record["method"], classes, origin, record["cause"])
