"""What tells real images, or real flows, from those that G makes: the critics of a Wasserstein GAN with gradient penalty."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.learned.layers import reader
from augury.networks import seeded

SLOPE = 0.2  # of the leaky rectifiers


class Critic(nn.Module):
    """An image (or a flow, which has two channels) to one number, higher for what looks real: the paper's D, appendix A."""

    def __init__(self, channels: int, height: int, width: int, seed: int = 0) -> None:
        super().__init__()
        with seeded(seed):
            self.body = reader(channels, height, width, SLOPE, outputs=1)

    def forward(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, " points"]:
        """How real each one looks; only differences have a meaning."""
        scores: Tensor = self.body(images)
        return scores[:, 0]


def gradient_penalty(
    critic: nn.Module,
    real: Float[Tensor, "points channels height width"],
    made: Float[Tensor, "points channels height width"],
    shares: Float[Tensor, " points"],
) -> Float[Tensor, ""]:
    """How far the critic is from having slope 1 between real and made images: the mean of (|gradient| - 1)^2.

    The gradient is taken at `shares` of the way from made to real, one share a pair (Gulrajani et al. 2017, *Improved Training of
    Wasserstein GANs*, Algorithm 1, there multiplied by lambda = 10). It can be differentiated by the critic's weights.
    """
    between = torch.lerp(made, real, shares[:, None, None, None]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    slopes: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (slopes - 1).square().mean()
