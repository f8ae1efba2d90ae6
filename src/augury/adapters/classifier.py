"""`AugmentedClassifier`: a classifier that is fitted to the training set with the chosen copies, and tested without."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from augury.errors import InputError
from augury.head import SoftmaxHead


def _estimator_has(name: str) -> Any:  # noqa: ANN401  (a check as `available_if` takes it)
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), name) or self.estimator is None


class AugmentedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A classifier whose training points are augmented, by choice, whenever it is fitted.

    Copies are made of the points it is fitted to alone: in cross-validation, never of the points it is tested on. A grid search reaches
    the choice through `selector__score`, `selector__policy`, `selector__budget`, and the classifier through `estimator__...`.

    Parameters
    ----------
    estimator
        Any scikit-learn classifier, or a pipeline that ends in one; None: an `augury.SoftmaxHead`.
    selector
        An `AugmentationSelector` with a transform, or any of imbalanced-learn's samplers.

    Attributes
    ----------
    estimator_, selector_
        Clones of both, fitted.
    classes_
        The labels, sorted.
    """

    def __init__(self, estimator: Any = None, selector: Any = None) -> None:  # noqa: ANN401  (any scikit-learn estimator)
        self.estimator = estimator
        self.selector = selector

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any) -> AugmentedClassifier:  # noqa: ANN401  (whatever selector and estimator take)
        """Choose, add the copies, and fit the classifier, with the weights that the selector gives.

        Raises
        ------
        InputError
            If there is no selector, or the weights differ and the classifier takes none.
        """
        if not hasattr(self.selector, "fit_resample"):
            raise InputError("selector: expected an augury.AugmentationSelector(transform=...), or a sampler with fit_resample")
        self.selector_ = clone(self.selector)
        augmented, labels = self.selector_.fit_resample(X, y)
        self.estimator_ = SoftmaxHead() if self.estimator is None else clone(self.estimator)
        self.estimator_.fit(augmented, labels, **self._weights())
        self.classes_ = self.estimator_.classes_
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.selector_, name):
                setattr(self, name, getattr(self.selector_, name))
        return self

    def _weights(self) -> dict[str, npt.NDArray[np.float64]]:
        weights = getattr(self.selector_, "sample_weight_", None)
        if weights is None or (weights == 1).all():
            return {}
        if not has_fit_parameter(self.estimator_, "sample_weight"):
            raise InputError(
                f"selector: it weighs its copies, and {type(self.estimator_).__name__} takes no sample_weight; "
                "set weight=1 and downweight=False"
            )
        return {"sample_weight": weights}

    def predict(self, X: Any) -> Any:  # noqa: ANN401  (whatever the estimator takes and gives)
        """The classifier's labels."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_estimator_has("predict_proba"))  # type: ignore[untyped-decorator]  # scikit-learn ships no types
    def predict_proba(self, X: Any) -> Any:  # noqa: ANN401  (whatever the estimator takes and gives)
        """The classifier's probabilities, in the order of `classes_`."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_estimator_has("decision_function"))  # type: ignore[untyped-decorator]  # scikit-learn ships no types
    def decision_function(self, X: Any) -> Any:  # noqa: ANN401  (whatever the estimator takes and gives)
        """The classifier's scores."""
        check_is_fitted(self)
        return self.estimator_.decision_function(X)
