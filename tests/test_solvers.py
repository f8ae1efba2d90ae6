from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from augury.solvers import (
    DivergedError,
    NotPositiveDefiniteError,
    cholesky,
    condition_of,
    conjugate_gradients,
    known_to,
    largest_eigenvalue,
    refine,
    stochastic_solution,
    upper_factor,
)

SIZES = st.integers(1, 12)
SEEDS = st.integers(0, 2**32 - 1)


def positive_definite(size: int, seed: int, condition: float = 1e3) -> Tensor:
    """A random rotation of eigenvalues spread over `condition`."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return torch.from_numpy(Q * np.geomspace(1, condition, size) @ Q.T)


@given(SIZES, SEEDS)
def test_the_cholesky_factor_is_lower_triangular_and_gives_the_matrix_back(size: int, seed: int) -> None:
    A = positive_definite(size, seed)
    A = (A + A.T) / 2
    L = cholesky(A)
    assert torch.equal(L, L.tril())
    torch.testing.assert_close(L @ L.T, A, rtol=0, atol=1e-12 * float(A.abs().max()))


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 1.0], [1.0, 1.0]],
        [[0.0, 0.0], [0.0, 1.0]],
        [[1.0, 2.0], [2.0, 1.0]],
        [[-1.0, 0.0], [0.0, 1.0]],
        [[1.0, 1.0], [1.0, 1.0 + 1e-16]],
        [[float("nan"), 0.0], [0.0, 1.0]],
    ],
    ids=["singular", "zero diagonal", "indefinite", "negative", "singular to rounding", "NaN"],
)
def test_a_matrix_that_is_not_positive_definite_is_refused(matrix: list[list[float]]) -> None:
    with pytest.raises(NotPositiveDefiniteError):
        cholesky(torch.tensor(matrix, dtype=torch.float64))


def test_a_duplicated_direction_is_found_singular_although_rounding_leaves_a_positive_pivot() -> None:
    refused = 0
    for seed in range(50):
        f = np.random.default_rng(seed).standard_normal((40, 6))
        f = np.c_[f, f @ np.random.default_rng(seed + 1).standard_normal(6)]
        with pytest.raises(NotPositiveDefiniteError):
            cholesky(torch.from_numpy(f.T @ f))
        refused += 1
    assert refused == 50


def test_the_units_of_a_parameter_do_not_decide_whether_a_matrix_is_positive_definite() -> None:
    A = positive_definite(5, seed=0)
    units = torch.tensor([1.0, 1.0, 1.0, 1.0, 1e10], dtype=torch.float64)
    L = cholesky(units[:, None] * A * units)
    torch.testing.assert_close(L / units[:, None], cholesky(A), rtol=1e-10, atol=1e-12)


@given(SIZES, st.integers(1, 4), SEEDS)
def test_conjugate_gradients_solve_every_system_as_numpy_does(size: int, systems: int, seed: int) -> None:
    A = positive_definite(size, seed)
    rhs = torch.from_numpy(np.random.default_rng(seed + 1).standard_normal((systems, size)))
    found = conjugate_gradients(lambda rows: rows @ A, rhs, A.diagonal(), tol=1e-12, max_iter=50 * size)
    assert found.converged
    assert found.residual <= 1e-11
    # the error of a solution is at most its residual times the condition, here 1e3
    np.testing.assert_allclose(found.solution.numpy(), np.linalg.solve(A.numpy(), rhs.numpy().T).T, rtol=0, atol=1e-7)


def test_without_rounding_conjugate_gradients_need_one_step_for_each_different_eigenvalue() -> None:
    A = torch.diag(torch.tensor([1.0, 1.0, 5.0, 5.0, 9.0], dtype=torch.float64))
    rhs = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]], dtype=torch.float64)
    assert conjugate_gradients(lambda rows: rows @ A, rhs, torch.ones(5, dtype=torch.float64), tol=1e-14, max_iter=9).iterations == 3
    assert conjugate_gradients(lambda rows: rows @ A, rhs, A.diagonal(), tol=1e-14, max_iter=9).iterations == 1


def test_a_system_is_solved_alike_alone_and_beside_others() -> None:
    A = positive_definite(8, seed=3)
    rhs = torch.from_numpy(np.random.default_rng(4).standard_normal((3, 8))) * torch.tensor([[1.0], [1e-9], [0.0]], dtype=torch.float64)
    together = conjugate_gradients(lambda rows: rows @ A, rhs, A.diagonal(), tol=1e-13, max_iter=200)
    assert together.converged
    assert torch.equal(together.solution[2], torch.zeros(8, dtype=torch.float64))
    for row, solution in zip(rhs[:2], together.solution[:2], strict=True):
        alone = conjugate_gradients(lambda rows: rows @ A, row[None], A.diagonal(), tol=1e-13, max_iter=200).solution[0]
        np.testing.assert_allclose(solution.numpy(), alone.numpy(), rtol=0, atol=1e-10 * float(alone.abs().max()))


def test_conjugate_gradients_say_how_far_they_got_when_steps_run_out() -> None:
    A = positive_definite(12, seed=5, condition=1e8)
    rhs = torch.ones(1, 12, dtype=torch.float64)
    found = conjugate_gradients(lambda rows: rows @ A, rhs, A.diagonal(), tol=1e-12, max_iter=2)
    assert not found.converged
    assert found.iterations == 2
    assert found.residual == pytest.approx(float((found.solution @ A - rhs).norm() / rhs.norm()), rel=1e-12)


def test_conjugate_gradients_do_not_claim_to_have_solved_a_singular_system() -> None:
    A = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    found = conjugate_gradients(lambda rows: rows @ A, torch.ones(1, 2, dtype=torch.float64), A.diagonal(), tol=1e-12, max_iter=20)
    assert not found.converged


@given(SIZES, SEEDS)
def test_without_a_diagonal_conjugate_gradients_solve_all_the_same(size: int, seed: int) -> None:
    A = positive_definite(size, seed)
    rhs = torch.from_numpy(np.random.default_rng(seed + 1).standard_normal((2, size)))
    found = conjugate_gradients(lambda rows: rows @ A, rhs, None, tol=1e-12, max_iter=50 * size)
    assert found.converged
    assert not found.indefinite
    np.testing.assert_allclose(found.solution.numpy(), np.linalg.solve(A.numpy(), rhs.numpy().T).T, rtol=0, atol=1e-7)


def test_conjugate_gradients_stop_at_negative_curvature() -> None:
    A = positive_definite(8, seed=1)
    A = A - 2 * float(torch.linalg.eigvalsh(A)[0]) * torch.eye(8, dtype=torch.float64)
    found = conjugate_gradients(lambda rows: rows @ A, torch.ones(1, 8, dtype=torch.float64), None, tol=1e-12, max_iter=100)
    assert found.indefinite
    assert not found.converged
    assert found.iterations <= 8


@given(SIZES, st.integers(0, 3), SEEDS)
def test_the_upper_factor_is_that_of_the_stacked_rows(size: int, blocks: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [torch.from_numpy(rng.standard_normal((n, size))) for n in (size, *rng.integers(1, 9, blocks))]
    rows[0] = rows[0].triu()
    A = torch.cat(rows)
    R = upper_factor(rows[0], rows[1:])
    assert torch.equal(R, R.triu())
    torch.testing.assert_close(R.T @ R, A.T @ A, rtol=0, atol=1e-12 * float((A.T @ A).abs().max()))


def test_the_upper_factor_keeps_digits_where_a_cholesky_factor_has_none_left() -> None:
    f = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 6)))
    A = torch.cat([f[:, :5], f[:, :1] + 1e-9 * f[:, 5:]], dim=1)
    with pytest.raises(NotPositiveDefiniteError):
        cholesky(A.T @ A)
    nothing = torch.zeros(6, 6, dtype=torch.float64)
    R = upper_factor(nothing, [A[:6], A[6:]])
    assert float(R[-1, -1].abs()) < 1e-6
    with pytest.raises(NotPositiveDefiniteError):
        upper_factor(nothing[:2, :2], [A[:, [0, 0]]])


@given(SIZES, SEEDS, st.floats(0, 5))
def test_a_factor_is_known_to_more_digits_than_rounding_takes(size: int, seed: int, log_condition: float) -> None:
    rng = np.random.default_rng(seed)
    root = torch.from_numpy(rng.standard_normal((3 * size, size)))
    root[:, -1] = root[:, 0] + 10**-log_condition * root[:, -1]
    g = torch.from_numpy(rng.standard_normal((size, 5)))
    factor = cholesky(root.T @ root)
    found = torch.linalg.solve_triangular(factor, g, upper=False).square().sum(0)
    exact = torch.linalg.solve_triangular(upper_factor(torch.zeros_like(factor), [root]).T, g, upper=False).square().sum(0)
    assert float((found / exact - 1).abs().max()) <= known_to(factor) + 1e-13
    assert known_to(factor) < 1e-7 * 10 ** (2 * log_condition)


@given(SIZES, SEEDS)
def test_the_power_method_finds_the_largest_eigenvalue_of_each_matrix(size: int, seed: int) -> None:
    A = torch.stack([positive_definite(size, seed), -3 * positive_definite(size, seed + 1)])
    start = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, size)))
    found = largest_eigenvalue(lambda rows: torch.einsum("sij,sj->si", A, rows), start, steps=400)
    truth = torch.linalg.eigvalsh(A).abs().amax(1)
    torch.testing.assert_close(found, truth, rtol=1e-2, atol=0)
    assert bool((found <= truth * (1 + 1e-12)).all())
    assert torch.equal(largest_eigenvalue(torch.zeros_like, start, steps=3), torch.zeros(2, dtype=torch.float64))


def test_stochastic_estimation_tends_to_the_solution_of_the_mean_matrix() -> None:
    draws = np.random.default_rng(0)
    A = positive_definite(6, seed=2, condition=5)

    def draw(rows: Tensor) -> Tensor:
        noise = torch.from_numpy(draws.uniform(0.5, 1.5, (len(rows), 1)))
        return noise * (rows @ A)

    rhs = torch.from_numpy(draws.standard_normal((1, 6))).expand(8, -1)
    truth = torch.linalg.solve(A, rhs[0])
    error = [(stochastic_solution(draw, rhs, scale=10.0, depth=depth).mean(0) - truth).norm() / truth.norm() for depth in (100, 10_000)]
    assert float(error[1]) < 0.01
    assert float(error[1]) < float(error[0])
    without_noise = stochastic_solution(lambda rows: rows @ A, rhs, scale=10.0, depth=2000)
    torch.testing.assert_close(without_noise, truth.expand(8, -1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("largest", "scale"), [(5.0, 1.0), (float("nan"), 10.0)])
def test_stochastic_estimation_notices_that_it_diverges(largest: float, scale: float) -> None:
    A = torch.diag(torch.tensor([1.0, largest], dtype=torch.float64))
    with pytest.raises(DivergedError):
        stochastic_solution(lambda rows: rows @ A, torch.ones(1, 2, dtype=torch.float64), scale=scale, depth=100)


def badly_scaled(size: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    root = torch.from_numpy(rng.standard_normal((2 * size, size)) * np.logspace(0, 3, size))
    return root.T @ root


def test_the_condition_number_is_that_of_the_matrix_scaled_to_a_diagonal_of_ones() -> None:
    matrix = badly_scaled(30)
    scale = matrix.diagonal().sqrt()
    exact = float(torch.linalg.cond(matrix / scale / scale[:, None]))
    found = condition_of(matrix, cholesky(matrix))
    assert 0.4 * exact < found <= exact
    assert condition_of(matrix, cholesky(matrix), steps=300) == pytest.approx(exact, rel=1e-6)


def test_conjugate_gradients_with_the_matrixs_own_inverse_need_one_iteration_and_meet_a_condition_of_one() -> None:
    matrix = badly_scaled(30)
    rows = torch.ones(2, 30, dtype=torch.float64)
    own = cholesky(matrix)
    found = conjugate_gradients(
        lambda x: x @ matrix, rows, None, tol=1e-9, max_iter=50, precondition=lambda x: torch.cholesky_solve(x.T, own).T
    )
    assert found.converged
    assert found.iterations == 1
    assert found.condition == pytest.approx(1, abs=1e-6)


def test_the_condition_met_by_conjugate_gradients_is_that_of_the_preconditioned_matrix() -> None:
    matrix = badly_scaled(20)
    scale = matrix.diagonal().sqrt()
    found = conjugate_gradients(lambda x: x @ matrix, torch.ones(1, 20, dtype=torch.float64), matrix.diagonal(), tol=1e-13, max_iter=200)
    assert found.condition == pytest.approx(float(torch.linalg.cond(matrix / scale / scale[:, None])), rel=1e-3)


@given(SIZES, SEEDS)
def test_refinement_by_a_factor_in_single_precision_solves_to_double(size: int, seed: int) -> None:
    A = positive_definite(size, seed)
    rhs = torch.from_numpy(np.random.default_rng(seed + 1).standard_normal((3, size)))
    factor = torch.linalg.cholesky(A.float())
    products = []

    def product(rows: Tensor) -> Tensor:
        products.append(rows)
        return rows @ A

    found = refine(product, rhs, lambda rows: torch.cholesky_solve(rows.T.float(), factor).T.double(), tol=1e-11)
    assert found.converged
    assert found.iterations == len(products) <= 4
    assert found.residual == float(((found.solution @ A - rhs).norm(dim=1) / rhs.norm(dim=1)).max()) <= 1e-11
    torch.testing.assert_close(found.solution, torch.linalg.solve(A, rhs.T).T, rtol=1e-7, atol=1e-7)


def test_refinement_gives_up_where_its_solve_is_no_inverse() -> None:
    A, rhs = positive_definite(6, 0), torch.ones(2, 6, dtype=torch.float64)
    found = refine(lambda rows: rows @ A, rhs, lambda rows: rows / 100, tol=1e-11)
    assert not found.converged
    assert found.iterations <= 3
    assert not refine(lambda rows: rows * math.nan, rhs, lambda rows: rows, tol=1e-11).converged


def test_refinement_leaves_a_right_hand_side_of_zero_at_zero() -> None:
    A = positive_definite(4, 0)
    found = refine(lambda rows: rows @ A, torch.zeros(1, 4, dtype=torch.float64), lambda rows: rows, tol=1e-11)
    assert found.converged
    assert torch.equal(found.solution, torch.zeros(1, 4, dtype=torch.float64))
