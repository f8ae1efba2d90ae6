"""What a learned augmentation adds to a training step of ResNet-20, beside the usual ones.

    python benchmarks/learned_step.py

A step: 128 images of 32 x 32 in colour, forward, backward and SGD in bfloat16 with channels_last, on one thread. Each augmentation changes
80 % of the images, each image by a draw of its own. Writes `learned_step.json` beside this file.
"""

from __future__ import annotations

import statistics

import torch
from machine import OURS, case, interleaved, save
from torch import Tensor

from augury.learned import Applied, BoundedTransformation, LearnedAugmentation, TauDistribution
from augury.learned.baselines import named_baseline
from augury.networks import build
from augury.training import Augment, Moment

BATCH, SHAPE, CLASSES, SHARE = 128, (3, 32, 32), 10, 0.8
OTHERS = ("crop", "affine", "trivialaugment", "randaugment")


class Training:
    """Steps of ResNet-20 on the same images."""

    def __init__(self) -> None:
        self.network = build("resnet20", channels=3, height=32, width=32, classes=CLASSES, seed=0).module
        self.network.to(memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.1, momentum=0.9)
        self.generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(BATCH, *SHAPE, generator=self.generator)
        self.labels = torch.randint(CLASSES, (BATCH,), generator=self.generator)

    def changed(self, augment: Augment) -> Tensor:
        """The images, augmented."""
        return augment(self.images, self.labels, Moment(self.network, 0, 1, self.generator))

    def step(self) -> None:
        """Forward, backward, update."""
        images = self.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(self.network(images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def learned() -> Applied:
    """What `learn` gives by default: taus from a distribution, changes within wide bounds."""
    G = BoundedTransformation.wide(*SHAPE)
    E = TauDistribution(*SHAPE, tau_size=G.tau_size, concentration=G.usual())
    return Applied(LearnedAugmentation(G, E, share=SHARE))


def main() -> None:
    """Time the step and every augmentation in turn."""
    torch.set_num_threads(1)
    training = Training()
    augments: dict[str, Augment] = {OURS: learned()}
    augments |= {name: named_baseline(name, *SHAPE, transformation=BoundedTransformation(*SHAPE), share=SHARE) for name in OTHERS}
    sides = {name: (lambda augment=augment: training.changed(augment)) for name, augment in augments.items()}
    seconds = interleaved(sides | {"step": training.step})
    step = statistics.median(seconds.pop("step"))
    added = {name: statistics.median(times) / step for name, times in seconds.items()}
    cases = [case("augmenting 128 images of 32 x 32 x 3", seconds, step_seconds=step, share_of_step=added)]
    save(__file__, "What augmenting a batch takes, and as a share of ResNet-20's training step on it (`share_of_step`).", cases)
    for name, share in added.items():
        print(f"{name}: {100 * share:.1f} % of a step")


if __name__ == "__main__":
    main()
