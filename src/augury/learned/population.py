"""E taught by changes that are made to whole batches: by which of them leads the whole network where the target would have it.

A tau by which all images of a batch are changed gives a gradient g of their mean loss in all of F's weights, and the target gives g_T.
Their agreement is the cosine of the angle between them,

    agreement(tau) = <g, g_T> / (|g| |g_T|),    <a, b> = sum_j a_j b_j / (sqrt(v_j) + e),

v being a running mean of the g^2: between the steps that Adam would take for the batch and for the target. It is influence on the target
through all layers, the Hessian being replaced by the diagonal of that metric, per unit of length; where influence through the last layer
takes F's features as given, this one sees what would change them.

A population of taus is drawn from E and tried on the same images; E moves some of the way to mean and deviation of its best part, and so on
(the cross-entropy method, Rubinstein 1999). Changes that help only together can be found, since each tau is judged as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from augury.learned.classifier import Classifier
from augury.learned.distribution import TauDistribution
from augury.learned.objective import Target
from augury.learned.teaching import Teacher
from augury.learned.transformation import WarpingTransformation
from augury.training import Moment

NEWER = 0.3  # of the metric's running mean
FLOOR = 1e-3  # e, as a share of the largest sqrt(v)


class PopulationTeacher(Teacher):
    """E as a `TauDistribution` with widths that all images share; what it stands at is the mean of the search.

    F is fitted to what E made at its beginning. E never becomes narrower than it was then, and stays so far from the ends that it can vary
    as much. Components of tau that are too many to be told apart stay as they are (`WarpingTransformation.tried`).
    """

    def _descent(self, network: nn.Module) -> torch.optim.Optimizer:
        self._renewed = False
        self._first = TauDistribution(**self._distribution.settings)  # as E began
        return torch.optim.SGD(network.parameters(), 1.0)  # nothing follows a gradient; what E moves by is known

    def _taught_at(self, moment: Moment) -> bool:
        return super()._taught_at(moment) and moment.step <= self.config.until * moment.steps

    @torch.no_grad()
    def _made(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.transformation(images, self._first.sample(images, generator))

    def _solve(self, classifier: Classifier, like: Tensor, generator: torch.Generator) -> float:
        """The target's gradient, anew; nothing is left over."""
        del generator
        self.module.direction = _gradient(classifier, self.goal.aim(classifier.network, like.device))[None]
        self._renewed = True
        return 0.0

    def _teach(self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Iterator[float]]:
        told: list[float] = []
        if self._renewed:
            told, self._renewed = self._generation(classifier, images, labels, generator), False
        return self._made(images, generator), iter(told)

    def _generation(self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> list[float]:
        """Try a population on the images, and let E move towards its best part."""
        E, config = self._distribution, self.config
        tau = E.sample_learned(images[:1].expand(config.draws, *images.shape[1:]), generator)
        tau[:, ~self._tried] = 0
        values = -self._agreements(classifier, images, labels, tau)
        best = values.argsort(stable=True)[: max(2, round(config.elite * config.draws))]
        (mean, deviation), least = E.shared_moments(), self._first.shared_moments()[1]
        nearer = mean.lerp(tau[best].mean(dim=0), config.learning_rate).minimum(1 - least).maximum(least - 1)
        wider = deviation.lerp(tau[best].std(dim=0), config.learning_rate).maximum(least)
        self._move(torch.where(self._tried, nearer, mean), torch.where(self._tried, wider, deviation))
        divergence = E.divergence(images[:1]).detach()
        return [float(value) for value in (values.mean(), values.std(correction=0), values[best].mean(), divergence)]

    def _agreements(
        self, classifier: Classifier, images: Tensor, labels: Int64[Tensor, " points"], tau: Float[Tensor, "taus tau"]
    ) -> Float[Tensor, " taus"]:
        """Of the images' gradients with the target's, all images being changed by the same tau."""
        with torch.no_grad():
            made = (self.transformation(images, one.expand(len(images), -1)) for one in tau)
            gradients = torch.stack([_gradient(classifier, Target(some, labels)) for some in made])
        squares, known = gradients.square().mean(dim=0), self.module.metric
        self.module.metric = squares if known.numel() != squares.numel() else known.lerp(squares, NEWER)
        root = self.module.metric.sqrt()
        scale = (root + FLOOR * root.max()).clamp(min=torch.finfo(root.dtype).tiny).rsqrt()
        return functional.cosine_similarity(gradients * scale, self.module.direction * scale)

    @torch.no_grad()
    def _move(self, mean: Tensor, deviation: Tensor) -> None:
        self._distribution.shared.copy_(self._distribution.standing_at(mean, deviation))

    @property
    def _tried(self) -> Bool[Tensor, " tau"]:
        """The components that are looked for."""
        G, E = self.transformation, self._distribution
        every = torch.ones(E.tau_size, dtype=torch.bool, device=E.shared.device)
        return every & torch.tensor(G.tried, device=every.device) if isinstance(G, WarpingTransformation) else every

    @property
    def _distribution(self) -> TauDistribution:
        network = self.module.network
        assert isinstance(network, TauDistribution)
        return network


def _gradient(classifier: Classifier, target: Target) -> Float[Tensor, " weights"]:
    """Of the mean cross-entropy in all of F's weights that are fitted, one after the other; F is left as it is."""
    weights = [weight for weight in classifier.network.parameters() if weight.requires_grad]
    with torch.enable_grad():
        loss = functional.cross_entropy(classifier(target.images)[1], target.labels)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten().float() for part in gradients])
