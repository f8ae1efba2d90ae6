from __future__ import annotations

import numpy as np
import pytest
import torch

import augury.newton
from augury.newton import minimise
from augury.softmax import SoftmaxProblem
from augury.solvers import NotPositiveDefiniteError


def problem(classes: int, *, scale: float = 1.0, penalty: float = 1.0, seed: int = 0) -> SoftmaxProblem:
    """120 weighted points with six features of very different scale."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, 6)) * np.logspace(0, np.log10(scale), 6)
    y = (X / np.logspace(0, np.log10(scale), 6) @ rng.standard_normal((6, classes)) + rng.standard_normal((120, classes))).argmax(1)
    weights = rng.uniform(0.5, 2, 120)
    return SoftmaxProblem(*map(torch.from_numpy, (X, y, weights)), classes, penalty)


def start(task: SoftmaxProblem) -> torch.Tensor:
    return torch.zeros(task.shape, dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("penalty", [1e-4, 1.0, 100.0])
def test_factors_in_single_precision_lead_to_the_minimum_of_double_precision(
    classes: int, scale: float, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = problem(classes, scale=scale, penalty=penalty)
    found = minimise(task, start(task), tol=1e-10, max_iter=100)
    assert found.failure is None
    monkeypatch.setattr(augury.newton, "QUICK", 0)  # damped steps alone
    careful = minimise(task, start(task), tol=1e-10, max_iter=100)
    torch.testing.assert_close(found.V, careful.V, rtol=1e-8, atol=1e-9)
    step = torch.linalg.solve(task.hessian(found.V), task.gradient(found.V).flatten())
    assert float(step.abs().max()) < 1e-9 * max(1.0, float(found.V.abs().max()))


def test_a_start_from_which_full_steps_overshoot_still_leads_to_the_minimum() -> None:
    task = problem(2)
    far = torch.full(task.shape, 40.0, dtype=torch.float64)
    found, near = (minimise(task, V, tol=1e-10, max_iter=100) for V in (far, start(task)))
    assert found.failure is None
    torch.testing.assert_close(found.V, near.V, rtol=1e-8, atol=1e-9)


def test_where_single_precision_cannot_factor_the_hessian_double_precision_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    task = problem(3)
    expected = minimise(task, start(task), tol=1e-10, max_iter=100)
    real = augury.newton.cholesky

    def only_in_double(matrix: torch.Tensor) -> torch.Tensor:
        if matrix.dtype == torch.float32:
            raise NotPositiveDefiniteError
        return real(matrix)

    monkeypatch.setattr(augury.newton, "cholesky", only_in_double)
    found = minimise(task, start(task), tol=1e-10, max_iter=100)
    assert found.failure is None
    torch.testing.assert_close(found.V, expected.V, rtol=1e-8, atol=1e-9)


def test_a_warm_start_at_the_minimum_needs_one_step_and_one_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    task = problem(2)
    minimum = minimise(task, start(task), tol=1e-10, max_iter=100).V
    factored = []
    real = augury.newton.cholesky
    monkeypatch.setattr(augury.newton, "cholesky", lambda matrix: factored.append(matrix) or real(matrix))
    assert minimise(task, minimum, tol=1e-9, max_iter=100).iterations == 1
    assert len(factored) == 1


def test_factors_serve_for_several_steps_near_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    task = problem(2)
    minimum = minimise(task, start(task), tol=1e-10, max_iter=100).V
    factored = []
    real = augury.newton.cholesky
    monkeypatch.setattr(augury.newton, "cholesky", lambda matrix: factored.append(matrix) or real(matrix))
    found = minimise(task, minimum + 1e-3, tol=1e-12, max_iter=100)
    assert found.iterations > len(factored) == 1


def test_a_head_too_large_for_a_factor_is_fitted_to_the_same_minimum_with_a_closer_preconditioner(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    X, y = torch.from_numpy(rng.standard_normal((300, 6))), torch.from_numpy(np.arange(300) % 7)
    problem = SoftmaxProblem(X, y, torch.ones(300, dtype=torch.float64), 7, penalty=0.5)
    start = torch.zeros(problem.shape, dtype=torch.float64)
    exact = minimise(problem, start, tol=1e-10, max_iter=50)
    monkeypatch.setattr(augury.newton, "DENSE_PARAMS", 0)
    monkeypatch.setattr(augury.newton, "MANY", 0)
    iterated = minimise(problem, start, tol=1e-10, max_iter=50)
    assert exact.failure is None
    assert iterated.failure is None
    torch.testing.assert_close(iterated.V, exact.V, rtol=0, atol=1e-9)
