"""The game of G and its critics, one step at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.data.examples import Images
from augury.errors import InputError
from augury.learned.adversarial_config import AdversarialConfig
from augury.learned.critics import Critic, gradient_penalty
from augury.learned.transformation import WarpingTransformation, random_tau
from augury.model import Model
from augury.model.cache import content_key
from augury.model.reading import to_batch

FLOOR = 1e-3  # added to the mean squares whose inverses hold G away from the identity, lest they be infinite there
LOSSES = ("image_distance", "image_penalty", "flow_distance", "flow_penalty", "anti_identity")

Samples = dict[str, Tensor]  # by critic: images, and flows in units of half the picture


class Game:
    """G, its critics, and the one optimizer of all: a step moves only those that have been given gradients."""

    def __init__(self, transformation: WarpingTransformation, images: Images, config: AdversarialConfig, device: torch.device) -> None:
        self.transformation, self.images, self.config, self.device = transformation, images, config, device
        height, width = transformation.height, transformation.width
        channels = {"image": transformation.channels} | ({"flow": 2} if transformation.moves else {})
        self.critics = nn.ModuleDict({name: Critic(count, height, width, config.seed) for name, count in channels.items()}).to(device)
        self.players = nn.ModuleDict({"transformation": transformation, "critics": self.critics})
        self.optimizer = torch.optim.Adam(self.players.parameters(), config.learning_rate, config.betas)
        self.affine = config.affine(height, width).to(device)
        self.half = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device)[:, None, None]
        self.cause = content_key(Model(self.players, ""), transformation.settings, config, images)

    def play(self, start: int, stop: int, ticks: Iterator[int]) -> list[float]:
        """The steps from `start` to before `stop`, one of `ticks` each; gives the means of `LOSSES` over them."""
        losses = torch.stack([self.step(number) for number, _ in zip(range(start, stop), ticks, strict=False)])
        means: list[float] = losses.double().mean(dim=0).tolist()
        if not all(map(math.isfinite, means)) or not all(weight.isfinite().all() for weight in self.players.parameters()):
            raise InputError(
                f"learning_rate: with {self.config.learning_rate:g}, losses or weights are no longer finite before step {stop}; "
                "lower it, tenfold to begin with"
            )
        return means

    def step(self, number: int) -> Float[Tensor, " losses"]:
        """Some steps of the critics, then one of G; its draws follow from the seed and `number` alone."""
        entropy = np.random.SeedSequence((self.config.seed, number)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0]))
        found: dict[str, Tensor] = {}
        for _ in range(self.config.critic_steps):
            found |= self._teach_critics(generator)
        found |= self._teach_transformation(generator)
        return torch.stack([found.get(name, self.half.new_zeros(())) for name in LOSSES])

    def _teach_critics(self, generator: torch.Generator) -> dict[str, Tensor]:
        real, tau = self._draw(generator)
        with torch.no_grad():
            made = self._samples(real, tau)
            genuine = {"image": real} | ({"flow": self._affine_flows(generator)} if "flow" in made else {})
        found: dict[str, Tensor] = {}
        loss = self.half.new_zeros(())
        for name, critic in self.critics.items():
            shares = torch.rand(len(real), generator=generator).to(real)
            scores = critic(torch.cat([genuine[name], made[name]]))
            distance = scores[: len(real)].mean() - scores[len(real) :].mean()
            penalty = gradient_penalty(critic, genuine[name], made[name], shares)
            loss = loss - distance + self.config.penalty * penalty
            found |= {f"{name}_distance": distance.detach(), f"{name}_penalty": penalty.detach()}
        self._descend(loss, self.critics)
        return found

    def _teach_transformation(self, generator: torch.Generator) -> dict[str, Tensor]:
        real, tau = self._draw(generator)
        made = self._samples(real, tau)
        change = {"image": made["image"] - real} | {name: flow for name, flow in made.items() if name == "flow"}
        inverse = torch.stack([1 / (values.square().mean() + FLOOR) for values in change.values()]).sum()
        weights = {"image": 1, "flow": self.config.flow_weight}
        realness = torch.stack([weights[name] * self.critics[name](values).mean() for name, values in made.items()]).sum()
        self._descend(self.config.anti_identity * inverse - realness, self.transformation)
        return {"anti_identity": inverse.detach()}

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch of images, and a tau for each."""
        chosen = torch.randint(len(self.images), (self.config.batch,), generator=generator).numpy()
        real = to_batch(self.images[chosen], self.transformation, self.device)
        return real, random_tau(len(real), self.transformation.tau_size, generator).to(real)

    def _samples(self, real: Tensor, tau: Tensor) -> Samples:
        parts = self.transformation.parts(real, tau)
        return {"image": parts.images} | ({"flow": parts.flow / self.half} if self.transformation.moves else {})

    def _affine_flows(self, generator: torch.Generator) -> Tensor:
        tau = random_tau(self.config.batch, self.affine.tau_size, generator).to(self.device)
        return self.affine.flow(tau) / self.half

    def _descend(self, loss: Tensor, player: nn.Module) -> None:
        weights = [weight for weight in player.parameters() if weight.requires_grad]
        self.optimizer.zero_grad()
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
