"""`AugmentationSelector`: scores, selection and copies as a scikit-learn estimator and an imbalanced-learn sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Shaped
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from torch import nn

from augury.adapters.added import Added, added
from augury.adapters.layout import Layout
from augury.adapters.rows import Rows, flattened, points_of
from augury.arrays import as_numpy
from augury.augmentation import MakesCopies
from augury.choices import Method
from augury.copies import CopyOrdering, choose_copies
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.learned.copies import READERS
from augury.model import Model, features
from augury.scores import score
from augury.selection import Order, Ordering, Preference, rank
from augury.selection.ordering import checked_seed
from augury.transforms import parse
from augury.transforms.foreign import as_transform, is_augmentation

BLOCK = 1024  # points that go through a user's function at a time
OF_POINTS = {"score": "influence", "policy": "sampled", "preference": "proportional", "downweight": False}  # mean nothing for copies,
OF_COPIES = {"weight": 1.0}  # and for points
Array = npt.NDArray[Any]


class _Kept:
    """A parameter that is kept without being an attribute to look at.

    scikit-learn takes whatever has an attribute `transform` for a transformer, and one `score` for a method; and a pipeline refuses what is
    a transformer and a sampler at once.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> NoReturn:
        raise AttributeError(f"{self.name}: a parameter, not a method; see get_params()[{self.name!r}]")

    def __set__(self, instance: object, value: object) -> None:
        vars(instance)[self.name] = value


