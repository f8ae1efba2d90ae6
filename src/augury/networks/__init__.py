"""Reference networks: plain `nn.Module`s with images in [0, 1] as input, class scores as output, and a named feature layer.

Weights follow from a seed alone. Every network ends in a linear layer whose input are its features; which layer that is, is said by
`Network.layer`, in the notation of `augury.model.Model`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from torch import nn

from augury.errors import InputError
from augury.networks import convolutional, pretrained, residual, strided
from augury.networks.own import create, feature_layer, is_own
from augury.networks.seeding import seeded
from augury.networks.weights import load_weights, read_weights

__all__ = [
    "Network",
    "Recipe",
    "build",
    "create",
    "default_for",
    "feature_layer",
    "is_own",
    "load_weights",
    "read_weights",
    "seeded",
]

Init = Literal["default", "paper"]

Factory = Callable[[int, int, int, int], nn.Module]

FACTORIES: dict[str, tuple[Factory, int]] = {  # what makes the network, and the smallest side of an image that it takes
    "tiny": (convolutional.tiny, 8),
    "lenet": (convolutional.lenet, 16),
    "cnn128": (convolutional.cnn128, 8),
    "cnn512": (convolutional.cnn512, 10),
    "norbnet": (convolutional.norbnet, 16),
    "norbnet1152": (partial(convolutional.norbnet, places=3), 16),
    "allconv": (strided.allconv, 8),
    "strided": (strided.strided, 8),
    "resnet20": (residual.resnet20, 8),
    "resnet56": (residual.resnet56, 8),
}


@dataclass(frozen=True)
class Recipe:
    """What `build` needs to make the same architecture again: its name, the images' shape and the number of classes."""

    name: str
    channels: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class Network:
    """A reference network and where its features are found.

    Parameters
    ----------
    module
        The network: (points, channels, height, width) in [0, 1] to (points, classes) class scores.
    classifier
        The name of its last linear layer, whose input are the features.
    features
        How many features there are.
    recipe
        What it was built from.
    """

    module: nn.Module
    classifier: str
    features: int
    recipe: Recipe

    @property
    def layer(self) -> str:
        """The feature layer as `augury.model.Model` names it: the input of the classifier."""
        return f"{self.classifier}:input"


def build(name: str, *, channels: int, height: int, width: int, classes: int, seed: int, init: Init = "default") -> Network:
    """A reference network with fresh weights that follow from `seed`; torch's global generator is left as it was.

    ==========  ========  =========================================================================================================
    name        features  network
    ==========  ========  =========================================================================================================
    `tiny`            64  padded 3x3 convolutions, for images from 8 x 8 up
    `lenet`           84  LeNet with rectifiers: the network for MNIST of *Efficient Augmentation via Data Subsampling*
    `cnn128`         128  two convolutions, dropout: a second one of that paper's code (Keras' example for MNIST)
    `cnn512`         512  four convolutions, dropout: the third (Keras' example for CIFAR)
    `norbnet`        128  strided convolutions with batch norm and a global mean: fast on large grey images such as small NORB
    `norbnet1152`   1152  the same with means over 3 x 3 parts of the image: more features than that paper's 1,000 points
    `allconv`       2048  four strided convolutions with batch norm: the network for MNIST of *Learning to Augment Influential Data*
    `strided`       1536  three strided convolutions with batch norm, dropout: smaller and faster, for few labels
    `resnet20`        64  CIFAR ResNet of He et al. 2016, section 4.2, 0.27 M parameters
    `resnet56`        64  the same, 0.85 M parameters
    `timm:NAME`   varies  any model of the library timm (the extra `timm`)
    ==========  ========  =========================================================================================================

    The features of `allconv` and `strided` are counted for 28 x 28 and 32 x 32 pixels.

    Parameters
    ----------
    name
        One of the table.
    channels, height, width
        The images' shape. The residual networks and timm's always have three input channels, and repeat a grey image to fill them.
    classes
        How many classes there are.
    seed
        From which all weights are drawn.
    init
        `default`: PyTorch's. `paper`: kernels from N(0, 0.05), biases zero, as in *Efficient Augmentation via Data Subsampling*.

    Raises
    ------
    InputError
        If the name is unknown, the images are too small for the network, or there are fewer than two classes.
    MissingExtraError
        If timm is asked for and not installed.
    """
    recipe = Recipe(name, channels, height, width, classes)
    if classes < 2:
        raise InputError(f"classes: {classes}; a network needs at least two classes to tell apart")
    if init not in get_args(Init):
        raise InputError(f"init: {init!r}; expected one of {', '.join(get_args(Init))}")
    with seeded(seed):
        module, classifier = _create(recipe)
        if init == "paper":
            module.apply(_initialise_as_paper)
    linear = module.get_submodule(classifier)
    assert isinstance(linear, nn.Linear)
    return Network(module, classifier, linear.in_features, recipe)


def default_for(channels: int, height: int, width: int) -> str:
    """The network to take where nobody chose: `tiny` below 16 pixels, `lenet` for grey images, `resnet20` for colour."""
    if min(height, width) < 16:
        return "tiny"
    return "lenet" if channels == 1 else "resnet20"


def _create(recipe: Recipe) -> tuple[nn.Module, str]:
    if recipe.name.startswith(pretrained.PREFIX):
        return pretrained.create(recipe.name.removeprefix(pretrained.PREFIX), recipe.classes)
    if recipe.name not in FACTORIES:
        raise InputError(f"network: no network is called {recipe.name!r}; expected one of {', '.join(FACTORIES)}, or timm:NAME")
    factory, smallest = FACTORIES[recipe.name]
    if min(recipe.height, recipe.width) < smallest:
        raise InputError(
            f"network: {recipe.name} needs images of at least {smallest} x {smallest} pixels, got {recipe.height} x {recipe.width}; "
            "enlarge the images, or choose 'tiny', which takes 8 x 8"
        )
    return factory(recipe.channels, recipe.height, recipe.width, recipe.classes), "linear"


def _initialise_as_paper(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.05)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
