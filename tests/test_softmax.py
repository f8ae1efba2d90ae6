from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import augury.softmax
from augury.softmax import HalfForms, SoftmaxProblem, class_blocks, contrast, design, kronecker, point_losses, residuals, spreads
from conftest import PeakMemory

CLASSES = pytest.mark.parametrize("classes", [2, 3, 7])


def random_problem(classes: int, points: int = 30, features: int = 4, seed: int = 0) -> tuple[SoftmaxProblem, Tensor]:
    """Weighted points of every class, and parameters far from the minimum, where every term of the derivatives counts."""
    rng = np.random.default_rng(seed)
    problem = SoftmaxProblem(
        torch.from_numpy(rng.standard_normal((points, features))),
        torch.from_numpy(rng.integers(0, classes, points)),
        torch.from_numpy(rng.uniform(0.5, 2, points)),
        classes,
        penalty=0.7,
    )
    return problem, torch.from_numpy(rng.standard_normal(problem.shape))


def plain_objective(problem: SoftmaxProblem, V: Tensor) -> Tensor:
    """J, with torch's cross-entropy and no blocks."""
    scores = torch.cat([problem.features, torch.ones(len(problem.features), 1, dtype=torch.float64)], dim=1) @ V.T @ problem.basis.T
    losses = torch.nn.functional.cross_entropy(scores, problem.labels, reduction="none")
    return problem.weights @ losses + problem.penalty / 2 * V[:, :-1].square().sum()


def plain_hessian(problem: SoftmaxProblem, V: Tensor) -> Tensor:
    return torch.func.jacrev(torch.func.grad(lambda V: plain_objective(problem, V)))(V).reshape(V.numel(), V.numel())


@CLASSES
def test_the_contrasts_leave_out_only_the_direction_in_which_all_scores_rise_together(classes: int) -> None:
    B = contrast(classes, torch.zeros(0, dtype=torch.float64))
    together = torch.cat([B, torch.ones(classes, 1, dtype=torch.float64)], dim=1)
    assert torch.linalg.matrix_rank(together) == classes
    if classes > 2:
        torch.testing.assert_close(B.T @ B, torch.eye(classes - 1, dtype=torch.float64), rtol=0, atol=1e-15)
        torch.testing.assert_close(B.sum(0), torch.zeros(classes - 1, dtype=torch.float64), rtol=0, atol=1e-15)


