"""The toy problem of *Learning to Augment Influential Data*, section 5.1: points in the plane, and an E that moves them.

Row 1: some validation points lie where the classifier, fitted to training points alone, is wrong; E learns to move training points towards
them. Row 2: validation is moved down, and E learns to move training points down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from augury.choices import Rule
from augury.errors import InputError
from augury.experiment.learning.plane import (
    BOUND,
    POINTS,
    PointDistribution,
    PointNetwork,
    Points,
    Row,
    Transition,
    drawn,
    layers,
    pictures,
)
from augury.files import write_table
from augury.learned import TeachingConfig, random_tau
from augury.learned.baselines import Share
from augury.learned.classifier import Classifier
from augury.learned.objective import Target, effects, target_direction
from augury.learned.teachers import teacher
from augury.learned.teaching import Goal
from augury.progress import track
from augury.report.learning.toy import write_toy
from augury.training import Augment, Moment, TrainingConfig, train

RULES: tuple[Rule, ...] = ("gradient", "choice")

SHARE = 0.5  # of each batch, how much is moved
EPOCHS, BATCH, RATE, DECAY = 40, 50, 0.01, 0.003
STEPS, TOGETHER = 200, 100  # of E, and how many points it looks at in each
EDGE, SIDE = 2.5, 61  # the grid's half width, and its points along each axis
DRAWS = 30  # of each point's transition, for means
ONCE: dict[str, Any] = {"every": STEPS, "warmup": 0, "curvature_points": POINTS}
TEACHING = {  # by rule; both judge by influence itself: a point that F is sure of has little to teach it
    "gradient": TeachingConfig(rule="gradient", learning_rate=0.01, **ONCE),
    "choice": TeachingConfig(aligned=False, divergence=0.1, significance=0, learning_rate=0.0075, **ONCE),
}


@dataclass(frozen=True, eq=False)
class ToyResult:
    """What E learned on one row of the toy problem.

    Parameters
    ----------
    row, rule, seed
        1: towards misclassified points, or 2: downwards; how E was taught; of data, weights and draws.
    train, validation
        The points.
    wrong
        Which validation points a classifier gets wrong that was fitted to the training points as they are.
    moves
        The mean transition of each training point.
    augmented
        The training points, each moved by one draw of E's.
    axis
        The grid's places along both axes.
    before, after
        On the grid (row by row, upwards), the probability of red by a classifier fitted to the training points as they are, and by one for
        which E moved half of each batch.
    influence
        On the grid, what a red and what a blue training point there would do to the validation loss by the first classifier: influence x
        training points, bounded as E's was; negative: good.
    losses
        Mean loss, in nats, on the validation points and on 2,000 fresh points like them (`test`), of classifiers fitted to the training
        points as they are (`plain`), with random transitions within the same bound (`random`), and with E's (`learned`).
    """

    row: Row
    rule: Rule
    seed: int
    train: Points
    validation: Points
    wrong: Bool[np.ndarray, " validation"]
    moves: Float[np.ndarray, "points 2"]
    augmented: Float[np.ndarray, "points 2"]
    axis: Float[np.ndarray, " side"]
    before: Float[np.ndarray, "side side"]
    after: Float[np.ndarray, "side side"]
    influence: Float[np.ndarray, "2 side side"]
    losses: dict[str, float]

    def approach(self, moved: Float[np.ndarray, "points 2"] | None = None) -> float:
        """By how much training points come nearer to the closest misclassified validation point of their class, in the mean.

        Of the class that is misclassified more often. `moved`: where the training points come to; None: where E's draw has moved them.
        """
        label = np.bincount(self.validation.labels[self.wrong]).argmax()
        goals, mine = self.validation.places[self.wrong & (self.validation.labels == label)], self.train.labels == label
        reached = self.augmented if moved is None else moved
        return float((_nearest(self.train.places[mine], goals) - _nearest(reached[mine], goals)).mean())

    def chance(self) -> float:
        """The `approach` of random transitions within the same bound, in the mean over draws."""
        rng = np.random.default_rng(self.seed)
        draws = (self.train.places + rng.uniform(-BOUND, BOUND, self.train.places.shape) for _ in range(DRAWS))
        return float(np.mean([self.approach(moved) for moved in draws]))


@dataclass(frozen=True)
class Moved:
    """An augmentation that moves all points by what a function gives them for tau."""

    taus: Callable[[Tensor, torch.Generator], Tensor]

    def __call__(
        self, images: Float[Tensor, "points 2 1 1"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points 2 1 1"]:
        """The points, moved."""
        del labels
        return Transition()(images, self.taus(images, moment.generator))


def toy(row: Row, seed: int = 0, rule: Rule = "gradient") -> ToyResult:
    """One row of the toy problem: E is taught by a fitted classifier, and others are fitted with what it has learned, and without.

    A second, about, on one core.

    Raises
    ------
    InputError
        If there is no such row or rule.
    """
    if row not in get_args(Row) or rule not in RULES:
        raise InputError(f"row, rule: {row!r} and {rule!r}; expected row 1 or 2, and rule {' or '.join(RULES)}")
    points, validation, test = drawn(row, seed)
    F = _fitted(points, seed, None)
    learned = partial(_taus, _taught(F, points, validation, seed, rule))
    G, H = (_fitted(points, seed, Share(Moved(taus), SHARE)) for taus in (_random, learned))
    axis = np.linspace(-EDGE, EDGE, SIDE)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
    before, after = (_scores(network, grid).softmax(1)[:, 0].double().numpy().reshape(SIDE, SIDE) for network in (F, H))
    chances = (torch.Generator().manual_seed(draw) for draw in range(DRAWS))
    moves = BOUND * np.stack([learned(pictures(points.places), chance).double().numpy() for chance in chances])
    return ToyResult(
        row=row,
        rule=rule,
        seed=seed,
        train=points,
        validation=validation,
        wrong=_scores(F, validation.places).argmax(dim=1).numpy() != validation.labels,
        moves=moves.mean(axis=0),
        augmented=points.places + moves[0],
        axis=axis,
        before=before,
        after=after,
        influence=_influence(F, points, validation, grid, TEACHING[rule]).reshape(2, SIDE, SIDE),
        losses={
            f"{part}_{name}": _loss(network, on)
            for part, on in (("validation", validation), ("test", test))
            for name, network in (("plain", F), ("random", G), ("learned", H))
        },
    )


def reproduce_toy(*, out: str | Path = "experiments/learning-toy", seeds: int = 5) -> Path:
    """Both rows of Figure 3, by both rules and for some seeds, as tables, figures and `report.md` in the folder `out`; gives its path."""
    if seeds < 1:
        raise InputError(f"seeds: {seeds}; expected at least 1")
    cases = [(row, rule, seed) for rule in RULES for row in get_args(Row) for seed in range(seeds)]
    results = [toy(row, seed, rule) for row, rule, seed in track(cases, "toy problem", total=len(cases))]
    shown = [result for result in results if result.seed == 0]
    record = {"seeds": seeds, "teaching": {rule: repr(config) for rule, config in TEACHING.items()}, "bound": BOUND}
    for name, parts in (("summary", map(_summary, results)), ("points", map(_points, shown)), ("fields", map(_fields, shown))):
        write_table(Path(out) / f"{name}.parquet", pd.concat(parts, ignore_index=True), record | {"kind": f"toy-{name}"})
    return write_toy(out)


def _taught(F: nn.Module, points: Points, validation: Points, seed: int, rule: Rule) -> PointNetwork | PointDistribution:
    """E, taught by the classifier as it is, which is not fitted any further: the direction s is solved for once, as in the paper."""
    E = PointNetwork(seed) if rule == "gradient" else PointDistribution(seed)
    goal = Goal(pictures(points.places).numpy(), points.labels, pictures(validation.places).numpy(), validation.labels)
    taught = teacher(Transition(), E, goal, TEACHING[rule], STEPS)
    images, labels = pictures(points.places), torch.from_numpy(points.labels)
    for step in range(STEPS):
        chance = torch.Generator().manual_seed(seed * STEPS + step)
        chosen = torch.randint(len(labels), (TOGETHER,), generator=chance)
        taught(images[chosen], labels[chosen], Moment(F, step, STEPS, chance))
    return E


def _fitted(points: Points, seed: int, augment: Augment | None) -> nn.Module:
    """A classifier of three layers, always from the same first weights."""
    F = layers(2, 2, seed)
    config = TrainingConfig(EPOCHS, BATCH, learning_rate=RATE, weight_decay=DECAY, seed=seed)
    train(F, pictures(points.places).numpy(), points.labels, config=config, augment=augment, device="cpu")
    return F


def _random(images: Tensor, generator: torch.Generator) -> Tensor:
    return random_tau(len(images), 2, generator)


@torch.no_grad()
def _taus(E: PointNetwork | PointDistribution, images: Tensor, generator: torch.Generator) -> Tensor:
    taus: Tensor = E.sample(images, generator) if isinstance(E, PointDistribution) else E(images)
    return taus


@torch.no_grad()
def _scores(F: nn.Module, places: Float32[np.ndarray, "points 2"]) -> Float[Tensor, "points 2"]:
    scores: Tensor = F(pictures(places))
    return scores


def _loss(F: nn.Module, points: Points) -> float:
    return float(nn.functional.cross_entropy(_scores(F, points.places), torch.from_numpy(points.labels)))


@torch.no_grad()
def _influence(
    F: nn.Module, points: Points, validation: Points, grid: Float32[np.ndarray, "places 2"], config: TeachingConfig
) -> Float[np.ndarray, "2 places"]:
    """What a red and a blue training point at each place would do to the validation loss, times the number of training points."""
    images, target = pictures(points.places), Target(pictures(validation.places), torch.from_numpy(validation.labels))
    classifier = Classifier.of(F, images)
    s, _ = target_direction(classifier, images, target, damping=config.damping, points=1)
    seen = classifier(pictures(grid))
    labels = (torch.full((len(grid),), label) for label in (0, 1))
    return np.stack([effects(s, *seen, label, bounded=config.bounded).double().numpy() for label in labels])


def _nearest(places: Float[np.ndarray, "points 2"], goals: Float[np.ndarray, "goals 2"]) -> Float[np.ndarray, " points"]:
    distances: Float[np.ndarray, " points"] = np.linalg.norm(places[:, None] - goals, axis=2).min(axis=1)
    return distances


def _summary(result: ToyResult) -> pd.DataFrame:
    right, up = result.moves.mean(axis=0)
    measured = {"approach": result.approach(), "chance": result.chance(), "right": right, "up": up}
    return pd.DataFrame([_key(result) | {"wrong": int(result.wrong.sum())} | measured | result.losses])


def _points(result: ToyResult) -> pd.DataFrame:
    kinds = {"train": result.train.places, "validation": result.validation.places, "augmented": result.augmented}
    labels = {"validation": result.validation.labels}
    parts = []
    for kind, places in kinds.items():
        moves = result.moves if kind == "train" else np.full(places.shape, np.nan)
        columns = {"x": places[:, 0], "y": places[:, 1], "label": labels.get(kind, result.train.labels)}
        parts.append(pd.DataFrame(_key(result) | {"part": kind} | columns | {"right": moves[:, 0], "up": moves[:, 1]}))
    return pd.concat(parts, ignore_index=True)


def _fields(result: ToyResult) -> pd.DataFrame:
    x, y = np.meshgrid(result.axis, result.axis)
    red, blue = result.influence
    values = {"x": x, "y": y, "before": result.before, "after": result.after, "red": red, "blue": blue}
    return pd.DataFrame(_key(result) | {name: value.ravel() for name, value in values.items()})


def _key(result: ToyResult) -> dict[str, Any]:
    return {"row": result.row, "rule": result.rule, "seed": result.seed}
