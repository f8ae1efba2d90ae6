"""The stages of `augury learn`, each computed when it is first needed, or read from the folder where an earlier run has left it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augury import model
from augury.cells import Cells
from augury.choices import PLAIN
from augury.data import Examples
from augury.errors import InputError
from augury.experiment.folder import KIND
from augury.experiment.learn_run.config import LearnConfig
from augury.experiment.learn_run.pictures import save_pictures
from augury.experiment.learning import Labels, draw_labels
from augury.experiment.learning.measure import read
from augury.experiment.learning.tasks import Points
from augury.experiment.recipes import SMALL, lasting
from augury.experiment.splits import fingerprint, read_splits
from augury.files import read_table, write_table
from augury.learned import (
    AdversarialConfig,
    FieldTransformation,
    LearnedAugmentation,
    TeachingConfig,
    learn,
    load_module,
    save_module,
    train_transformation,
)
from augury.learned.augmentation import as_augment
from augury.learned.baselines import named_baseline, usual_before
from augury.learned.checking import check_predictions
from augury.model import Model
from augury.networks import Network, build
from augury.progress import say
from augury.training import Augment, Crew, TrainingConfig, train

AUTO = "auto"
LEARNED = "learned"  # the row of what was learned
SHOWN = 1000  # training images over which it is told what E does


@dataclass(frozen=True)
class LearnStages:
    """A configuration and a folder; the properties are the stages, each from those before it.

    Long stages keep what they have in `checkpoints/`, from which a killed run goes on. Of several processes that work together (see
    `augury.training.crew`) all compute, and the first one writes.
    """

    config: LearnConfig
    folder: Path

    def lacks(self, *paths: Path) -> bool:
        """Whether one of the files is to be made; all processes answer alike, since none writes before all have looked."""
        lacking = not all(path.exists() for path in paths)
        Crew.here().wait()
        return lacking

    def write(self, write: Callable[[], object]) -> None:
        """Let the first process write; all go on when it has."""
        if Crew.here().rank == 0:
            write()
        Crew.here().wait()

    @property
    def checkpoints(self) -> Path:
        """What is left of unfinished stages."""
        return self.folder / "checkpoints"

    @cached_property
    def points(self) -> Points:
        """All labels, divided into points to train on and a target, and the test points."""
        config = self.config
        say(f"data: {config.data}")
        splits = read_splits(config.as_run())
        train, target = splits.train, splits.validation
        if config.per_class is not None:
            train = draw_labels(train, config.per_class, 0, config.seed).train
        if config.target_share is not None:
            train, target = train.split(config.target_share, config.seed)
        points = Points(Labels(train, target), splits.test)
        say(f"labels: {points.labels.words}")
        return points

    @cached_property
    def labels(self) -> Path:
        """`labels.parquet`: the points whose labels are used, and what for."""
        path = self.folder / "labels.parquet"
        if self.lacks(path):
            found = self.points.labels
            parts = {"train": found.train} | ({} if found.target is None else {"target": found.target})
            rows = pd.concat([_listed(part, use) for use, part in parts.items()])
            self.write(lambda: write_table(path, rows, {"kind": "labels", "words": found.words}))
        return path

    def network(self, seed: int) -> Network:
        """A fresh network for these images."""
        channels, height, width = self.points.everything.shape
        classes = len(self.points.everything.classes)
        return build(self.config.model, channels=channels, height=height, width=width, classes=classes, seed=seed)

    def training(self, points: int, seed: int) -> TrainingConfig:
        """How a network is fitted to so many points."""
        return lasting(SMALL, points, self.config.steps, seed)

    @cached_property
    def transformation(self) -> FieldTransformation | None:
        """`transformation.safetensors` and the log of its training, `transformation.parquet`; None where familiar changes are used."""
        path, log = self.folder / "transformation.safetensors", self.folder / "transformation.parquet"
        if self.config.transformation == "bounded":
            return None
        if self.lacks(path, log):
            images = self.points.everything.images
            say(f"transformation: {self.config.transformation_steps} steps on {len(images)} images")
            G = FieldTransformation(*self.points.everything.shape, seed=self.config.seed)
            settings = AdversarialConfig(steps=self.config.transformation_steps, seed=self.config.seed)
            checkpoint = self.checkpoints / "transformation.safetensors"
            told = train_transformation(G, images, config=settings, checkpoint=checkpoint, device=self.config.device)
            record = {"kind": "transformation-log", "warnings": list(told.warnings)}
            self.write(lambda: (save_module(G, path), write_table(log, told.log, record)))
        return load_module(path, FieldTransformation).requires_grad_(requires_grad=False)

    @cached_property
    def augmentation(self) -> LearnedAugmentation:
        """`augmentation.safetensors`."""
        path = self.folder / "augmentation.safetensors"
        if self.lacks(path):
            config, labels = self.config, self.points.labels
            fitted = len(labels.train) if labels.target is not None else len(labels.train) * (config.folds - 1) // config.folds
            G = self.transformation
            say(f"learning: {'on the target' if labels.target is not None else f'{config.folds} folds'}, {config.steps} steps each")
            found = learn(
                self.network(config.seed),
                labels.train,
                labels.target,
                transformation=G,
                config=self._teaching,
                training=self.training(max(1, fitted), config.seed),
                share=config.share,
                folds=config.folds,
                seed=config.seed,
                folder=self.checkpoints,
                device=config.device,
            )
            self.write(lambda: found.save(path))
        return LearnedAugmentation.load(path)

    @property
    def _teaching(self) -> TeachingConfig:
        rule = TeachingConfig.of(self.config.rule)
        return replace(rule, draws=self.config.draws, divergence=self.config.divergence) if rule.rule == "choice" else rule

    @cached_property
    def history(self) -> Path:
        """`history.parquet`: each solve of the teaching, and `components.parquet`: what became likely."""
        path, components = self.folder / "history.parquet", self.folder / "components.parquet"
        if self.lacks(path):
            solves = pd.DataFrame(self.augmentation.record["history"])
            self.write(lambda: write_table(path, solves, {"kind": "history"}))
        if self.lacks(components):
            shown = torch.tensor(self.points.everything.first(min(SHOWN, len(self.points.everything))).images)
            summary = self.augmentation.summary(shown).reset_index()
            self.write(lambda: write_table(components, summary, {"kind": "components"}))
        return path

    @cached_property
    def check(self) -> pd.DataFrame:
        """`check.parquet`: predicted and measured changes of the target's loss."""
        path = self.folder / "check.parquet"
        if self.lacks(path):
            config, labels = self.config, self.points.labels
            fitting, target = (
                (labels.train, labels.target) if labels.target is not None else labels.train.split(1 / config.folds, config.seed)
            )
            assert target is not None
            say(f"check: {config.checks} augmented batches, predicted and measured on {len(target)} points")
            fitted = self._fitted(fitting, self.row(LEARNED), config.seed, "classifier", "fitting the network to check")
            batch = min(16, len(fitting))
            settings: dict[str, Any] = {"batches": config.checks, "batch": batch, "C": config.C, "seed": config.seed}
            found = check_predictions(fitted, fitting, target, self.augmentation, **settings, device=config.device)
            record = {"kind": "check", **settings, "train": len(fitting), "target": len(target)}
            self.write(lambda: write_table(path, found, record))
        return read_table(path, "check", ("predicted", "measured"))[0]

    @cached_property
    def results(self) -> pd.DataFrame:
        """`results.parquet`: what the test set says of networks fitted to all labels, with each augmentation."""
        path = self.folder / "results.parquet"
        if self.lacks(path):
            names = (LEARNED, *self.config.compare)
            cells = Cells(self.checkpoints / "retrained", "retrained")
            todo = [(name, self.config.seed + number) for number in range(self.config.retrainings) for name in names]
            say(f"comparison: {', '.join(names)}; {self.config.retrainings} networks each, on {self.points.labels.words}")
            for name, seed in todo:
                if self.lacks(cells.folder / name / f"seed-{seed}.parquet"):
                    row = self._measured(name, seed)
                    self.write(partial(cells.write, name, f"seed-{seed}", row))
            found = pd.concat([cells.read_group(name) for name in names], ignore_index=True).drop(columns="cell")
            self.write(lambda: write_table(path, found, {"kind": "learn-results", "words": self.points.labels.words}))
        return read_table(path, "learn-results", ("augmentation", "seed", "accuracy", "loss"))[0]

    @cached_property
    def pictures(self) -> Path:
        """`gallery.npz`: what the report shows."""
        path = self.folder / "gallery.npz"
        if self.lacks(path):
            self.write(partial(save_pictures, self._laid, self.points.labels.train, self.config.seed, path))
        return path

    @property
    def before(self) -> str:
        """After which baseline what was learned comes."""
        return usual_before(self.points.everything.shape[0]) if self.config.before == AUTO else self.config.before

    @property
    def _laid(self) -> LearnedAugmentation:
        """What is laid over it."""
        return self.augmentation if self.before in PLAIN else self.augmentation.alone()

    def record(self) -> dict[str, Any]:
        """The configuration with what it came to on these data."""
        labels, test, everything = self.points.labels, self.points.test, self.points.everything
        parts = {"train": labels.train, "test": test} | ({} if labels.target is None else {"target": labels.target})
        self._check_folds()
        return self.config.record() | {
            KIND: self.config.command_name,
            "command": self.config.command(),
            "image": "x".join(str(side) for side in everything.shape),
            "class_names": list(everything.classes),
            "labels": labels.count,
            "before": self.before,
            "elsewhere": self.config.elsewhere,
            **{f"{name}_points": len(part) for name, part in parts.items()},
            **{f"{name}_digest": fingerprint(part) for name, part in parts.items()},
            "training": asdict(self.training(len(everything), self.config.seed)),
            "model": self.network(self.config.seed).recipe.name,
        }

    def _check_folds(self) -> None:
        train, folds = self.points.labels.train, self.config.folds
        fewest = min((train.labels == label).sum() for label in range(len(train.classes)))
        if self.points.labels.target is None and fewest < folds:
            raise InputError(f"folds: {folds}, and the smallest class has {fewest} labelled points; lower folds, or give a target")

    def _measured(self, name: str, seed: int) -> pd.DataFrame:
        """A network fitted with one augmentation, and what the test set says of it."""
        everything, labels = self.points.everything, self.points.labels
        fitted = self._fitted(everything, self.row(name), seed, "retraining", f"{name}, seed {seed}")
        told = read(fitted.network, self.points.test)
        self.write(lambda: (self.checkpoints / "retraining.safetensors").unlink(missing_ok=True))
        target = 0 if labels.target is None else len(labels.target)
        row = {"augmentation": name, "seed": seed, **told._asdict(), "train_labels": len(labels.train), "target_labels": target}
        return pd.DataFrame([row | {"test_images": len(self.points.test)}])

    def row(self, name: str, *, target: bool = True) -> Augment:
        """The augmentation of a row, on the device on which networks are fitted; `target`: whether the target is among the points."""
        shape, share, place = self.points.everything.shape, self.config.share, model.resolve_device(self.config.device)
        if name == LEARNED:
            labels = self.points.labels
            before = named_baseline(self.before, *shape, share=share, device=place)
            count = len(labels.train) if target and labels.target is not None else None
            return as_augment(copy.deepcopy(self.augmentation).to(place), before, count, alone=self.before not in PLAIN)
        G = None if self.transformation is None else self.transformation.to(place)
        return named_baseline(name, *shape, transformation=G, share=share, device=place)

    def _fitted(self, points: Examples, augment: Augment, seed: int, checkpoint: str, what: str) -> Model:
        fresh = model.Model.of(self.network(seed))
        path = self.checkpoints / f"{checkpoint}.safetensors"
        settings = self.training(len(points), seed)
        train(
            fresh.network,
            points.images,
            points.labels,
            config=settings,
            augment=augment,
            checkpoint=path,
            device=self.config.device,
            what=what,
        )
        return fresh


def _listed(points: Examples, use: str) -> pd.DataFrame:
    names = [points.classes[label] for label in points.labels]
    return pd.DataFrame({"origin": points.origin.astype(str), "label": names, "use": use})
