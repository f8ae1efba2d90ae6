"""One number a point: more means more worth augmenting.

- `influence`: magnitude of the leave-one-out influence, |g^T H^-1 g|, in nats (paper 2, Eq. 1): how much the head leans on the point.
- `loss`: the point's own cross-entropy, in nats (paper 2): how badly it fits.
- `validation`: predicted fall of a target set's mean loss if the point's weight grows, in nats a unit of weight; negative if it would rise.
- `margin`: 1 / |f|, f the decision value of a tuned linear SVM at the class boundary nearest to the point. Paper 2's code draws by |f|: its
  "proportional", which takes points far from the margin, is the preference `inverse` here, and its "inverse", near points, `proportional`.
- `support`: |dual coefficient| of the point in that SVM, zero for all but the support vectors. `rank(scores, "proportional", "ranked")`
  with the budget `scores.positive` takes exactly these: paper 2's virtual support vectors (VSV).
- `uniform`: 1 for each point: what selection at random is made from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float64, Int64, Shaped
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from augury.arrays import ArrayLike, as_features, as_labels, as_numpy, encode
from augury.choices import Method
from augury.curvature import Points
from augury.errors import InputError
from augury.files import read_noun, write_table
from augury.head import SoftmaxHead
from augury.influence import influence, self_influence
from augury.notebook import show
from augury.softmax import point_losses

SVM_GRID = (0.01, 0.1, 1.0, 10.0, 100.0)  # paper 2's search for the SVM's C, by 4 folds
SVM_FOLDS = 4
COLUMNS = ("index", "origin", "label", "score", "loss", "probability")
Losses = npt.NDArray[np.float64]


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
        The score's name: `influence`, `loss`, `validation`, `margin`, `support` or `uniform`.
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
        for name in ("labels", "losses", "probabilities", "origin"):
            if len(getattr(self, name)) != len(self.values):
                raise InputError(f"{name}: {len(getattr(self, name))} entries for {len(self.values)} scores; give one for each point")
        if ((self.labels < 0) | (self.labels >= len(self.classes))).any():
            raise InputError(f"labels: a label has no class; expected 0 to {len(self.classes) - 1} for {len(self.classes)} classes")
        if not np.isfinite(self.values).all():
            i = int(np.flatnonzero(~np.isfinite(self.values))[0])
            raise InputError(
                f"scores: the score of point {i} is {self.values[i]}; expected finite numbers: is the head fitted and regularised?"
            )

    def __len__(self) -> int:
        return len(self.values)

    def _repr_html_(self) -> str:
        return show(self).html

    @property
    def positive(self) -> int:
        """How many scores are above zero; of the score `support`: how many support vectors there are."""
        return int(np.count_nonzero(self.values > 0))

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
    def load(cls, path: str | Path) -> Scores:
        """Read what `save` wrote."""
        return read_noun(path, "scores", COLUMNS, cls.from_frame)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, record: Mapping[str, Any]) -> Scores:
        """The scores whose `to_frame()` and `record()` these are."""
        classes = tuple(map(str, record["classes"]))
        labels = pd.Index(classes).get_indexer(pd.Index(frame["label"])).astype(np.int64)
        columns = (frame[name].to_numpy(dtype=np.float64) for name in ("score", "loss", "probability"))
        values, losses, probabilities = columns
        origin = frame["origin"].to_numpy(dtype=str)
        return cls(values, labels, losses, probabilities, str(record["method"]), classes, origin, dict(record["cause"]))


def score(
    X: ArrayLike,
    y: ArrayLike,
    method: Method = "influence",
    head: SoftmaxHead | None = None,
    target: Points | None = None,
    *,
    penalty: float | None = None,
    origin: npt.ArrayLike | None = None,
    cause: Mapping[str, Any] | None = None,
) -> Scores:
    """Score each training point by what augmenting it is predicted to be worth.

    Parameters
    ----------
    X, y
        Features (points, features) and labels (points,) of the training points.
    method
        See the module's text: `influence`, `loss`, `validation`, `margin`, `support`, `uniform`.
    head
        A head fitted to `X, y`; None: one with C = 1 is fitted here.
    target
        For `validation`: (X, y) or (X, y, weight) of the points whose mean loss is to fall.
    penalty
        For `influence`: the L2 strength in the Hessian; None: the head's own, 1 / C. See `augury.self_influence`.
    origin
        Names of the points; None: their indices.
    cause
        What should travel with the scores into files.

    Returns
    -------
    Scores
        In each method more means more worth augmenting.

    Notes
    -----
    Cost: that of `augury.self_influence` or `augury.influence`; for `margin` and `support` that of 21 fits of a linear SVM.
    """
    if method not in get_args(Method):
        raise InputError(f"method: got {method!r}; expected one of {', '.join(get_args(Method))}")
    if (target is None) == (method == "validation"):
        raise InputError("target: expected (X, y) of a target set with method='validation', and only there")
    if penalty is not None and method != "influence":
        raise InputError(f"penalty: given, and method is {method!r}; only the Hessian of method='influence' has one")
    fitted = SoftmaxHead().fit(X, y) if head is None else head
    features, labels = _checked(fitted, X, y)
    losses: Losses = as_numpy(point_losses(fitted.scores(features), torch.as_tensor(labels, device=features.device)))
    made_with = {} if penalty is None else {"penalty": float(penalty)}
    return Scores(
        values=_values(method, fitted, (X, y), target, penalty, losses),
        labels=labels,
        losses=losses,
        probabilities=np.exp(-losses),
        method=method,
        classes=tuple(str(name) for name in fitted.classes_),
        origin=np.arange(len(losses)).astype(str) if origin is None else np.asarray(origin).astype(str),
        cause={"C": float(fitted.C), "converged": fitted.converged_} | made_with | dict(cause or {}),
    )


def _values(method: Method, head: SoftmaxHead, train: Points, target: Points | None, penalty: float | None, losses: Losses) -> Losses:
    values: dict[Method, Callable[[], Losses]] = {
        "influence": lambda: np.abs(as_numpy(self_influence(head, train, penalty=penalty))),
        "loss": losses.copy,
        "validation": lambda: -as_numpy(influence(head, train, train, target or train)),
        "margin": lambda: 1 / np.maximum(boundary_distance(train[0], train[1]), np.finfo(np.float64).tiny),
        "support": lambda: support(train[0], train[1]),
        "uniform": lambda: np.ones_like(losses),
    }
    return values[method]()


def _checked(head: SoftmaxHead, X: ArrayLike, y: ArrayLike) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Features, and labels as indices into the head's classes, once it is sure that the head knows such points."""
    if not isinstance(head, SoftmaxHead):
        raise InputError(f"head: got {type(head).__name__}; expected an augury.SoftmaxHead fitted to X, y")
    check_is_fitted(head)
    features = as_features(X, "X")
    return features, encode(as_labels(y, len(features), "y"), head.classes_, "y")


