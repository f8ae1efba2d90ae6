"""Influence through whole networks against truth: dense derivatives, retraining, closed forms, and an independent library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev
from torch.nn import functional

from augury.curvature.labelled import LabelledSet
from augury.curvature.undisturbed import network_curvature, undisturbed
from augury.head import SoftmaxHead
from augury.influence import Lissa, influence, network_influence
from conftest import Array, Task

Kind = Literal["gauss-newton", "hessian"]
KINDS = pytest.mark.parametrize("kind", ["gauss-newton", "hessian"])
DAMPING = 60.0  # above the most negative curvature of the small network
F64 = torch.float64


@dataclass(frozen=True)
class Small:
    """A convolutional network of 179 parameters that has been fitted a little, and its points."""

    network: nn.Module
    train: tuple[Tensor, Tensor, Tensor]
    candidates: tuple[Tensor, Tensor, Tensor]
    target: tuple[Tensor, Tensor, Tensor]


def drawn(points: int, seed: int, shape: tuple[int, ...] = (1, 6, 6)) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(points, *shape, generator=generator, dtype=F64)
    return X, torch.randint(3, (points,), generator=generator), 0.5 + torch.rand(points, generator=generator, dtype=F64)


def initialised(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(0.4 * torch.randn(value.shape, generator=generator))
    return network.double()


@pytest.fixture(scope="module")
def small() -> Small:
    layers = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(inplace=True)
    network = initialised(nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(8, 3)))
    return Small(network, drawn(30, 1), drawn(9, 2), drawn(12, 3))


def forward(network: nn.Module, theta: Tensor, X: Tensor) -> Tensor:
    """The network in evaluation mode with the flattened parameters theta: an oracle that shares nothing with the package."""
    parameters, start = {}, 0
    for name, value in network.named_parameters():
        parameters[name] = theta[start : start + value.numel()].view(value.shape)
        start += value.numel()
    return functional_call(network, parameters, (X,))


def theta_of(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def losses(network: nn.Module, theta: Tensor, X: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(forward(network, theta, X), y, reduction="none")


def dense(network: nn.Module, kind: Kind, X: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """sum_i w_i C_i as a matrix, by automatic differentiation of all of it, without the diagonal."""
    network.eval()
    theta = theta_of(network)
    if kind == "hessian":
        return jacrev(grad(lambda theta: w @ losses(network, theta, X, y)))(theta)
    J = jacrev(lambda theta: forward(network, theta, X))(theta)
    p = torch.softmax(forward(network, theta, X), dim=1).detach()
    S = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("n,nca,ncd,ndb->ab", w, J, S, J)


def expected(small: Small, kind: Kind, damping: float) -> Tensor:
    """The candidates' influences by the dense matrix."""
    H = dense(small.network, kind, *small.train)
    H = H + damping * torch.eye(len(H), dtype=F64)
    theta = theta_of(small.network)
    g = jacrev(lambda theta: small.target[2] @ losses(small.network, theta, *small.target[:2]) / small.target[2].sum())(theta)
    each = jacrev(lambda theta: losses(small.network, theta, *small.candidates[:2]))(theta)
    return -small.candidates[2] * (each @ torch.linalg.solve(H, g))


# Against dense matrices.


@KINDS
@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_it_is_that_of_the_dense_matrix(small: Small, kind: Kind, solver: Literal["exact", "cg"]) -> None:
    result = network_influence(
        small.network, small.train, small.candidates, small.target, damping=DAMPING, curvature=kind, solver=solver, device="cpu"
    )
    truth = expected(small, kind, DAMPING)
    torch.testing.assert_close(result.values, truth, rtol=1e-6, atol=1e-9 * float(truth.abs().max()))
    assert result.error is None
    assert result.report.converged
    assert result.report.solver == solver
    assert result.report.residual <= 1e-9
    assert 0 < result.report.iterations <= 250


