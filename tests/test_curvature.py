from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

import augury.curvature.dense
from augury.curvature import Curvature, ExactCurvature, IterativeCurvature, Solver, head_curvature
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence, leverage, self_influence
from augury.softmax import SoftmaxProblem
from conftest import Task


def problem_of(head: SoftmaxHead, task: Task) -> SoftmaxProblem:
    codes = torch.from_numpy(np.searchsorted(head.classes_, task.y))
    return SoftmaxProblem(torch.from_numpy(task.X), codes, torch.from_numpy(task.weights), len(head.classes_), 1 / head.C)


@pytest.fixture
def both(task: Task) -> tuple[Curvature, Curvature, Tensor, Tensor]:
    """One head's curvature by both solvers, its dense Hessian, and a few vectors."""
    head = SoftmaxHead().fit(*task.train)
    problem = problem_of(head, task)
    H = problem.hessian(head.directions(problem.features))
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((4, len(H))))
    V = head.directions(problem.features)
    return head_curvature(head, problem, V, "exact"), head_curvature(head, problem, V, "cg"), H, rows


def test_both_solvers_multiply_by_the_dense_hessian_and_its_inverse(both: tuple[Curvature, Curvature, Tensor, Tensor]) -> None:
    *curvatures, H, rows = both
    solved = torch.from_numpy(np.linalg.solve(H.numpy(), rows.numpy().T).T)
    for curvature in curvatures:
        torch.testing.assert_close(curvature.product(rows), rows @ H, rtol=1e-11, atol=1e-11 * float(H.max()))
        torch.testing.assert_close(curvature.solve(rows), solved, rtol=0, atol=1e-10 * float(solved.abs().max()))
        torch.testing.assert_close(curvature.quadratic(rows), (rows * solved).sum(1), rtol=1e-10, atol=0)


def test_the_inverse_is_one(both: tuple[Curvature, Curvature, Tensor, Tensor]) -> None:
    exact, iterative, H, _ = both
    torch.testing.assert_close(exact.inverse() @ H, torch.eye(len(H), dtype=torch.float64), rtol=0, atol=1e-10)
    with pytest.raises(InputError, match="solver: the correction needs the inverse Hessian as a matrix; use solver='exact'"):
        iterative.inverse()


def test_influence_by_conjugate_gradients_is_that_by_cholesky(task: Task) -> None:
    head = SoftmaxHead().fit(*task.train)
    exact, iterative = (influence(head, task.train, task.candidates, task.target, solver=solver) for solver in ("exact", "cg"))
    np.testing.assert_allclose(iterative, exact, rtol=1e-9, atol=1e-12 * np.abs(exact).max())
    some = tuple(values[:50] for values in task.train)
    small = SoftmaxHead().fit(*some)
    own, iterative = (self_influence(small, some, solver=solver) for solver in ("exact", "cg"))
    np.testing.assert_allclose(iterative, own, rtol=1e-9)


