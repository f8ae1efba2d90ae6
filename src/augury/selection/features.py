"""The candidates' features, for the orders that look at them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from augury.arrays import ArrayLike, as_features, as_numpy
from augury.errors import InputError

Values = npt.NDArray[np.float64]


def checked_features(features: ArrayLike, points: int) -> Values:
    """Features (points, features) as float64, or an `InputError`."""
    X: Values = as_numpy(as_features(features, "features"))
    if len(X) != points:
        raise InputError(f"features: {len(X)} rows for {points} scored points; expected one row for each point, in the scores' order")
    return X


def narrowed(X: Float64[np.ndarray, "points features"]) -> Values:
    """The features in coordinates of the space that the points span, if these are fewer: same lengths, angles and distances."""
    points, features = X.shape
    return np.asarray(np.linalg.qr(X.T, mode="r")).T if features > points else X
