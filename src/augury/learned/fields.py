"""The transformation model of *Learning to Augment Influential Data*, section 4: a decoder from tau to fields."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from augury.errors import InputError
from augury.learned.layers import writer
from augury.learned.transformation import Fields, WarpingTransformation, places
from augury.networks import seeded
from augury.transforms.border import Real

Kind = Literal["both", "spatial", "appearance"]
AFFINE = 6  # s_w and s_b: four and two numbers a pixel


class FieldTransformation(WarpingTransformation):
    """tau, through transposed convolutions, to an affine map and a colour filter at each pixel.

    Spatial model (Eq. 20), with (x, y) a pixel's place, the centre being 0 and the outermost pixels' centres -1 and 1: its value is fetched
    from s = s_w (x, y) + s_b + (x, y). Appearance model: c_w x + c_b is added to a pixel x; 1 + 1 fields for grey images, 9 + 3 for RGB.
    The fields s_w, s_b, c_w and c_b are averaged over a moving window, so that neighbours move together. The layers are those of the
    paper's appendix A at 28 and 32 pixels, and continue their pattern at other sizes. Before training, it is close to the identity.

    Parameters
    ----------
    channels, height, width
        The images' shape.
    kind
        `spatial`, `appearance`, or `both`: the second applied to what the first gives.
    tau_size
        How many numbers an image's tau has; the paper has 128.
    pooling
        The window's side in pixels, or `global`: one affine map and one filter for the whole picture.
    spatial_bound, appearance_bound
        The largest magnitude of a number in s_w and s_b, and in c_w and c_b: the decoder's output goes through bound * tanh. None: no
        bound, as in the paper.
    border, fill, clamp
        As for every `WarpingTransformation`.
    seed
        Of the decoder's first weights.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        kind: Kind = "both",
        tau_size: int = 128,
        pooling: int | Literal["global"] = 4,
        spatial_bound: Real | None = 0.2,
        appearance_bound: Real | None = 0.25,
        border: str = "edge",
        fill: Real = 0.0,
        clamp: bool = True,
        seed: int = 0,
    ) -> None:
        _check(kind, tau_size, pooling, spatial_bound, appearance_bound)
        settings: dict[str, Any] = {"kind": kind, "tau_size": tau_size, "pooling": pooling}
        settings |= {"spatial_bound": spatial_bound, "appearance_bound": appearance_bound, "seed": seed}
        super().__init__(channels, height, width, tau_size, border=border, fill=fill, clamp=clamp, settings=settings)
        self.kind, self.pooling, self.spatial_bound, self.appearance_bound = kind, pooling, spatial_bound, appearance_bound
        self.spatial = AFFINE if self.moves else 0
        with seeded(seed):
            self.decoder = writer(tau_size, self.spatial + (0 if kind == "spatial" else channels**2 + channels), height, width)
        self.place: Tensor
        self.rows: Tensor
        self.columns: Tensor
        self.register_buffer("place", places(height, width), persistent=False)
        self.register_buffer("rows", _window(height, pooling), persistent=False)
        self.register_buffer("columns", _window(width, pooling), persistent=False)

    @classmethod
    def paper(cls, channels: int, height: int, width: int, seed: int = 0) -> FieldTransformation:
        """The paper's, without bounds; the window's size, which the paper does not tell, is that of its sequel."""
        return cls(channels, height, width, spatial_bound=None, appearance_bound=None, clamp=False, seed=seed)

    @property
    def moves(self) -> bool:
        """Whether it has a flow."""
        return self.kind != "appearance"

    def fields(self, tau: Float[Tensor, "points tau"]) -> Fields:
        """What each tau means at each pixel."""
        decoded: Tensor = self.decoder(tau.to(self.place.dtype))
        spatial, appearance = decoded[:, : self.spatial], decoded[:, self.spatial :]
        flow = self._pixels(self._smoothed(_bounded(spatial, self.spatial_bound))) if self.moves else None
        if self.kind == "spatial":
            return Fields(flow, None, None)
        filters = self._smoothed(_bounded(appearance, self.appearance_bound))
        weights = filters[:, : self.channels**2].reshape(len(tau), self.channels, self.channels, *filters.shape[2:])
        return Fields(flow, weights, filters[:, self.channels**2 :])

    def _smoothed(self, fields: Tensor) -> Tensor:
        """The mean over the window around each pixel, or over the whole picture; of the window, what lies within the picture counts."""
        if self.pooling == "global":
            return fields.mean(dim=(2, 3), keepdim=True)
        rows, columns = (window / window.sum(dim=1, keepdim=True) for window in (self.rows, self.columns))
        smoothed: Tensor = rows @ fields @ columns.T
        return smoothed

    def _pixels(self, s: Tensor) -> Tensor:
        """s_w (x, y) + s_b, in pixels: (x, y) is `place` over half the picture's width and height."""
        right, below = self.place
        across, down = (self.width - 1) / 2, (self.height - 1) / 2
        return torch.stack(
            [
                s[:, 0] * right + s[:, 1] * below * (across / down) + s[:, 4] * across,
                s[:, 2] * right * (down / across) + s[:, 3] * below + s[:, 5] * down,
            ],
            dim=1,
        )


def _window(size: int, pooling: int | str) -> Float[Tensor, "size size"]:
    """Which pixels of an axis each one's window holds; an even window reaches further ahead, as SAME padding does.

    As a matrix over its rows' sums, it is a moving mean that is far quicker than `avg_pool2d`.
    """
    reach = size if isinstance(pooling, str) else pooling
    ahead = torch.arange(size) - torch.arange(size)[:, None]
    return ((ahead >= -((reach - 1) // 2)) & (ahead <= reach // 2)).float()


def _bounded(fields: Tensor, bound: Real | None) -> Tensor:
    return fields if bound is None else bound * fields.tanh()


def _check(kind: str, tau_size: int, pooling: object, spatial_bound: Real | None, appearance_bound: Real | None) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"kind: {kind!r}; expected one of {', '.join(get_args(Kind))}")
    if tau_size < 1:
        raise InputError(f"tau_size: {tau_size}; expected at least 1, such as 128")
    if pooling != "global" and not (isinstance(pooling, int) and pooling >= 1):
        raise InputError(f"pooling: {pooling!r}; expected the window's side in pixels, such as 4, or 'global'")
    for name, bound in (("spatial_bound", spatial_bound), ("appearance_bound", appearance_bound)):
        if bound is not None and not bound > 0:
            raise InputError(f"{name}: {bound:g}; expected a positive number, or None for no bound")