def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no memory were free."""
    monkeypatch.setattr(augury.curvature.dense, "SURE", 0)
    monkeypatch.setattr(augury.curvature.dense, "free_memory", lambda: 0)


def test_auto_takes_the_exact_solver_where_its_matrices_fit_in_half_of_the_free_memory_and_says_where_not(
    digits_3v8: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    problem = problem_of(head, digits_3v8)
    V = head.directions(problem.features)
    monkeypatch.setattr(augury.curvature.dense, "SURE", 0)
    monkeypatch.setattr(augury.curvature.dense, "free_memory", lambda: 2 * 4 * 8 * 65**2)
    assert isinstance(head_curvature(head, problem, V, "auto"), ExactCurvature)
    assert not capsys.readouterr().err
    monkeypatch.setattr(augury.curvature.dense, "free_memory", lambda: 2 * 4 * 8 * 65**2 - 1)
    assert isinstance(head_curvature(head, problem, V, "auto"), IterativeCurvature)
    assert "The Hessian of 65 parameters takes 0.0 GiB" in capsys.readouterr().err
    assert isinstance(head_curvature(head, problem, V, "exact"), ExactCurvature)


@pytest.mark.parametrize("solver", ["auto", "cg"])
def test_the_correction_is_refused_where_the_matrix_is_not_formed(
    digits_3v8: Task, solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_memory(monkeypatch)
    head, (candidates, target) = SoftmaxHead().fit(*digits_3v8.train), (digits_3v8.candidates, digits_3v8.target)
    with pytest.raises(InputError, match="solver: the correction needs the inverse Hessian as a matrix; use solver='exact'"):
        influence(head, digits_3v8.train, candidates, target, correction="leverage", solver=solver)
    with pytest.raises(InputError, match="the correction needs the inverse"):
        self_influence(head, digits_3v8.train, "leverage", solver=solver)
    assert leverage(head, digits_3v8.train).sum() > 1


@pytest.mark.usefixtures("without_type_checks")
def test_an_unknown_solver_is_refused(digits_3v8: Task) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    with pytest.raises(InputError, match="solver: got 'lissa'; expected 'auto', 'exact' or 'cg'"):
        self_influence(head, digits_3v8.train, solver="lissa")


# A Hessian that cannot be inverted: the cause and the cure.


def singular(head: SoftmaxHead, X: np.ndarray, y: np.ndarray, solver: Solver = "exact") -> str:
    with pytest.raises(InputError) as caught:
        influence(head, (X, y), (X, y), (X, y), solver=solver)
    return str(caught.value)


@pytest.mark.parametrize("max_iter", [1, 100])
def test_a_head_that_has_not_converged_is_named_as_the_cause(max_iter: int) -> None:
    X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    head = SoftmaxHead(C=np.inf, max_iter=max_iter)
    with pytest.warns(ConvergenceWarning):
        head.fit(X, y)
    with pytest.raises((InputError, UserWarning), match="head has not converged"):  # warnings are errors here
        influence(head, (X, y), (X, y), (X, y))


def test_duplicated_features_without_penalty_are_named_as_the_cause(digits_3v8: Task) -> None:
    y = np.where(np.random.default_rng(5).random(len(digits_3v8.y)) < 0.3, digits_3v8.y[::-1], digits_3v8.y)
    X = digits_3v8.X[:, [20, 21, 20]]
    head = SoftmaxHead(C=np.inf)
    with pytest.warns(ConvergenceWarning, match="duplicated"):
        head.fit(X, y)
    assert "the head has not converged" in singular(head, X, y)
    head = SoftmaxHead(C=1e18).fit(digits_3v8.X[:, [20, 21]], y)
    head.coef_, head.n_features_in_ = np.c_[head.coef_, 0.0], 3  # as if another tool had fitted it
    message = singular(head, X, y)
    assert "C = 1e+18 hardly regularises, and features are constant or duplicated" in message
    assert "lower C" in message
    message = singular(SoftmaxHead(C=1.0).fit(X, y).set_params(C=np.inf), X, y)
    assert "C = inf hardly regularises" in message


def test_conjugate_gradients_that_do_not_arrive_say_so(digits: Task) -> None:
    head = SoftmaxHead(C=1e10).fit(digits.X, digits.y)
    message = singular(head, digits.X, digits.y, "cg")
    assert "solver: conjugate gradients stopped at the relative residual" in message
    assert "lower C" in message
    assert "solver='exact'" in message


def test_solving_for_nothing_gives_nothing(both: tuple[Curvature, Curvature, Tensor, Tensor]) -> None:
    *curvatures, _, rows = both
    for curvature in curvatures:
        assert torch.equal(curvature.solve(torch.zeros_like(rows)), torch.zeros_like(rows))
        assert torch.equal(curvature.quadratic(torch.zeros_like(rows)), torch.zeros(len(rows), dtype=torch.float64))
