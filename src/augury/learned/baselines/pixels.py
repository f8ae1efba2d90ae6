"""Changes of pixels in place: colours, and the thickness of strokes. One amount an image; results are kept in [0, 1]."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from augury.learned.bounded import GREY

Images = Float[Tensor, "points channels height width"]
Amounts = Float[Tensor, " points"]


def eroded(images: Images) -> Images:
    """The darkest of each pixel and its four neighbours: bright strokes get thinner."""
    return -dilated(-images)


def dilated(images: Images) -> Images:
    """The brightest of each pixel and its four neighbours: bright strokes get thicker."""
    across = functional.max_pool2d(images, (1, 3), stride=1, padding=(0, 1))
    down = functional.max_pool2d(images, (3, 1), stride=1, padding=(1, 0))
    return torch.maximum(across, down)


def hue_turned(images: Images, turns: Amounts) -> Images:
    """RGB images with every hue moved on by a share of a full turn in HSV; a third makes red green."""
    brightest, channel = images.max(dim=1)
    chroma = brightest - images.min(dim=1).values
    ahead, behind = (images.gather(1, ((channel + step) % 3)[:, None])[:, 0] for step in (1, 2))
    hue = 2 * channel + (ahead - behind) / chroma.clamp(min=torch.finfo(images.dtype).tiny) + 6 * turns[:, None, None]
    away = torch.stack([(hue + offset) % 6 for offset in (5, 3, 1)], dim=1)
    return brightest[:, None] - chroma[:, None] * torch.minimum(away, 4 - away).clamp(0, 1)


def contrasted(images: Images, factors: Amounts) -> Images:
    """Differences from the image's mean brightness, times a factor (Pillow's `ImageEnhance.Contrast`)."""
    return _blended(images, grey(images).mean(dim=(2, 3), keepdim=True), factors)


def brighter(images: Images, factors: Amounts) -> Images:
    """All pixels times a factor (Pillow's `ImageEnhance.Brightness`)."""
    return _blended(images, torch.zeros_like(images), factors)


def coloured(images: Images, factors: Amounts) -> Images:
    """RGB pixels' differences from their own grey, times a factor (Pillow's `ImageEnhance.Color`)."""
    return _blended(images, grey(images), factors)


def grey(images: Images) -> Float[Tensor, "points 1 height width"]:
    """Brightness (Rec. 601)."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(GREY)[:, None, None]).sum(dim=1, keepdim=True)


def _blended(images: Tensor, origin: Tensor, factors: Tensor) -> Tensor:
    return (origin + factors[:, None, None, None] * (images - origin)).clamp(0, 1)
