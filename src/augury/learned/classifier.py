"""F: a network as the influence of a point sees it, features and the linear layer on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.errors import InputError
from augury.model.reading import forward, modes_kept
from augury.training.config import Precision


@dataclass(frozen=True)
class Classifier:
    """A network whose class scores are what one linear layer makes of its features.

    Parameters
    ----------
    network
        Gives class scores, (points, classes).
    layer
        The name of its last linear layer.
    precision
        `bfloat16`: the network runs under autocast; features and class scores come out as float32 in any case.
    """

    network: nn.Module
    layer: str
    precision: Precision = "float32"

    @classmethod
    def of(cls, network: nn.Module, images: Float[Tensor, "points channels height width"], precision: Precision = "float32") -> Classifier:
        """The network with its last linear layer, found by name and tried out on some images.

        Raises
        ------
        InputError
            If there is no linear layer, or the last one does not give the network's class scores.
        """
        names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        if not names:
            raise InputError("model: it has no linear layer; influence is taken through the last one: expected a network that ends in one")
        found = cls(network, names[-1])
        with modes_kept(network), torch.no_grad():
            network.eval()
            features, scores = found(images)
            if scores.shape != (len(images), found.linear.out_features) or not torch.allclose(
                found.scores(features), scores, rtol=1e-3, atol=1e-3
            ):
                raise InputError(
                    f"model: its output is not that of {names[-1]!r}, its last linear layer; expected a network that ends in one and gives "
                    "class scores (leave a softmax at its end to the loss)"
                )
        return replace(found, precision=precision)

    @property
    def linear(self) -> nn.Linear:
        """The last layer."""
        layer = self.network.get_submodule(self.layer)
        assert isinstance(layer, nn.Linear)
        return layer

    @property
    def head(self) -> Float[Tensor, "classes params"]:
        """W: weights, and biases (zero if the layer has none) in the last column; apart from the graph of derivatives."""
        linear = self.linear
        bias = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
        return torch.cat([linear.weight, bias[:, None]], dim=1).detach().float()

    def __call__(
        self, images: Float[Tensor, "points channels height width"]
    ) -> tuple[Float[Tensor, "points params"], Float[Tensor, "points classes"]]:
        """Features f = [features, 1], and class scores, in the network's present mode; differentiable."""
        caught: list[Tensor] = []
        handle = self.linear.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                scores = forward(self.network, images)
        finally:
            handle.remove()
        if len(caught) != 1 or caught[0].ndim != 2:
            raise InputError(f"model: its layer {self.layer!r} does not take (points, features) once in a pass; expected one that does")
        features = caught[0].to(torch.promote_types(caught[0].dtype, torch.float32))
        return torch.cat([features, features.new_ones(len(features), 1)], dim=1), scores.to(features)

    def scores(self, features: Float[Tensor, "points params"]) -> Float[Tensor, "points classes"]:
        """Class scores of features f."""
        return features @ self.head.to(features).T
