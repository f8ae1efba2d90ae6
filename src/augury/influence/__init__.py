"""What adding, removing, replacing or augmenting a point does to the loss on a target set, without retraining."""

from __future__ import annotations

from augury.curvature.network_solvers import ConjugateGradients, Convergence, Exact, Lissa
from augury.influence.head import Correction, Effect, influence, leverage, self_influence
from augury.influence.network import NetworkInfluence, network_influence

__all__ = [
    "ConjugateGradients",
    "Convergence",
    "Correction",
    "Effect",
    "Exact",
    "Lissa",
    "NetworkInfluence",
    "influence",
    "leverage",
    "network_influence",
    "self_influence",
]
