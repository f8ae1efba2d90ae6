from __future__ import annotations

import copy

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from augury.learned.agreement import MEMORY, AgreedDescent

RATE = 0.01


def weights(size: int = 1) -> nn.Parameter:
    return nn.Parameter(torch.zeros(size, dtype=torch.float64))


def noise(steps: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(steps, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def followed(gradients: Tensor, significance: float, certain: float = 0.0) -> Tensor:
    """Where zeros come to along these gradients."""
    found = weights(gradients.shape[1])
    descent = AgreedDescent([found], RATE, significance)
    for gradient in gradients:
        descent.descend([gradient], [certain])
    return found.detach()


def test_without_noise_it_goes_at_the_learning_rate_whatever_the_gradients_size() -> None:
    gradients = torch.tensor([1e-6, 1.0, -1e6], dtype=torch.float64).expand(300, 3)
    reached = followed(gradients, significance=0.0)
    assert_allclose(reached, [-3.0, -3.0, 3.0], rtol=1e-9)


def test_the_standard_error_is_that_of_the_running_mean() -> None:
    """With a significance of 2 a running mean of noise is beyond it in 1 step of 22, at any age of the mean."""
    components = 40_000
    for steps in (2, 10, 200):
        mean = torch.zeros(components, dtype=torch.float64)
        for gradient in noise(steps, components):
            mean = MEMORY * mean + (1 - MEMORY) * gradient
        faded = MEMORY**steps
        seen = (1 + MEMORY) * (1 - faded) / ((1 - MEMORY) * (1 + faded))
        assert_allclose(float((mean / (1 - faded)).std()), seen**-0.5, rtol=0.02)


def test_noise_alone_moves_next_to_nothing_and_a_plain_descent_much() -> None:
    gradients = noise(1500, 200)
    agreed, plain = (followed(gradients, significance).abs().mean() for significance in (3.0, 0.0))
    assert float(agreed) < float(plain) / 50


def test_what_the_gradients_agree_on_is_followed_through_noise() -> None:
    reached = followed(noise(1500, 50) + 0.7, significance=3.0)
    assert float(reached.max()) < -0.25 * 1500 * RATE * 0.7


def test_what_is_certain_needs_no_agreement() -> None:
    gradients = noise(1500, 50)
    assert float((followed(gradients, 3.0, certain=0.1) - followed(gradients, 3.0)).mean()) == pytest.approx(-150 * RATE, rel=0.05)


def test_no_step_is_longer_than_the_learning_rate() -> None:
    assert_allclose(followed(torch.ones(1, 1, dtype=torch.float64), 0.0, certain=1e9), [-RATE])


def test_gradients_of_nothing_move_nothing() -> None:
    assert followed(torch.zeros(5, 2, dtype=torch.float64), 3.0).tolist() == [0, 0]


def test_it_goes_on_from_its_state_to_the_same_bits() -> None:
    gradients = noise(100, 3)
    straight = followed(gradients, 1.0)
    found = weights(3)
    descent = AgreedDescent([found], RATE, 1.0)
    for step, gradient in enumerate(gradients):
        if step == 40:
            state = copy.deepcopy(descent.state_dict())
            descent = AgreedDescent([found], RATE, 1.0)
            descent.load_state_dict(state)
        descent.descend([gradient], [0.0])
    assert torch.equal(found.detach(), straight)


def test_as_any_optimizer_it_follows_what_lies_in_grad() -> None:
    found = weights()
    descent = AgreedDescent([found], RATE, 0.0)

    def closure() -> float:
        found.grad = torch.ones_like(found)
        return 5.0

    assert descent.step(closure) == 5.0
    assert_allclose(found.detach(), [-RATE])
