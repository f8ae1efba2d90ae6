"""The curvature of a whole network's training objective, by products with vectors: no matrix is formed.

Over training points z_i with weights w_i and losses l_i, as a function of the chosen parameters theta (all others stay fixed):

    H = sum_i w_i C_i + diag(penalty) + damping I,

where C_i is the Hessian of l_i (`hessian`), or its generalised Gauss-Newton part J_i^T (d^2 l / d outputs^2) J_i (`gauss-newton`;
Schraudolph 2002; Martens 2020), J_i the network's Jacobian. The Gauss-Newton matrix is never indefinite where the loss is convex in the
outputs, and is the Hessian where the network is linear in theta. All in sum form, as for heads: `penalty` is an optimizer's weight decay
times the sum of the weights (PyTorch decays the gradient of the *mean* loss), `damping` an addition that no objective explains.

A vector is the chosen parameters' flattened values one after the other, in float64. A product costs about four passes of all points.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp, vmap

from augury.curvature.labelled import LabelledSet, PointLosses

Kind = Literal["gauss-newton", "hessian"]
Parameters = dict[str, Tensor]
TOGETHER = 32  # vectors that go through the network at once where the whole matrix is formed


@dataclass(frozen=True)
class NetworkCurvature:
    """H of a network over one training set.

    Parameters
    ----------
    network
        Called with `parameters` and `fixed` in the place of its own; it is not changed.
    loss
        One loss a point.
    parameters
        The chosen ones, by name, detached.
    fixed
        Parameters that are not chosen, and buffers.
    points
        The training set.
    kind
        `gauss-newton` or `hessian`.
    ridge
        (size,) penalty + damping of each number of theta.
    batch
        How many points go through the network at once.
    """

    network: nn.Module
    loss: PointLosses
    parameters: Parameters
    fixed: Parameters
    points: LabelledSet
    kind: Kind
    ridge: Float[Tensor, " size"]
    batch: int

    @property
    def size(self) -> int:
        """How many numbers theta has."""
        return len(self.ridge)

    def placed(self, points: LabelledSet) -> LabelledSet:
        """Some points as the network takes them."""
        return points.placed(self.ridge.device, next(iter(self.parameters.values())).dtype)

    def outputs(self, parameters: Parameters, points: LabelledSet) -> Any:  # noqa: ANN401  (a network may give out anything)
        """What the network gives for (placed) points."""
        return functional_call(self.network, (parameters, self.fixed), (points.inputs,))

    def losses(self, parameters: Parameters, points: LabelledSet) -> Float[Tensor, " points"]:
        """One loss for each of some (placed) points."""
        return self.loss(self.outputs(parameters, points), points.labels)

    def mean_gradient(self, points: LabelledSet) -> Float[Tensor, "1 size"]:
        """Gradient of the weighted mean loss of some points, without the penalty's."""
        total = sum(
            (self._flat(grad(self._weighted(part))(self.parameters)) for part in map(self.placed, points.batches(self.batch))),
            start=torch.zeros_like(self.ridge),
        )
        return (total / points.weights.sum().to(total))[None]

    def along(self, points: LabelledSet, row: Float[Tensor, " size"]) -> Float[Tensor, " points"]:
        """Each point's gradient times `row`: one forward pass with its derivative along the way, for all points of a batch at once."""
        direction = self._shaped(row)
        parts = []
        for part in map(self.placed, points.batches(self.batch)):
            slopes: Tensor = jvp(partial(self.losses, points=part), (self.parameters,), (direction,))[1]
            parts.append(slopes.double())
        return torch.cat(parts)

    def product(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H times each row."""
        image = self.ridge * rows
        for part in map(self.placed, self.points.batches(self.batch)):
            image += _each(partial(self._image, part), rows)
        return image

    def sampled_product(self, chosen: Int[Tensor, "systems samples"], rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """For each row the product with its own estimate of H, from points drawn uniformly: right in the mean."""
        drawn = self.placed(self.points[chosen.flatten()])
        parts = (values.reshape(*chosen.shape, *values.shape[1:]) for values in (drawn.inputs, drawn.labels, drawn.weights))
        image = _each(lambda *given: self._image(LabelledSet(*given[:3]), given[3]), *parts, rows)
        return self.ridge * rows + image * (len(self.points) / chosen.shape[1])

    def matrix(self, product: Callable[[Tensor], Tensor]) -> Float[Tensor, "size size"]:
        """H as a matrix, from its product with blocks of unit vectors."""
        rows = torch.cat([product(unit) for unit in torch.split(torch.eye(self.size).to(self.ridge), TOGETHER)])
        return (rows + rows.T) / 2

    def _image(self, points: LabelledSet, row: Float[Tensor, " size"]) -> Float[Tensor, " size"]:
        """Sum over some points of w_i C_i times one row."""
        multiply = self._gauss_newton if self.kind == "gauss-newton" else self._hessian
        return self._flat(multiply(points, self._shaped(row)))

    def _hessian(self, points: LabelledSet, direction: Parameters) -> Parameters:
        """The gradient's derivative along `direction`."""
        image: Parameters = jvp(grad(self._weighted(points)), (self.parameters,), (direction,))[1]
        return image

    def _gauss_newton(self, points: LabelledSet, direction: Parameters) -> Parameters:
        """J^T (d^2 l / d outputs^2) J times `direction`, from right to left."""

        def weighted(outputs: Any) -> Tensor:  # noqa: ANN401  (a network may give out anything)
            return (points.weights * self.loss(outputs, points.labels)).sum()

        forward = partial(self.outputs, points=points)
        outputs, moved = jvp(forward, (self.parameters,), (direction,))[:2]
        bent = jvp(grad(weighted), (outputs,), (moved,))[1]
        image: Parameters = vjp(forward, self.parameters)[1](bent)[0]
        return image

    def _weighted(self, points: LabelledSet) -> Callable[[Parameters], Tensor]:
        return lambda theta: (points.weights * self.losses(theta, points)).sum()

    def _flat(self, values: Mapping[str, Tensor]) -> Float[Tensor, " size"]:
        return torch.cat([values[name].reshape(-1).double() for name in self.parameters])

    def _shaped(self, row: Float[Tensor, " size"]) -> Parameters:
        parts = torch.split(row, [value.numel() for value in self.parameters.values()])
        return {name: part.view(value.shape).to(value) for part, (name, value) in zip(parts, self.parameters.items(), strict=True)}


def _each(function: Callable[..., Tensor], *stacks: Tensor) -> Tensor:
    """The function of each row of the stacks: at once, or one after the other where PyTorch cannot, as where values decide what is run."""
    if len(stacks[0]) > 1:
        with contextlib.suppress(RuntimeError):
            result: Tensor = vmap(function)(*stacks)
            return result
    return torch.stack([function(*rows) for rows in zip(*stacks, strict=True)])
