"""Refits of the head on changed training sets, against which predictions are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from augury.curvature import FittedHead, PointSet
from augury.errors import InputError
from augury.influence.corrected import Terms
from augury.influence.trust import Verification
from augury.newton import minimise
from augury.progress import track
from augury.softmax import SoftmaxProblem, point_losses, project


def verified(state: FittedHead, terms: Terms, target: PointSet, values: Tensor, *, count: int, seed: int) -> Verification:
    """Predicted against real changes of the target's mean loss, for `count` of the rows of `terms`."""
    rows, before = chosen(values, count, seed), _mean_loss(state, target, state.V)
    actual = []
    for row in track(rows.tolist(), "refits"):
        problem = _changed(state, [(points.at(torch.tensor([row])), sign) for points, sign in terms])
        actual.append(_mean_loss(state, target, _minimum(state, problem)) - before)
    return Verification(rows, values.detach().cpu().numpy()[rows], np.array(actual))


def own_verified(state: FittedHead, values: Tensor, *, count: int, seed: int) -> Verification:
    """Predicted against real changes, with the same sign, of points' own losses when they are left out with their whole weight."""
    rows = chosen(values, count, seed)
    actual = []
    for row in track(rows.tolist(), "refits"):
        point = state.points.at(torch.tensor([row]))
        V = _minimum(state, _changed(state, [(point, -1)]))
        actual.append(_mean_loss(state, point, state.V) - _mean_loss(state, point, V))
    return Verification(rows, values.detach().cpu().numpy()[rows], np.array(actual))


def chosen(values: Tensor, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Half of `count` rows with the largest magnitudes, and others at random."""
    if not 0 < count <= len(values):
        raise InputError(f"verify: got {count}; expected a number of refits from 0 to {len(values)}, one for a point at most")
    order = np.argsort(-values.detach().abs().cpu().numpy(), kind="stable")
    largest = (count + 1) // 2
    others = np.random.default_rng(seed).permutation(order[largest:])[: count - largest]
    return np.concatenate([order[:largest], others])


def _changed(state: FittedHead, terms: Sequence[tuple[PointSet, int]]) -> SoftmaxProblem:
    """The problem with points that come in, and with points that go out as the same points once more, with minus their weight."""
    features, labels = [state.problem.features], [state.problem.labels]
    weights = [state.problem.weights]
    for points, sign in terms:
        features.append(points.features if state.problem.shift is None else points.features + state.problem.shift)
        labels.append(points.labels)
        weights.append(sign * points.weights)
    return replace(state.problem, features=torch.cat(features), labels=torch.cat(labels), weights=torch.cat(weights))


def _minimum(state: FittedHead, problem: SoftmaxProblem) -> Tensor:
    with torch.no_grad():
        return minimise(problem, state.V, tol=state.head.tol, max_iter=state.head.max_iter).V


def _mean_loss(state: FittedHead, points: PointSet, V: Tensor) -> float:
    total = 0.0
    for part in points.blocks(max(V.shape[1], state.problem.classes)):
        total += float(part.weights @ point_losses(project(part.features, V) @ state.problem.basis.T, part.labels))
    return total / float(points.weights.sum())
