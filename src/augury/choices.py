"""The words that a user chooses between, apart from what they mean.

Here they are listed for settings and help, which load nothing that computes, and for the modules that know what a word means.
"""

from __future__ import annotations

from typing import Literal

Method = Literal["influence", "loss", "validation", "margin", "support", "uniform"]  # of `augury.score`
Preference = Literal["proportional", "inverse", "uniform", "softmax", "inverse_softmax"]  # of `augury.rank`,
Order = Literal["sampled", "ranked", "stratified", "determinantal"]  # likewise
Rule = Literal["matching", "choice", "gradient"]  # of `augury.TeachingConfig`
EngineName = Literal["local", "ray", "dask"]  # of `augury.Engine`
TableMethod = Literal["influence", "loss", "validation", "uniform"]  # of `augury.shards.score_table`,
TableOrder = Literal["sampled", "ranked"]  # and of `select_table`
PLAIN = ("none", "crop")  # vary images too little to stand in for draws of tau
BASELINES = (*PLAIN, "affine", "heuristic", "randaugment", "trivialaugment", "random-tau", "adversarial-tau")
Before = Literal["auto", "none", "crop", "randaugment", "trivialaugment"]  # what was learned comes after it

PAPER_TASKS = tuple(f"{data}-{transform}" for data in ("mnist", "cifar10", "norb") for transform in ("translate", "rotate", "crop"))
PAPER_SCORES = ("uniform", "influence", "loss", "margin", "support")
PAPER_POLICIES = (
    "baseline",
    "random_proportional",
    "random_inverse_proportional",
    "deterministic_proportional",
    "deterministic_inverse_proportional",
    "random_softmax_proportional",
    "random_inverse_softmax_proportional",
    "clustered",
    "dpp",
    "vsv",
)

LEARNING_TASKS = (
    *("mnist-1", "mnist-10", "cifar10-10", "cifar10-100"),
    *(f"mnist-1:{shift}" for shift in ("turned", "slanted", "lit", "thick", "blurred")),
    *(f"cifar10-10:{shift}" for shift in ("turned", "lit", "tinted", "far", "blurred")),
)
LEARNING_ROWS = (
    *BASELINES,
    *(
        "random-tau-wide",
        "random-tau-G",
        "learned",
        "learned-online",
        "learned-G",
        "learned-choice",
        "learned-gradient",
        "learned-literal",
    ),
    *("best-of-4", "without-averaging", "without-divergence", "without-held", "with-kept", "without-least", "worst-of-4", "deployed"),
)

RECHOSEN_TASKS = ("mnist-translate", "mnist-rotate", "cifar10", "cifar10-ready")
RECHOSEN_WAYS = ("none", "random", "points", "once", "rechosen", "full")
