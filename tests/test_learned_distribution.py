"""E as a distribution: draws, densities and divergences against torch's and scipy's Beta distributions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats
from torch import Tensor
from torch.distributions import Beta, kl_divergence

from augury.errors import InputError
from augury.learned import TauDistribution, load_module, save_module
from augury.learned.distribution import MARGIN, STEEPEST

F64 = torch.float64
SHAPES = [(1.0, 1.0), (2.0, 5.0), (0.5, 0.5), (30.0, 4.0), (0.05, 0.05), (0.02, 3.0)]  # of one component each


def pictures(points: int, seed: int = 0) -> Tensor:
    return torch.rand(points, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def of(shapes: list[tuple[float, float]], **settings: Any) -> TauDistribution:  # noqa: ANN401  (any of its settings)
    """The distribution with these parameters a and b, one pair a component."""
    found = TauDistribution(1, 8, 8, tau_size=len(shapes), widths=True, **settings).double()
    with torch.no_grad():
        raw = STEEPEST * torch.atanh(torch.tensor(shapes, dtype=F64).T.log() / STEEPEST)
        a, b = raw - STEEPEST * torch.atanh(found.first.log() / STEEPEST)
        found.shared.copy_(torch.stack([(a - b) / 2, -(a + b) / 4]))  # how far to one side, and how much wider
    return found


def reference(shapes: list[tuple[float, float]]) -> Beta:
    return Beta(*torch.tensor(shapes, dtype=F64).T)


def moved(seed: int) -> TauDistribution:
    """A conditional distribution that has left its first weights."""
    found = TauDistribution(1, 8, 8, tau_size=3, conditional=True, seed=seed)
    with torch.no_grad():
        for value in found.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=generator(seed)))
    return found


def test_the_parameters_are_those_that_were_asked_for() -> None:
    for axis, found in enumerate(of(SHAPES).parameters_of(pictures(4).double())):
        assert_allclose(found.detach(), [[pair[axis] for pair in SHAPES]] * 4, rtol=1e-9)


@pytest.mark.parametrize("place", range(len(SHAPES)), ids=[str(shape) for shape in SHAPES])
def test_draws_follow_the_beta_distribution(place: int) -> None:
    drawn = of(SHAPES).sample(pictures(20_000).double(), generator())[:, place].numpy()
    expected = stats.beta(*SHAPES[place], loc=-1, scale=2)
    inside = np.abs(drawn) < 1 - MARGIN
    assert inside.mean() == pytest.approx(expected.cdf(1 - MARGIN) - expected.cdf(MARGIN - 1), abs=0.01)
    assert np.abs(drawn).max() <= 1 - MARGIN + 1e-12
    share = stats.uniform(expected.cdf(MARGIN - 1), expected.cdf(1 - MARGIN) - expected.cdf(MARGIN - 1))
    assert stats.kstest(expected.cdf(drawn[inside]), share.cdf).pvalue > 1e-3
    assert drawn.mean() == pytest.approx(expected.mean(), abs=5 * expected.std() / np.sqrt(20_000))
    spread = expected.var() * np.sqrt((float(expected.stats("k")) + 2) / 20_000)
    assert drawn.var() == pytest.approx(expected.var(), abs=5 * spread)


def test_the_steepest_distribution_draws_ends_never_the_middle() -> None:
    ends = TauDistribution(1, 8, 8, tau_size=2, widths=True)
    with torch.no_grad():
        ends.shared[1] = 100.0  # as wide as can be
    drawn = ends.sample(pictures(20_000), generator())
    middle = stats.beta(np.exp(-STEEPEST), np.exp(-STEEPEST), loc=-1, scale=2)
    assert float((drawn.abs() < 0.5).double().mean()) < 2 * (middle.cdf(0.5) - middle.cdf(-0.5))
    assert float((drawn > 0).double().mean()) == pytest.approx(0.5, abs=0.02)


def test_components_and_images_are_drawn_independently() -> None:
    drawn = of(SHAPES).sample(pictures(20_000).double(), generator()).numpy()
    assert_allclose(np.corrcoef(drawn.T), np.eye(len(SHAPES)), atol=0.03)
    assert abs(np.corrcoef(drawn[:-1, 1], drawn[1:, 1])[0, 1]) < 0.03


def test_the_generator_alone_decides_the_draws() -> None:
    E, images, before = of(SHAPES), pictures(7).double(), torch.get_rng_state()
    chance = generator(1)
    first, second = E.sample(images, chance), E.sample(images, chance)
    assert torch.equal(first, E.sample(images, generator(1)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, E.sample(images, generator(2)))
    assert torch.equal(torch.get_rng_state(), before)
    assert not first.requires_grad


def test_log_densities_are_the_products_over_the_uniform_distribution() -> None:
    E, images = of(SHAPES), pictures(50).double()
    tau = E.sample(images, generator())
    ours = E.log_density(images, tau)
    uniform = Beta(torch.ones(1, dtype=F64), torch.ones(1, dtype=F64))
    theirs = reference(SHAPES).log_prob((tau + 1) / 2) - uniform.log_prob(torch.tensor(0.5, dtype=F64))
    assert_allclose(ours.detach(), theirs.sum(dim=1), rtol=1e-9)


def test_the_log_density_has_the_gradient_of_its_values() -> None:
    E, images = of(SHAPES[:4]), pictures(3).double()
    tau = E.sample(images, generator())

    def density(shared: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(E, {"shared": shared}, (), {})
        return result

    E.forward = lambda: E.log_density(images, tau)  # type: ignore[method-assign]
    assert torch.autograd.gradcheck(density, (E.shared.detach().clone().requires_grad_(),))


@pytest.mark.parametrize("concentration", [1.0, 8.0, 0.3])
def test_the_divergence_is_that_from_the_first_distribution(concentration: float) -> None:
    E = of(SHAPES, concentration=concentration)
    first = float(E.first[0])
    theirs = kl_divergence(reference(SHAPES), reference([(first, first)] * len(SHAPES))).sum()
    assert_allclose(E.divergence(pictures(4).double()).detach(), [float(theirs)] * 4, rtol=1e-8)


def test_the_moments_are_those_of_the_distribution() -> None:
    mean, deviation = of(SHAPES).moments(pictures(2).double()).detach()
    assert_allclose(mean[0], 2 * reference(SHAPES).mean - 1, rtol=1e-9)
    assert_allclose(deviation[1], 2 * reference(SHAPES).stddev, rtol=1e-9)


@pytest.mark.parametrize("conditional", [False, True])
def test_it_begins_as_the_uniform_distribution_for_every_image(*, conditional: bool) -> None:
    E, images = TauDistribution(1, 8, 8, tau_size=3, conditional=conditional), pictures(5)
    assert torch.equal(E.parameters_of(images), torch.ones(2, 5, 3))
    assert_allclose(E.log_density(images, E.sample(images, generator())).detach(), np.zeros(5), atol=1e-6)
    assert_allclose(E.divergence(images).detach(), np.zeros(5), atol=1e-6)
    assert stats.kstest(E.sample(pictures(5000), generator()).flatten(), stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_with_a_concentration_it_begins_narrower_component_by_component() -> None:
    E, images = TauDistribution(1, 8, 8, tau_size=2, concentration=[1, 12]), pictures(3)
    mean, deviation = E.moments(images).detach()
    assert_allclose(mean, np.zeros((3, 2)), atol=1e-6)
    assert_allclose(deviation.square(), [[1 / 3, 1 / 25]] * 3, rtol=1e-5)
    assert_allclose(E.divergence(images).detach(), np.zeros(3), atol=1e-5)


@pytest.mark.parametrize("conditional", [False, True])
def test_both_kinds_learn_and_only_the_conditional_one_tells_images_apart(*, conditional: bool) -> None:
    E, images = TauDistribution(1, 8, 8, tau_size=2, conditional=conditional), pictures(2)
    optimizer = torch.optim.Adam(E.parameters(), 0.01)
    wanted = torch.tensor([[0.7, -0.7], [-0.7, 0.7]])
    for _ in range(60):
        optimizer.zero_grad()
        (-E.log_density(images, wanted).mean()).backward()
        optimizer.step()
    one, other = E.moments(images)[0].detach()
    assert torch.equal(one, other) is not conditional
    if conditional:
        assert float((one - wanted[0]).abs().max()) < 0.2


def test_an_image_has_the_same_distribution_whatever_else_is_in_the_batch() -> None:
    E, images = moved(1), pictures(4)
    whole = E.parameters_of(images).detach()
    for i in range(4):
        assert_allclose(E.parameters_of(images[i : i + 1]).detach()[:, 0], whole[:, i], rtol=1e-5)
    assert not torch.equal(whole[:, 0], whole[:, 1])


@pytest.mark.parametrize(
    "E",
    [of(SHAPES).float(), TauDistribution(1, 8, 8, tau_size=2, concentration=[2, 12]), moved(2)],
    ids=["shared", "narrow", "conditional"],
)
def test_it_comes_back_from_its_file_with_the_same_bits(E: TauDistribution, tmp_path: Path) -> None:
    back = load_module(save_module(E, tmp_path / "e.safetensors"), TauDistribution)
    images = pictures(6)
    assert back.settings == E.settings
    assert torch.equal(back.sample(images, generator()), E.sample(images, generator()))
    assert save_module(back, tmp_path / "again").read_bytes() == (tmp_path / "e.safetensors").read_bytes()


def test_the_seed_decides_the_first_weights_and_no_generator_moves() -> None:
    before = torch.get_rng_state()
    one, same, other = (TauDistribution(1, 8, 8, tau_size=2, conditional=True, seed=seed) for seed in (1, 1, 2))
    weights = [E.get_parameter("body.0.weight") for E in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau_size": 0}, "tau_size: 0; expected the transformation's, at least 1"),
        ({"tau_size": 2, "concentration": 0}, "concentration: 0; expected a number from 0.01 to 100, or 2 of them"),
        ({"tau_size": 2, "concentration": [1, 1, 1]}, r"concentration: \[1, 1, 1\]"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], message: str, without_type_checks: None) -> None:
    with pytest.raises(InputError, match=message):
        TauDistribution(1, 8, 8, **settings)


def test_one_weight_moves_to_a_side_and_the_other_widens() -> None:
    found = TauDistribution(1, 8, 8, tau_size=2, widths=True, concentration=[20.0, 6.0])
    with torch.no_grad():
        found.shared[0, 0], found.shared[1, 1] = 0.5, 0.1
    (a, b), first = found.parameters_of(pictures(3)).detach()[:, 0], [20.0, 6.0]
    assert float((a / b)[0].log() / 2) == pytest.approx(0.5, rel=0.6)
    assert_allclose((a / b)[1], 1, rtol=1e-6)
    means, deviations = found.shared_moments()
    assert float(means[0]) > 0.2
    assert float(means[1]) == pytest.approx(0, abs=1e-6)
    began = (1 / (2 * first[1] + 1)) ** 0.5
    assert float(deviations[1]) == pytest.approx(began * np.exp(0.1), rel=0.05)


@pytest.mark.parametrize("shapes", [(1.0, 1.0), (2.0, 5.0), (12.0, 4.0)])
def test_draws_are_differentiable_as_their_mean_and_variance_are(shapes: tuple[float, float]) -> None:
    found, images = of([shapes]), pictures(40_000).double()
    drawn = found.rsample(images, generator())
    mean, deviation = found.moments(images[:1])[:, 0, 0]
    for told, known in ((drawn.mean(), mean), (drawn.square().mean(), mean.square() + deviation.square())):
        gradients = [torch.autograd.grad(value, found.shared, retain_graph=True)[0] for value in (told, known)]
        assert_allclose(gradients[0], gradients[1], atol=0.02)
        assert float(gradients[1].abs().max()) > 0.1
    assert torch.equal(drawn.detach(), found.sample(images, generator()))


def test_what_is_kept_is_drawn_as_at_the_beginning() -> None:
    found = TauDistribution(1, 8, 8, tau_size=1, widths=True, concentration=2.0, kept=0.25)
    with torch.no_grad():
        found.shared.copy_(torch.tensor([[1.2], [-0.8]]))
    images = pictures(4000)
    mixed, learned = found.sample(images, generator()).numpy(), found.rsample(images, generator()).detach().numpy()
    a, b = (float(value) for value in found.parameters_of(images[:1]).detach()[:, 0, 0])

    def share(tau: Any) -> Any:  # noqa: ANN401  (of scipy's kinds)
        return 0.25 * stats.beta(2, 2).cdf((tau + 1) / 2) + 0.75 * stats.beta(a, b).cdf((tau + 1) / 2)

    assert stats.kstest(mixed[:, 0], share).pvalue > 0.01
    assert stats.kstest((learned[:, 0] + 1) / 2, stats.beta(a, b).cdf).pvalue > 0.01
    tau = torch.linspace(-0.9, 0.9, 7)[:, None]
    density = 0.25 * stats.beta(2, 2).pdf((tau[:, 0] + 1) / 2) + 0.75 * stats.beta(a, b).pdf((tau[:, 0] + 1) / 2)
    assert_allclose(found.log_density(images[:7], tau).detach(), np.log(density), rtol=1e-4)


def test_components_that_learned_nothing_change_no_image() -> None:
    found = TauDistribution(1, 8, 8, tau_size=3, widths=True, concentration=2.0, kept=0.5, least=0.4)
    with torch.no_grad():
        found.shared.copy_(torch.tensor([[0.1, 1.2, 0.0], [0.0, 0.0, -1.0]]))  # a little to one side, far to one side, narrower
    images = pictures(4000)
    assert (found.divergences(images[:1])[0] > 0.4).tolist() == [False, True, True]
    tau = found.sample(images, generator())
    unchanged = tau[:, 0] == 0
    assert abs(float(unchanged.double().mean()) - 0.5) < 0.03  # the other half are as at the beginning
    assert torch.equal(tau[unchanged], found.rsample(images, generator()).detach()[unchanged] * torch.tensor([0.0, 1.0, 1.0]))
    assert not (tau[~unchanged] == 0).any()


def test_each_image_has_components_of_its_own_that_learned_something() -> None:
    found, images = moved(1), pictures(50)
    divergences = found.divergences(images)
    least = float(divergences.detach().median())
    some = TauDistribution(**found.settings | {"least": least})
    some.load_state_dict(found.state_dict())
    assert torch.equal(some.sample(images, generator()) != 0, divergences > least)


@pytest.mark.parametrize("least", [-0.1, float("nan")])
def test_what_is_no_divergence_is_refused(least: float) -> None:
    with pytest.raises(InputError, match=r"least: .*; expected a divergence in nats, at least 0"):
        TauDistribution(1, 8, 8, tau_size=1, least=least)


@pytest.mark.parametrize("kept", [-0.1, 1.0])
def test_a_share_that_cannot_be_kept_is_refused(kept: float) -> None:
    with pytest.raises(InputError, match=r"kept: .*; expected a share of the draws, from 0 to below 1"):
        TauDistribution(1, 8, 8, tau_size=1, kept=kept)
