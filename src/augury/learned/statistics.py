"""What a transformation does to pictures: how far it moves them, how much it changes them, and how much tau has to say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from augury.errors import InputError
from augury.learned.transformation import WarpingTransformation, random_tau
from augury.model.reading import device_of, to_batch

SHOWN = 16  # images looked at
MOVED = 0.25  # pixels; a flow that moves less, on the mean over the picture, counts as the identity
CHANGED = 0.05  # of the images' contrast; a smaller change counts as none
VARIED = 0.2  # of the change; if less than this depends on tau, tau has lost its say


@dataclass(frozen=True)
class Statistics:
    """A transformation over random taus, uniform on [-1, 1].

    Parameters
    ----------
    displacement
        Pixels: how far a pixel's source lies from it, on average over pixels and taus.
    spread
        Pixels: the standard deviation of a pixel's displacement over taus.
    still
        The share of taus whose flow moves less than a quarter of a pixel on average over the picture.
    change
        The root mean square change of a pixel, in units of the images' contrast (the standard deviation of their pixels).
    variety
        The standard deviation of a pixel over taus, for the same image, in the same unit.
    """

    displacement: float
    spread: float
    still: float
    change: float
    variety: float

    @property
    def identity(self) -> bool:
        """Whether hardly any picture changes at all: by less than 5 % of the contrast."""
        return self.change < CHANGED

    @property
    def collapsed(self) -> bool:
        """Whether pictures change, but alike whatever tau is: less than a fifth of the change is left as variety."""
        return not self.identity and self.variety < VARIED * self.change


def measure(
    transformation: WarpingTransformation,
    images: UInt8[np.ndarray, "points channels height width"] | Float[np.ndarray, "points channels height width"],
    draws: int = 32,
    seed: int = 0,
) -> Statistics:
    """The statistics on up to 16 of the images, evenly spaced among them, each with the same random taus.

    Cost: `draws` transformations of 16 images.
    """
    if draws < 2 or len(images) == 0:
        raise InputError(f"draws: {draws} of {len(images)} images; expected at least two draws and an image")
    chosen = np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(np.int64)
    shown = to_batch(images[chosen], transformation, device_of(transformation) or torch.device("cpu"))
    taus = random_tau(draws, transformation.tau_size, torch.Generator().manual_seed(seed)).to(shown.device)
    with torch.no_grad():
        flow = transformation.flow(taus)
        made = torch.stack([transformation(shown, tau.expand(len(shown), -1)) for tau in taus])
    contrast = max(float(shown.std(correction=0)), torch.finfo(shown.dtype).eps)
    lengths = flow.square().sum(1).sqrt().mean(dim=(1, 2))
    return Statistics(
        displacement=float(lengths.mean()),
        spread=_root(flow.var(0, correction=0).sum(0)),
        still=float((lengths < MOVED).double().mean()),
        change=_root((made - shown).square()) / contrast,
        variety=_root(made.var(0, correction=0)) / contrast,
    )


def _root(squares: Tensor) -> float:
    return float(squares.mean().sqrt())
