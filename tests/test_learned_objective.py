"""What an image is worth to a target: against dense derivatives, refits, the influence of heads and networks, and by gradcheck."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.nn import functional

from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence, network_influence
from augury.learned import AugmentationNetwork, BoundedTransformation, FieldTransformation, WarpingTransformation
from augury.learned import objective as module
from augury.learned.classifier import Classifier
from augury.learned.objective import Target, effects, target_direction
from augury.networks import build

F64 = torch.float64
CLASSES, FEATURES = 3, 4


def drawn(points: int, seed: int, *, dtype: torch.dtype = F64, side: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(points, 1, side, side, generator=generator, dtype=F64).to(dtype)
    return images, torch.randint(CLASSES, (points,), generator=generator)


def network(*, dtype: torch.dtype = F64, bias: bool = True, side: int = 4) -> nn.Sequential:
    """Pixels to four smooth features to three class scores."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Flatten(), nn.Linear(side * side, FEATURES), nn.Tanh(), nn.Linear(FEATURES, CLASSES, bias=bias)
        for layer in (layers[1], layers[3]):
            nn.init.normal_(layer.weight, std=1.5)
        return nn.Sequential(*layers).to(dtype)


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solve to all digits: how early it stops is a choice of cost alone."""
    monkeypatch.setattr(module, "TOL", 1e-13)
    monkeypatch.setattr(module, "ITERATIONS", 1000)


@dataclass(frozen=True)
class Dense:
    """The head's own problem, written out: W, gradients and Hessians by autograd."""

    classifier: Classifier
    images: Tensor
    target: Target
    ridge: float

    @property
    def W(self) -> Tensor:
        linear = self.classifier.linear
        return torch.cat([linear.weight, linear.bias[:, None]], dim=1).detach()

    def features(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.classifier(images)[0]

    def mean_hessian(self) -> Tensor:
        f, W = self.features(self.images), self.W
        labels = torch.zeros(len(f), dtype=torch.long)  # which does not matter
        H: Tensor = hessian(lambda V: functional.cross_entropy(f @ V.T, labels), W)
        return H.reshape(W.numel(), W.numel())

    def target_loss(self, W: Tensor) -> Tensor:
        return functional.cross_entropy(self.features(self.target.images) @ W.T, self.target.labels)

    def s(self) -> Tensor:
        W = self.W.requires_grad_()
        (g,) = torch.autograd.grad(self.target_loss(W), W)
        H = self.mean_hessian() + self.ridge * torch.eye(W.numel(), dtype=F64)
        return torch.linalg.solve(H, g.flatten()).view(W.shape) / len(self.images)


def dense(damping: float = 0.1) -> Dense:
    images, _ = drawn(40, 1)
    F = network()
    classifier = Classifier.of(F, images)
    bare = Dense(classifier, images, Target(*drawn(15, 2)), 0.0)
    return Dense(classifier, images, bare.target, damping * float(bare.mean_hessian().trace()) / CLASSES)


def direction(problem: Dense, damping: float = 0.1) -> Tensor:
    return target_direction(problem.classifier, problem.images, problem.target, damping=damping, points=len(problem.images))[0]


def test_the_last_linear_layer_is_found_and_its_input_are_the_features() -> None:
    F, (images, _) = network(), drawn(5, 0)
    classifier = Classifier.of(F, images)
    features, scores = classifier(images)
    assert classifier.layer == "3"
    assert classifier.linear is F[3]
    assert torch.equal(features[:, :-1], F[:3](images))
    assert torch.equal(features[:, -1], torch.ones(5, dtype=F64))
    assert torch.equal(scores, F(images))
    assert_allclose(classifier.scores(features).detach(), scores.detach(), rtol=1e-5)
    assert_allclose(classifier.head, torch.cat([F[3].weight, F[3].bias[:, None]], 1).detach(), rtol=1e-6)


@pytest.mark.parametrize("name", ["tiny", "strided", "allconv", "resnet20", "lenet"])
def test_every_reference_network_has_such_a_layer(name: str) -> None:
    built = build(name, channels=1, height=16, width=16, classes=5, seed=0)
    assert Classifier.of(built.module, torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))).layer == built.classifier


