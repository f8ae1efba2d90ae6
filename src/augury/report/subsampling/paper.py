"""What *Efficient Augmentation via Data Subsampling* printed, as data: its Table 1 and its areas under the curves, Tables 3 to 20.

The numbers are those of the version under review for ICLR 2019, whose tables the authors' code reproduces. They lie in two files beside
this one: `paper.csv` (a row a policy and table) and `paper_table1.csv` (accuracies in per cent).
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple

import pandas as pd

DATA = ("mnist", "cifar10", "norb")
TRANSFORMS = ("translate", "rotate", "crop")
TASKS = tuple(f"{data}-{transform}" for transform in TRANSFORMS for data in DATA)  # row by row, as the paper's figures show them
SCORES = ("influence", "loss")
GRID = (1, 10, 50, 100, 250, 500, 750, 1000)  # points augmented when the paper measures; 0 comes before them
POINTS = 1000
PERCENTS = (5, 10, 25)  # of the training points, in Table 1
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR10", "norb": "NORB"}


class Policy(NamedTuple):
    """What the paper calls a policy, in its words: `random_proportional` and the like, with its two refinements."""

    policy: str
    update: bool = False
    downweight: bool = False

    @property
    def name(self) -> str:
        """The policy as the paper's tables write it: "random proportional update downweight"."""
        refinements = [word for word, wanted in (("update", self.update), ("downweight", self.downweight)) if wanted]
        return " ".join([self.policy.replace("_", " "), *refinements])


BASELINE = Policy("baseline")
REFINEMENTS = tuple((update, downweight) for update in (False, True) for downweight in (False, True))
RANDOM = tuple(Policy("random_proportional", *refined) for refined in REFINEMENTS)
RANKED = tuple(Policy("deterministic_proportional", *refined) for refined in REFINEMENTS)
RANDOM_INVERSE = Policy("random_inverse_proportional")
RANKED_INVERSE = Policy("deterministic_inverse_proportional")
POLICIES = (BASELINE, *RANDOM, RANDOM_INVERSE, *RANKED, RANKED_INVERSE)


def title(task: str) -> str:
    """A task's name as the paper writes it: "MNIST-translate"; any other name as it is."""
    data, _, transform = task.partition("-")
    return f"{TITLES[data]}-{transform}" if task in TASKS else task


@functools.cache
def areas() -> pd.DataFrame:
    """Tables 3 to 20, a row a policy: `table, task, score, policy, update, downweight, mean, deviation`.

    `mean` is the area under the curve of accuracy over 0 to 1,000 augmented points (at most 1,000); `deviation` the sample deviation over
    five runs, missing where the paper has a dash: policies without a draw ran once.
    """
    frame = _read("paper.csv")
    frame.insert(1, "task", frame["data"] + "-" + frame["transform"])
    return frame.drop(columns=["data", "transform"]).rename(columns={"std": "deviation"})


def table(task: str, score: str) -> pd.DataFrame:
    """The paper's table of a task and score, indexed by `Policy`: `table, mean, deviation, rank` (1 is best; equal means share a rank)."""
    rows = areas()
    rows = rows[(rows["task"] == task) & (rows["score"] == score)]
    index = pd.Index([Policy(*row) for row in rows[["policy", "update", "downweight"]].itertuples(index=False)], tupleize_cols=False)
    found = rows[["table", "mean", "deviation"]].set_index(index)
    return found.assign(rank=found["mean"].rank(ascending=False, method="min").astype(int))


@functools.cache
def accuracies() -> pd.DataFrame:
    """Table 1, translated images, indexed by data: accuracy in [0, 1] at `none`, `baseline_5` to `best_25` (per cent) and `full`."""
    return _read("paper_table1.csv").set_index("data") / 100


def _read(name: str) -> pd.DataFrame:
    with resources.files(__package__).joinpath(name).open(encoding="utf-8") as stream:
        return pd.read_csv(stream)
