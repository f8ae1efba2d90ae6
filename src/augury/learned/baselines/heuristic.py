"""Random sequences of given transformations: "Heur." in the tables of *Learning to Augment Influential Data*."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from augury.errors import InputError
from augury.learned.baselines.functions import PIXELWISE, SETS, Function, elastic_flow, flow_of
from augury.learned.warp import warp
from augury.training.augment import Moment

Set = Literal["mnist", "cifar10"]


@dataclass(frozen=True)
class Heuristic:
    """Each image through a random sequence of transformation functions.

    The functions are those of the code of *Learning to Compose Domain-Specific Transformations for Data Augmentation* (Ratner et al.,
    2017). Warps read bilinearly and repeat the edge; erosion and dilation take the darkest and the brightest of a pixel and its four
    neighbours. Shears are about the centre, where that code's are about a corner and so shift the picture by up to a fifth too.

    Parameters
    ----------
    functions
        `mnist`, 25 of them: rotations up to 10 degrees, zooms by 0.9 and 1.1, shears up to 0.4 rad, swirls, elastic deformations, erosion,
        dilation. `cifar10`, 33: rotations up to 5 degrees, zooms from 0.75 to 1.25, shears and swirls up to 0.25, hues moved by a tenth
        and a quarter of a turn, contrast, brightness and colour times 0.5 to 1.5, the mirror image.
    length
        How many are drawn, uniformly and with replacement; the code has 10, and 5 for the whole of CIFAR-10.
    """

    functions: Set
    length: int = 10

    def __post_init__(self) -> None:
        if self.functions not in get_args(Set):
            raise InputError(f"functions: {self.functions!r}; expected one of {', '.join(get_args(Set))}")
        if self.length < 0:
            raise InputError(f"length: {self.length}; expected at least 0, such as 10")

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, each changed by a sequence of its own."""
        del labels
        if self.functions == "cifar10" and images.shape[1] != 3:
            raise InputError(f"images: {images.shape[1]} channels; the functions of cifar10 turn hues: give RGB images, or choose mnist")
        functions = SETS[self.functions]
        drawn = torch.randint(len(functions), (self.length, len(images)), generator=moment.generator)
        for row in drawn.tolist():
            images = _applied(images, [functions[index] for index in row], moment.generator)
        return images


def _applied(images: Tensor, functions: list[Function], generator: torch.Generator) -> Tensor:
    """One function an image: all warps at once, and the others kind by kind."""
    members: dict[str, list[int]] = defaultdict(list)
    for point, function in enumerate(functions):
        members[function.kind if function.kind in PIXELWISE else "warp"].append(point)
    result = torch.empty_like(images)
    for kind, points in members.items():
        result[points] = _changed(kind, images[points], [functions[point] for point in points], generator)
    return result


def _changed(kind: str, images: Tensor, functions: list[Function], generator: torch.Generator) -> Tensor:
    if kind in PIXELWISE:
        return PIXELWISE[kind](images, images.new_tensor([function.amount for function in functions]))
    height, width = images.shape[2:]
    flows = [
        elastic_flow(function.amount, height, width, generator) if function.kind == "elastic" else flow_of(function, height, width)
        for function in functions
    ]
    return warp(images, torch.stack(flows).to(images))
