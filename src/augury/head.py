"""The softmax-regression head: fitted exactly, since every influence is a derivative at its minimum."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from augury.arrays import ArrayLike, as_features, as_labels, as_weights, returned_like
from augury.errors import InputError
from augury.newton import Fit, minimise
from augury.softmax import SoftmaxProblem, contrast, offset, project


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What scikit-learn's checks find wrong, as an `InputError` that names the argument."""
    try:
        yield
    except ValueError as error:
        expected = "a table of numbers without gaps, and one class label a point"
        raise InputError(f"{name}: {' '.join(str(error).split()).rstrip('.')}; expected {expected}") from None


class SoftmaxHead(ClassifierMixin, BaseEstimator):
    """Logistic (two classes) or multinomial regression on features, fitted to the exact minimum.

    The last layer of a network, refitted: the minimum of

        J(W) = sum_i w_i l_i(W) + 1 / (2 C) |W without the intercepts|^2,    l_i = -log softmax(W [x_i, 1])[y_i],

    the objective of `sklearn.linear_model.LogisticRegression` (L2 penalty, intercept not penalised; with two classes one weight vector and
    the logistic loss). Newton's method with line search finds it to about 1e-10, because every influence is a derivative at this minimum.

    Parameters
    ----------
    C
        Inverse strength of the penalty, > 0; `numpy.inf`: none.
    tol
        Largest last Newton step, relative to max(1, largest parameter).
    max_iter
        Most Newton steps.
    warm_start
        Start `fit` from the previous solution where its shape allows it.

    Attributes
    ----------
    coef_
        (classes, features) float64; (1, features) with two classes.
    intercept_
        (classes,) float64, summing to zero; (1,) with two classes.
    classes_
        The labels, sorted.
    converged_, failure_
        Whether the minimum was reached, and if not, why and what to do, which `fit` also warns of (`ConvergenceWarning`).
    n_iter_
        Newton steps taken.

    Notes
    -----
    `X` may be a numpy array or a torch tensor; the work is done on a tensor's device. A step costs n (C - 1) C (d + 1)^2 operations for
    the Hessian and ((C - 1) (d + 1))^3 / 3 for its factor.
    """

    def __init__(self, C: float = 1.0, tol: float = 1e-10, max_iter: int = 100, *, warm_start: bool = False) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> SoftmaxHead:
        """Fit to `X` (points, features), `y` (points,) labels of any kind, `sample_weight` (points,) not negative; see the class."""
        self.fit_problem(self.problem(X, y, sample_weight))
        return self

    def fit_problem(self, problem: SoftmaxProblem, factor: Tensor | None = None) -> Fit:
        """Fit to a problem that is known to be sound, of the classes `classes_`: what `fit` does after its checks.

        `factor`: see `augury.newton.minimise`, whose result this gives back.
        """
        with torch.inference_mode():
            found = minimise(problem, self._start(problem), tol=self.tol, max_iter=self.max_iter, factor=factor)
        W = found.V if problem.classes == 2 else problem.basis @ found.V
        shifted = 0.0 if problem.shift is None else W[:, :-1] @ problem.shift
        self.coef_: npt.NDArray[np.float64] = W[:, :-1].cpu().numpy().copy()
        self.intercept_: npt.NDArray[np.float64] = (W[:, -1] - shifted).cpu().numpy()
        self.converged_, self.n_iter_ = found.failure is None, found.iterations
        cure = "give a finite C" if math.isinf(self.C) else "standardise features of very different scale, or lower C"
        self.failure_: str | None = found.failure and found.failure.format(cure=cure)
        if self.failure_:
            warnings.warn(f"SoftmaxHead did not converge: {self.failure_}", ConvergenceWarning, stacklevel=2)
        return found

    def problem(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> SoftmaxProblem:
        """The problem that `fit` solves, once arguments and settings are known to be sound; sets `classes_`."""
        self._check_settings()
        features, labels = self._validated(X, y)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        names = self.classes_.tolist()
        if len(names) < 2:
            raise InputError(f"y: only one class, {names[0]!r}; expected at least two: is this subset too small?")
        weights = as_weights(sample_weight, features, "sample_weight")
        weightless = np.flatnonzero(np.bincount(codes, weights.cpu().numpy()) == 0)
        if len(weightless):
            raise InputError(
                f"sample_weight: every point of class {names[weightless[0]]!r} has weight 0; leave these points out, or weigh them"
            )
        labels_of = torch.as_tensor(codes, device=features.device)
        return SoftmaxProblem(features, labels_of, weights, len(names), 1 / self.C, offset(features))

    def _check_settings(self) -> None:
        if not isinstance(self.C, Real) or not self.C > 0:
            raise InputError(f"C: got {self.C!r}; expected a positive number, or numpy.inf for no penalty")
        if not self.tol > 0:
            raise InputError(f"tol: got {self.tol}; expected a positive number, such as 1e-10")
        if self.max_iter < 1:
            raise InputError(f"max_iter: got {self.max_iter}; expected at least 1")

    def _validated(self, X: ArrayLike, y: ArrayLike) -> tuple[Tensor, npt.NDArray[Any]]:
        if isinstance(X, Tensor):
            features = as_features(X.detach(), "X")
            self.n_features_in_ = features.shape[1]
            labels = as_labels(y, len(features), "y")
        else:
            with _told("X, y"):
                X, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
            features = as_features(X, "X")
        with _told("y"):
            check_classification_targets(labels)
        return features, labels

    def _start(self, problem: SoftmaxProblem) -> Tensor:
        rows = 1 if problem.classes == 2 else problem.classes
        if self.warm_start and hasattr(self, "coef_") and self.coef_.shape == (rows, problem.features.shape[1]):
            return self.directions(problem.features, problem.shift)
        return problem.features.new_zeros(problem.shape)

    def directions(self, like: Tensor, shift: Tensor | None = None) -> Float[Tensor, "directions params"]:
        """The fitted parameters V along the contrasts of `augury.softmax`, in the type and on the device of `like`.

        With `shift`, those for features from which it has been subtracted.
        """
        W = torch.as_tensor(np.column_stack([self.coef_, self.intercept_])).to(like)
        if shift is not None:
            W[:, -1] += W[:, :-1] @ shift
        return W if len(self.classes_) == 2 else contrast(len(self.classes_), like).T @ W

    def decision_function(self, X: ArrayLike) -> ArrayLike:
        """Class scores: (points, classes), or with two classes (points,), the second class's score alone; a tensor for a tensor."""
        scores = self.scores(X).detach()
        return returned_like(scores[:, 1] if len(self.classes_) == 2 else scores, X)

    def predict_proba(self, X: ArrayLike) -> ArrayLike:
        """Probabilities (points, classes), in the order of `classes_`; a tensor for a tensor."""
        return returned_like(torch.softmax(self.scores(X).detach(), dim=1), X)

    def predict(self, X: ArrayLike) -> npt.NDArray[Any]:
        """The most probable label of each point."""
        best = self.scores(X).argmax(dim=1).cpu().numpy()
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels

    def scores(self, X: ArrayLike) -> Float[Tensor, "points classes"]:
        """Class scores as a tensor on the features' device and in their graph, two columns with two classes."""
        check_is_fitted(self)
        if not isinstance(X, Tensor):
            with _told("X"):
                X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        features = as_features(X, "X")
        if features.shape[1] != self.n_features_in_:
            raise InputError(f"X: {features.shape[1]} features; the head was fitted to {self.n_features_in_}")
        V = self.directions(features)
        return project(features, V) @ contrast(len(self.classes_), V).T
