"""What adding, removing, replacing or augmenting a point does to the loss on a target set, without retraining.

The sign, stated here once: up-weighting a training point z by eps moves the head's parameters by -H^-1 g(z) eps, so that

    influence(z -> T) = d mean_T l / d eps = -(mean_T g)^T H^-1 g(z).

**Positive: adding z raises the mean loss on T. Negative: adding z lowers it**, so that z helps. Losses are in nats, weights in points (H is
the sum-form Hessian; the papers' mean form is n times as large).

With s = H^-1 mean_T g as a matrix, g(z) = r (x) f gives influence = -r^T s f: two small products a point (paper 1, section 3.4).
Effects on the loss: add z, +influence(z); remove z, -influence(z); replace z by z', influence(z') - influence(z) (paper 1, Eq. 15-19).

`correction="leverage"` takes the change of the Hessian by the very points in question into account, exactly: one Newton step of the head on
the changed training set. With M = U^T H^-1 U, where U holds the points' f along the class directions, and Sigma their signed weights times
S, Woodbury's identity turns r into (I + Sigma M)^-1 r. For one removed point and two classes this is the factor 1 / (1 - leverage).
The target loss is then followed to second order along that step, since a step that is not small leaves its slope behind.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from augury.arrays import ArrayLike, returned_like
from augury.curvature import ExactCurvature, FittedHead, InfluenceWarning, IterativeCurvature, Points, SingleFactor, Solver
from augury.curvature.fitted import DOUBLE
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence.corrected import corrected, own_forms, own_matrices, self_corrected
from augury.influence.effects import Effect, along, changes, mean_gradient
from augury.influence.own import Own, by_single, estimated, own, own_influence, trust_in
from augury.influence.trust import Estimate, Trust
from augury.influence.verify import own_verified, verified
from augury.softmax import spreads

__all__ = ["Correction", "Effect", "Influences", "Precision", "influence", "leverage", "own_influence", "self_influence"]

Correction = Literal["leverage"] | None
Precision = Literal["float64", "float32"]
SINGLE = 1e-4  # error of single precision, by the largest value, that is too large


def influence(
    head: SoftmaxHead,
    train: Points,
    candidates: Points,
    target: Points,
    effect: Effect = "add",
    *,
    replaced: Points | None = None,
    correction: Correction = None,
    solver: Solver = "auto",
) -> ArrayLike:
    """Predicted change of the target set's mean loss if each candidate, alone, is added, removed or put in another's place.

    Negative: the target loss falls, so the change helps. See the module's text for the formula and its sources.

    Parameters
    ----------
    head
        A head fitted to `train`.
    train
        (X, y) or (X, y, sample_weight): what the head was fitted to.
    candidates
        (X, y) or (X, y, weight): (candidates, features) and labels; the weight with which each comes in or goes out, 1 if left out.
    target
        (X, y) or (X, y, weight): whose (weighted) mean loss, in nats, is to change.
    effect
        `add` each candidate; `remove` each, which must then be among the training points; `replace` each of `replaced` by the candidate
        in the same row.
    replaced
        For `replace`: (X, y) of the training points whose places the candidates take.
    correction
        None: the derivative at weight 0 times the weight. `leverage`: one exact Newton step on the changed set, closer for points with
        much leverage; it needs the inverse Hessian.
    solver
        `exact` (Cholesky), `cg` (conjugate gradients) or `auto`.

    Returns
    -------
    (candidates,) float64, in nats; torch if the candidates' features were, else numpy.

    Notes
    -----
    With n training points, m candidates, k = C - 1 and p = d + 1: n k C p^2 operations for the Hessian, (k p)^3 / 3 for its factor, 2 m k p
    for all candidates; with the correction 4 m (k p)^2 and a second Hessian more. Memory: one block of points and (k p)^2.
    """
    asked = Influences(head, train, solver, once=correction is None)
    return asked.of(candidates, target, effect, replaced=replaced, correction=correction).values


def self_influence(
    head: SoftmaxHead,
    train: Points,
    correction: Correction = None,
    *,
    solver: Solver = "auto",
    penalty: float | None = None,
    dtype: Precision = "float64",
) -> ArrayLike:
    """Change of each training point's own loss per unit of its own weight: -g^T H^-1 g, never positive (paper 2, Eq. 1).

    The magnitude is the leave-one-out influence by which paper 2 scores points: how much the model would lose on the point without it.
    For two classes it is (exp(loss) - 1) x leverage.

    Parameters
    ----------
    head, train, solver
        As in `influence`.
    correction
        None: the derivative. `leverage`: minus the rise of the point's own loss that refitting without the point (with its whole weight)
        brings, predicted by one exact Newton step.
    penalty
        The L2 strength lam in H. None: the objective's own, 1 / C, so that the result is the derivative it says. A number: another one,
        as 2e-10 in paper 2's own code, which fits with a penalty and leaves it out of H. Then the magnitude is (exp(loss) - 1) x leverage
        without shrinkage; it tells loss from leverage, and is no longer a derivative of the head that was fitted.
    dtype
        As in `Influences`.

    Returns
    -------
    (points,) float64, in nats; torch if the training features were, else numpy.

    Notes
    -----
    n (k p)^2 operations after the factor, 2 n (k p)^2 with the correction; blockwise, so that no n x n or n x k p matrix is formed. With
    more features than points, p is the number of points + 1 (the dual form): the rest of the features' space matters to none of them.
    """
    return Influences(head, train, solver, dtype=dtype).own(correction, penalty=penalty).values


def leverage(head: SoftmaxHead, train: Points) -> ArrayLike:
    """How far each training point determines its own fit: the trace of w S f^T H^-1 f, in [0, C - 1).

    The leverages sum to the effective number of parameters. Near 1 in any direction, the plain influence of the point is far too small, and
    `correction="leverage"` should be used. Cost: as `self_influence` with the correction.
    """
    return Influences(head, train, "exact").leverage()


class Influences:
    """All questions about one head, answered from one factorisation, each with how far the answer can be trusted.

    `augury.influence` and `augury.self_influence` give the values alone, and form the Hessian at every call.

    Parameters
    ----------
    head, train, solver
        As in `augury.influence`; nothing is computed before the first question.
    once
        There will be one question, about few systems: `auto` then takes conjugate gradients where they are cheaper than a factor.
    dtype
        In what the large products are formed. `float32` takes half the time, and the values, float64 as always, are exact to 1e-4 of the
        largest, which is checked: where single precision does not do, the question is answered in double, with an `InfluenceWarning`.
        Corrections, leverages and other penalties are always computed in double precision.
    """

    def __init__(
        self, head: SoftmaxHead, train: Points, solver: Solver = "auto", *, once: bool = False, dtype: Precision = "float64"
    ) -> None:
        if dtype not in ("float64", "float32"):
            raise InputError(f"dtype: got {dtype!r}; expected 'float64' or 'float32'")
        self.head, self.train, self.solver, self.once, self.dtype = head, train, solver, once, dtype
        self._states: dict[tuple[bool, bool], FittedHead] = {}

    def _state(self, *, spanned: bool = False, double: bool = False) -> FittedHead:
        """The curvature for points of any kind, or, `spanned`, for the training points alone, in their span where that is smaller."""
        X = self.train[0] if isinstance(self.train, tuple) and self.train else None
        wide = X is not None and getattr(X, "ndim", 0) == 2 and X.shape[1] > X.shape[0]  # type: ignore[union-attr]  # an array by its ndim
        spanned, single = spanned and (wide or self.once), self.dtype == "float32" and not double
        if (spanned, single) not in self._states:
            once = self.once and not spanned
            self._states[spanned, single] = FittedHead.of(self.head, self.train, self.solver, spanned=spanned, once=once, single=single)
        return self._states[spanned, single]

    def of(
        self,
        candidates: Points,
        target: Points,
        effect: Effect = "add",
        *,
        replaced: Points | None = None,
        correction: Correction = None,
        verify: int = 0,
        seed: int = 0,
    ) -> Estimate:
        """`augury.influence`; `verify`: of so many candidates, drawn with `seed`, the change is made and the head refitted."""
        with_correction = _checked_correction(correction)
        state = self._state(double=with_correction)
        terms = changes(state, effect, candidates, replaced)
        goal = state.read(target, "target")
        s, trust = self._solved(state, mean_gradient(state, goal))
        if with_correction:
            values = corrected(state, terms, s, goal)
        else:
            values = -sum((points.weights * sign * along(state, points, s) for points, sign in terms), start=s.new_zeros(()))
        if verify:
            trust = replace(trust, verified=verified(state, terms, goal, values, count=verify, seed=seed))
        return Estimate(returned_like(values, candidates[0]), trust.judged(corrected=with_correction))

    def own(self, correction: Correction = None, *, penalty: float | None = None, verify: int = 0, seed: int = 0) -> Estimate:
        """`augury.self_influence`; `verify`: so many points, drawn with `seed`, are left out and the head refitted."""
        if penalty is not None:
            _check_penalty(penalty, correction)
        with_correction = _checked_correction(correction)
        state = self._state(spanned=True, double=with_correction or penalty is not None)
        if penalty is not None:
            state = state.with_penalty(penalty, self.solver)
        state, found = (state, _self_corrected(state)) if with_correction else self._own(state)
        trust = trust_in(state, found)
        if verify:
            expected = found.values if with_correction else found.values * state.points.weights
            trust = replace(trust, verified=own_verified(state, expected, count=verify, seed=seed))
        judged = trust.judged(corrected=with_correction or penalty is not None, rooted=penalty is not None)
        return Estimate(returned_like(found.values, self.train[0]), judged)

    def leverage(self) -> ArrayLike:
        """`augury.leverage`."""
        state = self._state(spanned=True, double=True)
        forms = own_forms(state)
        parts = []
        for part in state.points.blocks(state.V.numel()):
            S = spreads(state.scores(part), state.problem.basis)
            parts.append(part.weights * torch.einsum("nab,nba->n", S, own_matrices(state, part, forms)))
        return returned_like(torch.cat(parts), self.train[0])

    def _solved(self, state: FittedHead, rhs: Float[Tensor, "1 size"]) -> tuple[Float[Tensor, "directions params"], Trust]:
        """H^-1 rhs, and how good it is; a factor where conjugate gradients were only to save it, and do not arrive."""
        if isinstance(state.curvature, ExactCurvature):
            s = state.curvature.solve(rhs)
            gap = (state.curvature.product(s) - rhs).norm() / rhs.norm().clamp(min=torch.finfo(rhs.dtype).tiny)
            return s.reshape(state.V.shape), trust_in(state, Own(s[0], float(gap), None))
        assert isinstance(state.curvature, IterativeCurvature)
        try:
            found = state.curvature.solution(rhs)
        except InputError:
            if self.solver == "cg" or not (self.once or isinstance(state.curvature.close, SingleFactor)):
                raise
            return self._solved(self._carefully(spanned=False), rhs)
        return found.solution.reshape(state.V.shape), trust_in(state, Own(found.solution[0], found.residual, None, found.condition))

    def _own(self, state: FittedHead) -> tuple[FittedHead, Own]:
        """Self-influence by the way that costs least, and the state that gave it."""
        close = state.curvature.close if isinstance(state.curvature, IterativeCurvature) else None
        if isinstance(close, SingleFactor):
            found = by_single(state, state.points)
            if found.residual <= SINGLE:
                return state, found
            warnings.warn(f"single precision leaves an error of {found.residual:.1e}: {DOUBLE}", InfluenceWarning, stacklevel=4)
            state = self._carefully(spanned=True)
        elif close is not None and self.solver == "auto":
            return state, estimated(state, state.points)
        return state, own(state, state.points)

    def _carefully(self, *, spanned: bool) -> FittedHead:
        """From now on, a factor in double precision."""
        self.once, self.dtype = False, "float64"
        self._states.clear()
        return self._state(spanned=spanned)


def _checked_correction(correction: Correction) -> bool:
    if correction not in (None, "leverage"):
        raise InputError(f"correction: got {correction!r}; expected None or 'leverage'")
    return correction is not None


def _check_penalty(penalty: float, correction: Correction) -> None:
    if not 0 <= penalty < math.inf:
        raise InputError(f"penalty: got {penalty}; expected a number that is not negative, such as 2e-10, or None for the head's own 1 / C")
    if correction is not None:
        raise InputError("penalty: the correction predicts refits with the head's own penalty; leave out penalty, or correction")


def _self_corrected(state: FittedHead) -> Own:
    forms = own_forms(state)
    return Own(torch.cat([self_corrected(state, part, forms) for part in state.points.blocks(state.V.numel())]), 0.0, None)
