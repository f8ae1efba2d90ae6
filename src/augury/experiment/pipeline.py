"""The stages of a run, each computed when it is first needed, or read from the run folder where an earlier run has left it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from augury import model, transforms
from augury.augmentation import CopiedFeatures, augment, write_images
from augury.data import Examples
from augury.errors import InputError
from augury.evaluation import WITH_FEATURES, Curve, Draw, measure
from augury.experiment.config import RunConfig
from augury.experiment.gallery import save_gallery, shown_points
from augury.experiment.splits import Splits, fingerprint, read_splits
from augury.head import SoftmaxHead
from augury.learned.copies import READERS
from augury.model import Model, check_output, resolve_device
from augury.networks import Init, Network, build, create, default_for, feature_layer, is_own, load_weights
from augury.parallel import LOCAL, Engine
from augury.progress import say
from augury.scores import Scores, score
from augury.selection import Ordering, budget_size, rank
from augury.training import TrainingConfig, train

CURVE_SHARES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)  # paper 2's checkpoints, as shares of its 1,000 points
PAPER_NETWORKS = frozenset({"lenet", "cnn128", "cnn512"})  # their weights are drawn as in paper 2's code
BATCH = {
    "cpu": 64,
    "cuda": 512,
}  # images that go through the network at once; on a CPU, larger activations cost more to allocate than to compute
RANDOM = "random"


@dataclass(frozen=True)
class Pipeline:
    """A configuration and a folder; the properties are the stages, each from those before it.

    A stage whose file is in the folder is read, not computed: a folder belongs to one configuration (`augury.run` sees to that). Features
    are kept by content in `cache`, which may serve many folders; if not given, in the folder. Work is done by `workers`; if not given, by
    those that the configuration names.
    """

    config: RunConfig
    folder: Path
    cache: Path | None = None
    workers: Engine | None = None

    @property
    def engine(self) -> Engine:
        """Where the work is done."""
        return self.config.workers() if self.workers is None else self.workers

    @cached_property
    def splits(self) -> Splits:
        """Training, test and (for target `val`) validation points."""
        say(f"data: {self.config.data}")
        return read_splits(self.config)

    @cached_property
    def transform(self) -> transforms.Transform:
        """What makes the copies, with sizes that suit the images where the configuration leaves them open."""
        return transforms.parse(self.config.transform, size=self.splits.train.shape[1:], further=READERS)

    @property
    def candidates(self) -> int:
        """How many points, or copies, there are to choose from."""
        return len(self.splits.train) * (len(self.transform) if self.config.unit == "copies" else 1)

    @cached_property
    def budgets(self) -> list[int]:
        """The budgets of the curve: paper 2's checkpoints as shares of the candidates, and the chosen budget."""
        return sorted({max(1, round(share * self.candidates)) for share in CURVE_SHARES} | {self.budget})

    @property
    def budget(self) -> int:
        """How many of the candidates are chosen."""
        try:
            return budget_size(self.config.budget, self.candidates)
        except InputError as error:
            raise InputError(str(error).replace("points", self.config.unit)) from None

    @property
    def architecture(self) -> str:
        """The network's name: where nobody chose one, by the images' shape."""
        return default_for(*self.splits.train.shape) if self.config.model == "auto" else self.config.model

    @cached_property
    def network(self) -> Network:
        """One of Augury's own networks before training: fresh, or with the ready weights."""
        points, name = self.splits.train, self.architecture
        channels, height, width = points.shape
        shape = {"channels": channels, "height": height, "width": width}
        init: Init = "paper" if name in PAPER_NETWORKS else "default"
        network = build(name, **shape, classes=len(points.classes), seed=self.config.seed, init=init)
        if self.config.weights:
            _load(network, self.config.weights)
        return network

    @cached_property
    def fresh(self) -> Model:
        """The network before training, or with its ready weights, and its feature layer."""
        config, points = self.config, self.splits.train
        if not is_own(self.architecture):
            made = Model.of(self.network)
            return made if config.layer is None else replace(made, layer=config.layer)
        network = create(config.model, config.seed)
        if config.weights:
            load_weights(network, config.weights)
        made = Model(network, feature_layer(network) if config.layer is None else config.layer)
        check_output(network, points.images, len(points.classes) if self.trains else None)
        return made

    @property
    def trains(self) -> bool:
        """Whether the network is trained on the training points, for want of ready weights."""
        return not self.config.weights and self.config.epochs > 0

    @cached_property
    def model(self) -> Model:
        """The network that gives the features: ready, or trained on the training points and kept as `model.safetensors`."""
        path, checkpoint = self.folder / "model.safetensors", self.folder / "training.safetensors"
        made = self.fresh
        if self.trains and path.exists():
            made = model.load(path, made.network)
        elif self.trains:
            points = self.splits.train
            say(f"model: training {self.architecture} on {len(points)} points")
            settings = TrainingConfig(epochs=self.config.epochs, batch=_batch(len(points)), seed=self.config.seed)
            train(made.network, points.images, points.labels, config=settings, checkpoint=checkpoint, device=self.config.device)
            model.save(made, path)
        checkpoint.unlink(missing_ok=True)
        return made

    @cached_property
    def _placing(self) -> dict[str, Any]:
        """Where features are computed and kept."""
        device, engine = resolve_device(self.config.device), self.engine
        shared = engine.name == "local" and device.type != "cpu"  # processes would only get in each other's way on one device
        placing = {"device": device, "batch": BATCH.get(device.type, 64), "cache": self.cache or self.folder / "features"}
        return placing | {"engine": LOCAL if shared else engine}

    def features(self, examples: Examples, what: str) -> npt.NDArray[np.float32]:
        """Features of some points, from the cache where they are."""
        return model.features(self.model, examples.images, what=what, **self._placing)

    def copied(self, examples: Examples, what: str) -> CopiedFeatures:
        """Features of some points and of all their copies."""
        say(f"features: {len(examples)} {what} and their copies, {len(self.transform)} of each")
        copies = model.copy_features(
            self.model,
            examples.images,
            self.transform.copies,
            per_point=len(self.transform),
            transform=self.transform.spec,
            what=f"copies of the {what}",
            **self._placing,
        )
        return CopiedFeatures(self.features(examples, what), copies, examples.labels)

    @cached_property
    def scores(self) -> Scores:
        """`scores.parquet`."""
        path = self.folder / "scores.parquet"
        if path.exists():
            return Scores.load(path)
        config, points, target = self.config, self.splits.train, self.splits.validation
        X = self.features(points, "features of the training points")
        method = config.score if config.unit == "copies" else config.method  # copies are compared with points by their own influence
        say(f"scores: {method} of {len(points)} points")
        head = SoftmaxHead(C=config.C).fit(X, points.labels)
        goal = None
        if target is not None and method == "validation":
            goal = (self.features(target, "features of the target set"), target.labels)
        raw = score(X, points.labels, method, head, goal, origin=points.origin, cause=self.cause())
        found = Scores(raw.values, raw.labels, raw.losses, raw.probabilities, raw.method, points.classes, raw.origin, raw.cause)
        found.save(path)
        return found

    def cause(self) -> dict[str, Any]:
        """What made the scores: enough to tell whether a file belongs to the same points and network."""
        return {"data": fingerprint(self.splits.train), "model": self.architecture, "seed": self.config.seed}

    @cached_property
    def ordering(self) -> Ordering:
        """`selection.parquet`: the ordering of the first seed, with the budget."""
        path = self.folder / "selection.parquet"
        if path.exists():
            return Ordering.load(path)
        config, features = self.config, None
        if config.policy in WITH_FEATURES:
            features = self.features(self.splits.train, "features of the training points")
        drawn = rank(self.scores, config.preference, config.policy, config.seed, features=features, budget=config.budget)
        found = drawn.within(config.budget)
        found.save(path)
        return found

    @cached_property
    def written_copies(self) -> Path | None:
        """The chosen points' copies as files: `augmented/` with its list `copies.parquet`, or `augmented.npz`."""
        if self.config.copies == "none":
            return None
        path = self.folder / ("augmented.npz" if self.config.copies == "npz" else "copies.parquet")
        if not path.exists():
            chosen = self.ordering.selected
            say(f"copies: {len(self.transform)} of each of {len(chosen)} points")
            copies = augment(self.splits.train, chosen, self.transform)
            copies.save(path) if self.config.copies == "npz" else write_images(copies, self.folder / "augmented", listing=path)
        return path

    @cached_property
    def curve(self) -> Curve:
        """`curve.parquet`: the chosen policy against chance, between no and full augmentation."""
        path = self.folder / "curve.parquet"
        if path.exists():
            return Curve.load(path)
        config, budgets = self.config, self.budgets
        points = self.copied(self.splits.train, "training points")
        test = self.copied(self.splits.test, "test points")
        everything = np.arange(len(test)) if config.test_copies else np.arange(0)
        X, y, _ = test.augmented(everything)
        name = f"{self.scores.method}, {config.policy}, {config.preference}" + (", updated" if config.update else "")
        policies: dict[str, list[Ordering | Draw]] = {
            name: [self.draw(seed) for seed in config.seed_range],
            RANDOM: [rank(self.scores, "uniform", "sampled", seed) for seed in range(config.seed, config.seed + config.seeds)],
        }
        say(f"curve: {len(policies)} policies, {config.seeds} draws, {len(budgets)} budgets, {len(y)} test images")
        cause = {"policy": name, "baseline": RANDOM, "test": "augmented" if config.test_copies else "clean", "test_images": len(y)}
        found = measure(
            points,
            (X, y),
            policies,
            budgets,
            head=SoftmaxHead(C=config.C),
            downweight=config.downweight,
            jobs=self.engine,
            cause=cause | {"transform": self.transform.spec, "C": config.C, "downweight": config.downweight},
        )
        found.save(path)
        return found

    def draw(self, seed: int) -> Ordering | Draw:
        """The chosen policy's draw of a seed, along the curve."""
        config = self.config
        if config.update or config.policy in WITH_FEATURES:
            return Draw(self.scores, config.preference, config.policy, seed, config.update)
        return rank(self.scores, config.preference, config.policy, seed)

    @cached_property
    def gallery(self) -> Path:
        """`gallery.npz`: what the report shows: points, and copies of the chosen ones."""
        path = self.folder / "gallery.npz"
        if not path.exists():
            save_gallery(path, self.splits.train, self.transform, shown_points(self.ordering, len(self.transform)))
        return path


def _load(network: Network, path: str) -> None:
    """Ready weights; the classifier's too where they fit, so that the cache knows the features of the network as they were trained."""
    try:
        load_weights(network.module, path)
    except InputError:
        load_weights(network.module, path, skip=network.classifier)


def _batch(points: int) -> int:
    """Paper 2's 512 for its 1,000 points, and never less than two steps an epoch."""
    return min(512, math.ceil(points / 2))
