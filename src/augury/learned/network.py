"""E: what chooses an image's tau by looking at it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.errors import InputError
from augury.learned.layers import check_shape, reader
from augury.networks import seeded
from augury.transforms.border import Real


class AugmentationNetwork(nn.Module):
    """An image to its tau in (-1, 1): the network E of *Learning to Augment Influential Data*, appendix A.

    Three convolutions at 28 pixels, four at 32, and so on at other sizes, then a linear layer and tanh.

    Parameters
    ----------
    channels, height, width
        The images' shape.
    tau_size
        As the transformation's; the paper has 128.
    dropout
        The probability with which a component of tau is set to 0 in training mode, so that an image gets more than one tau. What is left
        keeps its size, and tau the range for which the transformation was trained. 0: the paper's deterministic E.
    seed
        Of the first weights.
    """

    def __init__(self, channels: int, height: int, width: int, *, tau_size: int = 128, dropout: Real = 0.0, seed: int = 0) -> None:
        check_shape(channels, height, width)
        if tau_size < 1:
            raise InputError(f"tau_size: {tau_size}; expected the transformation's, at least 1")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout: {dropout:g}; expected a probability from 0 to below 1")
        super().__init__()
        self.tau_size, self.dropout = tau_size, dropout
        self.settings: dict[str, Any] = {"channels": channels, "height": height, "width": width}
        self.settings |= {"tau_size": tau_size, "dropout": dropout, "seed": seed}
        with seeded(seed):
            self.body = reader(channels, height, width, slope=0.0, outputs=tau_size)

    def forward(
        self, images: Float[Tensor, "points channels height width"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "points tau"]:
        """The images' taus; with dropout and in training mode, `generator` draws what is dropped.

        Raises
        ------
        InputError
            If something is to be drawn and there is no generator.
        """
        tau: Tensor = self.body(images).tanh()
        if not self.training or self.dropout == 0:
            return tau
        if generator is None:
            raise InputError("generator: E has dropout and is in training mode; give a torch.Generator, or call eval() first")
        return tau * (torch.rand(tau.shape, generator=generator, device=generator.device) >= self.dropout).to(tau)
