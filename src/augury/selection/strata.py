"""Stratified orders: the points are clustered by their features, and the clusters take turns."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from augury.arrays import ArrayLike
from augury.selection.features import checked_features, narrowed
from augury.selection.ordering import Ordering, checked_count, checked_seed
from augury.selection.threads import one_thread


def stratify(ordering: Ordering, features: ArrayLike, clusters: int, seed: int | None = None) -> Ordering:
    """Any ordering, made to visit all regions of the feature space in turn.

    The points are clustered by k-means; then the clusters are gone round in the order of their numbers, each giving the first of its points
    (in the order of `ordering`) that it has not given yet, and an exhausted cluster is passed over. So every prefix holds as equal numbers
    of each cluster as their sizes allow, and with a budget of `clusters` one point of each (paper 2's code, which clusters anew for every
    budget, into as many clusters as the budget takes).

    Parameters
    ----------
    ordering
        Gives the order within each cluster: a draw, a ranking, or any other.
    features
        (points, features) of the same points, as they are.
    clusters
        How many, at most the number of points.
    seed
        Of k-means; None: the ordering's.

    Returns
    -------
    Ordering
        Its order is `stratified`; its settings tell `clusters`, `kmeans_seed`, and as `within` the order within the clusters.

    Notes
    -----
    The cluster of the first point is number 0, that of the first point outside it number 1, and so on. Cost: that of one run of k-means.
    """
    X = checked_features(features, len(ordering))
    count = checked_count(clusters, len(ordering), "clusters")
    kmeans_seed = ordering.seed if seed is None else checked_seed(seed)
    indices = take_turns(ordering.indices, cluster(X, count, kmeans_seed))
    settings = dict(ordering.settings) | {"clusters": count, "kmeans_seed": kmeans_seed, "within": ordering.order}
    return replace(ordering, indices=indices, order="stratified", settings=settings)


def cluster(X: npt.NDArray[np.float64], clusters: int, seed: int) -> Int64[np.ndarray, " points"]:
    """Each point's cluster by k-means, the clusters numbered by their first points; where points coincide there may be fewer."""
    if clusters == len(X):
        return np.arange(len(X))  # each point its own mean: no inertia is left, and nothing need be searched for
    state = int(np.random.SeedSequence(seed).generate_state(1)[0])  # any seed, as the 32 bits that scikit-learn takes
    means = KMeans(clusters, init="k-means++", n_init=1, algorithm="lloyd", random_state=state)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # tells that points coincide, which is no fault here
        labels = means.fit(narrowed(X)).labels_
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    number: npt.NDArray[np.int64] = np.argsort(np.argsort(first))[codes].astype(np.int64)
    return number


def take_turns(indices: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> Int64[np.ndarray, " points"]:
    """The points in rounds: in each round the next point of every cluster that has one left, the clusters by their numbers.

    Parameters
    ----------
    indices
        (points,) the points in the order in which each cluster gives them.
    numbers
        (points,) each point's cluster, by the point's index.
    """
    own = numbers[indices]
    by_cluster = np.argsort(own, kind="stable")
    sizes = np.bincount(own)
    rounds = np.empty(len(own), dtype=np.int64)
    rounds[by_cluster] = np.arange(len(own)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return indices[np.lexsort((own, rounds))]
