"""Determinantal orders: exact draws of sets of one size, in which points that look alike are rarely together.

A k-DPP (Kulesza and Taskar, "k-DPPs: fixed-size determinantal point processes", 2011) draws a set S of k points with probability
det(L_S) / e_k, L a positive semi-definite kernel, L_S its rows and columns in S, and e_k the k-th elementary symmetric polynomial of its
eigenvalues, which is the sum of det(L_S) over all such sets. If L is the Gram matrix of vectors, det(L_S) is the squared volume they span.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64

from augury.arrays import ArrayLike, as_features, as_numpy
from augury.errors import InputError
from augury.selection.features import checked_features, narrowed
from augury.selection.odds import log_odds
from augury.selection.ordering import Ordering, budget_size, checked_count, checked_seed
from augury.selection.threads import one_thread

FEATURE_LENGTH = 1e3  # to which paper 2's code scales each point's features
RIDGE = 1e-3  # what it adds to the kernel's diagonal, so that more points than there are features can be drawn
MOST_NUMBERS = 10**8  # points x (features + budget); some arrays of this size are formed

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """A kernel by its eigenvalues and eigenvectors.

    Parameters
    ----------
    values
        (points,) the eigenvalues, none below zero.
    vectors
        (points, m) eigenvectors of the first m of them. The other eigenvalues must be equal: any basis of the complement serves them.
    """

    values: Float64[np.ndarray, " points"]
    vectors: Float64[np.ndarray, "points _"]

    @classmethod
    def of_kernel(cls, kernel: ArrayLike) -> Spectrum:
        """The spectrum of any symmetric positive semi-definite matrix; eigenvalues that rounding alone may have made count as zero."""
        L = as_numpy(as_features(kernel, "kernel"))
        if L.shape[0] != L.shape[1] or not np.allclose(L, L.T, rtol=0, atol=1e-10 * np.abs(L).max()):
            raise InputError(f"kernel: expected a symmetric matrix (points, points), got one of shape {L.shape} that is not")
        values, vectors = np.linalg.eigh((L + L.T) / 2)
        rounding = len(L) * np.finfo(np.float64).eps * np.abs(values).max()
        if values[0] < -rounding:
            raise InputError(f"kernel: the eigenvalue {values[0]:.3g} is negative; expected a positive semi-definite matrix")
        return cls(np.where(values > rounding, values, 0.0), vectors)

    @classmethod
    def of_factor(cls, B: Float64[np.ndarray, "points features"], ridge: float) -> Spectrum:
        """The spectrum of B B^T + ridge I, from B's singular values, so that eigenvalues far apart keep their digits."""
        vectors, singular, _ = np.linalg.svd(narrowed(B), full_matrices=False)
        values = np.full(len(B), ridge)
        values[: len(singular)] += singular**2
        return cls(values, vectors)

    def draw(self, k: int, rng: np.random.Generator) -> Int64[np.ndarray, " selected"]:
        """One exact draw of k points: eigenvectors first, then points from the space that these span."""
        chosen = _choose_eigenvectors(self.values, k, rng)
        known = chosen[chosen < self.vectors.shape[1]]
        V = self.vectors[:, known]
        if len(known) < k:
            V = np.hstack([V, self._complement(k - len(known), rng)])
        return _draw_from_space(V, rng)

    def _complement(self, count: int, rng: np.random.Generator) -> Values:
        """So many vectors of a random basis of what `vectors` leave over.

        Taking them stands for taking so many vectors of a fixed basis, each set being equally likely: over all sets, the probability of the
        points drawn is the same in every basis of an eigenspace, hence in a random one.
        """
        basis = rng.standard_normal((len(self.vectors), count))
        for _ in range(2):  # the second time removes what rounding has left over
            basis -= self.vectors @ (self.vectors.T @ basis)
        return np.linalg.qr(basis)[0]


def sample_k_dpp(kernel: ArrayLike, k: int, seed: int | np.random.Generator = 0) -> Int64[np.ndarray, " selected"]:
    """Draw k points, a set S with probability det(L_S) / sum of the determinants of all sets of k, exactly.

    Parameters
    ----------
    kernel
        (points, points) L, symmetric and positive semi-definite.
    k
        From 1 to the kernel's rank.
    seed
        Of the draw, or a generator to draw with.

    Returns
    -------
    (k,) indices, each once, in random order: each of a set's orders is equally likely.

    Raises
    ------
    InputError
        If the kernel is not symmetric or not positive semi-definite, or if no k points have a positive determinant.

    Notes
    -----
    n^3 for the eigenvectors, then n k^2. For points with features, `diversify` needs no n x n matrix.
    """
    spectrum = Spectrum.of_kernel(kernel)
    size = checked_count(k, len(spectrum.values), "k")
    rank = np.count_nonzero(spectrum.values)
    if size > rank:
        raise InputError(f"k: {size} points of a kernel of rank {rank} have no volume; take at most {rank}, or add a ridge")
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(checked_seed(seed))
    return spectrum.draw(size, rng)


