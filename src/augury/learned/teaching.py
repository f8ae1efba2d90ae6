"""E taught by the influence of what it makes on a target, while F is fitted to what it makes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from augury.data.examples import Images
from augury.errors import InputError
from augury.files import digest
from augury.learned.agreement import AgreedDescent
from augury.learned.classifier import Classifier
from augury.learned.distribution import TauDistribution
from augury.learned.objective import Target, effects, target_direction
from augury.learned.teaching_config import TeachingConfig
from augury.learned.transformation import Transformation
from augury.model import Model
from augury.model.cache import content_key
from augury.model.reading import to_batch
from augury.training import Moment

COLUMNS = ("step", "effect", "spread", "kept", "divergence", "residual")  # of the log; `gradient` has F's cross-entropy as divergence
BETAS = (0.9, 0.99)  # Adam's for the rule `gradient`, as in the paper, appendix B

Targets = UInt8[np.ndarray, "targets channels height width"] | Float32[np.ndarray, "targets channels height width"]


class Goal:
    """Which images F is fitted to, and on which it is to do well.

    Parameters
    ----------
    images, labels
        The training images'.
    target, target_labels
        The target's.
    """

    def __init__(
        self, images: Images, labels: Int64[np.ndarray, " points"], target: Targets, target_labels: Int64[np.ndarray, " targets"]
    ) -> None:
        for name, some, their in (("train", images, labels), ("target", target, target_labels)):
            if len(some) == 0 or len(some) != len(their):
                raise InputError(f"{name}: {len(some)} images with {len(their)} labels; expected as many of each, and at least one")
        self.images, self.labels, self.target, self.target_labels = images, labels, target, target_labels

    def __repr__(self) -> str:
        return f"Goal({digest(self.images, self.labels, self.target, self.target_labels)})"

    def aim(self, network: nn.Module, device: torch.device, chosen: Int64[np.ndarray, " chosen"] | slice = slice(None)) -> Target:
        """The target on the network's device, or what is chosen of it."""
        return Target(to_batch(self.target[chosen], network, device), torch.from_numpy(self.target_labels[chosen]).to(device))

    def some(self, points: int, network: nn.Module, like: Tensor, generator: torch.Generator) -> Tensor:
        """So many training images, drawn without regard to whether one comes twice."""
        chosen = torch.randint(len(self.images), (points,), generator=generator).numpy()
        return to_batch(self.images[chosen], network, like.device)


