"""Does influence tell images changed as deployed from images changed at random? What a taught augmentation can learn from, at best.

    AUGURY_DATA=FOLDER python experiments/foreseen.py

For each shift of MNIST (600 labels, 200 more as deployed) a network F is fitted to the training images with random taus, as in the row
`random-tau` of `learning/`, but without the target. Every 100 steps each training image, cropped as usual, is changed twice, by a random
tau and by the very shift, and the influence of both on the target is compared as E's draws are: bounded, per length of the image's own
gradient. Beside it stands what training on such images really brings: the row `deployed` against `random-tau` in `learning/cells`.
Finished shifts and seeds are not measured again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from augury.cells import Cells
from augury.experiment.learning.rows import Deployed
from augury.experiment.learning.tasks import Points, Task, read_task
from augury.files import write_text
from augury.learned import BoundedTransformation, TeachingConfig
from augury.learned.baselines import named_baseline, usual_crop
from augury.learned.classifier import Classifier
from augury.learned.objective import Target, effects, target_direction
from augury.model.reading import to_batch
from augury.networks import build
from augury.softmax import residuals
from augury.training import Augment, Moment, train

RESULTS = Path(__file__).parent / "learning"
SHIFTS, SEEDS = ("turned", "thick", "blurred", "slanted", "lit"), 3
SEARCH = 1000  # added to the seed of F, as in the experiment
Images, Labels = Float[Tensor, "points channels height width"], Int64[Tensor, " points"]


@dataclass(frozen=True)
class Watched:
    """An augmentation that now and then compares two ways to change all training images by their influence on the target."""

    augment: Augment
    task: Task
    points: Points
    rows: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, images: Images, labels: Labels, moment: Moment) -> Images:
        """The images, changed by the augmentation."""
        config = TeachingConfig()
        if moment.step >= config.warmup * moment.steps and moment.step % config.every == 0:
            with moment.reading() as network, torch.no_grad():
                self.rows.append({"step": moment.step} | self._compared(Classifier.of(network, images), config, moment))
        return self.augment(images, labels, moment)

    def _compared(self, classifier: Classifier, config: TeachingConfig, moment: Moment) -> dict[str, float]:
        labels, shift = self.points.labels, self.task.shift
        assert labels.target is not None
        assert shift is not None
        y, device = torch.from_numpy(labels.train.labels), torch.device("cpu")
        plain, aim = (to_batch(part.images, classifier.network, device) for part in (labels.train, labels.target))
        shape, generator = self.points.everything.shape, moment.generator
        cropped, G = usual_crop(*shape)(plain, y, moment), BoundedTransformation(*shape)
        tau = 2 * torch.rand(len(cropped), G.tau_size, generator=generator) - 1
        ways = {"random": G(cropped, tau), "known": Deployed(shift)(cropped, y, moment)}
        curved, target = torch.cat([plain, ways["random"]]), Target(aim, torch.from_numpy(labels.target.labels))
        s, _ = target_direction(classifier, curved, target, damping=config.damping, points=len(y))
        worth = {name: effect(classifier, s, made, y) for name, made in ways.items()}
        gained = worth["known"] - worth["random"]
        turned = {name: cosine(classifier, cropped, made, y) for name, made in ways.items()}
        return {
            "difference": float(gained.mean()),
            "scale": float(torch.cat(list(worth.values())).std()),
            "better": float((gained < 0).double().mean()),
            **{f"cosine_{name}": float(values.mean()) for name, values in turned.items()},
        }


def effect(classifier: Classifier, s: Tensor, images: Images, labels: Labels) -> Float[Tensor, " points"]:
    """What E's draws are compared by."""
    features, scores = classifier(images)
    return len(labels) * effects(s, features, scores, labels, bounded=True, aligned=True)


def cosine(classifier: Classifier, first: Images, second: Images, labels: Labels) -> Float[Tensor, " points"]:
    """Between the gradients of an image before and after it is changed, in the last layer's weights."""
    (f, z), (g, w) = classifier(first), classifier(second)
    return functional.cosine_similarity(f, g) * functional.cosine_similarity(residuals(z, labels), residuals(w, labels))


def measure(task: Task, seed: int) -> pd.DataFrame:
    """A row a moment of F's training."""
    points, fitting = task.points(seed), task.fitting
    shape, fitted = points.everything.shape, points.labels.train
    random = named_baseline("random-tau", *shape, transformation=BoundedTransformation(*shape), share=fitting.share)
    watched = Watched(random, task, points)
    network = build(fitting.network, channels=shape[0], height=shape[1], width=shape[2], classes=len(fitted.classes), seed=seed + SEARCH)
    config = fitting.config(len(fitted), fitting.search, seed + SEARCH)
    train(network.module, fitted.images, fitted.labels, config=config, augment=watched, device="cpu")
    return pd.DataFrame(watched.rows).assign(task=task.name, seed=seed)


def gains() -> pd.Series:
    """Points of accuracy by which the row `deployed` is ahead of `random-tau`, a number a task and seed."""
    cells = Cells(RESULTS / "cells", "learning-cells").read()
    heights = cells.pivot_table(index=["task", "seed"], columns="row", values="accuracy")
    return 100 * (heights["deployed"] - heights["random-tau"])


def table(found: pd.DataFrame, real: pd.Series) -> str:
    """A row a shift: means over moments, ± deviations over seeds."""
    lines = [
        "# What influence can tell\n",
        "Images changed by the very shift against images changed by random taus: the mean difference of their aligned influence on the",
        "target, in standard deviations over images (negative: the shift is preferred); the share of the images of which the shift is",
        "preferred; the cosine between an image's gradient before and after; and what training on images changed by the shift brings, in",
        "points of accuracy.\n",
        "| shift | seeds | difference | preferred, % | cosine, the shift | cosine, random tau | gain by training |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    found = found.assign(standard=found["difference"] / found["scale"], preferred=100 * found["better"])
    for name in SHIFTS:
        own = found[found["task"] == f"mnist-1:{name}"]
        means = own.groupby("seed")[["standard", "preferred", "cosine_known", "cosine_random"]].mean()
        gain = real.get(f"mnist-1:{name}", pd.Series(dtype=float)).dropna()
        shown = [spread(means[column], decimals) for column, decimals in zip(means, (2, 0, 2, 2), strict=True)]
        lines.append(f"| {name} | {len(means)} | {' | '.join(shown)} | {spread(gain, 2)} |")
    return "\n".join(lines) + "\n"


def spread(values: pd.Series, decimals: int) -> str:
    """Mean ± sample deviation."""
    text = f"{values.mean():.{decimals}f}" if len(values) else "not measured"
    return (text if len(values) < 2 else f"{text} ± {values.std(ddof=1):.{decimals}f}").replace("-", "−")


def main() -> None:
    """Measure what is missing, and write the table."""
    torch.set_num_threads(1)
    store = Cells(RESULTS / "foreseen", "learning-foreseen")
    for seed in range(SEEDS):
        for name in SHIFTS:
            if str(seed) not in store.names(f"mnist-1.{name}"):
                store.write(f"mnist-1.{name}", str(seed), measure(read_task(f"mnist-1:{name}"), seed))
                print(name, seed, flush=True)
    for name in SHIFTS:
        store.pack(f"mnist-1.{name}")
    write_text(RESULTS / "foreseen.md", table(store.read(), gains()))


if __name__ == "__main__":
    main()
