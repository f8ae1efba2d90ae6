"""`AugmentationSelector` and `AugmentedClassifier` among scikit-learn's and imbalanced-learn's own."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import augury
from augury import AugmentationSelector, AugmentedClassifier, Flip, Rotate, SoftmaxHead
from augury.errors import InputError
from conftest import Array, Task


@dataclass(frozen=True, repr=False)
class Shrunk:
    """Two copies of each point, as a user's function makes them; its name is the same in every process, and so are the tests'."""

    def __call__(self, points: Array) -> Array:
        return np.stack([points * 0.9, points * 0.8], axis=1)

    def __repr__(self) -> str:
        return "shrunk"


shrunk = Shrunk()


def flattened(images: Array) -> Array:
    return images.reshape(len(images), -1)


def selector(**settings: Any) -> AugmentationSelector:  # noqa: ANN401  (any parameter)
    return AugmentationSelector(**({"transform": shrunk} | settings))


@parametrize_with_checks(
    [
        AugmentationSelector(),
        AugmentationSelector(transform=shrunk, unit="copies"),
        AugmentedClassifier(LogisticRegression(), AugmentationSelector(transform=shrunk)),
        AugmentedClassifier(selector=AugmentationSelector(transform=shrunk)),
    ]
)
@pytest.mark.usefixtures("without_type_checks")
def test_every_rule_of_scikit_learn_is_kept(estimator: Any, check: Callable[[Any], None]) -> None:  # noqa: ANN401  (an estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # some checks' points are as good as separable
        check(estimator)


@pytest.mark.parametrize("score", ["influence", "loss", "margin"])
@pytest.mark.parametrize(("policy", "preference"), [("sampled", "proportional"), ("ranked", "inverse"), ("determinantal", "proportional")])
def test_the_choice_is_that_of_score_and_rank(digits_3v8: Task, score: Any, policy: Any, preference: Any) -> None:  # noqa: ANN401
    X, y = digits_3v8.X, digits_3v8.y
    found = selector(score=score, policy=policy, preference=preference, budget=0.2, C=0.1, random_state=3).fit(X, y)
    scores = augury.score(X, y, score, SoftmaxHead(C=0.1).fit(X, y))
    expected = augury.rank(scores, preference, policy, seed=3, features=X, budget=0.2)
    np.testing.assert_array_equal(found.indices_, expected.selected)
    np.testing.assert_array_equal(found.scores_, scores.values)
    assert len(found.indices_) == 40


def test_chosen_copies_are_those_of_choose_copies(digits_3v8: Task) -> None:
    X, y = digits_3v8.X, digits_3v8.y
    found = selector(unit="copies", budget=30, target=(digits_3v8.Xt, digits_3v8.yt))
    expected = augury.choose_copies(SoftmaxHead().fit(X, y), (X, y), shrunk(X), (digits_3v8.Xt, digits_3v8.yt), 30, weight=1)
    Xa, ya = found.fit_resample(X, y)
    np.testing.assert_array_equal(found.indices_, expected.selected)
    np.testing.assert_array_equal(found.scores_[expected.candidates], -expected.influence)
    np.testing.assert_array_equal(Xa, np.concatenate([X, shrunk(X).reshape(-1, 64)[expected.selected]]))
    np.testing.assert_array_equal(ya, np.concatenate([y, y[expected.point[:30]]]))
    np.testing.assert_array_equal(found.sample_indices_, np.concatenate([np.arange(len(X)), expected.point[:30]]))


def test_resampling_adds_all_copies_of_the_chosen_points_behind_the_originals(digits_3v8: Task) -> None:
    found = selector(budget=5)
    Xa, ya = found.fit_resample(digits_3v8.X, digits_3v8.y)
    chosen = found.indices_
    np.testing.assert_array_equal(Xa[:200], digits_3v8.X)
    np.testing.assert_array_equal(Xa[200:], shrunk(digits_3v8.X[chosen]).reshape(10, 64))
    np.testing.assert_array_equal(ya, digits_3v8.y[found.sample_indices_])
    np.testing.assert_array_equal(found.sample_indices_[200:], np.repeat(chosen, 2))
    np.testing.assert_array_equal(found.sample_weight_, np.ones(210))
    np.testing.assert_array_equal(found.fit(digits_3v8.X, digits_3v8.y).indices_, chosen)


@pytest.mark.parametrize(("budget", "expected"), [(0.1, 20), (7, 7), ("10%", 20), ("7", 7), (1.0, 200), (1, 1)])
def test_a_budget_is_a_share_or_a_number_as_everywhere(digits_3v8: Task, budget: Any, expected: int) -> None:  # noqa: ANN401
    assert len(selector(budget=budget).fit(digits_3v8.X, digits_3v8.y).indices_) == expected


def test_flat_rows_images_of_any_layout_and_tensors_are_augmented_alike(digits_3v8: Task) -> None:
    X, y = digits_3v8.X, digits_3v8.y
    rotate = Rotate([-10, 10])
    settings = {"transform": rotate, "budget": 4}
    flat, labels = selector(**settings, image_shape=(8, 8)).fit_resample(X, y)
    assert flat.shape == (208, 64)
    last = selector(**settings, image_shape=(8, 8)).fit(X, y).indices_[-1:]
    np.testing.assert_array_equal(flat[-2:], rotate.copies(X[last].reshape(1, 1, 8, 8)).reshape(2, 64))
    for shape in ((8, 8), (1, 8, 8), (8, 8, 1)):
        shaped, _ = selector(**settings).fit_resample(X.reshape(-1, *shape), y)
        assert shaped.shape == (208, *shape)
        np.testing.assert_array_equal(shaped.reshape(208, 64), flat)
    tensor, labels_too = selector(**settings).fit_resample(torch.from_numpy(X).reshape(-1, 1, 8, 8), torch.from_numpy(y))
    assert isinstance(tensor, torch.Tensor)
    assert isinstance(labels_too, torch.Tensor)
    np.testing.assert_array_equal(tensor.reshape(208, 64).numpy(), flat)
    np.testing.assert_array_equal(labels_too.numpy(), labels)
    text, _ = selector(transform="rotate:angles=-10/10", budget=4).fit_resample(X.reshape(-1, 8, 8), y)
    np.testing.assert_array_equal(text.reshape(208, 64), flat)


def test_bytes_stay_bytes_and_are_scored_as_floats_up_to_one(digits_3v8: Task) -> None:
    pixels = (digits_3v8.X * 255).astype(np.uint8).reshape(-1, 1, 8, 8)
    found = selector(transform=Flip(), score="loss")
    Xa, _ = found.fit_resample(pixels, digits_3v8.y)
    assert Xa.dtype == np.uint8
    np.testing.assert_array_equal(Xa[200:], pixels[found.indices_][..., ::-1])
    flat = pixels.reshape(200, 64) / 255
    np.testing.assert_allclose(found.scores_, augury.score(flat, digits_3v8.y, "loss").values, rtol=1e-12)


def test_a_backbone_scores_its_features_and_the_raw_rows_are_resampled(digits_3v8: Task) -> None:
    scaler = StandardScaler().fit(digits_3v8.X)
    found = selector(backbone=scaler.transform, budget=6)
    Xa, _ = found.fit_resample(digits_3v8.X, digits_3v8.y)
    np.testing.assert_array_equal(found.scores_, augury.score(scaler.transform(digits_3v8.X), digits_3v8.y).values)
    np.testing.assert_array_equal(Xa[200:], shrunk(digits_3v8.X[found.indices_]).reshape(12, 64))


@pytest.mark.parametrize("unit", ["points", "copies"])
def test_a_network_as_backbone_gives_what_augurys_features_gives(digits_3v8: Task, unit: Any) -> None:  # noqa: ANN401
    images = digits_3v8.X.astype(np.float32).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    modes = [module.training for module in network.modules()]
    found = selector(transform=Rotate([-10, 10]), backbone=network, unit=unit, budget=5).fit(images, digits_3v8.y)
    function = selector(transform=Rotate([-10, 10]), backbone=lambda batch: network(torch.from_numpy(batch)), unit=unit, budget=5)
    by_function = function.fit(images, digits_3v8.y)
    np.testing.assert_allclose(found.scores_, by_function.scores_, rtol=1e-4, atol=1e-9)
    by_model = selector(transform=Rotate([-10, 10]), backbone=augury.Model(network, "2"), unit=unit, budget=5).fit(images, digits_3v8.y)
    np.testing.assert_array_equal(found.indices_, by_model.indices_)
    assert [module.training for module in network.modules()] == modes


def test_frames_come_back_as_frames_with_their_names_and_types(digits_3v8: Task) -> None:
    X = pd.DataFrame(digits_3v8.X[:, :20], columns=[f"pixel {i}" for i in range(20)], index=np.arange(200) + 1000)
    y = pd.Series(pd.Categorical([f"digit {label}" for label in digits_3v8.y]), name="digit", index=X.index)
    found = selector(budget=3)
    Xa, ya = found.fit_resample(X, y)
    assert list(Xa.columns) == list(X.columns) == list(found.feature_names_in_)
    assert ya.dtype == y.dtype
    assert ya.name == "digit"
    assert Xa.index.tolist() == ya.index.tolist() == list(range(206))
    np.testing.assert_array_equal(Xa.to_numpy()[200:], shrunk(X.to_numpy()[found.indices_]).reshape(6, 20))
    assert ya.tolist() == y.iloc[found.sample_indices_].tolist()


def test_a_score_by_a_target_reads_the_target_as_it_reads_the_points(digits_3v8: Task) -> None:
    scaler = StandardScaler().fit(digits_3v8.X)
    found = selector(score="validation", backbone=scaler.transform, target=(digits_3v8.Xt, digits_3v8.yt)).fit(digits_3v8.X, digits_3v8.y)
    X, target = scaler.transform(digits_3v8.X), (scaler.transform(digits_3v8.Xt), digits_3v8.yt)
    np.testing.assert_allclose(found.scores_, augury.score(X, digits_3v8.y, "validation", target=target).values, rtol=1e-12)


def test_random_states_follow_scikit_learns_convention(digits_3v8: Task) -> None:
    def chosen(random_state: Any) -> list[int]:  # noqa: ANN401  (any random state)
        found: list[int] = selector(random_state=random_state).fit(digits_3v8.X, digits_3v8.y).indices_.tolist()
        return found

    assert chosen(5) == chosen(5) != chosen(6)
    assert chosen(np.random.RandomState(1)) == chosen(np.random.RandomState(1))
    assert chosen(None) != chosen(None)


def test_clones_and_pickles_choose_the_same(digits_3v8: Task) -> None:
    first = selector(score="loss", policy="ranked", budget=9).fit(digits_3v8.X, digits_3v8.y)
    copy = clone(first)
    assert copy.get_params() == first.get_params()
    assert not hasattr(copy, "indices_")
    np.testing.assert_array_equal(copy.fit(digits_3v8.X, digits_3v8.y).indices_, first.indices_)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).indices_, first.indices_)
    assert "score='loss'" in repr(first)
    assert copy.set_params(score="uniform").get_params()["score"] == "uniform"


def test_it_is_a_sampler_and_no_transformer() -> None:
    """A pipeline asks for these attributes, and refuses what is both."""
    assert hasattr(selector(), "fit_resample")
    assert not hasattr(selector(), "transform")
    assert not hasattr(selector(), "score")


def test_a_pipeline_of_imbalanced_learn_resamples_when_it_is_fitted_only(digits_3v8: Task) -> None:
    pipeline = pytest.importorskip("imblearn.pipeline", reason="imbalanced-learn is not installed")
    made = pipeline.make_pipeline(StandardScaler(), selector(), LogisticRegression(max_iter=2000))
    made.fit(digits_3v8.X, digits_3v8.y)
    X = StandardScaler().fit_transform(digits_3v8.X)
    expected = LogisticRegression(max_iter=2000).fit(*selector().fit_resample(X, digits_3v8.y))
    np.testing.assert_allclose(made[-1].coef_, expected.coef_, rtol=1e-6)


def test_the_classifier_is_fitted_to_what_the_selector_gives_and_tested_on_originals(digits_3v8: Task) -> None:
    estimator = AugmentedClassifier(SoftmaxHead(), selector(budget=20)).fit(digits_3v8.X, digits_3v8.y)
    expected = SoftmaxHead().fit(*selector(budget=20).fit_resample(digits_3v8.X, digits_3v8.y))
    np.testing.assert_array_equal(estimator.predict_proba(digits_3v8.Xt), expected.predict_proba(digits_3v8.Xt))
    np.testing.assert_array_equal(estimator.decision_function(digits_3v8.Xt), expected.decision_function(digits_3v8.Xt))
    assert estimator.score(digits_3v8.Xt, digits_3v8.yt) == expected.score(digits_3v8.Xt, digits_3v8.yt)
    assert estimator.n_features_in_ == 64


@pytest.mark.parametrize("settings", [{"downweight": True}, {"unit": "copies", "weight": 3, "budget": 10}])
def test_the_classifier_gets_the_weights_of_the_copies(digits_3v8: Task, settings: dict[str, Any]) -> None:
    chosen = selector(**settings)
    X, y = chosen.fit_resample(digits_3v8.X, digits_3v8.y)
    assert len(np.unique(chosen.sample_weight_)) == 2
    expected = SoftmaxHead().fit(X, y, chosen.sample_weight_)
    found = AugmentedClassifier(selector=selector(**settings)).fit(digits_3v8.X, digits_3v8.y)
    np.testing.assert_array_equal(found.estimator_.coef_, expected.coef_)
    with pytest.raises(InputError, match="selector: it weighs its copies, and KNeighborsClassifier takes no sample_weight; set weight=1"):
        AugmentedClassifier(KNeighborsClassifier(), selector(**settings)).fit(digits_3v8.X, digits_3v8.y)


def test_a_share_of_weight_is_as_in_the_paper(digits_3v8: Task) -> None:
    found = selector(downweight=True, budget=3)
    found.fit_resample(digits_3v8.X, digits_3v8.y)
    one = np.isin(found.sample_indices_, found.indices_)
    np.testing.assert_allclose(found.sample_weight_, np.where(one, 1 / 3, 1))


def test_a_grid_search_goes_over_score_policy_and_budget_and_copies_no_test_point(digits_3v8: Task) -> None:
    seen: list[int] = []

    def counted(points: Array) -> Array:
        seen.append(len(points))
        return shrunk(points)

    pipeline = make_pipeline(StandardScaler(), AugmentedClassifier(GaussianNB(), selector(transform=counted)))
    grid = {
        "augmentedclassifier__selector__score": ["loss", "uniform"],
        "augmentedclassifier__selector__policy": ["sampled", "ranked"],
        "augmentedclassifier__selector__budget": [0.1, 1.0],
    }
    search = GridSearchCV(pipeline, grid, cv=4).fit(digits_3v8.X, digits_3v8.y)
    assert set(search.best_params_) == set(grid)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(seen[:-1]) == {15, 150}  # shares of the 150 points of three folds: none of the fourth


def test_cross_validation_with_images_goes_through_a_pipeline_that_flattens(digits_3v8: Task) -> None:
    estimator = AugmentedClassifier(make_pipeline(FunctionTransformer(flattened), SoftmaxHead()), selector(transform=Rotate([-8, 8])))
    assert cross_val_score(estimator, digits_3v8.X.reshape(-1, 1, 8, 8), digits_3v8.y, cv=3).mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transform": None}, "transform: missing; it makes the copies"),
        ({"transform": 3}, "transform: got int; expected a function"),
        ({"transform": Rotate([5])}, "image_shape: missing; the transform changes images, and the rows of X are flat"),
        ({"transform": "rotate"}, "image_shape: missing"),
        ({"image_shape": (7, 8)}, r"image_shape: \(7, 8\) has 56 pixels, and the rows of X 64 features"),
        ({"image_shape": (64,)}, r"image_shape: got \(64,\); expected \(height, width\)"),
        ({"transform": lambda points: points}, r"transform: it gave the shape \(20, 64\) for points \(20, 64\); expected \(points, copies"),
        ({"transform": lambda points: shrunk(points) * np.nan}, "transform: it gave a NaN"),
        ({"unit": "rows"}, "unit: got 'rows'; expected 'points' or 'copies'"),
        ({"unit": "copies", "score": "loss"}, "score: has a meaning only where points are chosen; set unit to 'points'"),
        ({"unit": "copies", "policy": "ranked"}, "policy: has a meaning only where points are chosen"),
        ({"unit": "copies", "downweight": True}, "downweight: has a meaning only where points are chosen"),
        ({"weight": 2}, "weight: has a meaning only where copies are chosen"),
        ({"score": "worth"}, "method: got 'worth'"),
        ({"score": "validation"}, "target: expected"),
        ({"policy": "random"}, "order: got 'random'"),
        ({"budget": 0}, "budget: 0 of 200 points"),
        ({"budget": 201}, "budget: 201 of 200 points"),
        ({"budget": "ten"}, "budget: got 'ten'"),
        ({"budget": 0.0}, "budget: a share of 0"),
        ({"random_state": -1}, "seed: got -1"),
        ({"C": -1.0}, "C: got -1"),
        ({"backbone": lambda points: points[:3]}, "backbone: it gave 3 rows for 200 points"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_settings_that_make_no_sense_are_refused(digits_3v8: Task, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        selector(**settings).fit_resample(digits_3v8.X, digits_3v8.y)


def test_labels_that_are_no_classes_are_refused(digits_3v8: Task) -> None:
    with pytest.raises(ValueError, match="Unknown label type"):
        selector().fit(digits_3v8.X, digits_3v8.X[:, 20] + 0.1234)
    with pytest.raises(InputError, match="only one class"):
        selector().fit(digits_3v8.X, np.zeros(200, dtype=int))


def test_a_classifier_without_a_selector_says_what_is_missing(digits_3v8: Task) -> None:
    with pytest.raises(InputError, match=r"selector: expected an augury\.AugmentationSelector"):
        AugmentedClassifier().fit(digits_3v8.X, digits_3v8.y)
