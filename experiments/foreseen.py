"""Is it foreseen what an augmentation brings? Predictions made with one network beside the accuracies that were measured with each.

    AUGURY_DATA=FOLDER python experiments/foreseen.py

For each task and draw of the labels `augury.foresee` asks a single network, on its way through the first part of a training, how well the
gradients on images of each row of `learning/` agree with the target's. The same network and the same images tell what influence through
its last layer foresees (*Learning to Augment Influential Data*, Eq. 19), as it is and as the rule `choice` compares draws by it, and how
hard the images are. Beside them stand the accuracies in `learning/cells`, of the same draws. Without a shift a third of the labels serves
as target. Finished tasks and draws are not measured again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float, Int64
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

from augury import foresee
from augury.cells import Cells
from augury.choices import PLAIN
from augury.data import Examples
from augury.experiment.learning.measure import SEARCH
from augury.experiment.learning.rows import Deployed
from augury.experiment.learning.tasks import Points, Task, read_task
from augury.files import write_atomic, write_text
from augury.learned import BoundedTransformation, TeachingConfig
from augury.learned.baselines import BASELINES, Share, Then, named_baseline, usual_before
from augury.learned.classifier import Classifier
from augury.learned.objective import Target, effects, target_direction
from augury.model.reading import to_batch
from augury.networks import build
from augury.report.learning.tables import task_name
from augury.report.subsampling.figures.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, QUIET, RED, SKY, legend, panels, render
from augury.training import Augment, Moment

RESULTS = Path(__file__).parent / "learning"
SHIFTED = ("mnist-1:turned", "mnist-1:slanted", "mnist-1:thick", "mnist-1:lit", "mnist-1:blurred")
DRAWS = dict.fromkeys((*SHIFTED, "mnist-1"), 5) | {"cifar10-10": 3}  # of the labels
KNOWN = "deployed"  # the row that knows the shift
WIDER = "random-tau-wide"  # the row that goes too far
SIGNS = {"agreement": 1, "influence": -1, "aligned": -1, "loss": 1}  # whether more, or less, is to mean a better augmentation
COLUMNS = {
    "agreement": "agreement of all layers' gradients",
    "influence": "influence (Eq. 19)",
    "aligned": "influence as compared by `choice`",
    "loss": "loss on the images",
}
PANELS = 3  # in a row of the figure
LOOKS = dict(
    zip(
        (*BASELINES, WIDER, KNOWN),
        zip("ox^vs<>DPX", (BLACK, GREY, SKY, GREEN, ORANGE, BLUE, PURPLE, RED, QUIET, BLUE), strict=True),
        strict=True,
    )
)
Images, Labels = Float[Tensor, "points channels height width"], Int64[Tensor, " points"]


@dataclass
class LastLayer:
    """What the network's last layer foresees at a step: s is solved for once, over the images before they are changed."""

    target: Examples
    points: int
    step: int = -1
    s: Tensor = field(default_factory=lambda: torch.zeros(0))

    def told(self, classifier: Classifier, plain: Images, made: Images, labels: Labels, step: int) -> dict[str, float]:
        """The means over the images, influences times the number of training points."""
        if step != self.step:
            aim = Target(to_batch(self.target.images, classifier.network, plain.device), torch.from_numpy(self.target.labels))
            self.s, _ = target_direction(classifier, plain, aim, damping=TeachingConfig().damping, points=self.points)
            self.step = step
        with torch.no_grad():
            features, scores = classifier(made)
        ways = {"influence": False, "aligned": True}
        found = {name: effects(self.s, features, scores, labels, bounded=choice, aligned=choice).mean() for name, choice in ways.items()}
        return {name: self.points * float(mean) for name, mean in found.items()}


@dataclass
class Asked:
    """An augmentation that notes what the last layer foresees of the images that it makes."""

    augment: Augment
    layer: LastLayer
    rows: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, images: Images, labels: Labels, moment: Moment) -> Images:
        """The images, changed."""
        made = self.augment(images, labels, moment)
        self.rows.append(self.layer.told(Classifier.of(moment.network, images), images, made, labels, moment.step))
        return made


def measure(task: Task, seed: int) -> pd.DataFrame:
    """A line a row: what is foreseen of it, the means over all looks at the network."""
    points, fitting = task.points(seed), task.fitting
    channels, height, width = points.everything.shape
    train, target = points.labels.train, points.labels.target
    if target is None:
        train, target = train.split(1 / 3, seed)
    layer = LastLayer(target, len(train))
    asked = {name: Asked(augment, layer) for name, augment in ways(task, points)}
    network = build(fitting.network, channels=channels, height=height, width=width, classes=len(train.classes), seed=seed + SEARCH)
    training = fitting.config(round((1 - TeachingConfig.matching().held) * len(train)), fitting.search, seed + SEARCH)
    found = foresee(network, train, target, asked, training=training, share=fitting.share, seed=seed + SEARCH, device="cpu")
    last = pd.DataFrame({name: pd.DataFrame(some.rows).mean() for name, some in asked.items()}).T
    table = pd.concat([found, last], axis=1).rename_axis("row").reset_index()
    return table.assign(task=task.name, seed=seed)


