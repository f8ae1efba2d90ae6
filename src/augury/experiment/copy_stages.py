"""The stages of a run that chooses copies, after those that it shares with every run: choice, flags, files, curve, gallery."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from augury.augmentation import CopiedFeatures
from augury.copies import CopyOrdering, choose_copies, flag_copies
from augury.copies.flags import NEIGHBOURS
from augury.evaluation import Curve
from augury.experiment.copy_curve import CHOSEN, RANDOM, WEIGHTED, Labelled, compared, measure_copies
from augury.experiment.copy_files import chosen_copies, save_copies, write_copies
from augury.experiment.copy_settings import Price, weight_of
from augury.experiment.gallery import save_gallery, shown_copies
from augury.experiment.pipeline import Pipeline
from augury.head import SoftmaxHead
from augury.progress import say
from augury.report.copy_folder import Flags


@dataclass(frozen=True)
class CopyStages:
    """What follows once data, network and features are there (`stages`); each property is a stage that reads or writes its file."""

    stages: Pipeline

    @cached_property
    def points(self) -> CopiedFeatures:
        """Training points and all their copies: the candidates."""
        return self.stages.copied(self.stages.splits.train, "training points")

    @cached_property
    def head(self) -> SoftmaxHead:
        """Fitted to the training points alone."""
        return SoftmaxHead(C=self.stages.config.C).fit(self.points.features, self.points.labels)

    @cached_property
    def target(self) -> Labelled | None:
        """The validation points and all their copies; None where the training points' own loss counts."""
        if self.stages.splits.validation is None:
            return None
        found = self.stages.copied(self.stages.splits.validation, "validation points")
        X, y, _ = found.augmented(np.arange(len(found)))
        return X, y

    @cached_property
    def ordering(self) -> CopyOrdering:
        """`selection.parquet`: all copies, the one to add first coming first, with the predicted curve, the budget and the weight."""
        path = self.stages.folder / "selection.parquet"
        if path.exists():
            return CopyOrdering.load(path)
        config, points = self.stages.config, self.points
        own: Literal["self", "folds"] = "folds" if config.target == "folds" else "self"
        say(f"choice: {self.stages.candidates} copies of {len(points)} points, for the target {config.target}")
        chosen = choose_copies(
            self.head, (points.features, points.labels), points.copies, self.target or own, weight=weight_of(config.copy_weight)
        )
        told = {"target": config.target, "transform": self.stages.transform.spec, "price": config.price}
        recommended = Price.of_text(config.price).recommended(chosen)
        found = replace(chosen, cause={**chosen.cause, **self.stages.cause(), **told, "recommended": recommended}).within(
            self.stages.budget
        )
        found.save(path)
        return found

    @cached_property
    def flags(self) -> Flags:
        """`flags.parquet`: copies whose label a person should check, the most harmful first."""
        path = self.stages.folder / "flags.parquet"
        if path.exists():
            return Flags.load(path)
        points, neighbours = self.points, min(NEIGHBOURS, len(self.points) - 1)
        say(f"flags: {self.stages.candidates} copies, {neighbours} neighbours of each")
        found = flag_copies(self.head, (points.features, points.labels), points.copies, self.target, neighbours=neighbours)
        flags = Flags(self._named(found.to_frame()), found.bound, neighbours)
        flags.save(path)
        return flags

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows a copy, with the names of point, class and copy, and with its place in the choice."""
        examples, names = self.stages.splits.train, np.array(self.stages.transform.names)
        rank = np.argsort(self.ordering.candidates)[frame["candidate"]] + 1
        labels = np.array(examples.classes)[examples.labels[frame["point"]]]
        named = frame.assign(origin=examples.origin[frame["point"]].astype(str), label=labels, name=names[frame["copy"]])
        return named.assign(rank=rank, selected=rank <= len(self.ordering.selected))

    @cached_property
    def written_copies(self) -> Path | None:
        """The chosen copies as files: `augmented/` with its list `copies.parquet`, or `augmented.npz`."""
        kind, folder = self.stages.config.copies, self.stages.folder
        if kind == "none":
            return None
        path = folder / ("augmented.npz" if kind == "npz" else "copies.parquet")
        if not path.exists():
            chosen = self.ordering.selected
            say(f"copies: {len(chosen)}")
            copies = chosen_copies(self.stages.splits.train, self.ordering, self.stages.transform)
            weight = self.ordering.weight_at(len(chosen))
            save_copies(copies, weight, path) if kind == "npz" else write_copies(copies, weight, folder / "augmented", path)
        return path

    @cached_property
    def curve(self) -> Curve:
        """`curve.parquet`: chosen copies against copies at random and against paper 2's points, between no and full augmentation."""
        stages, path = self.stages, self.stages.folder / "curve.parquet"
        if path.exists():
            return Curve.load(path)
        config, ordering, validation = stages.config, self.ordering, stages.splits.validation
        test = stages.copied(stages.splits.test, "test points")
        X, y, _ = test.augmented(np.arange(len(test)) if config.test_copies else np.arange(0))
        seeds = range(config.seed, config.seed + config.seeds)
        policies = compared(ordering, stages.scores, len(stages.transform), seeds)
        budgets = sorted({*stages.budgets, max(1, ordering.cause["recommended"])})
        say(f"curve: {len(policies)} policies, {config.seeds} draws, {len(budgets)} budgets, {len(y)} test images")
        baseline = WEIGHTED if WEIGHTED in policies else RANDOM  # so that a choice is not praised for what its weight brings
        cause = {"policy": CHOSEN, "baseline": baseline, "test": "augmented" if config.test_copies else "clean", "test_images": len(y)}
        found = measure_copies(
            self.points,
            (X, y),
            policies,
            budgets,
            head=SoftmaxHead(C=config.C),
            seeds=seeds,
            also=None if validation is None else (stages.features(validation, "validation points"), validation.labels),
            jobs=stages.engine,
            cause=cause | {"unit": "copies", "transform": stages.transform.spec, "C": config.C, "weight": ordering.weight},
        )
        found.save(path)
        return found

    @cached_property
    def gallery(self) -> Path:
        """`gallery.npz`: what the report shows: chosen, flagged and other copies, and their points."""
        path, train = self.stages.folder / "gallery.npz", self.stages.splits.train
        if not path.exists():
            save_gallery(path, train, self.stages.transform, shown_copies(self.ordering, self.flags, len(train)))
        return path