@KINDS
def test_products_are_those_of_the_dense_matrix_with_a_penalty_for_each_parameter(small: Small, kind: Kind) -> None:
    network = small.network.eval()
    settings = {"loss": None, "kind": kind, "penalty": {"0.weight": 2.0, "8.bias": 3.0}, "damping": 0.5, "parameters": None, "batch": 7}
    with undisturbed(network, torch.device("cpu")):
        H = network_curvature(network, LabelledSet.of(small.train, "train"), **settings)
    names = [name for name, value in network.named_parameters() for _ in range(value.numel())]
    ridge = torch.tensor([0.5 + {"0.weight": 2.0, "8.bias": 3.0}.get(name, 0.0) for name in names], dtype=F64)
    truth = dense(network, kind, *small.train) + ridge.diag()
    close = {"rtol": 0, "atol": 1e-12 * float(truth.abs().max())}
    torch.testing.assert_close(H.matrix(H.product), truth, **close)
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((3, len(truth))))
    torch.testing.assert_close(H.product(rows), rows @ truth, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(H.product(rows[:1]), rows[:1] @ truth, rtol=1e-10, atol=1e-10)
    every = torch.arange(30).expand(3, 30)  # a sample that is the whole set
    torch.testing.assert_close(H.sampled_product(every, rows), rows @ truth, rtol=1e-10, atol=1e-10)
    singles = torch.stack([H.sampled_product(torch.tensor([[i]]), rows[:1]) for i in range(30)])
    torch.testing.assert_close(singles.mean(0), rows[:1] @ truth, rtol=1e-10, atol=1e-10)  # right in the mean


@KINDS
def test_stochastic_estimation_is_right_within_the_error_that_it_states(small: Small, kind: Kind) -> None:
    solver = Lissa(depth=100, samples=16, repeats=8, seed=1)
    result = network_influence(
        small.network, small.train, small.candidates, small.target, damping=DAMPING, curvature=kind, solver=solver, device="cpu"
    )
    truth = expected(small, kind, DAMPING)
    assert result.report.converged
    assert result.report.iterations == 100
    assert result.report.scale > float(torch.linalg.eigvalsh(dense(small.network, kind, *small.train))[-1])
    assert bool((result.error > 0).all())
    assert bool(((result.values - truth).abs() < 5 * result.error).all())  # a t-statistic with 7 degrees of freedom: 1 in 600 is beyond 5
    assert float(result.error.max()) < 0.05 * float(truth.abs().max())  # so that the line above says something
    again = network_influence(
        small.network, small.train, small.candidates, small.target, damping=DAMPING, curvature=kind, solver=solver, device="cpu"
    )
    assert torch.equal(again.values, result.values)


# Against retraining.


def minimised(network: nn.Module, penalty: float, X: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Parameters at which the penalised objective has no slope, by Newton's method from where the network is."""
    theta = theta_of(network)

    def objective(theta: Tensor) -> Tensor:
        return w @ losses(network, theta, X, y) + penalty / 2 * theta.square().sum()

    for _ in range(200):
        H, g = jacrev(grad(objective))(theta), grad(objective)(theta)
        values, vectors = torch.linalg.eigh(H)
        step = vectors @ ((vectors.T @ g) / values.abs().clamp(min=1e-3))  # downhill also where the Hessian is indefinite
        length = 1.0
        while float(objective(theta - length * step)) > float(objective(theta)) and length > 1e-6:
            length /= 2
        theta = theta - length * step
        if float(step.abs().max()) < 1e-13:
            break
    assert float(g.abs().max()) < 1e-10
    return theta


@pytest.mark.parametrize("hidden", [0, 3], ids=["convex", "hidden layer"])
def test_at_a_minimum_it_is_the_derivative_of_the_target_loss_by_retraining(hidden: int) -> None:
    layers = [nn.Linear(4, 3)] if hidden == 0 else [nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 3)]
    network = initialised(nn.Sequential(*layers)).eval()
    X, _, w = drawn(40, 1, (4,))
    y = (X[:, :3] + 0.5 * drawn(40, 9, (3,))[0]).argmax(1)
    penalty = 1.0
    best = minimised(network, penalty, X, y, w)
    nn.utils.vector_to_parameters(best, network.parameters())
    candidates, target = drawn(5, 2, (4,)), drawn(20, 3, (4,))
    predicted = network_influence(
        network, (X, y, w), candidates[:2], target, damping=0.0, penalty=penalty, curvature="hessian", device="cpu"
    ).values

    def target_loss(i: int, weight: float) -> Tensor:
        joined = torch.cat([X, candidates[0][i : i + 1]]), torch.cat([y, candidates[1][i : i + 1]])
        moved = minimised(network, penalty, *joined, torch.cat([w, torch.tensor([weight], dtype=F64)]))
        return target[2] @ losses(network, moved, *target[:2]) / target[2].sum()

    for i in range(5):
        near, far = ((target_loss(i, step) - target_loss(i, -step)) / (2 * step) for step in (0.002, 0.004))
        assert float(predicted[i]) == pytest.approx(float((4 * near - far) / 3), rel=1e-6, abs=1e-9)


def test_for_least_squares_it_is_the_closed_form_of_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    X, Xc, Xt = (torch.from_numpy(rng.standard_normal((n, 6))) for n in (30, 8, 11))
    y, yc, yt = (torch.from_numpy(rng.standard_normal(n)) for n in (30, 8, 11))
    w = torch.from_numpy(rng.uniform(0.5, 2, 30))
    H = X.T @ (w[:, None] * X) + 0.7 * torch.eye(6, dtype=F64)
    beta = torch.linalg.solve(H, X.T @ (w * y))
    network = nn.Linear(6, 1, bias=False).double()
    nn.utils.vector_to_parameters(beta, network.parameters())
    s = torch.linalg.solve(H, ((Xt @ beta - yt)[:, None] * Xt).mean(0))
    truth = -(Xc @ beta - yc) * (Xc @ s)
    for kind in ("gauss-newton", "hessian"):
        result = network_influence(
            network,
            (X, y, w),
            (Xc, yc),
            (Xt, yt),
            loss=lambda outputs, y: (outputs[:, 0] - y).square() / 2,
            curvature=kind,
            damping=0.2,
            penalty=0.5,
            device="cpu",
        )
        torch.testing.assert_close(result.values, truth, rtol=1e-9, atol=1e-12)


# Against the closed form for heads, and an independent library.


def test_restricted_to_the_last_layer_it_is_the_influence_on_the_features(digits: Task) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(64, 20), nn.Tanh()).double()
    train, candidates, target = (torch.from_numpy(X) for X in (digits.X, digits.Xc, digits.Xt))
    with torch.no_grad():
        f, fc, ft = (body(X) for X in (train, candidates, target))
    head = SoftmaxHead(C=0.5).fit(f, digits.y, digits.weights)
    last = nn.Linear(20, 10).double()
    last.weight.data, last.bias.data = torch.from_numpy(head.coef_), torch.from_numpy(head.intercept_)
    network = nn.Sequential(body, last)
    truth = influence(head, (f, digits.y, digits.weights), (fc, digits.yc), (ft, digits.yt))
    for kind in ("gauss-newton", "hessian"):  # one matrix, since the scores are linear in the last layer
        result = network_influence(
            network,
            (train, digits.y, digits.weights),
            (candidates, digits.yc),
            (target, digits.yt),
            parameters=["1"],
            penalty={"1.weight": 2.0},
            damping=1e-9,  # the intercepts' common shift has no curvature, and no gradient
            curvature=kind,
            device="cpu",
        )
        torch.testing.assert_close(result.values, truth, rtol=1e-6, atol=1e-9 * float(truth.abs().max()))


