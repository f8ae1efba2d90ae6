"""A learned augmentation as a transform: a fixed number of its draws for each image, the same every time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from augury.errors import InputError
from augury.files import digest
from augury.learned.augmentation import LearnedAugmentation, as_floats
from augury.learned.network import AugmentationNetwork
from augury.learned.saved import tensors_of
from augury.model.reading import modes_kept
from augury.transforms.foreign import content_number
from augury.transforms.language import Reader
from augury.transforms.transform import Array, WrittenTransform, as_tensor

USAGE = "learned:FILE[:COPIES[:SEED]], FILE being what `augury learn` wrote, in double quotes if its name has a space or any of (),+:"
GRAMMAR = r'learned:(?P<file>"[^"]*"|[^":]+)(?::(?P<copies>\d+)(?::(?P<seed>\d+)(?::(?P<known>[0-9a-f]{16}))?)?)?'
COPIES = 4


@dataclass(frozen=True, eq=False)
class LearnedCopies(WrittenTransform):
    """`copies` draws of a learned augmentation for each image; the augmentation's share does not matter, for every copy is changed.

    A copy follows from the seed, the image's pixels and the number of the copy: it has the same bits whatever else is in the batch, and
    different images get different draws. Two are equal if they make the same copies.

    Parameters
    ----------
    augmentation
        What was learned.
    count
        How many draws each image gets; 1 for an E that gives one tau an image.
    seed
        Of the draws.
    file
        Where the augmentation was read from, by which a text can name it.

    Raises
    ------
    InputError
        If there are no copies, or several of an E that would make them all the same.
    """

    augmentation: LearnedAugmentation
    count: int
    seed: int
    file: str

    def __init__(self, augmentation: LearnedAugmentation, copies: int = COPIES, seed: int = 0, *, file: str | Path = "") -> None:
        for name, value, least in (("copies", copies, 1), ("seed", seed, 0)):
            if value < least:
                raise InputError(f"{name}: {value}; expected a whole number, at least {least}")
        network = augmentation.network
        if copies > 1 and isinstance(network, AugmentationNetwork) and network.dropout == 0:
            raise InputError(f"copies: {copies}, and this augmentation makes one image of each, always the same; ask for 1 copy")
        object.__setattr__(self, "augmentation", augmentation)
        object.__setattr__(self, "count", copies)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "file", str(file))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LearnedCopies) and (self.known, self.count, self.seed) == (other.known, other.count, other.seed)

    def __hash__(self) -> int:
        return hash((self.known, self.count, self.seed))

    @cached_property
    def known(self) -> str:
        """What tells this augmentation from every other: 16 hexadecimal digits over weights and settings."""
        parts = {name: (type(part).__name__, part.settings) for name, part in self._parts.items()}
        weights = [value for name, tensor in sorted(tensors_of(self.augmentation).items()) for value in (name, tensor.numpy())]
        return digest(json.dumps(parts, sort_keys=True), *weights)[:16]

    @property
    def names(self) -> tuple[str, ...]:
        """`learned(1)`, and so on."""
        return tuple(f"learned({number})" for number in range(1, self.count + 1))

    @property
    def spec(self) -> str:
        """`learned:FILE:COPIES:SEED:DIGITS`; the last tell which augmentation it was, and `parse` refuses a file that holds another."""
        file = f'"{self.file}"' if re.search(r"[\s(),+:]", self.file) else self.file
        return f"learned:{file}:{self.count}:{self.seed}:{self.known}"

    def check(self, height: int, width: int) -> None:
        """Raise an `InputError` unless images of this size are those for which it was learned."""
        G = self.augmentation.transformation
        if (height, width) != (G.height, G.width):
            raise InputError(f"learned: for images of {G.height} x {G.width} pixels, and these have {height} x {width}; learn one for them")

    def write(
        self, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
    ) -> None:
        """Write the copies, image by image, so that no image's bits depend on another."""
        source, target = as_tensor(images), as_tensor(out)
        with torch.no_grad(), modes_kept(self.augmentation):
            self.augmentation.train()
            for image, place in zip(source, target, strict=True):
                place[:] = self._made(image[None])

    def _made(self, image: Shaped[Tensor, "1 channels height width"]) -> Shaped[Tensor, "copies channels height width"]:
        G, content = self.augmentation.transformation, content_number(image)
        pixels = as_floats(image.cpu()).float()
        draws = [self.augmentation.params(pixels, generator=self._chance(content, number)) for number in range(self.count)]
        made: Tensor = G(pixels.expand(self.count, -1, -1, -1), torch.cat([draw.tau for draw in draws])).clamp(0, 1)
        return (made * 255).round().to(torch.uint8) if image.dtype == torch.uint8 else made.to(image.dtype)

    def _chance(self, *entropy: int) -> torch.Generator:
        number = np.random.SeedSequence((self.seed, *entropy)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(number[0]))

    @property
    def _parts(self) -> Mapping[str, torch.nn.Module]:
        return {"transformation": self.augmentation.transformation, "network": self.augmentation.network}


def read_learned(text: str) -> LearnedCopies:
    """The transform that `learned:FILE[:COPIES[:SEED]]` names.

    Raises
    ------
    InputError
        If the text cannot be read, or the file is missing, no learned augmentation, or another one than the text knows.
    """
    match = re.fullmatch(GRAMMAR, text)
    if match is None:
        raise InputError(f"{text!r} cannot be read; expected {USAGE}")
    given = match.groupdict()
    file = given["file"].strip('"')
    found = LearnedCopies(LearnedAugmentation.load(file), int(given["copies"] or COPIES), int(given["seed"] or 0), file=file)
    if given["known"] not in (None, found.known):
        raise InputError(f"{file}: holds another augmentation ({found.known}) than the one that is meant ({given['known']}); give that one")
    return found


READERS: Mapping[str, Reader] = MappingProxyType({"learned": read_learned})  # for `augury.transforms.parse`
