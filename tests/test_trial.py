from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, StratifiedKFold

from augury.augmentation import CopiedFeatures
from augury.errors import InputError
from augury.evaluation import C_GRID, Draw, FixedFeatures, HeldOut, check_update, measure, rescored, trial
from augury.evaluation.refits import Refits
from augury.head import SoftmaxHead
from augury.scores import Method, Scores, score
from augury.selection import Order, rank
from conftest import digits_features

POINTS, COPIES = 60, 2
BUDGETS = [1, 10, POINTS]


@pytest.fixture(scope="module", params=[(3, 8), (3, 5, 8)], ids=["two classes", "three classes"])
def setting(request: pytest.FixtureRequest) -> FixedFeatures:
    """Digits, each with two noisy copies."""
    X, y = digits_features()
    kept = np.isin(y, request.param)
    X, y = X[kept], np.unique(y[kept], return_inverse=True)[1]
    rng = np.random.default_rng(0)
    copies = X[:POINTS, None] + rng.normal(scale=2, size=(POINTS, COPIES, X.shape[1]))
    test = X[POINTS : POINTS + 100]
    return FixedFeatures(
        CopiedFeatures(X[:POINTS], copies, y[:POINTS]), HeldOut.of(test + rng.normal(scale=2, size=test.shape), y[POINTS:][:100])
    )


def scored(setting: FixedFeatures, method: Method = "influence") -> Scores:
    return score(setting.train.features, setting.train.labels, method)


@pytest.mark.parametrize("downweight", [False, True])
@pytest.mark.parametrize("method", ["influence", "loss"])
@pytest.mark.parametrize("order", ["sampled", "ranked"])
def test_an_updated_policy_draws_each_budgets_points_by_the_scores_of_the_head_before(
    setting: FixedFeatures,
    method: Method,
    order: Order,
    downweight: bool,  # noqa: FBT001  (parametrized)
) -> None:
    scores, chosen, expected = scored(setting, method), np.arange(0), []
    for step, budget in enumerate(BUDGETS):
        seed = 5 if step == 0 else int(np.random.SeedSequence([5, step]).generate_state(1)[0])
        fresh = [i for i in rank(scores, "proportional", order, seed).indices if i not in chosen]
        chosen = np.concatenate([chosen, fresh[: budget - len(chosen)]]).astype(np.int64)
        training = setting.train.augmented(chosen, downweight=downweight)
        head = SoftmaxHead().fit(*training)
        expected.append(float((head.predict(setting.test.X) == setting.test.y).mean()))
        scores = rescored(scores, head, training)
    draw = Draw(scored(setting, method), "proportional", order, seed=5, update=True)
    assert trial(setting, draw, BUDGETS, SoftmaxHead(), downweight=downweight) == expected


def test_rescoring_is_scoring_on_the_augmented_set_of_which_the_originals_are_kept(setting: FixedFeatures) -> None:
    training = setting.train.augmented(np.arange(20))
    head = SoftmaxHead().fit(*training)
    for method in ("influence", "loss"):
        fresh = score(training.X, training.y, method, head)
        again = rescored(scored(setting, method), head, training)
        np.testing.assert_allclose(again.values, fresh.values[:POINTS], rtol=1e-8, atol=1e-14)
        np.testing.assert_allclose(again.losses, fresh.losses[:POINTS], rtol=1e-12)
        assert (again.method, again.classes, list(again.origin)) == (
            method,
            *(getattr(scored(setting), name) for name in ("classes",)),
            list(fresh.origin[:POINTS]),
        )


def test_with_a_penalty_given_the_hessian_counts_every_point_once_as_the_papers_code_does() -> None:
    X, y = digits_features()
    X, y = X[np.isin(y, (3, 8))][:80], np.unique(y[np.isin(y, (3, 8))], return_inverse=True)[1][:80]
    train = CopiedFeatures(X, X[:, None] + 0.5, y)
    training = train.augmented(np.arange(20), downweight=True)
    head = SoftmaxHead().fit(*training)
    design = np.column_stack([training.X, np.ones(len(training.y))])
    p = head.predict_proba(training.X)[:, 1]
    ridge = np.diag([*np.full(X.shape[1], 1e-3), 0.0])
    inverse = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design + ridge)
    g = (p - training.y)[:, None] * design
    expected = np.einsum("np,pq,nq->n", g, inverse, g)[:80]
    np.testing.assert_allclose(rescored(score(X, y), head, training, penalty=1e-3).values, expected, rtol=1e-6)


