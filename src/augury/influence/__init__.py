"""What adding, removing, replacing or augmenting a point does to the loss on a target set, without retraining."""

from __future__ import annotations

from augury.curvature import InfluenceWarning
from augury.curvature.network_solvers import ConjugateGradients, Convergence, Exact, Lissa
from augury.influence.effects import Effect
from augury.influence.head import Correction, Influences, Precision, influence, leverage, self_influence
from augury.influence.network import NetworkInfluence, network_influence
from augury.influence.trust import Estimate, Trust, Verification

__all__ = [
    "ConjugateGradients",
    "Convergence",
    "Correction",
    "Effect",
    "Estimate",
    "Exact",
    "InfluenceWarning",
    "Influences",
    "Lissa",
    "NetworkInfluence",
    "Precision",
    "Trust",
    "Verification",
    "influence",
    "leverage",
    "network_influence",
    "self_influence",
]
