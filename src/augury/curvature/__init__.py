"""Hessians at a fitted head and of whole networks: what a weight on one point does to the parameters is a solve with them."""

from __future__ import annotations

from augury.curvature.doubt import InfluenceWarning
from augury.curvature.fitted import FittedHead, Solver, head_curvature
from augury.curvature.matrix import Curvature, ExactCurvature, IterativeCurvature, SingleFactor
from augury.curvature.points import Points, PointSet

__all__ = [
    "Curvature",
    "ExactCurvature",
    "FittedHead",
    "InfluenceWarning",
    "IterativeCurvature",
    "PointSet",
    "Points",
    "SingleFactor",
    "Solver",
    "head_curvature",
]
