"""`Model`: a network with the name of its feature layer, and its weights as a file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from torch import nn

from augury.errors import InputError
from augury.files import write_atomic
from augury.networks import Network, Recipe, build, load_weights, read_weights

INPUT = ":input"
METADATA_KEY = "augury"


@dataclass(frozen=True)
class Model:
    """A network with the name of the layer whose values are the features.

    Parameters
    ----------
    network
        Any module that takes a batch of images, (points, channels, height, width) floats in [0, 1].
    layer
        A name as in `network.named_modules()`: the features are what this layer gives out. With `:input` after the name, they are what
        it takes in: for the last linear layer of a classifier, `fc:input`. The empty name is the network itself, whose output are the
        class scores. Of maps, (points, channels, height, width), the mean over all places counts; other values are flattened.
    recipe
        For one of Augury's own networks, how to build it again, so that `save` and `load` need nothing else.

    Raises
    ------
    InputError
        If the network has no layer of that name; the message lists the names there are.
    """

    network: nn.Module
    layer: str
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        name = self.layer.removesuffix(INPUT)
        names = [known for known, _ in self.network.named_modules()]
        if name not in names:
            nearest = difflib.get_close_matches(name, names[1:], n=30, cutoff=0)
            listed = ", ".join(sorted(nearest, key=names.index))
            rest = f", and {len(names) - 1 - len(nearest)} more" if len(names) - 1 > len(nearest) else ""
            raise InputError(
                f"layer: the network has no layer called {name!r}; expected one of {listed}{rest} "
                f"(add '{INPUT}' for what goes into a layer instead of what comes out)"
            )

    @classmethod
    def of(cls, network: Network) -> Model:
        """A reference network with its own feature layer."""
        return cls(network.module, network.layer, network.recipe)


def save(model: Model, path: str | Path) -> Path:
    """Write the network's weights as safetensors, atomically, with its layer and, for a reference network, how to build it."""
    recipe = None if model.recipe is None else asdict(model.recipe)
    record = {"kind": "model", "layer": model.layer, "recipe": recipe}
    weights = {name: weight.detach().cpu().clone().contiguous() for name, weight in model.network.state_dict().items()}
    content = safetensors.torch.save(weights, {METADATA_KEY: json.dumps(record, sort_keys=True)})
    return write_atomic(path, lambda stream: stream.write(content))


def load(path: str | Path, network: nn.Module | None = None) -> Model:
    """Read what `save` wrote; `network`, which then receives the weights, is needed unless it was one of the reference networks."""
    _, metadata = read_weights(path)
    layer, recipe = _recorded(metadata, path)
    if network is None:
        if recipe is None:
            raise InputError(f"{path}: holds the weights of a network of yours; build it and give it as `network`")
        network = build(**asdict(recipe), seed=0).module
    model = Model(network, layer, recipe)
    load_weights(model.network, path)
    return model


def _recorded(metadata: Mapping[str, str], path: str | Path) -> tuple[str, Recipe | None]:
    """The layer and the recipe of which a file's record tells."""
    try:
        record = json.loads(metadata[METADATA_KEY])
        kind, layer = record["kind"], str(record["layer"])
        recipe = None if record["recipe"] is None else Recipe(**record["recipe"])
    except (KeyError, TypeError, ValueError, RecursionError):  # whatever a record of something else leads to
        kind = None
    if kind != "model":
        raise InputError(f"{path}: weights without Augury's record of layer and network; build the network and call load_weights on it")
    return layer, recipe
