"""How far an influence can be trusted: what stands beside the values, and the warnings that it gives rise to."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from augury.arrays import ArrayLike
from augury.curvature import InfluenceWarning

NEAR_ONE = 0.95  # leverage at which the plain influence is a twentieth of what leaving the point out does
ERROR = 1e-6  # relative error of the values, by condition number and residual, above which they are doubtful
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Verification:
    """Points whose change was made in earnest: the head refitted with and without.

    Parameters
    ----------
    indices
        (points,) the rows that were refitted: the largest predictions, then others at random.
    predicted, actual
        (points,) nats: what the influence says, and how the loss really changed.
    """

    indices: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.float64]
    actual: npt.NDArray[np.float64]

    @property
    def slope(self) -> float:
        """Real change per predicted change, by least squares through zero: 1 if predictions are right in size."""
        return float(self.predicted @ self.actual / (self.predicted @ self.predicted))

    @property
    def correlation(self) -> float:
        """Pearson's; NaN for fewer than two points."""
        return float(np.corrcoef(self.predicted, self.actual)[0, 1]) if len(self.indices) > 1 else float("nan")


@dataclass(frozen=True)
class Trust:
    """How influences were computed, and how good they are.

    Parameters
    ----------
    solver
        `exact`, `cg`, `single` (an exact solver in single precision), or `estimate`.
    residual
        `influence`: |H s - g| / |g| of the solve behind all values. `self_influence`: the largest relative difference of values computed in
        two ways, on the points where most digits cancel (`exact`); the largest |H x - g| / |g| (`cg`); the largest error by the largest
        value, on the points most prone to it (`single`); the largest relative error among a few random points (`estimate`).
    condition
        Condition number of H as it was solved with, scaled to a diagonal of ones or preconditioned: an estimate from below.
    converged
        Whether the head's fit says that it is at its minimum.
    step
        How far a Newton step would still move the head's parameters.
    leverage
        The largest leverage of a point in one direction, where it was at hand; else None.
    doubts
        What makes the values doubtful, and what to do, in words; also given as `InfluenceWarning`.
    verified
        Refits, where `verify` asked for them.
    """

    solver: str
    residual: float
    condition: float
    converged: bool
    step: float
    leverage: float | None = None
    doubts: tuple[str, ...] = ()
    verified: Verification | None = None

    def judged(self, *, corrected: bool, rooted: bool = False) -> Trust:
        """The same with its doubts, of which it warns; `rooted`: a factor by QR, which feels the condition number's square root."""
        felt = math.sqrt(self.condition) if rooted else self.condition
        found = []
        if self.solver == "estimate":
            found.append(
                f"self-influence is an estimate: the Hessian does not fit in memory; on a few points it is off by up to "
                f"{self.residual:.0%}; solver='cg' computes it exactly, with a solve for each point"
            )
        elif self.solver != "single" and felt * max(EPSILON, self.residual) > ERROR:
            found.append(
                f"the Hessian is ill-conditioned ({self.condition:.1e}), and its solves leave a residual of {self.residual:.1e}: expect "
                "few correct digits; standardise the features, leave out duplicated ones, or lower C"
            )
        if self.leverage is not None and self.leverage > NEAR_ONE and not corrected:
            found.append(
                f"a point has the leverage {self.leverage:.3f}: it determines its own fit, and plain influence is far too small there; "
                "use correction='leverage'"
            )
        for doubt in found:
            warnings.warn(doubt, InfluenceWarning, stacklevel=4)
        return replace(self, doubts=tuple(found))


@dataclass(frozen=True)
class Estimate:
    """Influences, with how far they can be trusted.

    Parameters
    ----------
    values
        (candidates,) or (points,) in nats: what `augury.influence` or `augury.self_influence` gives.
    trust
        Residual, condition number, convergence, leverage, doubts, refits.
    """

    values: ArrayLike
    trust: Trust