def diversify(
    ordering: Ordering,
    features: ArrayLike,
    budget: float | int | str,  # noqa: PYI041  (checked at run time, where 1 is no float)
) -> Ordering:
    """Any ordering, with points put first that are drawn, as many as the budget, for being wanted and for differing from each other.

    The draw is a k-DPP with L_ij = q_i q_j phi_i . phi_j + 1e-3 [i = j], phi_i the features of point i, scaled to length 1000, and q_i its
    odds under the ordering's preference (paper 2's code: all 1, or the influence score). Two points that are both wanted are still rarely
    taken together if their features point in one direction.

    Parameters
    ----------
    ordering
        Gives preference and seed, and the order of the points that are not drawn.
    features
        (points, features) of the same points; only their directions count, and a point without features (all zero) has no direction.
    budget
        How many are drawn: a number or a share, as in `budget_size`; it is the result's budget, too. Draws for two budgets are independent
        of each other, so they do not nest: each budget needs its own ordering.

    Returns
    -------
    Ordering
        Its order is `determinantal`; its settings tell how many are `drawn`, and as `rest` the order of the others. Each order of the
        drawn is equally likely, so a smaller budget takes a random part of the draw, which is no k-DPP itself.

    Notes
    -----
    The odds are divided by the largest. Without the ridge no factor of theirs would matter, as each det(L_S) grows by the same; with it,
    this makes the unit of the scores irrelevant. Cost: n d min(n, d) + n (d + k) k for a budget of k.
    """
    X = checked_features(features, len(ordering))
    k = budget_size(budget, len(ordering))
    n, d = X.shape
    if n * (min(n, d) + k) > MOST_NUMBERS:
        raise InputError(
            f"budget: a determinantal draw of {k} from {n} points with {d} features needs more than {MOST_NUMBERS:,} numbers in memory; "
            "take a smaller budget, fewer features (a projection), or an order that needs less, such as 'stratified'"
        )
    with one_thread():
        spectrum = feature_spectrum(X, _quality(ordering))
        drawn = spectrum.draw(k, np.random.default_rng([ordering.seed, k]))
    rest = ordering.indices[~np.isin(ordering.indices, drawn)]
    settings = dict(ordering.settings) | {"drawn": k, "rest": ordering.order}
    return replace(ordering, indices=np.concatenate([drawn, rest]), order="determinantal", budget=k, settings=settings)


def feature_spectrum(X: Float64[np.ndarray, "points features"], q: Float64[np.ndarray, " points"]) -> Spectrum:
    """The spectrum of `diversify`'s kernel for features X and odds q."""
    largest = np.abs(X).max(axis=1, keepdims=True, initial=0)
    directions = X / np.where(largest > 0, largest, 1)  # so that no square over- or underflows
    phi = FEATURE_LENGTH * directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1)
    return Spectrum.of_factor(q[:, None] * phi, RIDGE)


def _quality(ordering: Ordering) -> Values:
    """Each point's odds under the ordering's preference, as a share of the largest."""
    log_q = log_odds(ordering.scores.values, ordering.preference)
    with np.errstate(over="ignore"):  # an infinite distance is a share of zero
        q: Values = np.exp(log_q - log_q.max())
    return q


def log_elementary(logs: Float64[np.ndarray, " points"], k: int) -> Values:
    """Logarithms of elementary symmetric polynomials (n + 1, k + 1): entry [i, l] is log e_l of the first i values, given as logarithms.

    e_l(first i) = e_l(first i - 1) + value_i e_{l - 1}(first i - 1) has positive terms only, so that nothing cancels; in logarithms nothing
    overflows either.
    """
    table = np.full((len(logs) + 1, k + 1), -np.inf)
    table[:, 0] = 0
    for i, log in enumerate(logs):
        table[i + 1, 1:] = np.logaddexp(table[i, 1:], log + table[i, :-1])
    return table


def _choose_eigenvectors(values: Values, k: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A set J of k eigenvectors with probability proportional to the product of its eigenvalues (Kulesza and Taskar's Algorithm 2).

    From the last to the first: taken with probability value_i e_{l - 1}(first i - 1) / e_l(first i), where l are still to be taken.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    table = log_elementary(logs, k)
    thresholds = rng.logistic(size=len(values))  # below log odds of a with probability a / (1 + a): exact at odds of 0 and of infinity
    chosen: list[int] = []
    for i in range(len(values) - 1, -1, -1):
        left = k - len(chosen)
        if left == 0:
            break
        if logs[i] + table[i, left - 1] - table[i, left] > thresholds[i]:
            chosen.append(i)
    return np.array(chosen, dtype=np.int64)


def _draw_from_space(V: Values, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw k of n points with probability det((V V^T)_S), V having k orthonormal columns.

    One after another, each with probability proportional to the squared length of what its row of V has outside the span of the rows drawn
    before. The lengths fall by each new direction's share, and the directions are kept orthogonal by projecting twice.
    """
    k = V.shape[1]
    lengths = np.einsum("nk,nk->n", V, V)
    directions, drawn = np.empty((k, k)), np.empty(k, dtype=np.int64)
    for j in range(k):
        cumulative = lengths.cumsum()
        i = drawn[j] = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
        direction = V[i]
        for _ in range(2):
            direction = direction - directions[:j].T @ (directions[:j] @ direction)
        directions[j] = direction / np.linalg.norm(direction)
        lengths = np.maximum(lengths - (V @ directions[j]) ** 2, 0)
        lengths[i] = 0
    return drawn
