"""The rows of a table: each an augmentation of F's batches, whether nothing, drawn at random, or learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from augury.choices import PLAIN
from augury.errors import InputError
from augury.experiment.learning.shifts import Shift
from augury.experiment.learning.tasks import Points
from augury.files import digest
from augury.learned import (
    BoundedTransformation,
    LearnedAugmentation,
    TauDistribution,
    TeachingConfig,
    WarpingTransformation,
    as_augment,
    load_module,
)
from augury.learned.augmentation import LEARNED
from augury.learned.baselines import BASELINES, Apart, Share, Then, Unchanged, named_baseline, usual_before, usual_crop
from augury.learned.baselines.named import BEFORE
from augury.learned.bounded import WIDE
from augury.learned.classifier import Classifier
from augury.learned.learn import Taught
from augury.learned.teachers import teacher
from augury.learned.teaching import ChoiceTeacher, Goal, Teacher
from augury.training import Augment, Moment
from augury.transforms.border import Real

Kind = Literal["baseline", "learned", "control"]
Which = Literal["default", "wide", "trained"]

MOST = 6000  # training images that serve as their own target
OF_MATCHING = ("averaging", "held", "kept")  # settings of the teaching at which other rules do not look


@dataclass(frozen=True)
class Row:
    """One augmentation.

    Parameters
    ----------
    name
        As in the tables.
    kind
        `baseline`; `learned`: anything that uses influence on a target; `control`: what should do harm, knows more than anyone does, or
        is `learned` without one of its parts.
    transformation
        G: a `BoundedTransformation` within its `default` or the `WIDE` bounds, or one that was `trained` adversarially.
    baseline
        Its name in `augury.learned.baselines`, for rows that learn nothing.
    teaching
        How E is taught before F is fitted; None: there is no E, or one that stays as it begins.
    least
        From which divergence on, in nats, a component of what was learned is laid over another augmentation; None: all are.
    during
        What happens while F is fitted: E is `taught` further, or of 4 draws an image the `best`, or the `worst`, by influence is taken; or
        as many images as E changes are as `deployed`, after the baseline, or for RGB images after what comes before E there; None: E draws.
    """

    name: str
    kind: Kind
    transformation: Which = "default"
    baseline: str | None = None
    teaching: TeachingConfig | None = None
    least: Real | None = LEARNED
    during: Literal["taught", "best", "worst", "deployed"] | None = None

    def settings(self, trained: str | Path | None) -> dict[str, Any]:
        """What the row's numbers depend on beside the task, as JSON can hold it."""
        weights = digest(Path(trained).read_bytes()) if trained is not None and self.transformation == "trained" else None
        bounds = dict(WIDE) if self.transformation == "wide" else None
        taught = None if self.teaching is None else asdict(self.teaching)
        if taught is not None and taught["rule"] != "matching":
            taught = {name: value for name, value in taught.items() if name not in OF_MATCHING}
        before = {"before": dict(BEFORE), "least": self.least} if self.teaching is not None and self.during is None else {}
        return {"bounds": bounds, "weights": weights, "teaching": taught, "during": self.during} | before


MATCHING = TeachingConfig.matching()
GRADIENT = TeachingConfig(rule="gradient", preserve=0.2, clip=1)
_ROWS = (
    *(Row(name, "baseline", baseline=name) for name in BASELINES),
    Row("random-tau-wide", "baseline", "wide", baseline="random-tau"),
    Row("random-tau-G", "baseline", "trained", baseline="random-tau"),
    Row("learned", "learned", "wide", teaching=MATCHING),
    Row("learned-online", "learned", "wide", teaching=TeachingConfig(), during="taught"),
    Row("learned-G", "learned", "trained", teaching=MATCHING),
    Row("learned-choice", "learned", "wide", teaching=TeachingConfig()),
    Row("learned-gradient", "learned", "wide", teaching=GRADIENT),
    Row("learned-literal", "learned", "wide", teaching=TeachingConfig.paper()),
    Row("best-of-4", "learned", "wide", during="best"),
    Row("without-averaging", "control", "wide", teaching=replace(MATCHING, averaging=0)),
    Row("without-divergence", "control", "wide", teaching=replace(MATCHING, divergence=0)),
    Row("without-held", "control", "wide", teaching=replace(MATCHING, held=0)),
    Row("with-kept", "control", "wide", teaching=replace(MATCHING, kept=0.5)),
    Row("without-least", "control", "wide", teaching=MATCHING, least=None),
    Row("worst-of-4", "control", "wide", during="worst"),
    Row("deployed", "control", baseline="random-tau", during="deployed"),
)
ROWS: Mapping[str, Row] = MappingProxyType({row.name: row for row in _ROWS})