@CLASSES
def test_objective_gradient_and_hessian_are_those_of_automatic_differentiation(classes: int) -> None:
    problem, V = random_problem(classes)
    assert problem.objective(V) == pytest.approx(float(plain_objective(problem, V)), rel=1e-14)
    expected = torch.func.grad(lambda V: plain_objective(problem, V))(V)
    torch.testing.assert_close(problem.gradient(V), expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(problem.hessian(V), plain_hessian(problem, V), rtol=1e-11, atol=1e-12)


@CLASSES
def test_products_and_diagonal_are_those_of_the_dense_hessian(classes: int) -> None:
    problem, V = random_problem(classes)
    H = plain_hessian(problem, V)
    rows = torch.from_numpy(np.random.default_rng(1).standard_normal((5, V.numel())))
    torch.testing.assert_close(problem.hessian_product(V, rows), rows @ H, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(problem.hessian_diagonal(V), H.diagonal(), rtol=1e-12, atol=0)


def test_the_derivatives_leave_their_argument_as_it_was() -> None:
    problem, V = random_problem(3)
    before = V.clone()
    rows = torch.ones(2, V.numel(), dtype=torch.float64)
    problem.gradient(V), problem.hessian(V), problem.hessian_diagonal(V), problem.hessian_product(V, rows)
    assert torch.equal(V, before)
    assert torch.equal(rows, torch.ones(2, V.numel(), dtype=torch.float64))


@CLASSES
def test_the_size_of_a_block_changes_nothing(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, V = random_problem(classes)
    rows = torch.from_numpy(np.random.default_rng(1).standard_normal((5, V.numel())))

    def all_of_it() -> list[Tensor]:
        return [
            torch.tensor(problem.objective(V), dtype=torch.float64),
            problem.gradient(V),
            problem.hessian(V),
            problem.hessian_diagonal(V),
            problem.hessian_product(V, rows),
        ]

    whole = all_of_it()
    for elements in (1, 35, 10_000):  # one point; seven, so that the last block is a short one; all
        monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", elements)
        torch.testing.assert_close(all_of_it(), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_the_hessian_needs_memory_for_a_block_and_itself_also_with_many_classes(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, V = random_problem(classes, points=600, features=8)
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", 1 << 13)
    with PeakMemory(problem.features.numpy(), problem.labels.numpy(), problem.weights.numpy(), V.numpy()) as memory:
        problem.hessian(V)
    assert memory.peak < 8 * (1 << 13) + 3 * V.numel() ** 2


MARGINS = st.lists(st.floats(-600, 600), min_size=1, max_size=5)


@given(MARGINS, st.integers(0, 5), st.floats(-1000, 1000))
def test_losses_and_residuals_keep_their_digits_however_sure_the_head_is(margins: list[float], own: int, shift: float) -> None:
    own = min(own, len(margins))
    below = [math.floor(margin * 16) / 16 for margin in margins]  # dyadic, so that shifting the scores rounds nothing away
    shift = math.floor(shift)
    scores = torch.tensor([[shift - m for m in below[:own]] + [shift] + [shift - m for m in below[own:]]], dtype=torch.float64)
    label = torch.tensor([own])
    rest = sorted(math.exp(-m) for m in below)
    odds = math.fsum(rest)  # all other classes' probability over the own one's: exp(loss) - 1
    assert float(point_losses(scores, label)) == pytest.approx(math.log1p(odds), rel=1e-12, abs=1e-300)
    r = residuals(scores, label)[0]
    assert float(r[own]) == pytest.approx(-odds / (1 + odds), rel=1e-12, abs=1e-300)
    for value, m in zip(torch.cat([r[:own], r[own + 1 :]]).tolist(), below, strict=True):
        assert value == pytest.approx(math.exp(-m) / (1 + odds), rel=1e-12, abs=1e-300)


@CLASSES
def test_spreads_are_the_second_derivative_of_the_loss_along_the_contrasts(classes: int) -> None:
    rng = np.random.default_rng(2)
    scores = torch.from_numpy(rng.standard_normal((6, classes)) * 3)
    labels = torch.from_numpy(rng.integers(0, classes, 6))
    B = contrast(classes, scores)

    def loss(s: Tensor, label: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(s[None], label[None])

    H = torch.func.vmap(torch.func.jacrev(torch.func.grad(loss)))(scores, labels)
    torch.testing.assert_close(spreads(scores, B), B.T @ H @ B, rtol=1e-10, atol=1e-14)


def test_the_design_matrix_ends_in_ones() -> None:
    assert torch.equal(design(torch.tensor([[2.0, 3.0]])), torch.tensor([[2.0, 3.0, 1.0]]))


@pytest.mark.parametrize(("classes", "features", "points"), [(4, 3, 5), (4, 60, 30), (7, 40, 1700), (30, 9, 90)])
def test_the_hessian_by_halves_is_the_sum_over_points_of_kronecker_products(classes: int, features: int, points: int) -> None:
    problem, V = random_problem(classes, points, features)
    f = design(problem.features)
    S = spreads(f @ V.T @ problem.basis.T, problem.basis) * problem.weights[:, None, None]
    expected = torch.einsum("nab,ni,nj->aibj", S, f, f).reshape(V.numel(), V.numel())
    found = problem.hessian(V)
    torch.testing.assert_close(found - 0.7 * torch.diag(torch.ones_like(V).index_fill(1, torch.tensor([features]), 0).flatten()), expected)
    assert torch.equal(found, found.T)


@pytest.mark.parametrize("classes", [2, 5])
def test_probabilities_that_are_known_change_nothing(classes: int) -> None:
    problem, V = random_problem(classes, 80, 6)
    p = problem.probabilities(V)
    torch.testing.assert_close(p.sum(1), torch.ones(80, dtype=torch.float64))
    torch.testing.assert_close(problem.gradient(V, p), problem.gradient(V), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(problem.hessian(V, None, p), problem.hessian(V), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        problem.hessian_operator(V, p)(V.flatten()[None]), problem.hessian_product(V, V.flatten()[None]), rtol=1e-13, atol=0
    )


@pytest.mark.parametrize(("directions", "params", "points"), [(1, 3, 4), (3, 50, 900), (9, 7, 20)])
def test_forms_by_halves_are_those_of_the_symmetric_matrix(directions: int, params: int, points: int) -> None:
    rng = np.random.default_rng(4)
    root = torch.from_numpy(rng.standard_normal((directions * params, directions * params)))
    M = (root @ root.T).reshape(directions, params, directions, params)
    f, basis = torch.from_numpy(rng.standard_normal((points, params))), contrast(directions + 1, M)
    plain = torch.einsum("ni,aibj,nj->nab", f, M, f)
    forms = HalfForms(M, basis)
    q = forms.of(f)
    torch.testing.assert_close(forms.matrices(q), (plain + plain.transpose(1, 2)) / 2, rtol=1e-11, atol=1e-9)
    scores = torch.from_numpy(rng.standard_normal((points, directions + 1)))
    r = residuals(scores, torch.from_numpy(rng.integers(0, directions + 1, points)))
    along = r @ basis
    torch.testing.assert_close(-(forms.products(r) * q).sum(0), torch.einsum("na,nab,nb->n", along, plain, along), rtol=1e-10, atol=1e-9)
    traces = torch.einsum("nab,nba->n", spreads(scores, basis), plain)
    torch.testing.assert_close((forms.products(torch.softmax(scores, 1)) * q).sum(0), traces, rtol=1e-10, atol=1e-9)


def preconditioned(problem: SoftmaxProblem, V: Tensor, form: type) -> Tensor:
    """The approximate inverse as a matrix."""
    f = design(problem.features)
    close = form([(f, torch.softmax(f @ V.T @ problem.basis.T, 1), problem.weights)], problem.basis, problem.penalty)
    eye = torch.eye(V.numel(), dtype=torch.float64)
    r, g = torch.from_numpy(np.random.default_rng(0).standard_normal((len(f), len(V)))), f
    quadratic = close.quadratic(g, r)
    rows = (r[:, :, None] * g[:, None]).flatten(1)
    torch.testing.assert_close(quadratic, (rows * close.solve(rows)).sum(1), rtol=1e-4, atol=0)
    inverse: Tensor = close.solve(eye)
    return inverse


@pytest.mark.parametrize("form", [class_blocks, kronecker])
def test_both_preconditioners_are_symmetric_and_close_to_the_hessian(form: type) -> None:
    problem, _ = random_problem(6, 400, 8)
    V = torch.zeros(problem.shape, dtype=torch.float64)
    inverse = preconditioned(problem, V, form)
    torch.testing.assert_close(inverse, inverse.T, rtol=1e-5, atol=1e-9)
    eigenvalues = torch.linalg.eigvals(inverse @ problem.hessian(V)).real
    assert eigenvalues.min() > 0.5
    assert eigenvalues.max() < 2


def test_where_all_points_have_the_same_probabilities_the_kronecker_product_is_the_hessian_but_for_the_intercepts_penalty() -> None:
    problem, _ = random_problem(6, 400, 8)
    V = torch.zeros(problem.shape, dtype=torch.float64)
    H = problem.hessian(V) + 0.7 * torch.diag(torch.zeros_like(V).index_fill(1, torch.tensor([8]), 1).flatten())
    torch.testing.assert_close(preconditioned(problem, V, kronecker) @ H, torch.eye(V.numel(), dtype=torch.float64), rtol=0, atol=1e-10)
