"""Single copies instead of points: a forecast for every budget, before any retraining.

    python examples/plot_chosen_copies.py

Each of 200 digits has eight turned copies. `choose_copies` orders all 1,600 by what each is predicted to bring, without further labels, and
forecasts the loss on the training points and their copies. On the right, what retraining brings on test digits and their turns, beside as
many random copies of the same weight.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import augury

Labelled = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]
TURNS = augury.Rotate((-40, -30, -20, -10, 10, 20, 30, 40))
POINTS, BUDGETS = 200, (0, 16, 40, 80, 160, 400, 800, 1600)


def with_copies(images: augury.Examples) -> augury.CopiedFeatures:
    """Pixels of the images and of all their turns."""
    pixels = images.to_float()
    copies = TURNS.copies(pixels).reshape(len(images), len(TURNS), -1)
    return augury.CopiedFeatures(pixels.reshape(len(images), -1), copies, images.labels)


def losses(train: augury.CopiedFeatures, test: Labelled, chosen: augury.CopyOrdering) -> list[float]:
    """Mean test loss, in nats, at each budget."""
    found = []
    for budget in BUDGETS:
        head = augury.SoftmaxHead().fit(*augury.training_set(train, chosen, budget))
        found.append(float(-np.log(head.predict_proba(test[0])[np.arange(len(test[1])), test[1]]).mean()))
    return found


def at_random(chosen: augury.CopyOrdering) -> augury.CopyOrdering:
    """The same copies, shuffled, with the same weights."""
    order = np.random.default_rng(0).permutation(len(chosen))
    point, copy = np.divmod(order, len(TURNS))
    none = np.empty(0)
    return augury.CopyOrdering(order, point, copy, np.full(len(order), np.nan), none.astype(np.int64), none, none, weight=chosen.weight)


def main() -> Figure:
    """Choose, forecast, retrain."""
    train, test = with_copies(augury.load("digits").first(POINTS)), with_copies(augury.load("digits", split="test"))
    everything = test.augmented(np.arange(len(test)))
    head = augury.SoftmaxHead().fit(train.features, train.labels)
    chosen = augury.choose_copies(head, (train.features, train.labels), train.copies)
    orderings = {"chosen": chosen, "random": at_random(chosen)}
    curves = {name: losses(train, (everything.X, everything.y), ordering) for name, ordering in orderings.items()}

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    forecast = chosen.predicted()
    left.plot(forecast["budget"], forecast["loss"], marker=".")
    left.set(xlabel="copies", ylabel="forecast of the target's loss, nats", xscale="symlog")
    for name, values in curves.items():
        right.plot(BUDGETS, values, marker="o", label=name)
    right.set(xlabel="copies", ylabel="test loss after retraining, nats", xscale="symlog")
    right.legend()
    figure.tight_layout()

    taken = np.bincount(chosen.copy[:160], minlength=len(TURNS))
    print("Of the first 160 copies:", ", ".join(f"{count} by {name}" for name, count in zip(TURNS.names, taken, strict=True)))
    print(f"Weight of a copy at 160: {chosen.weight_at(160):.3g}; recommended budget: {chosen.recommended()} of {len(chosen)}")
    for name, values in curves.items():
        share = (values[0] - values[BUDGETS.index(160)]) / (values[0] - values[-1])
        print(f"{name}: {share:.0%} of full augmentation's fall of the test loss with a tenth of the copies")
    return figure


if __name__ == "__main__":
    main().savefig("plot_chosen_copies.png")
