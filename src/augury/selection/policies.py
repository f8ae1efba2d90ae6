"""`rank`: a policy, put together from a preference and an order."""

from __future__ import annotations

from typing import get_args

import numpy as np

from augury.arrays import ArrayLike
from augury.choices import Order, Preference
from augury.errors import InputError
from augury.scores import Scores
from augury.selection.determinantal import diversify
from augury.selection.odds import by_falling_odds
from augury.selection.ordering import Ordering, budget_size, checked_seed
from augury.selection.strata import stratify

CLUSTERS = 10  # of a stratified order for which neither clusters nor a budget are given; fewer where there are fewer points


def rank(
    scores: Scores,
    preference: Preference = "proportional",
    order: Order = "sampled",
    seed: int = 0,
    *,
    features: ArrayLike | None = None,
    budget: float | int | str | None = None,  # noqa: PYI041  (checked at run time, where 1 is no float)
    clusters: int | None = None,
) -> Ordering:
    """Order all candidates, the one to augment first coming first.

    Parameters
    ----------
    scores
        What each candidate is worth; scores below zero count as zero in draws.
    preference
        The odds of a candidate with score s: `proportional` s; `inverse` 1 / s; `uniform` 1; `softmax` exp(s); `inverse_softmax`
        exp(1 / s). A score of zero counts as the smallest positive one, at most 1e-20 (paper 2's code).
    order
        `sampled`: drawn one after another without replacement, each time with probability proportional to the odds of those that remain;
        `ranked`: by falling odds, ties in the candidates' order; `stratified`: sampled within clusters of the features, the clusters taking
        turns (`stratify`, which does the same to any other order); `determinantal`: first a set of the budget's size, drawn so that alike
        points are rarely together, the odds being the points' quality (`diversify`), then the others as sampled.
    seed
        Of the draw, 0 or more. The same scores and seed give the same ordering; if no features are looked at, on every machine.
    features
        (points, features) of the candidates, for `stratified` and `determinantal`; the other orders do not look at them.
    budget
        How many are to be taken, a number or a share as in `budget_size`; None: all. `determinantal` needs one, as its draw has one size.
    clusters
        For `stratified`: how many; None: as many as the budget takes (paper 2's code), without a budget 10.

    Returns
    -------
    Ordering
        With the budget, if one is given; another budget is a prefix of the same ordering, except for `determinantal`.

    Raises
    ------
    InputError
        If there is no such preference or order, or if the order lacks features or a budget.

    Notes
    -----
    The draw adds Gumbel noise to the logarithms of the odds and sorts (Plackett 1975, Luce 1959; Yellott 1977), one pass, n log n, and it
    does not underflow where odds differ by hundreds of orders of magnitude.
    """
    _check(preference, order, clusters)
    size = None if budget is None else budget_size(budget, len(scores))
    base = _by_odds(scores, preference, "ranked" if order == "ranked" else "sampled", checked_seed(seed), size)
    if order == "stratified":
        default = min(CLUSTERS, len(scores)) if size is None else size
        return stratify(base, _needed(features, order), default if clusters is None else clusters)
    if order == "determinantal":
        if size is None:
            raise InputError("budget: missing; order='determinantal' draws a set of one size: give a number of points or a share")
        return diversify(base, _needed(features, order), size)
    return base


def _by_odds(scores: Scores, preference: Preference, order: Order, seed: int, budget: int | None) -> Ordering:
    """Sampled or ranked: by falling odds, with Gumbel noise or without."""
    n = len(scores)
    noise = np.random.default_rng(seed).gumbel(size=n) if order == "sampled" else np.zeros(n)
    return Ordering(by_falling_odds(scores.values, preference, noise), scores, preference, order, seed, budget)


def _check(preference: str, order: str, clusters: int | None) -> None:
    for name, value, choices in (("preference", preference, Preference), ("order", order, Order)):
        if value not in get_args(choices):
            raise InputError(f"{name}: got {value!r}; expected one of {', '.join(get_args(choices))}")
    if clusters is not None and order != "stratified":
        raise InputError(f"clusters: given, and order is {order!r}; it belongs to order='stratified'")


def _needed(features: ArrayLike | None, order: Order) -> ArrayLike:
    if features is None:
        raise InputError(f"features: missing; order={order!r} looks at the points' features: give (points, features), in the scores' order")
    return features
