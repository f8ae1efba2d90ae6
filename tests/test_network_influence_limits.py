"""What influence through a network refuses or warns of, with the cure, and that it leaves no trace."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.nn import functional

from augury.errors import InputError
from augury.influence import ConjugateGradients, Exact, Lissa, NetworkInfluence, network_influence

Set = tuple[Tensor, ...]


def drawn(points: int, seed: int, shape: tuple[int, ...] = (5,)) -> Set:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(points, *shape, generator=generator, dtype=torch.float64), torch.randint(3, (points,), generator=generator)


def linear(inputs: int = 5, outputs: int = 3) -> nn.Linear:
    layer = nn.Linear(inputs, outputs).double()
    generator = torch.Generator().manual_seed(inputs + outputs)
    with torch.no_grad():
        for value in layer.parameters():
            value.copy_(torch.randn(value.shape, generator=generator, dtype=torch.float64) / 2)
    return layer


def tanh_net() -> nn.Sequential:
    return nn.Sequential(linear(5, 6), nn.Tanh(), linear(6, 3))


TRAIN, CANDIDATES, TARGET = drawn(20, 1), drawn(6, 2), drawn(8, 3)


def run(
    network: object, train: object = TRAIN, candidates: object = CANDIDATES, target: object = TARGET, **settings: object
) -> NetworkInfluence:
    return network_influence(network, train, candidates, target, **({"damping": 1.0, "device": "cpu"} | settings))


def global_states() -> tuple[object, ...]:
    """Of every generator that a network might draw from."""
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002  (they are what is looked at)


class Odd(nn.Module):
    """A linear layer whose input something happens to."""

    def __init__(self, happens: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = linear()
        self.happens = happens

    def forward(self, X: Tensor) -> Tensor:
        return self.layer(self.happens(X))


# No trace.


@pytest.mark.usefixtures("without_type_checks")  # which draw from Python's generator themselves
@pytest.mark.parametrize(
    "settings", [{}, {"solver": "exact"}, {"solver": Lissa(depth=80), "damping": 10.0}, {"curvature": "hessian", "damping": 50.0}]
)
def test_the_network_the_gradients_and_all_random_generators_are_left_as_they_were(settings: dict[str, Any]) -> None:
    network = nn.Sequential(linear(5, 6), nn.BatchNorm1d(6).double(), nn.Dropout(0.5), nn.Tanh(), linear(6, 3)).train()
    network[3].eval()
    network[4].bias.requires_grad_(requires_grad=False)
    functional.cross_entropy(network(TRAIN[0]), TRAIN[1]).backward()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    slopes = {name: None if value.grad is None else value.grad.clone() for name, value in network.named_parameters()}
    objects = [id(value) for value in network.parameters()]
    modes, needs = [module.training for module in network.modules()], [value.requires_grad for value in network.parameters()]
    generators = global_states()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    run(network, **settings)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    for name, value in network.named_parameters():
        assert (value.grad is None) == (slopes[name] is None)
        assert value.grad is None or torch.equal(value.grad, slopes[name])
    assert [id(value) for value in network.parameters()] == objects
    assert [module.training for module in network.modules()] == modes
    assert [value.requires_grad for value in network.parameters()] == needs
    assert global_states() == generators
    assert torch.backends.mha.get_fastpath_enabled() == fast_path


@pytest.mark.usefixtures("without_type_checks")
def test_nothing_is_left_changed_either_when_the_scoring_is_refused() -> None:
    network = Odd(lambda X: X + 0.1 * torch.from_numpy(np.random.standard_normal(X.shape)) + random.random()).train()  # noqa: NPY002  (as a user's code may)
    generators = global_states()
    with pytest.raises(InputError, match="draws at random"):
        run(network)
    assert network.training
    assert global_states() == generators


def test_dropout_and_batch_normalisation_are_read_in_evaluation_mode() -> None:
    plain = tanh_net()
    network = nn.Sequential(plain[0], nn.BatchNorm1d(6).double(), nn.Dropout(0.5), nn.Tanh(), plain[2])
    network[1].eps = 0.0  # with its first statistics it is the identity
    expected = run(plain).values
    network[1].requires_grad_(requires_grad=False)
    torch.testing.assert_close(run(network.train()).values, expected, rtol=1e-8, atol=1e-12)


# Scoring that is not deterministic.


@pytest.mark.parametrize(
    "happens",
    [
        lambda X: functional.dropout(X, 0.3, training=True),
        lambda X: X + 1e-6 * torch.randn_like(X),
        lambda X: X * (1 + random.random()),
        lambda X: X + torch.from_numpy(np.random.uniform(0, 1, (1, 5))),  # noqa: NPY002  (as a user's code may)
    ],
    ids=["dropout that ignores the mode", "slight noise", "python's generator", "numpy's generator"],
)
def test_a_network_that_draws_at_random_in_evaluation_mode_is_refused(happens: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError, match=r"network: its losses of the same inputs differ by .*; make it deterministic in eval\(\)"):
        run(Odd(happens))


def test_a_loss_that_depends_on_the_batch_is_refused() -> None:
    network = nn.Sequential(linear(5, 6), nn.BatchNorm1d(6, track_running_stats=False).double(), linear(6, 3))
    with pytest.raises(InputError, match=r"network: a point's loss changes by .* with the points that share its.*track_running_stats"):
        run(network)


# Matrices that cannot be solved with.


@pytest.mark.parametrize("solver", ["cg", "exact"])
def test_negative_curvature_is_refused_and_the_cure_works(solver: str) -> None:
    with pytest.raises(InputError, match=r"the Hessian is not positive definite.*use curvature='gauss-newton', or raise damping"):
        run(tanh_net(), curvature="hessian", damping=1e-3, solver=solver)
    assert run(tanh_net(), curvature="gauss-newton", damping=1e-3, solver=solver).report.converged
    assert run(tanh_net(), curvature="hessian", damping=50.0, solver=solver).report.converged


def test_a_singular_matrix_is_refused_by_the_exact_solver() -> None:
    with pytest.raises(InputError, match=r"curvature: the matrix is singular to working precision; raise damping \(now 0\)"):
        run(linear(), damping=0.0, solver="exact")


def test_conjugate_gradients_that_stop_short_warn_and_report() -> None:
    with pytest.warns(ConvergenceWarning, match=r"stopped at the relative residual .* after 2 iterations .*: raise damping .* or max_iter"):
        result = run(tanh_net(), damping=1e-6, solver=ConjugateGradients(max_iter=2))
    assert not result.report.converged
    assert result.report.iterations == 2
    assert result.report.residual > 1e-3


def test_stochastic_estimation_that_would_diverge_is_refused() -> None:
    with pytest.raises(InputError, match=r"stochastic estimation diverges with scale 0.5: raise scale, or samples"):
        run(tanh_net(), solver=Lissa(scale=0.5))
    with pytest.raises(InputError, match="diverges with scale 10: use curvature='gauss-newton', or raise damping or scale"):
        run(tanh_net(), solver=Lissa(scale=10.0, samples=1, depth=500), curvature="hessian", damping=1e-3)


def test_stochastic_estimation_that_is_too_short_warns_and_reports() -> None:
    with pytest.warns(ConvergenceWarning, match=r"left with the relative residual .*: raise depth \(now 3\), samples or repeats"):
        result = run(tanh_net(), solver=Lissa(depth=3), damping=1e-2)
    assert not result.report.converged
    assert result.report.residual > 0.1


def test_stochastic_estimation_that_leaves_flat_directions_behind_warns_although_the_residual_is_small() -> None:
    network, settings = tanh_net(), {"damping": 1e-2}
    exact = run(network, **settings).values
    with pytest.warns(ConvergenceWarning, match=r"needs a depth of .* to be free of bias"):
        result = run(network, solver=Lissa(depth=200, samples=20, tol=0.3), **settings)
    assert not result.report.converged
    assert result.report.residual < 0.3
    assert float((result.values - exact).abs().max()) > 0.3 * float(exact.abs().max())


def test_too_many_parameters_for_a_matrix_are_refused() -> None:
    wide = nn.Sequential(nn.Linear(5, 2500), nn.Linear(2500, 3)).double()
    with pytest.raises(InputError, match="solver: 'exact' forms a matrix of 22503 rows; use 'cg'"):
        run(wide, solver="exact")


# What PyTorch can and cannot differentiate.


def test_attention_works_although_its_fused_paths_have_no_second_derivative() -> None:
    torch.manual_seed(0)
    layers = nn.Unflatten(1, (5, 4)), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(20, 3)
    network = nn.Sequential(*layers).double()
    sets = drawn(12, 1, (20,)), drawn(4, 2, (20,)), drawn(5, 3, (20,))
    exact, iterative = (run(network, *sets, solver=solver).values for solver in ("exact", "cg"))
    torch.testing.assert_close(iterative, exact, rtol=1e-6, atol=1e-10)


def test_a_network_that_looks_at_values_is_worked_through_row_by_row() -> None:
    network = Odd(lambda X: X if float(X.sum()) > 1e9 else X * 1.0)
    for solver in (Exact(), Lissa(depth=60, scale=20.0)):
        expected = run(linear(), solver=solver, damping=5.0).values
        torch.testing.assert_close(run(network, solver=solver, damping=5.0).values, expected, rtol=1e-8, atol=1e-12)


class NoForward(torch.autograd.Function):
    """An operation that has no forward derivative."""

    @staticmethod
    def forward(X: Tensor) -> Tensor:
        return X * 2

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:
        pass

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return g * 2


def test_an_operation_without_a_forward_derivative_is_named_with_the_cure() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = linear()

        def forward(self, X: Tensor) -> Tensor:
            return NoForward.apply(self.layer(X))

    with pytest.raises(InputError, match=r"network: an operation in it cannot be differentiated as curvature needs: .*; replace this"):
        run(Doubled())


# Arguments.


def test_parameters_are_chosen_by_name_by_module_or_by_what_requires_a_gradient() -> None:
    network = tanh_net()
    by_module = run(network, parameters=["2"]).values
    torch.testing.assert_close(run(network, parameters=["2.weight", "2.bias"]).values, by_module)
    network[0].requires_grad_(requires_grad=False)
    torch.testing.assert_close(run(network).values, by_module)
    network[2].requires_grad_(requires_grad=False)
    with pytest.raises(InputError, match="parameters: none chosen, or none requires a gradient"):
        run(network)
    assert run(network, parameters=["0"]).values.shape == (6,)
    with pytest.raises(InputError, match="parameters: the network has no parameter or module with parameters called 'head'; expected some"):
        run(network, parameters=["head"])


def test_tied_parameters_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(3, 3, bias=False).double(), nn.Linear(3, 3, bias=False).double()
            self.out.weight = self.into.weight

        def forward(self, X: Tensor) -> Tensor:
            return self.out(torch.tanh(self.into(X)))

    network = Tied()
    sets = drawn(12, 1, (3,)), drawn(4, 2, (3,)), drawn(5, 3, (3,))
    result = run(network, *sets, solver="exact", curvature="hessian", damping=20.0)
    assert result.report.iterations == 9

    def losses(W: Tensor, points: Set) -> Tensor:
        W = W.view(3, 3)
        return functional.cross_entropy(torch.tanh(points[0] @ W.T) @ W.T, points[1], reduction="none")

    W = network.into.weight.detach().flatten()
    H = torch.func.jacrev(torch.func.grad(lambda W: losses(W, sets[0]).sum()))(W) + 20 * torch.eye(9, dtype=torch.float64)
    each, mean = torch.func.jacrev(lambda W: losses(W, sets[1]))(W), torch.func.grad(lambda W: losses(W, sets[2]).mean())(W)
    torch.testing.assert_close(result.values, -each @ torch.linalg.solve(H, mean), rtol=1e-8, atol=1e-12)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": -1.0}, "damping: got -1.0; expected a finite number that is not negative"),
        ({"penalty": {"0.weight": float("nan")}}, "penalty of 0.weight: got nan"),
        ({"penalty": {"1.weight": 1.0}}, "penalty: '1.weight' is none of the chosen parameters; expected some of 0.weight"),
        ({"curvature": "fisher"}, "curvature: got 'fisher'; expected 'gauss-newton' or 'hessian'"),
        ({"solver": "lu"}, "solver: got 'lu'; expected 'cg', 'lissa', 'exact'"),
        (
            {"network": nn.Sequential(linear(), nn.Unflatten(1, (3, 1)))},
            r"network: it gives \(20, 3, 1\) for 20 points; expected class scores",
        ),
        ({"batch": 0}, "batch: 0; expected at least 1"),
        ({"loss": functional.cross_entropy}, r"loss: it gives \(\) for 20 points; expected one for each, as reduction='none' gives"),
        ({"train": TRAIN[0]}, r"train: expected a tuple \(X, y\) or \(X, y, weight\)"),
        ({"train": (TRAIN[0], TRAIN[1][:3])}, r"train: labels of shape \(3,\) for 20 points"),
        ({"target": (TARGET[0][:0], TARGET[1][:0])}, r"target: inputs of shape \(0, 5\); expected \(points, ...\) with at least one point"),
        ({"candidates": (*CANDIDATES, -torch.ones(6))}, r"candidates\[2\]: expected finite weights that are not negative"),
        ({"candidates": (CANDIDATES[0], CANDIDATES[1] + 3)}, "candidates: torch.int64 labels .*, and the network tells 3 classes apart"),
        ({"candidates": (CANDIDATES[0], CANDIDATES[1].double())}, "candidates: torch.float64 labels of shape"),
        (
            {"candidates": (CANDIDATES[0], np.array(list("abcabc")))},
            r"candidates\[1\]: expected numbers .*encode labels as integers",
        ),
        ({"candidates": (CANDIDATES[0][:, :4], CANDIDATES[1])}, r"candidates: network or loss refuse a batch of inputs \(6, 4\)"),
        ({"target": (TARGET[0] * float("nan"), TARGET[1])}, "target: a loss is NaN or infinite"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(**({"network": tanh_net()} | settings))


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"network: got function; expected a torch.nn.Module"):
        run(lambda X: X)


@pytest.mark.parametrize(
    "settings", [{"depth": 0}, {"samples": 0}, {"repeats": 1}, {"seed": -1}, {"scale": 0.0}, {"scale": float("inf")}, {"tol": -1.0}]
)
def test_settings_of_stochastic_estimation_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"solver: {next(iter(settings))}"):
        Lissa(**settings)


@pytest.mark.parametrize("settings", [{"tol": 0.0}, {"max_iter": 0}])
def test_settings_of_conjugate_gradients_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="solver: tol"):
        ConjugateGradients(**settings)