def test_a_draw_without_update_is_the_ordering_itself(setting: FixedFeatures) -> None:
    scores = scored(setting)
    draw, ordering = Draw(scores, "inverse", "sampled", seed=3), rank(scores, "inverse", "sampled", 3)
    assert trial(setting, draw, BUDGETS, SoftmaxHead()) == trial(setting, ordering, BUDGETS, SoftmaxHead())


@pytest.mark.parametrize("order", ["stratified", "determinantal"])
def test_orders_that_look_at_features_choose_anew_for_each_budget(setting: FixedFeatures, order: str) -> None:
    scores, features = scored(setting), setting.train.features
    draw = Draw(scores, "proportional", order, seed=1)
    chosen = [rank(scores, "proportional", order, 1, features=features, budget=budget).indices[:budget] for budget in BUDGETS]
    alone = [trial(setting, indices, [len(indices)], SoftmaxHead())[0] for indices in chosen]
    assert trial(setting, draw, BUDGETS, SoftmaxHead()) == alone


def test_curves_may_mix_orderings_and_draws_that_look_again(setting: FixedFeatures) -> None:
    scores = scored(setting)
    draw = Draw(scores, seed=2, update=True)
    policies = {"fixed": [rank(scores, seed=2)], "updated": [draw]}
    test = setting.test.X.numpy(), setting.test.y
    frame = measure(setting.train, test, policies, BUDGETS).frame
    assert frame[frame["policy"] == "updated"]["accuracy"].tolist() == trial(setting, draw, BUDGETS, SoftmaxHead())


@pytest.mark.parametrize("downweight", [False, True])
def test_cross_validated_c_is_that_of_a_grid_search_whose_folds_keep_copies_with_their_points(
    setting: FixedFeatures,
    downweight: bool,  # noqa: FBT001  (parametrized)
) -> None:
    chosen = np.arange(30)
    training = setting.train.augmented(chosen, downweight=downweight)
    points = np.concatenate([np.arange(POINTS), np.repeat(chosen, COPIES)])
    parts = np.empty(POINTS, int)
    for fold, (_, held_out) in enumerate(StratifiedKFold(4).split(setting.train.labels, setting.train.labels)):
        parts[held_out] = fold
    machine = LogisticRegression(tol=1e-8, max_iter=20_000)
    search = GridSearchCV(machine, {"C": C_GRID}, cv=PredefinedSplit(parts[points]), refit=False)
    search.fit(training.X, training.y, sample_weight=training.weights)
    refits = Refits(SoftmaxHead(), C_GRID)
    found = np.round(search.cv_results_["mean_test_score"], 12)
    best = C_GRID[int(np.argmax(found))]
    assert best == refits.fit(training, points).C
    np.testing.assert_allclose(refits.head.coef_, SoftmaxHead(C=best).fit(*training).coef_, rtol=1e-6, atol=1e-8)


def test_cross_validation_needs_points_of_every_class_in_every_fold(setting: FixedFeatures) -> None:
    labels = setting.train.labels.copy()
    labels[:] = 1
    labels[:3] = 0
    few = FixedFeatures(CopiedFeatures(setting.train.features, setting.train.copies, labels), setting.test)
    with pytest.raises(InputError, match="C: a class has 3 points; cross-validation over 4 folds needs 4"):
        trial(few, np.arange(POINTS), [10], SoftmaxHead(), grid=C_GRID)


@pytest.mark.parametrize(
    ("method", "order", "message"),
    [("margin", "sampled", "the score margin is not renewed"), ("loss", "stratified", "draws anew for each budget")],
)
def test_an_update_that_means_nothing_is_refused(method: str, order: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_update(method, order)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_accuracy_in_single_precision_is_that_of_double_precision_even_for_points_on_the_boundary(
    setting: FixedFeatures, offset: float
) -> None:
    head = SoftmaxHead().fit(setting.train.features + offset, setting.train.labels)
    X, y = setting.test.X.numpy() + offset, setting.test.y
    if len(head.classes_) == 2:  # move the points to within rounding of the boundary, on either side
        w = head.coef_[0]
        margins = X @ w + head.intercept_[0]
        X = X - (margins - 1e-9 * np.sign(margins) * np.arange(len(X)))[:, None] * w / (w @ w)
    assert HeldOut.of(X, y).accuracy(head) == head.score(X, y)
