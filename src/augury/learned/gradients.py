"""Where changed training images lead F, and where the target leads it, class by class, in all of its weights.

With g_k the gradient of F's mean loss on changed training images of group k, and t_k that on the target's,

    agreement = mean_k 2 <g_k, t_k> / (|g_k|^2 + |t_k|^2),    <a, b> = sum_j a_j b_j / (sqrt(v_j) + e),

v being a mean of such g_k^2: a cosine between the steps that Adam would take for either, less what their lengths differ by (Lin's
coefficient of concordance, 1989, but for the means that are subtracted there). It is influence on the target through all layers, the
Hessian being replaced by the diagonal of that metric, in relation to how long both are; where influence through the last layer takes F's
features as given, this sees what would change them. 1 - agreement is the mean of |g_k - t_k|^2 / (|g_k|^2 + |t_k|^2): were the changed
images the target's, nothing would be left of it, up to how images happen to be drawn. The groups are the classes, or, of more than
`GROUPS`, so many groups of classes. (Gradients are matched class by class in dataset condensation too: Zhao, Mopuri and Bilen 2021.)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from augury.errors import InputError
from augury.learned.classifier import Classifier
from augury.learned.objective import Target
from augury.learned.teaching import Goal
from augury.model.reading import to_batch

GROUPS = 10  # of classes, at most
FLOOR = 1e-3  # e, as a share of the largest sqrt(v)
OF_TARGET = 2  # times as many of the target's images as of changed ones are looked at, at most

Labels = Int64[np.ndarray, " labels"]


class Groups:
    """Training images and the target's, divided by their classes.

    Parameters
    ----------
    goal
        Both.
    draws
        How many training images of all groups together are drawn at a time.

    Raises
    ------
    InputError
        If no class of the target is among the training images'.
    """

    def __init__(self, goal: Goal, draws: int) -> None:
        both = np.intersect1d(goal.labels, goal.target_labels)
        if len(both) == 0:
            raise InputError("target: none of its labels is among the training images'; expected images of the same classes")
        self.goal, self.draws = goal, draws
        self.labels = [both[first::GROUPS] for first in range(min(GROUPS, len(both)))]
        self._places = {int(label): np.flatnonzero(goal.labels == label) for label in both}
        self._targets = [np.flatnonzero(np.isin(goal.target_labels, labels)) for labels in self.labels]

    def wanted(self, classifier: Classifier, like: Tensor, generator: torch.Generator) -> Float[Tensor, "groups weights"]:
        """The target's gradients; of a large one, on images drawn anew."""
        count = self._share(OF_TARGET * self.draws)
        aims = (self.goal.aim(classifier.network, like.device, _some(places, count, generator)) for places in self._targets)
        return torch.stack([mean_gradient(classifier, aim) for aim in aims])

    def drawn(self, network: nn.Module, like: Tensor, generator: torch.Generator) -> list[Target]:
        """Training images of each group."""
        return [self.drawn_of(labels, network, like, generator) for labels in self.labels]

    def drawn_of(self, labels: Labels, network: nn.Module, like: Tensor, generator: torch.Generator) -> Target:
        """Training images of a group, of its classes as often as the target has them."""
        among = self.goal.target_labels[np.isin(self.goal.target_labels, labels)]
        count = self._share(self.draws)
        chosen = among[torch.randint(len(among), (count,), generator=generator).numpy()]
        rows = [self._places[int(label)] for label in chosen]
        at = torch.rand(count, generator=generator).tolist()
        places = np.array([row[int(u * len(row))] for row, u in zip(rows, at, strict=True)])
        return Target(to_batch(self.goal.images[places], network, like.device), torch.from_numpy(chosen).to(like.device))

    def _share(self, count: int) -> int:
        """A group's, of so many images."""
        return max(1, count // len(self.labels))


def mean_gradient(classifier: Classifier, target: Target, *, differentiable: bool = False) -> Float[Tensor, " weights"]:
    """Of the mean cross-entropy in all of F's weights that are fitted, one after the other; F is left as it is."""
    weights = [weight for weight in classifier.network.parameters() if weight.requires_grad]
    with torch.enable_grad():
        loss = functional.cross_entropy(classifier(target.images)[1], target.labels)
        parts = torch.autograd.grad(loss, weights, create_graph=differentiable, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten().to(torch.promote_types(part.dtype, torch.float32)) for part in parts])


def scale_of(squares: Float[Tensor, " weights"]) -> Float[Tensor, " weights"]:
    """By what weights are multiplied so that their inner product is the metric's, `squares` being v."""
    root = squares.sqrt()
    scale: Tensor = (root + FLOOR * root.max()).clamp(min=torch.finfo(root.dtype).tiny).rsqrt()
    return scale


def agreements(
    gradients: Float[Tensor, "groups weights"], wanted: Float[Tensor, "groups weights"], scale: Float[Tensor, " weights"]
) -> Float[Tensor, " groups"]:
    """Of each group's gradient with the target's."""
    here, there = gradients * scale, wanted * scale
    lengths = (squares_of(here) + squares_of(there)).clamp(min=torch.finfo(here.dtype).tiny)
    found: Tensor = 2 * (here * there).sum(dim=1) / lengths[:, 0]
    return found


def squares_of(gradients: Float[Tensor, "groups weights"]) -> Float[Tensor, "groups 1"]:
    """Their squared lengths."""
    return gradients.square().sum(dim=1, keepdim=True)


def _some(places: Int64[np.ndarray, " places"], most: int, generator: torch.Generator) -> Int64[np.ndarray, " some"]:
    """All, or so many of them at random if they are more, in their order."""
    if len(places) <= most:
        return places
    chosen: Int64[np.ndarray, " some"] = np.sort(places[torch.randperm(len(places), generator=generator)[:most].numpy()])
    return chosen