class AugmentationSelector(BaseEstimator):
    """Chooses the training points, or the copies, that are predicted to be worth most, and adds their copies to the training set.

    `fit` chooses; `fit_resample`, imbalanced-learn's protocol, chooses and gives back the training set with the copies behind it, so that
    the estimator stands in an imbalanced-learn `Pipeline` as it is. With scikit-learn alone, `augury.AugmentedClassifier` joins it to a
    classifier, for pipelines, cross-validation and grid search.

    Parameters
    ----------
    score
        What makes a point worth augmenting: see `augury.score`.
    policy
        The order in which points are taken: `sampled`, `ranked`, `stratified` or `determinantal`; see `augury.rank`.
    budget
        How much is chosen: a share (0.1, "10%") or a number (50) of points or copies.
    transform
        What makes copies: a function from points to (points, copies, ...), given what `X` holds, rows (points, features) or images
        (points, channels, height, width); for images also an Augury transform, its text (`"rotate:15,flip"`), or a random augmentation as
        in `augury.as_transform`. `fit` needs none where points are chosen.
    unit
        What is chosen and what a budget counts: `points`, each with all its copies, or single `copies`, by `augury.choose_copies`. Points
        are the default here, and copies in `augury.run`, for the scores and masks of a scikit-learn estimator are one a row of `X`.
    C
        Inverse strength of the head's penalty: scores and choices are those of a softmax regression fitted to all points.
    random_state
        Of the draws: a seed, a `numpy.random.RandomState`, or None for another draw in each fit.
    preference
        How scores become odds; see `augury.rank`.
    target
        Whose loss is to fall: for the score `validation` points (X, y) like the training points; for copies also `self` or `folds`.
    backbone
        What gives the features that scores and choices are made on, while the copies added are those of `X`: an `augury.Model`, a module
        (its output), or a function such as a fitted transformer's `transform`. None: the rows themselves, bytes of images as [0, 1].
    image_shape
        Of one image, where the rows of `X` are flattened images: (height, width), (channels, height, width) or (height, width, channels).
    weight
        What a chosen copy may count for at most; see `augury.choose_copies`. Above 1, or `auto`, train with `sample_weight_`.
    downweight
        A chosen point and its k copies weigh 1 / (k + 1) each; train with `sample_weight_`.

    Attributes
    ----------
    indices_
        (chosen,) the chosen candidates, the first to take first: points, or copies, copy j of point i being i k + j.
    scores_
        (candidates,) more means more worth: the points' scores, or the fall of the target's loss that each copy was predicted to bring, in
        nats a unit of weight.
    ordering_
        The `Ordering` or `CopyOrdering` itself, with the budget.
    sample_indices_, sample_weight_
        (rows,) of what `fit_resample` gave: the point that each row is, or is a copy of, and what it is to weigh.

    Notes
    -----
    `X` may be rows, a DataFrame of numbers, images (points, height, width), (points, channels, height, width) or (points, height, width,
    channels), numpy or torch; `fit_resample` gives back what came in. There is no `sample_weight`: influence is of points of weight 1.
    With `unit="copies"` the copies of all points are held in memory.
    """

    score = _Kept()
    transform = _Kept()

    def __init__(
        self,
        score: Method = "influence",
        policy: Order = "sampled",
        budget: float | int | str = 0.1,  # noqa: PYI041  (checked at run time, where 1 is no float)
        transform: Any = None,  # noqa: ANN401  (any library's object)
        unit: Literal["points", "copies"] = "points",
        C: float | int = 1.0,  # noqa: PYI041  (checked at run time, where 1 is no float)
        random_state: int | np.random.RandomState | None = 0,
        *,
        preference: Preference = "proportional",
        target: Any = None,  # noqa: ANN401  (points of any kind, or a word)
        backbone: Model | Callable[..., Any] | None = None,
        image_shape: tuple[int, ...] | None = None,
        weight: float | int | Literal["auto"] = 1.0,  # noqa: PYI041  (checked at run time, where 1 is no float)
        downweight: bool = False,
    ) -> None:
        self.score = score
        self.policy = policy
        self.budget = budget
        self.transform = transform
        self.unit = unit
        self.C = C
        self.random_state = random_state
        self.preference = preference
        self.target = target
        self.backbone = backbone
        self.image_shape = image_shape
        self.weight = weight
        self.downweight = downweight

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002  (scikit-learn's signature)
        """The parameters by name."""
        del deep  # none of them has parameters of its own
        return {name: vars(self)[name] for name in self._get_param_names()}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any) -> AugmentationSelector:  # noqa: ANN401  (arrays, tensors, frames, lists)
        """Choose from the points `X` with the labels `y`; see the class."""
        rows = self._read(X, y)
        self._choose(rows, self._pool(rows))
        return self

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: ANN401  (arrays, tensors, frames, lists)
        """Choose, and give back `X` and `y` with the chosen copies behind them: by point, in the order of `indices_`."""
        rows = self._read(X, y)
        pool = self._pool(rows)
        self._choose(rows, pool)
        made, chosen = self._chosen_copies(rows, pool)
        self.sample_indices_ = np.concatenate([np.arange(len(rows)), chosen.point])
        self.sample_weight_ = chosen.weights
        return rows.with_copies(made, chosen.point)

    def _read(self, X: Any, y: Any) -> Rows:  # noqa: ANN401  (arrays, tensors, frames, lists)
        self._check_settings()
        self.seed_ = _seed(self.random_state)
        flat, shape = flattened(X)
        flat, labels = validate_data(self, flat, as_numpy(y) if isinstance(y, torch.Tensor) else y)
        check_classification_targets(labels)
        shape = shape or self.image_shape
        layout = None if shape is None else Layout(tuple(shape))
        if layout is not None and np.prod(layout.shape) != flat.shape[1]:
            raise InputError(f"image_shape: {layout.shape} has {np.prod(layout.shape)} pixels, and the rows of X {flat.shape[1]} features")
        return Rows(X, y, points_of(flat, layout), labels, layout)

    def _check_settings(self) -> None:
        if self.unit not in ("points", "copies"):
            raise InputError(f"unit: got {self.unit!r}; expected 'points' or 'copies'")
        other = "points" if self.unit == "copies" else "copies"
        for name, default in (OF_POINTS if self.unit == "copies" else OF_COPIES).items():
            if vars(self)[name] != default:
                raise InputError(f"{name}: has a meaning only where {other} are chosen; set unit to {other!r}, or leave it out")

    def _pool(self, rows: Rows) -> Shaped[np.ndarray, "points copies ..."] | None:
        return self._copies(rows.points) if self.unit == "copies" else None

    def _choose(self, rows: Rows, pool: Array | None) -> None:
        X, y = self._features(rows.points), rows.labels
        head = SoftmaxHead(C=float(self.C)).fit(X, y)
        target = self._target(rows)
        self.ordering_: Ordering | CopyOrdering
        if pool is None:
            scores = score(X, y, vars(self)["score"], head, target)
            self.scores_ = scores.values
            self.ordering_ = rank(scores, self.preference, self.policy, self.seed_, features=X, budget=self.budget)
        else:
            values = self._features(pool.reshape(-1, *pool.shape[2:])).reshape(*pool.shape[:2], -1)
            self.ordering_ = choose_copies(head, (X, y), values, target, self.budget, weight=self.weight)
            self.scores_ = -self.ordering_.influence[np.argsort(self.ordering_.candidates)]
        self.indices_ = self.ordering_.selected

    def _target(self, rows: Rows) -> Any:  # noqa: ANN401  (points of any kind, or a word)
        if not isinstance(self.target, tuple):
            return self.target
        flat, _ = flattened(self.target[0])
        flat = validate_data(self, flat, reset=False)
        return self._features(points_of(flat, rows.layout)), *(as_numpy(part) for part in self.target[1:])

    def _features(self, points: Shaped[np.ndarray, "points ..."]) -> Float[np.ndarray, "points features"]:
        if isinstance(self.backbone, Model | nn.Module):
            model = self.backbone if isinstance(self.backbone, Model) else Model(self.backbone, "")
            images = points if points.dtype == np.uint8 else points.astype(np.float32)
            return features(model, np.ascontiguousarray(images)).astype(np.float64)
        if self.backbone is not None:
            points = _in_blocks(self.backbone, points)
        elif points.ndim > 2 and points.dtype == np.uint8:
            points = points / 255
        return points.reshape(len(points), -1).astype(np.float64)

    def _copies(self, points: Shaped[np.ndarray, "points ..."]) -> Shaped[np.ndarray, "points copies ..."]:
        make = self._maker(points)
        made = as_numpy(make(points))
        if made.ndim != points.ndim + 1 or len(made) != len(points) or made.shape[2:] != points.shape[1:] or made.shape[1] == 0:
            raise InputError(
                f"transform: it gave the shape {made.shape} for points {points.shape}; expected (points, copies, ...): "
                f"({len(points)}, copies, {', '.join(map(str, points.shape[1:]))})"
            )
        if made.dtype.kind == "f" and not np.isfinite(made).all():
            raise InputError("transform: it gave a NaN or an infinite number; mend the function, or the points that it cannot change")
        return made

    def _maker(self, points: Array) -> Callable[[Array], Any]:
        transform = vars(self)["transform"]
        if transform is None:
            raise InputError(
                "transform: missing; it makes the copies: give a function (points, ...) -> (points, copies, ...) or a transform"
            )
        of_images = isinstance(transform, str | MakesCopies) or is_augmentation(transform)
        if of_images and points.ndim != 4:
            raise InputError("image_shape: missing; the transform changes images, and the rows of X are flat: give (height, width), say")
        if isinstance(transform, str):
            return parse(transform, points.shape[2:], READERS).copies
        if of_images:
            return as_transform(transform, seed=self.seed_).copies
        if not callable(transform):
            raise InputError(f"transform: got {type(transform).__name__}; expected a function (points, ...) -> (points, copies, ...)")
        function: Callable[[Array], Any] = transform
        return function

    def _chosen_copies(self, rows: Rows, pool: Array | None) -> tuple[Array, Added]:
        """The chosen copies, and what they are copies of."""
        if pool is not None:
            chosen = added(self.ordering_, *pool.shape[:2])
            return pool[chosen.point, chosen.copy], chosen
        made = self._copies(rows.points[self.indices_])
        return made.reshape(-1, *made.shape[2:]), added(self.ordering_, len(rows), made.shape[1], downweight=self.downweight)


def _in_blocks(function: Callable[..., Any], points: Array) -> Array:
    with torch.no_grad():
        parts = [as_numpy(function(points[start : start + BLOCK])) for start in range(0, len(points), BLOCK)]
    if [len(part) for part in parts] != [min(BLOCK, len(points) - start) for start in range(0, len(points), BLOCK)]:
        raise InputError(f"backbone: it gave {sum(map(len, parts))} rows for {len(points)} points; expected one row of features a point")
    return np.concatenate(parts)


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """The seed that scikit-learn's convention means; None: a new one from the system."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else checked_seed(random_state)