@KINDS
def test_products_and_influences_agree_with_curvlinops_on_a_mid_size_network(digits: Task, kind: Kind) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    torch.manual_seed(0)
    layers = nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 40), nn.Tanh(), nn.Linear(40, 10)
    network = nn.Sequential(*layers)
    network = network.double().eval()
    X, y = torch.from_numpy(digits.X), torch.from_numpy(digits.y)
    parameters = list(network.parameters())
    assert sum(value.numel() for value in parameters) == 23_650
    operator = {"gauss-newton": curvlinops.GGNLinearOperator, "hessian": curvlinops.HessianLinearOperator}[kind]
    theirs = operator(network, nn.CrossEntropyLoss(reduction="sum"), parameters, [(X, y)])
    settings = {"loss": None, "kind": kind, "penalty": 0.0, "damping": 0.0, "parameters": None, "batch": 64}
    H = network_curvature(network, LabelledSet.of((X, y), "train"), **settings)
    for row in torch.from_numpy(np.random.default_rng(0).standard_normal((3, H.size))):
        truth = torch.as_tensor(theirs @ row)
        torch.testing.assert_close(H.product(row[None])[0], truth, rtol=0, atol=1e-10 * float(truth.abs().max()))
    damping = 400.0  # above the most negative curvature
    g = _flat_gradient(network, torch.from_numpy(digits.Xt), torch.from_numpy(digits.yt))
    points = zip(torch.from_numpy(digits.Xc), torch.from_numpy(digits.yc), strict=True)
    each = torch.stack([_flat_gradient(network, x[None], label[None]) for x, label in points])
    values = network_influence(network, (X, y), digits.candidates, digits.target, damping=damping, curvature=kind, device="cpu").values
    s = _neumann(lambda row: torch.as_tensor(theirs @ row) + damping * row, g, scale=damping + 2 * _largest(theirs, g))
    np.testing.assert_allclose(values, -(each @ s).numpy(), rtol=1e-6, atol=1e-7 * float(np.abs(values).max()))