def ways(task: Task, points: Points) -> Iterator[tuple[str, Augment]]:
    """What the rows do to training images."""
    shape, share = points.everything.shape, task.fitting.share
    for name in BASELINES:
        yield name, named_baseline(name, *shape, share=share)
    yield WIDER, named_baseline("random-tau", *shape, transformation=BoundedTransformation.wide(*shape), share=share)
    if task.shift is not None:
        before = usual_before(shape[0])
        beneath = named_baseline("random-tau" if before in PLAIN else before, *shape, share=share)
        yield KNOWN, Then(beneath, Share(Deployed(task.shift), share))


def beside(found: pd.DataFrame) -> pd.DataFrame:
    """What was foreseen, with the accuracy that was measured, in per cent, where it was."""
    cells = Cells(RESULTS / "cells", "learning-cells").read()
    real = cells[["task", "seed", "row", "accuracy"]].assign(accuracy=100 * cells["accuracy"])
    return found.merge(real, on=["task", "seed", "row"])


def orders(both: pd.DataFrame) -> pd.DataFrame:
    """For each task and draw and each prediction: its rank correlation with accuracy, and what the baseline that it puts first lacks."""
    lines = []
    for (task, seed), own in both.groupby(["task", "seed"], sort=False):
        usual = own[own["row"] != KNOWN].set_index("row")
        for name, sign in SIGNS.items():
            chosen = (sign * usual[name]).idxmax()
            rho = float(spearmanr(sign * own[name], own["accuracy"]).statistic)
            lines.append(
                {"task": task, "seed": seed, "prediction": name, "rho": rho, "chosen": chosen}
                | {"lacks": float(usual["accuracy"].max() - usual["accuracy"][chosen])}
            )
        lines.append(
            {"task": task, "seed": seed, "prediction": "chance", "rho": 0.0, "chosen": ""}
            | {"lacks": float(usual["accuracy"].max() - usual["accuracy"].mean())}
        )
    return pd.DataFrame(lines)


PAGE = """# What is foreseen, and what came

A single network is asked, before anything is trained with any of them, what the augmentations of the [tables](tables.md) would bring;
`python experiments/foreseen.py` tells how. Rank correlations (Spearman) of what is foreseen with the accuracy that was measured, over the
{baselines} baselines, `{wider}`, which goes too far, and, under a shift, `{known}`, which knows it: 1, the same order; 0, none; −1,
the opposite one. Means over draws of the labels ± deviations.

{orders}

How many points of accuracy the baseline that a prediction puts first lacks of the best one; and a baseline taken by chance, on the mean:

{lacks}

![What is foreseen against what was measured](figures/foreseen.png)
"""


def page(both: pd.DataFrame) -> str:
    """Two tables: how well each prediction orders the rows, and what follows for who picks by it."""
    lines = orders(both)
    tables = {"orders": _table(lines, "rho", list(COLUMNS)), "lacks": _table(lines, "lacks", [*COLUMNS, "chance"])}
    return PAGE.format(baselines=len(BASELINES), known=KNOWN, wider=WIDER, **tables)


def _table(lines: pd.DataFrame, value: str, predictions: list[str]) -> str:
    heads = [COLUMNS.get(name, "by chance") for name in predictions]
    rows = [f"| task | n | {' | '.join(heads)} |", f"| --- | ---: |{' ---: |' * len(heads)}"]
    for task in lines["task"].unique():
        own = lines[lines["task"] == task].pivot_table(index="seed", columns="prediction", values=value)
        rows.append(f"| {task_name(task)} | {len(own)} | {' | '.join(_spread(own[name]) for name in predictions)} |")
    return "\n".join(rows)


def _spread(values: pd.Series) -> str:
    """Mean ± sample deviation."""
    text = f"{values.mean():.2f}"
    return (text if len(values) < 2 else f"{text} ± {values.std(ddof=1):.2f}").replace("-", "−")


def _draw(figure: Figure, both: pd.DataFrame) -> None:
    tasks = list(both["task"].unique())
    for task, axes in zip(tasks, panels(figure, [task_name(task) for task in tasks], PANELS), strict=True):
        means = both[both["task"] == task].groupby("row")[["agreement", "accuracy"]].mean()
        for row, (marker, colour) in LOOKS.items():
            if row in means.index:
                agreement, accuracy = means.loc[row]
                axes.plot(agreement, 100 - accuracy, marker, color=colour, markersize=7, linestyle="none", label=row)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.invert_yaxis()
        axes.set_xlabel("agreement, foreseen")
        axes.set_ylabel("test error, measured (%)")
    legend(figure, PANELS)


def main() -> None:
    """Measure what is missing, and write tables and figure."""
    torch.set_num_threads(1)
    store = Cells(RESULTS / "foreseen", "learning-foreseen")
    for name, draws in DRAWS.items():
        task = read_task(name)
        for seed in range(draws):
            if str(seed) not in store.names(task.group):
                store.write(task.group, str(seed), measure(task, seed))
                print(name, seed, flush=True)
        store.pack(task.group)
    both = beside(pd.concat([store.read_group(read_task(name).group) for name in DRAWS], ignore_index=True))
    drawn = render(lambda figure: _draw(figure, both), 12.6, 11.2)
    write_atomic(RESULTS / "figures" / "foreseen.png", lambda stream: stream.write(drawn))
    write_text(RESULTS / "foreseen.md", page(both))


if __name__ == "__main__":
    main()
