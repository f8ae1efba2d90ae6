"""E taught to make of the training images what leads the whole network where the target leads it.

How well the gradients on changed images and on the target's agree is told in `augury.learned.gradients`. So E finds how deployment differs,
and class by class it is seen far more clearly than in one gradient of all.

E descends along the derivative of

    log(1 - agreement) + divergence x sum_i log(1 + KL_i),

through F, G and its own draws, KL_i being the divergence of component i of tau from its beginning. By the first logarithm a component is
worth the share of the disagreement that it takes away, be that large, as between digits of other strokes, or small, as between
photographs of other sizes, whose gradients agree to 0.95 beforehand. By the second, what brings nothing stays as it was, and a few
components may go far.

Three things would mislead E.

Chance in the batch. Of g two things are asked: where it is, and whither it moves with E. Asked of one batch, E would learn to make its
own chance smaller, as a blur does, since |g|^2 is the squared length of the mean gradient and of the chance in it. So |g - t|^2 is derived
as 2 <g' - t, dg>, where g' is the gradient of another batch, that of the step before: a mean without chance. What the squares are divided
by is taken as it is; whatever it is, nothing moves where the means agree.

Images that F knows. Those that E changes are not among those to which F is fitted (`TeachingConfig.held`): F has hardly any loss left on
its own, and E would learn to make them as hard as new ones, such as the target's, by smaller or paler digits.

The moment. F's weights are averaged over its last steps: at each step alone it leans towards some class or colour, and takes that for a
difference between the images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from augury.learned.classifier import Classifier
from augury.learned.distribution import TauDistribution
from augury.learned.gradients import Groups, agreements, mean_gradient, scale_of, squares_of
from augury.learned.objective import Target
from augury.learned.teaching import BETAS, COLUMNS, Goal, Teacher
from augury.learned.teaching_config import TeachingConfig
from augury.learned.transformation import Transformation, WarpingTransformation
from augury.training import Moment

NEWER = 0.1  # of the metric's running mean
SELDOM = 10  # steps of E from one look at what it made at its beginning to the next


class MatchingTeacher(Teacher):
    """E as a `TauDistribution`, taught by the agreement of gradients; F is fitted to what E made at its beginning.

    Components of tau that are too many to be told apart stay as they are (`WarpingTransformation.tried`).

    Raises
    ------
    InputError
        If no class of the target is among the training images'.
    """

    def __init__(self, transformation: Transformation, network: nn.Module, goal: Goal, config: TeachingConfig, steps: int) -> None:
        super().__init__(transformation, network, goal, config, steps)
        self._groups = Groups(goal, config.draws)
        self._renewed = False
        self._averaged: nn.Module | None = None
        tried = transformation.tried if isinstance(transformation, WarpingTransformation) else [True] * transformation.tau_size
        self._tried = torch.tensor(tried)

    @torch.no_grad()
    def _read(self, network: nn.Module, moment: Moment) -> nn.Module:
        """F with the mean of its last weights, and of what it keeps of the images' statistics."""
        if self._averaged is None:
            self._averaged = copy.deepcopy(network)
        now, known = _floats(network), self.module.average
        newest = max(1 - self.config.averaging, 1 / (moment.step + 1))  # at first, of all weights so far
        self.module.average = torch.cat([value.flatten() for value in now])
        if known.numel():
            self.module.average = known.lerp(self.module.average, newest)
        for value, mean in zip(_floats(self._averaged), torch.split(self.module.average, [value.numel() for value in now]), strict=True):
            value.copy_(mean.view_as(value))
        return self._averaged.eval()

    def _descent(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), self.config.learning_rate, BETAS)

    def _taught_at(self, moment: Moment) -> bool:
        taught = super()._taught_at(moment)
        for group in self.optimizer.param_groups if taught else ():
            left = (self.config.until - moment.step / moment.steps) / (self.config.until - self.config.warmup)
            group["lr"] = self.config.learning_rate * left  # down to nothing, so that E comes to rest
        return taught

    @torch.no_grad()
    def _made(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.transformation(images, self._distribution.sample_first(images, generator))

    def _solve(self, classifier: Classifier, like: Tensor, generator: torch.Generator) -> float:
        """The target's gradients, anew; nothing is left over."""
        self.module.direction = self._groups.wanted(classifier, like, generator)
        self._renewed = True
        return 0.0

    def _teach(self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Iterator[float]]:
        del labels
        told: list[float] = []
        if self._renewed:
            told, self._renewed = self._step(classifier, images, generator), False
        return self._made(images, generator), iter(told)

    def _step(self, classifier: Classifier, like: Tensor, generator: torch.Generator) -> list[float]:
        """One step of E; F and G get no gradients."""
        E = self._distribution
        drawn = self._groups.drawn(classifier.network, like, generator)
        before = self._before(classifier, drawn, [E.sample_first(some.images, generator) for some in drawn])
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # other kernels of attention have no second derivatives
            made = [Target(self._changed(E.rsample(some.images, generator), some.images), some.labels) for some in drawn]
            gradients = torch.stack([mean_gradient(classifier, some, differentiable=True) for some in made])
            now = gradients.detach()
            self._know(now.square().mean(dim=0))
            divergences = E.divergences(torch.cat([some.images for some in drawn]))[:, self._tried]
            loss = self.config.divergence * divergences.log1p().sum(dim=1).mean() + (self._pull(now) * gradients).sum()
        for weight, gradient in zip(self._weights, torch.autograd.grad(loss, self._weights), strict=True):
            weight.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
        agreements = self._agreements(now)
        told = [float(value.detach()) for value in (agreements.mean(), agreements.std(correction=0), divergences.sum(dim=1).mean())]
        return [-told[0], told[1], -before, told[2]]

    @torch.no_grad()
    def _before(self, classifier: Classifier, drawn: list[Target], taus: list[Tensor]) -> float:
        """How well what E made at its beginning agrees, which only the log tells: as last measured, every `SELDOM` steps of E."""
        log = self.log
        if len(log) % SELDOM:
            return -float(log[-1, COLUMNS.index("kept")])
        made = [Target(self._changed(tau, some.images), some.labels) for tau, some in zip(taus, drawn, strict=True)]
        return float(self._agreements(torch.stack([mean_gradient(classifier, some) for some in made])).mean())

    def _changed(self, tau: Tensor, images: Tensor) -> Tensor:
        return self.transformation(images, tau * self._tried.to(tau))

    def _know(self, squares: Float[Tensor, " weights"]) -> None:
        """Bring the metric up to date."""
        known = self.module.metric
        self.module.metric = squares if known.numel() != squares.numel() else known.lerp(squares, NEWER)

    def _pull(self, now: Float[Tensor, "groups weights"]) -> Float[Tensor, "groups weights"]:
        """The derivative of log(1 - agreement) in these gradients, which are where those of the step before are."""
        known = self.module.matched if self.module.matched.numel() else now
        self.module.matched, scale = now, self._scale(now)
        here, before, wanted = now * scale, known * scale, self.module.direction * scale
        lengths = (squares_of(here) + squares_of(before)) / 2 + squares_of(wanted)
        lengths = lengths.clamp(min=torch.finfo(now.dtype).tiny)
        disagreement = ((squares_of(here - wanted) + squares_of(before - wanted)) / 2 / lengths).sum()
        pull: Tensor = 2 * (before - wanted) * scale / lengths / disagreement.clamp(min=torch.finfo(now.dtype).eps)
        return pull

    def _agreements(self, gradients: Float[Tensor, "groups weights"]) -> Float[Tensor, " groups"]:
        """With the target's gradients, group by group."""
        return agreements(gradients, self.module.direction, self._scale(gradients))

    def _scale(self, gradients: Float[Tensor, "groups weights"]) -> Float[Tensor, " weights"]:
        """By what weights are multiplied so that their inner product is the metric's."""
        known = self.module.metric
        return scale_of(known if known.numel() else gradients.detach().square().mean(dim=0))

    @property
    def _distribution(self) -> TauDistribution:
        network = self.module.network
        assert isinstance(network, TauDistribution)
        return network


def _floats(network: nn.Module) -> list[Tensor]:
    """Weights and buffers that can be averaged."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]