def _flat_gradient(network: nn.Module, X: Tensor, y: Tensor) -> Tensor:
    parts = torch.autograd.grad(functional.cross_entropy(network(X), y), list(network.parameters()))
    return torch.cat([part.flatten() for part in parts])


def _largest(operator: object, row: Tensor) -> float:
    for _ in range(10):
        row = torch.as_tensor(operator @ (row / row.norm()))
    return float(row.norm())


def _neumann(product: Callable[[Tensor], Tensor], rhs: Tensor, scale: float) -> Tensor:
    """(product)^-1 rhs by plain iteration, until it no longer moves."""
    x = rhs / scale
    for _ in range(2000):
        step = (rhs - product(x)) / scale
        x = x + step
        if float(step.norm()) < 1e-10 * float(x.norm()):
            return x
    raise AssertionError("this iteration does not converge")


# What must change nothing.


@KINDS
def test_the_batch_size_the_kind_of_array_and_the_order_of_points_change_nothing(small: Small, kind: Kind) -> None:
    def values(train: object = small.train, candidates: object = small.candidates, batch: int = 256) -> Array:
        settings = {"damping": DAMPING, "curvature": kind, "batch": batch, "device": "cpu"}
        return np.asarray(network_influence(small.network, train, candidates, small.target, **settings).values)

    truth = values()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    arrays = tuple(part.numpy() for part in small.candidates)
    for other in (values(batch=7), values(batch=16), values(candidates=arrays), values(train=tuple(part[order] for part in small.train))):
        np.testing.assert_allclose(other, truth, rtol=1e-7, atol=1e-9 * np.abs(truth).max())
    numpy = network_influence(small.network, small.train, arrays, small.target, damping=DAMPING, curvature=kind, device="cpu")
    assert isinstance(numpy.values, np.ndarray)
    assert numpy.values.dtype == np.float64


def test_a_point_twice_is_a_point_of_weight_two_and_weight_zero_is_no_point(small: Small) -> None:
    def values(train: tuple[Tensor, ...]) -> Tensor:
        return network_influence(small.network, train, small.candidates, small.target, damping=1.0, device="cpu").values

    X, y, _ = small.train
    twice = values((torch.cat([X[:20], X[:5]]), torch.cat([y[:20], y[:5]])))
    weights = torch.tensor([2.0] * 5 + [1.0] * 15 + [0.0] * 10, dtype=F64)
    torch.testing.assert_close(values((X, y, weights)), twice, rtol=1e-7, atol=1e-10)


def test_uint8_images_are_read_as_the_same_images_in_floats_and_float32_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (20, 1, 6, 6), dtype=np.uint8), rng.integers(0, 3, 20)
    network = initialised(nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 3)))

    def values(X: Array) -> Array:
        return network_influence(network, (X, y), (X[:4], y[:4]), (X, y), damping=1.0, device="cpu").values

    truth = values(images / 255)
    np.testing.assert_allclose(values(images), truth, rtol=1e-5)  # scaled in float32
    network.float()
    np.testing.assert_allclose(values(images), truth, rtol=1e-3)