def boundary_distance(X: ArrayLike, y: ArrayLike) -> Float64[np.ndarray, " points"]:
    """|decision value| at the nearest boundary of each point's own class, of a linear SVM tuned over `SVM_GRID` by 4 stratified folds.

    In units of the SVM's margin: 1 is on the margin. With more than two classes the nearest of the pairwise boundaries of the own class
    counts (one against one).
    """
    features, labels = as_numpy(as_features(X, "X")), as_numpy(y)
    machine = _tuned_svm(features, labels)
    decisions = np.abs(machine.decision_function(features).reshape(len(labels), -1))
    codes = np.searchsorted(machine.classes_, labels)
    first, second = np.triu_indices(len(machine.classes_), 1)
    own = (codes[:, None] == first) | (codes[:, None] == second)
    distances: npt.NDArray[np.float64] = np.where(own, decisions, np.inf).min(axis=1)
    return distances


def support(X: ArrayLike, y: ArrayLike) -> Float64[np.ndarray, " points"]:
    """How hard each point pushes the boundary of `boundary_distance`'s SVM: its |dual coefficient|, 0 beyond the margin, C inside it.

    With more than two classes: the sum over the machines of the own class (one against one).
    """
    features = as_numpy(as_features(X, "X"))
    machine = _tuned_svm(features, as_numpy(y))
    values = np.zeros(len(features))
    values[machine.support_] = np.abs(machine.dual_coef_).sum(axis=0)
    return values


def _tuned_svm(features: npt.NDArray[Any], labels: npt.NDArray[Any]) -> SVC:
    """The linear SVM with the C of `SVM_GRID` that has the best mean accuracy over 4 stratified folds, fitted to all points."""
    rare = np.unique(labels, return_counts=True)[1].min()
    if rare < SVM_FOLDS:
        raise InputError(f"y: a class has {rare} points; the linear SVM is tuned by {SVM_FOLDS} folds and needs {SVM_FOLDS} of each")
    search = GridSearchCV(SVC(kernel="linear", decision_function_shape="ovo"), {"C": SVM_GRID}, cv=StratifiedKFold(SVM_FOLDS))
    return search.fit(features, labels).best_estimator_
