"""The softmax-regression head: fitted exactly, since every influence is a derivative at its minimum."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
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
from augury.softmax import SoftmaxProblem, contrast, offset, project
from augury.solvers import NotPositiveDefiniteError, cholesky, conjugate_gradients

DENSE_PARAMS = 12_000  # a dense float64 Hessian of so many parameters takes 1.1 GiB
ARMIJO = 1e-4  # least share of the predicted decrease that a step must bring (Nocedal and Wright 2006, section 3.1)
CG_STEPS = 60  # conjugate gradients are tried where a dense factor costs more than so many of their iterations
SEPARATED = 1e-9  # mean loss, in nats, below which an unpenalised head has separated the classes and has no minimum
FLOOR = 1e-8  # steps below this share of the largest parameter may be what rounding leaves of a minimum

SINGULAR = "the Hessian is singular: leave out constant or duplicated features, or {cure}"
UNBOUNDED = "rounding hides the minimum: the classes are separable, or nearly so; {cure}"
UNFINISHED = "max_iter steps were not enough: raise max_iter, or {cure} if the classes are separable"


@dataclass(frozen=True)
class Fit:
    """Where Newton's method stopped: at the minimum, unless `failure` says what went wrong."""

    V: Float[Tensor, "directions params"]
    iterations: int
    failure: str | None


def minimise(problem: SoftmaxProblem, start: Float[Tensor, "directions params"], *, tol: float, max_iter: int) -> Fit:
    """Newton's method with backtracking line search on J.

    Converged when no parameter moves by more than `tol` x max(1, largest parameter), or when steps no longer shrink because rounding hides
    what is left, provided that they are small by then. A step is solved for by a Cholesky factor of the Hessian or, where that costs more,
    by conjugate gradients to a residual that shrinks with the gradient's (Nocedal and Wright 2006, section 7.1), which keeps the
    convergence superlinear.
    """
    V, value, step, resolved = start, problem.objective(start), np.inf, True
    first = float(problem.gradient(torch.zeros_like(V)).norm()) or 1.0
    for iteration in range(1, max_iter + 1):
        gradient = problem.gradient(V)
        forcing = min(0.1, math.sqrt(float(gradient.norm()) / first)) if resolved else FLOOR
        solved, singular = _newton_solve(problem, V, gradient, forcing)
        direction = -solved
        decrease = -float((gradient * direction).sum())
        previous, step = step, float(direction.abs().max())
        resolved = decrease > 64 * torch.finfo(V.dtype).eps * max(1.0, abs(value))
        V, value = _line_search(problem, V, direction, value, decrease) if resolved else (V + direction, value)
        scale = max(1.0, float(V.abs().max()))
        stagnant = not resolved and step > previous / 2
        if problem.penalty == 0 and value < SEPARATED * float(problem.weights.sum()):
            return Fit(V, iteration, UNBOUNDED)
        if step <= tol * scale or stagnant:
            failure = SINGULAR if singular else UNBOUNDED if step > max(tol, FLOOR) * scale else None
            return Fit(V, iteration, failure)
    return Fit(V, max_iter, UNFINISHED)


def _newton_solve(problem: SoftmaxProblem, V: Tensor, gradient: Tensor, tol: float) -> tuple[Tensor, bool]:
    """H^-1 gradient, exactly, or to the relative residual `tol` where conjugate gradients are cheaper and get there; and if H is singular.

    Where H is singular a slight damping gives a direction of descent all the same: whether there is a minimum shows at the end.
    """
    rhs = gradient.reshape(1, -1)
    if _iterations_for_a_factor(problem) > CG_STEPS or rhs.shape[1] > DENSE_PARAMS:
        limit = CG_STEPS if rhs.shape[1] <= DENSE_PARAMS else 2 * rhs.shape[1]
        found = conjugate_gradients(problem.hessian_operator(V), rhs, problem.hessian_diagonal(V), tol=tol, max_iter=limit)
        if found.converged or rhs.shape[1] > DENSE_PARAMS:
            return found.solution.reshape(V.shape), False
    hessian = problem.hessian(V)
    try:
        return torch.cholesky_solve(rhs.T, cholesky(hessian)).reshape(V.shape), False
    except NotPositiveDefiniteError:
        diagonal = hessian.diagonal()
        diagonal += FLOOR * diagonal.clamp(min=FLOOR * float(diagonal.max()))
        return torch.cholesky_solve(rhs.T, cholesky(hessian)).reshape(V.shape), True


def _iterations_for_a_factor(problem: SoftmaxProblem) -> float:
    """How many conjugate-gradient iterations cost as much as the dense Hessian and its factor."""
    n, (k, p) = len(problem.features), problem.shape
    return (n * k * (k + 1) * p**2 + (k * p) ** 3 / 3) / (4 * n * k * p)


def _line_search(problem: SoftmaxProblem, V: Tensor, direction: Tensor, value: float, decrease: float) -> tuple[Tensor, float]:
    """Halve the step until it brings the share `ARMIJO` of what its slope promises; J is convex, so that one exists."""
    length = 1.0
    while (reached := problem.objective(V + length * direction)) > value - ARMIJO * length * decrease and length > FLOOR:
        length /= 2
    return V + length * direction, reached


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
        problem = self._problem(X, y, sample_weight)
        found = minimise(problem, self._start(problem), tol=self.tol, max_iter=self.max_iter)
        W = found.V if problem.classes == 2 else problem.basis @ found.V
        shifted = 0.0 if problem.shift is None else W[:, :-1] @ problem.shift
        self.coef_: npt.NDArray[np.float64] = W[:, :-1].cpu().numpy().copy()
        self.intercept_: npt.NDArray[np.float64] = (W[:, -1] - shifted).cpu().numpy()
        self.converged_, self.n_iter_ = found.failure is None, found.iterations
        cure = "give a finite C" if math.isinf(self.C) else "standardise features of very different scale, or lower C"
        self.failure_: str | None = found.failure and found.failure.format(cure=cure)
        if self.failure_:
            warnings.warn(f"SoftmaxHead did not converge: {self.failure_}", ConvergenceWarning, stacklevel=2)
        return self

    def _problem(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> SoftmaxProblem:
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
        if not self.C > 0:
            raise InputError(f"C: got {self.C}; expected a positive number, or numpy.inf for no penalty")
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
            X, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
            features = as_features(X, "X")
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
            X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        features = as_features(X, "X")
        if features.shape[1] != self.n_features_in_:
            raise InputError(f"X: {features.shape[1]} features; the head was fitted to {self.n_features_in_}")
        V = self.directions(features)
        return project(features, V) @ contrast(len(self.classes_), V).T