class State(nn.Module):
    """What a teacher has to remember: E, the log, and s; or the target's gradients, those before, their metric and F's mean weights."""

    def __init__(self, network: nn.Module, rows: int) -> None:
        super().__init__()
        self.network = network
        self.direction: Tensor
        self.matched: Tensor
        self.metric: Tensor
        self.average: Tensor
        self.log: Tensor
        self.register_buffer("direction", torch.zeros(0, 0))
        self.register_buffer("matched", torch.zeros(0, 0))
        self.register_buffer("metric", torch.zeros(0))
        self.register_buffer("average", torch.zeros(0))
        self.register_buffer("log", torch.full((rows, len(COLUMNS)), torch.nan, dtype=torch.float64))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        for name in ("direction", "matched", "metric", "average"):  # of F's shape
            setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Teacher(ABC):
    """An augmentation of F's batches that teaches E meanwhile; a `Learner` for `augury.training.train`.

    Parameters
    ----------
    transformation
        G. It stays as it is.
    network
        E, which is taught in place: a `TauDistribution`, or a module like `AugmentationNetwork` that gives (images, generator) their taus.
    goal
        Training images and target.
    config
        How.
    steps
        How many steps F is fitted for.
    """

    def __init__(self, transformation: Transformation, network: nn.Module, goal: Goal, config: TeachingConfig, steps: int) -> None:
        size = getattr(network, "tau_size", None)
        if size != transformation.tau_size:
            raise InputError(
                f"network: it gives {size} components of tau (its tau_size), the transformation takes {transformation.tau_size}"
            )
        self.transformation, self.goal, self.config = transformation, goal, config
        self.module = State(network, math.ceil(steps / config.every))
        self.optimizer = self._descent(network)
        self._classifier: Classifier | None = None

    def __repr__(self) -> str:
        G = self.transformation
        weights = content_key(Model(G, "")) if isinstance(G, nn.Module) else repr(G)
        return f"{type(self).__name__}({getattr(G, 'settings', '')}, {weights}, {self.config}, {self.goal})"

    @property
    def log(self) -> Float[np.ndarray, "solves columns"]:
        """A row for each solve: `COLUMNS`, the effects times the number of training points (aligned: per unit of gradient)."""
        rows: npt.NDArray[np.float64] = self.module.log.cpu().numpy()
        solves: npt.NDArray[np.float64] = rows[~np.isnan(rows[:, 0])]
        return solves

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, changed as E has learned so far; one step of E."""
        with moment.reading() as fitted:
            network = self._read(fitted, moment)
            if self._classifier is None or self._classifier.network is not network:
                self._classifier = Classifier.of(network, images, moment.precision)  # at once, so that a wrong model does not train first
            if not self._taught_at(moment):
                return self._made(images, moment.generator)
            residual = math.nan
            if self.module.direction.numel() == 0 or moment.step % self.config.every == 0:
                residual = self._solve(self._classifier, images, moment.generator)
            made, told = self._teach(self._classifier, images, labels, moment.generator)
        row = moment.step // self.config.every
        if math.isfinite(residual) and row < len(self.module.log):
            self.module.log[row] = self.module.log.new_tensor([moment.step, *told, residual])
        return made

    def _read(self, network: nn.Module, moment: Moment) -> nn.Module:
        """The network by which E is taught: F as it is now."""
        del moment
        return network

    def _taught_at(self, moment: Moment) -> bool:
        """Whether E is taught now, or only draws."""
        return self.config.warmup * moment.steps <= moment.step < self.config.until * moment.steps

    def _solve(self, classifier: Classifier, like: Tensor, generator: torch.Generator) -> float:
        """Renew s; gives the solve's relative residual."""
        goal, points = self.goal, self.config.curvature_points
        plain, varied = (goal.some(points, classifier.network, like, generator) for _ in range(2))
        curved = torch.cat([plain, self._made(varied, generator)])
        aim = goal.aim(classifier.network, like.device)
        s, solved = target_direction(classifier, curved, aim, damping=self.config.damping, points=len(goal.images))
        self.module.direction = s
        return solved.residual

    def _effects(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """Influence on the target, times the number of training points: of the order of the target's loss."""
        features, scores = classifier(images)
        return len(self.goal.images) * effects(self.module.direction, features, scores, labels, bounded=self.config.bounded)

    @property
    def _weights(self) -> list[nn.Parameter]:
        """What is taught."""
        return [weight for weight in self.module.network.parameters() if weight.requires_grad]

    @abstractmethod
    def _descent(self, network: nn.Module) -> torch.optim.Optimizer:
        """What moves E."""

    @abstractmethod
    def _made(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What E and G make of the images now, without derivatives."""

    @abstractmethod
    def _teach(self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Iterator[float]]:
        """One step of E, what F is to be trained on, and what the log tells: effect, spread, kept, divergence."""


class ChoiceTeacher(Teacher):
    """E as a `TauDistribution`: of a few draws an image, those with the better influence become likelier."""

    optimizer: AgreedDescent

    def _descent(self, network: nn.Module) -> AgreedDescent:
        return AgreedDescent(network.parameters(), self.config.learning_rate, self.config.significance)

    @torch.no_grad()
    def _made(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.transformation(images, self._distribution.sample(images, generator))

    def _effects(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """By what draws are compared: influence x training points, per unit length of each image's gradient if `aligned`."""
        features, scores = classifier(images)
        config, count = self.config, len(self.goal.images)
        return count * effects(self.module.direction, features, scores, labels, bounded=config.bounded, aligned=config.aligned)

    def _teach(self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Iterator[float]]:
        points, draws, E = len(images), self.config.draws, self._distribution
        repeated = images.repeat(draws, 1, 1, 1)
        with torch.no_grad():
            tau = E.sample(repeated, generator)
            made = self.transformation(repeated, tau)
            values = self._effects(classifier, made, labels.repeat(draws)).view(draws, points)
        worse = values - values.mean(dim=0)
        density = E.log_density(repeated, tau).view(draws, points)
        divergence = E.divergence(images).mean()
        spread = worse.std(correction=0)
        self._learn((worse / (spread + torch.finfo(worse.dtype).tiny) * density).mean(), self.config.divergence * divergence)
        chosen = values.argmin(dim=0) if self.config.keep == "best" else values.new_zeros(points, dtype=torch.long)
        everyone = torch.arange(points, device=images.device)
        told = (values.mean(), spread, values[chosen, everyone].mean(), divergence)
        return made.view(draws, *images.shape)[chosen, everyone], (float(value.detach()) for value in told)

    def _learn(self, compared: Tensor, kept: Tensor) -> None:
        """One step of E down both; the first alone has noise. F and G get no gradients."""
        noisy, certain = (torch.autograd.grad(loss, self._weights, retain_graph=True) for loss in (compared, kept))
        self.optimizer.descend(noisy, certain)

    @property
    def _distribution(self) -> TauDistribution:
        network = self.module.network
        assert isinstance(network, TauDistribution)
        return network


class GradientTeacher(Teacher):
    """E as a network from image to tau: it descends along the derivative of its images' influence, through F and G (Eq. 15 to 19)."""

    def _descent(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), self.config.learning_rate, BETAS)

    @torch.no_grad()
    def _made(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.transformation(images, self._network(images, generator))

    def _teach(self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Iterator[float]]:
        made = self.transformation(images, self._network(images, generator))
        features, scores = classifier(made)
        count = len(self.goal.images)
        values = count * effects(self.module.direction, features, scores, labels, bounded=self.config.bounded)
        with torch.no_grad():
            before = self._effects(classifier, images, labels)
        preserved = torch.nn.functional.cross_entropy(scores, labels)
        self._step((values - before).mean() + self.config.preserve * preserved)
        told = ((values - before).mean(), values.std(correction=0), values.mean(), preserved)
        return made.detach(), (float(value.detach()) for value in told)

    def _step(self, loss: Tensor) -> None:
        """One step of E down the loss; F and G get no gradients."""
        weights = self._weights
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(weights, self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @property
    def _network(self) -> nn.Module:
        return self.module.network
