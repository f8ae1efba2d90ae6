"""E as a distribution: which taus an image should be changed by, and how often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.errors import InputError
from augury.learned.layers import check_shape, reader
from augury.networks import seeded
from augury.transforms.border import Real

STEEPEST = 5.0  # the Beta distributions' parameters stay between e^-5 and e^5
NEAREST = 0.99  # and so near their logarithms may come to these bounds at once
LOWEST, HIGHEST = 0.01, 100.0  # of what they may be at the beginning
MARGIN = 1e-4  # taus keep so far from -1 and 1, where densities may be infinite


class TauDistribution(nn.Module):
    """Independent Beta distributions over the components of tau, on (-1, 1); symmetric to begin with, or uniform.

    With both parameters 1 a component is uniform, as in a random augmentation; larger ones narrow it, and unequal ones shift it. So what is
    learned can be read: by how much, and to which side, each change is made.

    Parameters
    ----------
    channels, height, width
        The images' shape.
    tau_size
        As the transformation's.
    concentration
        Both parameters at the beginning, for all components or one by one: 1 is uniform, and variance 1 / (2 concentration + 1). A
        transformation may so have wide bounds that are hardly touched unless something is learned; see `BoundedTransformation.within`.
    widths
        Whether it is also learned how widely each change varies, the two parameters moving by the same factor; otherwise only how far to
        which side, by opposite factors. Where draws are compared by influence one by one, milder ones look better, and widths would only
        shrink.
    kept
        The share of the draws that are still made as at the beginning, whatever has been learned. Moments and divergence are those of what
        has been learned.
    least
        Components that diverge from their beginning by no more than so many nats have learned nothing: they change no image, tau being 0.
        None: all are drawn.
    conditional
        Whether the distributions depend on the image, through the paper's convolutions; otherwise all images share them.
    seed
        Of the first weights, where it is conditional.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        tau_size: int,
        concentration: Real | Sequence[Real] = 1.0,
        widths: bool = False,
        kept: Real = 0.0,
        least: Real | None = None,
        conditional: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 <= kept < 1:
            raise InputError(f"kept: {kept:g}; expected a share of the draws, from 0 to below 1")
        if least is not None and not least >= 0:
            raise InputError(f"least: {least:g}; expected a divergence in nats, at least 0, such as 0.5, or None")
        if conditional:
            check_shape(channels, height, width)
        if tau_size < 1:
            raise InputError(f"tau_size: {tau_size}; expected the transformation's, at least 1")
        super().__init__()
        first = [concentration] * tau_size if isinstance(concentration, int | float) else list(concentration)
        if len(first) != tau_size or not all(LOWEST < value < HIGHEST for value in first):
            raise InputError(
                f"concentration: {concentration}; expected a number from {LOWEST:g} to {HIGHEST:g}, or {tau_size} of them, one a component"
            )
        self.tau_size, self.widths, self.kept, self.least, self.conditional = tau_size, widths, kept, least, conditional
        self.settings: dict[str, Any] = {"channels": channels, "height": height, "width": width}
        self.settings |= {"tau_size": tau_size, "concentration": first, "widths": widths}
        self.settings |= {"kept": kept, "least": least, "conditional": conditional, "seed": seed}
        self.first: Tensor
        self.register_buffer("first", torch.tensor(first, dtype=torch.float32), persistent=False)
        self.shared = nn.Parameter(torch.zeros(1 + widths, tau_size))
        self.body: nn.Module | None = None
        if conditional:
            with seeded(seed):
                self.body = _from_zero(reader(channels, height, width, slope=0.0, outputs=self.shared.numel()))

    def parameters_of(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "2 points tau"]:
        """The Beta distributions' two parameters, a and b, for each image and component."""
        moved = self.shared[:, None].expand(-1, len(images), self.tau_size)
        if self.body is not None:
            moved = moved + self.body(images).view(len(images), len(self.shared), self.tau_size).transpose(0, 1)
        return self._shapes(moved)

    def _shapes(self, moved: Float[Tensor, "*sides points tau"]) -> Float[Tensor, "2 points tau"]:
        side, wider = moved[0], moved[1] if self.widths else torch.zeros_like(moved[0])
        raw = _steeper(self.first) + torch.stack([side, -side]) - 2 * wider  # about in units of the deviation's logarithm
        return (STEEPEST * torch.tanh(raw / STEEPEST)).exp()

    def sample(self, images: Float[Tensor, "points channels height width"], generator: torch.Generator) -> Float[Tensor, "points tau"]:
        """One tau an image, drawn by a CPU generator; no derivative runs through it."""
        learned = self.rsample(images, generator).detach()
        if self.least is not None:
            learned = learned * (self.divergences(images) > self.least)
        if not self.kept:
            return learned
        first = self.sample_first(images, generator)
        return torch.where(torch.rand(len(images), 1, generator=generator).to(images) < self.kept, first, learned)

    def sample_first(
        self, images: Float[Tensor, "points channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "points tau"]:
        """The same as it was at the beginning."""
        return _drawn(self.first.expand(2, len(images), -1), generator).to(images)

    def rsample(self, images: Float[Tensor, "points channels height width"], generator: torch.Generator) -> Float[Tensor, "points tau"]:
        """What has been learned alone, whatever is `kept`, and all of its components; differentiable in E's weights.

        Each draw moves as its quantile does (Figurnov, Mohamed and Mnih 2018).
        """
        return _drawn(self.parameters_of(images), generator).to(images)

    def log_density(
        self, images: Float[Tensor, "points channels height width"], tau: Float[Tensor, "points tau"]
    ) -> Float[Tensor, " points"]:
        """The log of each tau's density, the product over its components, less that of the uniform distribution."""
        density = _log_density(tau, *self.parameters_of(images))
        if not self.kept:
            return density
        kept = math.log(self.kept) + _log_density(tau, self.first, self.first)
        return torch.logaddexp(density + math.log1p(-self.kept), kept)

    def divergence(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, " points"]:
        """Kullback and Leibler's divergence from the first distribution, in nats: how much has been learned, or forgotten to vary."""
        return self.divergences(images).sum(dim=1)

    def divergences(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "points tau"]:
        """The same for each component, of which it is the sum."""
        a, b = self.parameters_of(images)
        total = torch.digamma(a + b)
        mean = (a - self.first) * (torch.digamma(a) - total) + (b - self.first) * (torch.digamma(b) - total)
        divergences: Tensor = mean + _log_beta(self.first, self.first) - _log_beta(a, b)
        return divergences

    def moments(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "2 points tau"]:
        """Mean and standard deviation of each component; 0 and 0.577 where it is uniform."""
        return _moments(*self.parameters_of(images))

    def shared_moments(self) -> Float[Tensor, "2 tau"]:
        """The same without images, where all share the distribution."""
        return _moments(*self._shapes(self.shared.detach()[:, None]))[:, 0]


def _steeper(shapes: Tensor) -> Tensor:
    """What `STEEPEST` bounds to the logarithms of these parameters."""
    return STEEPEST * torch.atanh((shapes.log() / STEEPEST).clamp(-NEAREST, NEAREST))


def _moments(a: Tensor, b: Tensor) -> Tensor:
    """Mean and standard deviation, on (-1, 1)."""
    return torch.stack([2 * a / (a + b) - 1, 2 * (a * b / ((a + b).square() * (a + b + 1))).sqrt()])


def _drawn(shapes: Tensor, generator: torch.Generator) -> Tensor:
    precise = shapes.cpu().double()  # in float32, small ones would give 0 for both gammas
    a, b = torch._standard_gamma(precise, generator=generator).clamp(min=1e-300)  # noqa: SLF001  (torch.distributions takes no generator)
    drawn: Tensor = (2 * a / (a + b) - 1).clamp(MARGIN - 1, 1 - MARGIN)
    return drawn


def _log_density(tau: Tensor, a: Tensor, b: Tensor) -> Tensor:
    share = ((tau + 1) / 2).to(a)
    density: Tensor = (a - 1) * share.log() + (b - 1) * (1 - share).log() - _log_beta(a, b)
    return density.sum(dim=1)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def _from_zero(body: nn.Sequential) -> nn.Sequential:
    """The body with its last layer at zero, so that all images begin with the same distribution."""
    last = body[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return body
