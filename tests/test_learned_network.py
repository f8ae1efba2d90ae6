"""E: its range, its draws, its seeds."""

from __future__ import annotations

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from augury.errors import InputError
from augury.learned import AugmentationNetwork


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 96, 96), (3, 17, 23), (1, 8, 8)], ids=str)
def test_every_image_gets_its_own_tau_between_minus_and_plus_one(shape: tuple[int, int, int]) -> None:
    network, images = AugmentationNetwork(*shape, tau_size=9), pictures(5, *shape)
    tau = network(images).detach()
    assert tau.shape == (5, 9)
    assert float(tau.abs().max()) < 1
    assert len(tau.unique(dim=0)) == 5
    for i in range(5):
        assert_allclose(network(images[i : i + 1]).detach()[0], tau[i], atol=1e-6)


def test_the_seed_decides_the_weights_and_no_generator_moves() -> None:
    before, images = torch.get_rng_state(), pictures(2, 1, 8, 8)
    one, same, other = (AugmentationNetwork(1, 8, 8, dropout=0.5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one(images, torch.Generator().manual_seed(3)), same(images, torch.Generator().manual_seed(3)))
    assert not torch.equal(one.eval()(images), other.eval()(images))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_sets_components_to_zero_and_leaves_the_others_as_they_are() -> None:
    network, images = AugmentationNetwork(1, 8, 8, tau_size=500, dropout=0.3), pictures(20, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    first, second, whole = network(images, generator), network(images, generator), network.eval()(images)
    assert abs(float((first == 0).double().mean()) - 0.3) < 0.02  # 10,000 draws
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.where(first == 0, torch.zeros_like(whole), whole))
    assert torch.equal(network(images), whole)  # in evaluation mode nothing is drawn


def test_draws_need_a_generator() -> None:
    with pytest.raises(InputError, match=r"generator: E has dropout and is in training mode; give a torch.Generator"):
        AugmentationNetwork(1, 8, 8, dropout=0.5)(pictures(1, 1, 8, 8))


def test_senseless_settings_are_refused(without_type_checks: None) -> None:
    with pytest.raises(InputError, match="dropout: 1; expected a probability from 0 to below 1"):
        AugmentationNetwork(1, 8, 8, dropout=1)
    with pytest.raises(InputError, match="tau_size: 0"):
        AugmentationNetwork(1, 8, 8, tau_size=0)
