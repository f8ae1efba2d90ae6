"""A head that follows while copies join its training set, and what it sees of all candidates from where it stands.

One pass over all rows gives their residuals, from which come the target's gradient, the pull of what has joined, and every candidate's
influence. When copies join, their Hessian is added, and the head takes one Newton step on all that has joined; the Hessian of what joined
earlier is formed anew only where steps no longer settle. Features are in single precision, since ranks and steps need no more; parameters
and factors are in double precision.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.copies.pool import CopyPool
from augury.copies.rows import Rows
from augury.copies.target import right
from augury.curvature import Curvature, ExactCurvature, FittedHead, IterativeCurvature, PointSet
from augury.errors import InputError
from augury.softmax import SoftmaxProblem, local, slopes
from augury.solvers import NotPositiveDefiniteError, cholesky

MOVES = 12  # most Newton steps in which a head settles
NEARER = 4  # times nearer must a step come to the minimum for the Hessian to serve again
SETTLED = 5e-4  # nats a point by which, about, the objective may stay above its minimum
TURNED = 0.5  # how steep, for its slope where a step begins, the objective may be where it ends
DOUBTFUL = 0.1  # nats a point from which a promised decrease is not believed: there J may not rise at all where the step ends
FINE = 1 / 64  # of a step's length, to which the best one is looked for
SHORTEST = 1e-9  # of a Newton step
CG_TOL = 1e-6  # relative residual of the solves for heads too large for a factor


class Fitted(NamedTuple):
    """Some rows in the fit: f, weights, residuals, and scores along the directions."""

    f: Float[Tensor, "rows params"]
    weights: Float[Tensor, " rows"]
    r: Float[Tensor, "rows directions"]
    z: Float[Tensor, "rows directions"]


class GrowingFit:
    """A head's parameters V and curvature over the training points and the copies that have joined.

    Parameters
    ----------
    state
        The head fitted to the training points alone.
    pool
        The candidates.
    target
        Whose loss is to fall; None: the training points and all candidates.
    stands_for
        What a candidate weighs in the target, if that is None.
    missing
        Added to the gradient of the target's mean loss: what it has besides that of the given points, where these are a sample.
    """

    def __init__(
        self,
        state: FittedHead,
        pool: CopyPool,
        target: PointSet | None = None,
        stands_for: float = 1.0,
        missing: Float[Tensor, "directions params"] | None = None,
    ) -> None:
        self._exact = isinstance(state.curvature, ExactCurvature)
        self._precision = torch.float32 if self._exact else torch.float64
        self._rows = Rows.of(state, pool, target, stands_for, self._precision)
        self._penalty, self.basis = state.problem.penalty, state.problem.basis
        self.V = state.V[:, self._rows.used]
        self._missing = torch.zeros_like(self.V) if missing is None else missing[:, self._rows.used]
        self.joined = torch.zeros(len(pool), dtype=torch.bool, device=self.V.device)
        self.size, self._weight = 0, 1.0
        self._weights = torch.cat([state.points.weights, self.V.new_zeros(len(pool))]).to(self._precision)
        self._shares = self._rows.shares.to(self._precision)
        self._moved: Tensor | None = None
        self._z = self._rows.scores(self.V)
        self._r = self._rows.slopes(self._z)
        self.curvature = state.curvature
        if isinstance(self.curvature, ExactCurvature):
            self._begin(self.curvature, state.V.shape)

    def _begin(self, curvature: ExactCurvature, shape: torch.Size) -> None:
        """The Hessian of the training points, for the features that are in use."""
        used = self._rows.used
        self._base, self._added = curvature.hessian, torch.zeros_like(curvature.hessian)
        if len(used) < shape[1]:
            self._base = self._base.reshape(*shape, *shape)[:, used][:, :, :, used].reshape(self.V.numel(), -1)
            self._added = torch.zeros_like(self._base)
            self._factor(anew=True)

    def at(self, chosen: Int[Tensor, " some"]) -> Fitted:
        """Some of the training points and candidates, the training points being the first, under the head."""
        return Fitted(self._rows.f[chosen], self._weights[chosen], self._r[chosen], self._z[chosen])

    def leave_out(self, moved: Float[Tensor, "rows directions"]) -> None:
        """Read the target from now on with `moved` added to its scores (see `augury.copies.leftout`)."""
        self._moved = moved.to(self._precision)

    def read(self) -> tuple[float, float]:
        """The target's mean loss in nats, and the share whose label has the highest score."""
        z, labels = self._aimed(), self._rows.labels[self._rows.aim]
        losses, hits = local(z, labels, self._rows.basis).losses, right(z, labels, self._rows.basis)
        loss, accuracy = (float(self._rows.shares @ values.to(self._rows.shares)) for values in (losses, hits))
        return loss, accuracy

    def direction(self) -> Float[Tensor, "directions params"]:
        """The direction s = H^-1 times the gradient of the target's mean loss: where a copy would have to lead the head."""
        aim = self._rows.aim
        r = self._r[aim] if self._moved is None else slopes(self._aimed(), self._rows.labels[aim], self._rows.basis)
        return self._solve(self._rows.total(r, self._shares, aim) + self._missing)

    def worth(self) -> Float[Tensor, " copies"]:
        """The influence of each candidate on the target (see `augury.influence`); infinity for those that have joined."""
        s, candidates = self.direction(), slice(self._rows.originals, self._rows.own)
        harm = (self._r[candidates] * (self._rows.f[candidates] @ s.to(self._precision).T)).sum(1)
        return harm.neg_().masked_fill_(self.joined, torch.inf)

    def join(self, picked: Int[Tensor, " picked"], weight: float) -> None:
        """Let candidates join, and take the Newton step that they cause; `weight` is from now on that of all that have joined."""
        self.joined[picked] = True
        self.size += len(picked)
        if self._exact:
            self._added = self._added + self._rows.hessian(self._z, self._rows.originals + picked, None, self._precision)
        self.weigh(weight)
        self._move(*self._newton(self._pull()))

    def weigh(self, weight: float) -> None:
        """Give every copy that has joined this weight; the head does not move yet."""
        self._weight = weight
        torch.mul(self.joined, weight, out=self._weights[self._rows.originals :])
        self._factor()

    def settle(self) -> None:
        """Move V to the minimum, up to `SETTLED`; where steps do not get nearer fast enough, with the Hessian formed anew."""
        before = torch.inf
        for _ in range(MOVES):
            gradient = self._pull()
            step, decrease = self._newton(gradient)
            if decrease <= self._bound:
                return
            if decrease > before / NEARER:
                self.refresh()
                step, decrease = self._newton(gradient)
            before = decrease
            self._move(step, decrease)

    def refresh(self) -> None:
        """Form the Hessian anew from where the head stands."""
        if self._exact:
            chosen = torch.arange(self._rows.own, device=self.V.device)
            originals, joined = chosen[: self._rows.originals], chosen[self._rows.originals :][self.joined]
            self._base = self._rows.hessian(self._z, originals, self._weights[: self._rows.originals], self._precision)
            self._base.diagonal().view(self.V.shape)[:, :-1] += self._penalty
            self._added = self._rows.hessian(self._z, joined, None, self._precision)
        self._factor(anew=True)

    def _factor(self, *, anew: bool = False) -> None:
        """The curvature of all that has joined; with the products in double precision where single precision cannot tell it from 0.

        Only a Hessian that was formed `anew` needs to be looked at closely, since whatever joins adds to it.
        """
        if not self._exact:
            self.curvature = self._by_products()
            return
        hessian = torch.add(self._base, self._added, alpha=self._weight)
        factor, failed = torch.linalg.cholesky_ex(hessian)
        try:
            self.curvature = ExactCurvature(hessian, cholesky(hessian) if anew or failed else factor)
        except NotPositiveDefiniteError:
            if self._precision == torch.float64:
                raise InputError("head: its Hessian over the training points and copies is singular; lower C") from None
            self._precision = torch.float64
            self.refresh()

    def _by_products(self) -> Curvature:
        rows = torch.nonzero(self._weights)[:, 0]
        problem = SoftmaxProblem(self._rows.f[rows, :-1], self._rows.labels[rows], self._weights[rows], len(self.basis), self._penalty)
        return IterativeCurvature(problem.hessian_operator(self.V), problem.hessian_diagonal(self.V), CG_TOL)

    @property
    def _bound(self) -> float:
        return SETTLED * (self._rows.originals + self.size)

    def _aimed(self) -> Float[Tensor, "aimed directions"]:
        """The target's scores."""
        z = self._z[self._rows.aim]
        return z if self._moved is None else z + self._moved

    def _solve(self, gradient: Float[Tensor, "directions params"]) -> Float[Tensor, "directions params"]:
        """H^-1 times a gradient."""
        return self.curvature.solve(gradient.reshape(1, -1)).reshape(self.V.shape)

    def _pull(self) -> Float[Tensor, "directions params"]:
        """The gradient of J over all that has joined."""
        own = slice(0, self._rows.own)
        gradient = self._rows.total(self._r[own], self._weights, own)
        gradient[:, :-1] += self._penalty * self.V[:, :-1]
        return gradient

    def _newton(self, gradient: Float[Tensor, "directions params"]) -> tuple[Float[Tensor, "directions params"], float]:
        """The step, and the decrease of J that its slope promises."""
        step = self._solve(gradient)
        return step, float((gradient * step).sum())

    def _move(self, step: Float[Tensor, "directions params"], decrease: float) -> None:
        """Take the step, or where J rises steeply at its end as much of it as leads to where it does not, nor falls steeply.

        J is convex, so that its slope tells of its value: halving brackets its minimum along the step. Copies that the head is sure of and
        wrong about pull hard and curve little, so that their Newton step may be far too long.
        """
        along, start = self._rows.scores(step), self._z
        believed = decrease <= DOUBTFUL * (self._rows.originals + self.size)
        bound = max(TURNED * decrease, self._bound) if believed else self._bound
        low, length, high = 0.0, 1.0, 1.0
        while True:
            V, z = self.V - length * step, start - length * along
            r = self._rows.slopes(z)
            rise = self._slope(V, r, step, along)
            low, high = (low, length) if rise > bound else (length, high)
            if high - low <= FINE * high or high < SHORTEST or (rise <= bound and (length == 1.0 or rise >= -bound)):
                break
            length = (low + high) / 2
        self.V, self._z, self._r = V, z, r

    def _slope(self, V: Tensor, r: Tensor, step: Tensor, along: Tensor) -> float:
        """The slope of J at V, where the residuals are r, against the step."""
        own = slice(0, self._rows.own)
        losses = torch.dot(self._weights, (r[own] * along[own]).sum(1))
        return -float(losses) - self._penalty * float((V[:, :-1] * step[:, :-1]).sum())
