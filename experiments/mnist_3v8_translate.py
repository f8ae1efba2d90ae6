"""MNIST 3 v 8, translated: points chosen by influence or loss against as many random ones.

    AUGURY_DATA=... python experiments/mnist_3v8_translate.py [WORK_FOLDER]

Three trainings of the feature network, five draws of each policy; and one network trained sixteen times as long. Every curve is stored
beside this file and not measured again; the tables are written from the stored curves.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from augury.evaluation import Curve, measure
from augury.experiment import Pipeline, RunConfig
from augury.files import write_text
from augury.head import SoftmaxHead
from augury.scores import score
from augury.selection import Ordering, rank

RESULTS = Path(__file__).parent / "mnist-3v8-translate"
NETWORKS, DRAWS = range(3), range(5)
EPOCHS, LONG = 40, 640
BUDGETS = (1, 10, 50, 100, 250, 500, 750, 1000)


def curve(seed: int, work: Path, epochs: int = EPOCHS) -> Curve:
    """The curve on the features of one training of the network, measured or, if it is stored, read."""
    name = f"network-{seed}" if epochs == EPOCHS else f"network-{seed}-epochs-{epochs}"
    path = RESULTS / f"{name}.parquet"
    if path.exists():
        return Curve.load(path)
    config = RunConfig(data="mnist", classes=("3", "8"), first=1000, transform="translate:2", unit="points", seed=seed, epochs=epochs)
    stages = Pipeline(config, work / name)
    train = stages.copied(stages.splits.train, "training points")
    test = stages.copied(stages.splits.test, "test points")
    X, y, _ = test.augmented(np.arange(len(test)))
    cause = config.record() | {"test_images": len(y), "features": train.features.shape[1], "network": stages.network.recipe.name}
    found = measure(train, (X, y), policies(train.features, train.labels), BUDGETS, cause=cause)
    found.save(path)
    return found


def policies(X: np.ndarray, y: np.ndarray) -> dict[str, list[Ordering]]:
    """Each score drawn in proportion and inversely, and chance."""
    head = SoftmaxHead(C=1.0).fit(X, y)
    found = {}
    for method in ("influence", "loss"):
        scores = score(X, y, method, head)
        for preference in ("proportional", "inverse"):
            found[f"{method}, sampled, {preference}"] = [rank(scores, preference, "sampled", seed) for seed in DRAWS]
    return found | {"random": [rank(score(X, y, "uniform", head), "uniform", "sampled", seed) for seed in DRAWS]}


def table(curves: list[Curve]) -> str:
    """Areas under the curve, mean and deviation over draws, a column a network, as Markdown."""
    areas = [found.areas().groupby("policy", sort=False)["area"].agg(["mean", "std"]) for found in curves]
    cells = pd.concat([frame["mean"].map("{:.1f}".format) + frame["std"].map(" ± {:.1f}".format) for frame in areas], axis=1)
    rows = [["policy", *(f"network {seed}" for seed in NETWORKS)], ["---", *["---:"] * len(curves)]]
    rows += [[policy, *values] for policy, values in zip(cells.index, cells.to_numpy().tolist(), strict=True)]
    rows += [
        ["*accuracy, no augmentation*", *(f"{found.none:.2%}" for found in curves)],
        ["*accuracy, full augmentation*", *(f"{found.full:.2%}" for found in curves)],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def training_table(work: Path) -> str:
    """Short against long training of the feature network, as Markdown."""
    rows = ["| epochs | no augmentation | full augmentation | area: influence | area: random |\n", "| ---: | ---: | ---: | ---: | ---: |\n"]
    for epochs in (EPOCHS, LONG):
        found = curve(0, work, epochs)
        areas = found.areas().groupby("policy")["area"].mean()
        chosen, random = areas["influence, sampled, proportional"], areas["random"]
        rows.append(f"| {epochs} | {found.none:.2%} | {found.full:.2%} | {chosen:.1f} | {random:.1f} |\n")
    return "".join(rows)


def main(work: Path) -> None:
    """Measure what is missing, and write the tables."""
    write_text(RESULTS / "table.md", table([curve(seed, work) for seed in NETWORKS]))
    write_text(RESULTS / "training.md", training_table(work))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