def test_a_layer_without_biases_has_biases_of_zero() -> None:
    images, _ = drawn(5, 0)
    classifier = Classifier.of(network(bias=False), images)
    assert torch.equal(classifier.head[:, -1], torch.zeros(CLASSES))


def test_finding_the_layer_leaves_modes_and_gradients_as_they_were() -> None:
    F, (images, _) = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.Linear(16, 3)), drawn(6, 0, dtype=torch.float32)
    F[1].eval()
    before = {name: value.clone() for name, value in F.state_dict().items()}, torch.get_rng_state()
    Classifier.of(F, images)(images[:2])
    assert [layer.training for layer in F] == [True, False, True, True]
    assert all(value.grad is None for value in F.parameters())
    assert not F[3]._forward_pre_hooks
    Classifier.of(F.eval(), images)(images)
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.equal(F.state_dict()["3.weight"], before[0]["3.weight"])


def test_trying_it_out_does_not_move_the_running_means() -> None:
    F, (images, _) = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)), drawn(6, 0, dtype=torch.float32)
    Classifier.of(F, images)
    assert torch.equal(F[1].running_mean, torch.zeros(16))


class Unused(nn.Module):
    """Its last linear layer plays no part in its output."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.used(images.flatten(1))


class Twice(Unused):
    """It runs its last linear layer twice."""

    def forward(self, images: Tensor) -> Tensor:
        return self.spare(images.flatten(1)) + self.spare(images.flatten(1))


@pytest.mark.parametrize(
    ("F", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Softmax(dim=1)), "its output is not that of '1', its last linear layer"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.LogSoftmax(dim=1)), r".*\(leave a softmax at its end to the loss"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.MaxPool1d(2)), "its output is not that of '1'"),
        (nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten()), "it has no linear layer; influence is taken through the last one"),
        (nn.Sequential(nn.Linear(4, 3), nn.Flatten()), r"its layer '0' does not take \(points, features\) once in a pass"),
        (Unused(), "its layer 'spare' does not take"),
        (Twice(), "its layer 'spare' does not take"),
    ],
    ids=["softmax", "log-softmax", "pooled", "convolution", "pixels", "unused", "twice"],
)
def test_networks_that_do_not_end_in_a_linear_layer_are_refused(F: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=f"model: {message}"):
        Classifier.of(F, drawn(5, 0, dtype=torch.float32)[0])


def test_in_bfloat16_features_and_scores_come_out_as_float32_and_are_close() -> None:
    F, (images, _) = network(dtype=torch.float32), drawn(5, 0, dtype=torch.float32)
    features, scores = Classifier.of(F, images, "bfloat16")(images)
    exact = Classifier.of(F, images)(images)
    assert features.dtype == scores.dtype == torch.float32
    assert_allclose(features.detach(), exact[0].detach(), atol=0.03)
    assert_allclose(scores.detach(), exact[1].detach(), atol=0.1)
    assert not torch.equal(scores, exact[1])


@pytest.mark.parametrize("damping", [0.003, 0.1, 1.0])
def test_the_direction_is_the_dense_solve(damping: float, exactly: None) -> None:
    problem = dense(damping)
    found, solved = target_direction(problem.classifier, problem.images, problem.target, damping=damping, points=40)
    assert solved.converged
    assert_allclose(found, problem.s(), rtol=1e-8, atol=1e-10 * float(found.abs().max()))


def test_the_direction_as_it_is_solved_for_is_that_one_within_the_tolerance() -> None:
    problem = dense()
    found, solved = target_direction(problem.classifier, problem.images, problem.target, damping=0.1, points=40)
    expected = problem.s()
    assert solved.residual <= module.TOL
    assert float((found - expected).norm() / expected.norm()) < 0.01


def test_the_number_of_points_and_the_size_of_the_blocks_matter_as_they_should(monkeypatch: pytest.MonkeyPatch, exactly: None) -> None:
    problem = dense()
    one, ten = (target_direction(problem.classifier, problem.images, problem.target, damping=0.1, points=n)[0] for n in (1, 10))
    assert_allclose(one, 10 * ten, rtol=1e-12)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert_allclose(direction(problem), one / 40, rtol=1e-9)


def test_a_targets_label_that_the_network_does_not_know_is_refused() -> None:
    problem = dense()
    unknown = Target(problem.target.images, problem.target.labels + 1)
    with pytest.raises(InputError, match="target: labels up to 3, and the network tells 3 classes apart"):
        target_direction(problem.classifier, problem.images, unknown, damping=0.1, points=40)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_effects_are_minus_s_times_the_gradient_of_the_loss(*, bounded: bool, aligned: bool) -> None:
    problem, (images, labels) = dense(), drawn(8, 3)
    s, W, expected = direction(problem), dense().W.requires_grad_(), []
    for f, label in zip(problem.features(images), labels, strict=True):
        scores = W @ f
        (g,) = torch.autograd.grad(functional.cross_entropy(scores[None], label[None]), W)
        length = float(g.norm()) if aligned else 1
        expected.append(float(-(s * g).sum() / length * (scores.detach().softmax(0)[label] if bounded else 1)))
    found = effects(s, *problem.classifier(images), labels, bounded=bounded, aligned=aligned)
    assert_allclose(found.detach(), expected, rtol=1e-10)
    assert {math.copysign(1, value) for value in expected} == {-1, 1}


def test_a_destroyed_image_is_worth_nothing_where_effects_are_bounded() -> None:
    s, f, labels = torch.tensor([[1.0, 0], [-1, 0]]), torch.tensor([[1.0, 1], [1, 1]]), torch.tensor([0, 0])
    scores = torch.tensor([[-30.0, 0], [0, 0]])
    assert_allclose(effects(s, f, scores, labels, bounded=False), [2, 1], rtol=1e-6)
    assert_allclose(effects(s, f, scores, labels, bounded=True), [0, 0.5], atol=1e-6)


def refitted(problem: Dense, labels: Tensor, start: Tensor, point: tuple[Tensor, Tensor], weight: float) -> Tensor:
    """The minimum of the damped objective with `point` in it besides, by Newton's method.

    sum over the images of the loss + (points x ridge / 2) |W - W0|^2 + weight x the point's loss, where the linear term makes `start` the
    minimum at weight 0: then the network's own W, wherever training has left it, is what weight moves.
    """
    f, (x, y), count = problem.features(problem.images), point, len(problem.images)

    def loss(W: Tensor) -> Tensor:
        fit: Tensor = functional.cross_entropy(f @ W.T, labels, reduction="sum")
        return fit + weight * functional.cross_entropy((W @ x)[None], y[None]) + count * problem.ridge / 2 * (W - start).square().sum()

    V = start.clone().requires_grad_()
    (tilt,) = torch.autograd.grad(functional.cross_entropy(f @ V.T, labels, reduction="sum"), V)
    W = start.clone()
    for _ in range(6):
        V = W.clone().requires_grad_()
        (g,) = torch.autograd.grad(loss(V) - (tilt * V).sum(), V)
        H: Tensor = hessian(loss, W)  # type: ignore[no-untyped-call]
        W = W - torch.linalg.solve(H.reshape(W.numel(), -1), g.flatten()).view(W.shape)
    return W


def test_adding_weight_to_a_point_really_changes_the_targets_loss_by_its_effect(exactly: None) -> None:
    problem, labels, (images, classes) = dense(), drawn(40, 1)[1], drawn(5, 3)
    predicted = effects(direction(problem), *problem.classifier(images), classes, bounded=False).detach()
    measured = []
    for point in zip(problem.features(images), classes, strict=True):
        up, down = (problem.target_loss(refitted(problem, labels, problem.W, point, eps)) for eps in (1e-3, -1e-3))
        measured.append(float((up - down) / 2e-3))
    assert_allclose(predicted, measured, rtol=1e-5)


def test_effects_are_those_of_the_network_influence_of_its_last_layer(exactly: None) -> None:
    problem, (images, labels) = dense(), drawn(8, 3)
    theirs = network_influence(
        problem.classifier.network,
        (problem.images, drawn(40, 1)[1]),
        (images, labels),
        problem.target,
        damping=40 * problem.ridge,
        solver="exact",
        parameters=["3"],
    )
    ours = effects(direction(problem), *problem.classifier(images), labels, bounded=False)
    assert_allclose(ours.detach(), theirs.values, rtol=1e-8)


def test_effects_are_those_of_the_fitted_head_where_both_have_next_to_no_damping(exactly: None) -> None:
    (images, labels), target, (others, classes) = drawn(200, 1), Target(*drawn(15, 2)), drawn(8, 3)
    F = network()
    with torch.no_grad():
        f, g, h = (F[:3](part) for part in (images, target.images, others))
    head = SoftmaxHead(C=1e7).fit(f, labels)
    with torch.no_grad():
        F[3].weight.copy_(torch.as_tensor(head.coef_))
        F[3].bias.copy_(torch.as_tensor(head.intercept_))
    theirs = influence(head, (f, labels), (h, classes), (g, target.labels))
    s, _ = target_direction(Classifier.of(F, images), images, target, damping=1e-9, points=200)
    ours = effects(s, *Classifier.of(F, images)(others), classes, bounded=False)
    assert_allclose(ours.detach(), theirs, rtol=1e-4)


def test_an_image_that_is_learned_wholly_is_worth_nothing_however_effects_are_compared() -> None:
    s, f, scores = torch.tensor([[1.0, 0], [-1, 0]]), torch.tensor([[1.0, 1]]), torch.tensor([[200.0, 0]])
    for aligned in (False, True):
        assert float(effects(s, f, scores, torch.tensor([0]), bounded=True, aligned=aligned)) == 0


MAKERS: dict[str, WarpingTransformation] = {
    "fields": FieldTransformation(1, 4, 4, tau_size=5, pooling=2, seed=3),
    "spatial": FieldTransformation(1, 4, 4, kind="spatial", tau_size=5, seed=3),
    "appearance": FieldTransformation(1, 4, 4, kind="appearance", tau_size=5, seed=3),
    "bounded": BoundedTransformation(1, 4, 4, control=4),
}


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_the_gradient_reaches_e_through_f_and_g(name: str, *, bounded: bool) -> None:
    problem, (images, labels) = dense(), drawn(2, 7)
    images = 0.3 + 0.4 * images  # away from the limits 0 and 1, where clamping has no derivative
    G = MAKERS[name].double()
    E = AugmentationNetwork(1, 4, 4, tau_size=G.tau_size, seed=5).double()
    s, last = direction(problem), E.body[-1]
    assert isinstance(last, nn.Linear)
    names = [name for name, _ in E.named_parameters()]

    def worth(*weights: Tensor) -> Tensor:
        tau = torch.func.functional_call(E, dict(zip(names, weights, strict=True)), (images,))
        return effects(s, *problem.classifier(G(images, tau)), labels, bounded=bounded).mean() * 1e3

    weights = [value.detach().clone().requires_grad_() for value in E.parameters()]
    assert torch.autograd.gradcheck(worth, weights, fast_mode=True)
    (gradient,) = torch.autograd.grad(worth(*weights), weights[-1])
    assert float(gradient.abs().max()) > 1e-4  # there is something to learn
    assert torch.autograd.gradcheck(lambda bias: worth(*weights[:-1], bias), weights[-1:])  # every entry on its own