def read_rows(names: tuple[str, ...] | None, trained: str | Path | None) -> list[Row]:
    """The rows of these names; None: all but controls, and those of a trained transformation if there is one.

    Raises
    ------
    InputError
        If a name is unknown, or a row needs a trained transformation and there is none.
    """
    if names is None:
        return [row for row in _ROWS if row.kind != "control" and (trained is not None or row.transformation != "trained")]
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise InputError(f"rows: {unknown[0]!r} is unknown; expected some of {', '.join(ROWS)}")
    rows = [ROWS[name] for name in names]
    lacking = [row.name for row in rows if row.transformation == "trained"]
    if lacking and trained is None:
        raise InputError(f"transformation: the row {lacking[0]} needs one; give the file of a trained FieldTransformation")
    return rows


def transformation_of(row: Row, shape: tuple[int, int, int], trained: str | Path | None) -> WarpingTransformation:
    """The row's G, for images of this shape."""
    if row.transformation != "trained":
        return BoundedTransformation.wide(*shape) if row.transformation == "wide" else BoundedTransformation(*shape)
    assert trained is not None
    found: WarpingTransformation = load_module(trained, WarpingTransformation)  # type: ignore[type-abstract]  # any of its kinds will do
    made_for = (found.channels, found.height, found.width)
    if made_for != shape:
        raise InputError(f"transformation: {trained} was made for images of {made_for}, the task's have {shape}; leave out its rows")
    return found.requires_grad_(requires_grad=False)


def augmentation_of(
    row: Row,
    points: Points,
    G: WarpingTransformation,
    learned: LearnedAugmentation | None,
    share: Real,
    steps: int,
    seed: int,
    shift: Shift | None = None,
) -> Augment:
    """What changes the batches of the F that is tested.

    Parameters
    ----------
    row
        Which.
    points
        All labels, to whose images it will be applied.
    G
        The row's transformation.
    learned
        What was learned before, where the row has an E.
    share
        The share of each batch that is changed after the usual crop.
    steps
        For how many F is fitted.
    seed
        By which training images are drawn as their own target where they are too many.
    shift
        The task's, for a row that is allowed to know it.
    """
    shape = points.everything.shape
    before = usual_before(shape[0])
    if row.baseline is not None:
        name = row.baseline if row.during is None or before in PLAIN else before
        baseline = named_baseline(name, *shape, transformation=G, share=share)
        if row.during is None:
            return baseline
        return Then(baseline, Apart(len(points.labels.train), Share(_known(row, shift), share), Unchanged()))
    if row.during is None:
        assert learned is not None
        count = None if points.labels.target is None else len(points.labels.train)
        return as_augment(learned, named_baseline(before, *shape, share=share), count, alone=before not in PLAIN, least=row.least)
    return Taught(usual_crop(*shape), _teacher(row, G, learned, _goal(points, seed), steps), share)


@dataclass(frozen=True)
class Deployed:
    """Images as deployed: what nobody knows beforehand, and about the most that learning could find."""

    shift: Shift

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, each changed by draws of its own."""
        del labels
        u = torch.rand(len(images), self.shift.draws, generator=moment.generator).to(images)
        return self.shift.change(images, u).clamp(0, 1)


def _known(row: Row, shift: Shift | None) -> Deployed:
    if shift is None:
        raise InputError(f"rows: {row.name} needs a task with a shift; leave it out of the others")
    return Deployed(shift)


class BestOf(ChoiceTeacher):
    """Of a few draws an image the one with the best influence; E stays as it is."""

    def _learn(self, compared: Tensor, kept: Tensor) -> None:
        del compared, kept


class WorstOf(BestOf):
    """Of a few draws an image the one with the worst influence, as a check of the sign."""

    def _effects(
        self, classifier: Classifier, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"]
    ) -> Float[Tensor, " points"]:
        return -super()._effects(classifier, images, labels)


def _teacher(row: Row, G: WarpingTransformation, learned: LearnedAugmentation | None, goal: Goal, steps: int) -> Teacher:
    if row.during == "taught":
        assert learned is not None
        assert row.teaching is not None
        return teacher(G, learned.network.requires_grad_(requires_grad=True), goal, row.teaching, steps)
    first = G.usual() if isinstance(G, BoundedTransformation) else 1.0
    unlearned = TauDistribution(G.channels, G.height, G.width, tau_size=G.tau_size, concentration=first)
    chosen = BestOf if row.during == "best" else WorstOf
    return chosen(G, unlearned, goal, TeachingConfig(), steps)


def _goal(points: Points, seed: int) -> Goal:
    """All labels to train on; the target, or without one the training points themselves, at most `MOST` of them."""
    everything, target = points.everything, points.labels.target
    if target is None:
        target = everything.select(np.sort(np.random.default_rng(seed).permutation(len(everything))[:MOST]))
    return Goal(everything.images, everything.labels, target.images, target.labels)
