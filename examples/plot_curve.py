"""What a budget brings: accuracy over the number of augmented points.

    python examples/plot_curve.py

300 upright digits; the test digits come upright and turned by up to 20 degrees. Points are augmented (with all four turns) in the order
that a policy gives: by influence, at random, or the least influential first. Five draws a policy; the bands are bootstrap 95 % intervals of
the mean. As long as few are augmented, any will do; later it matters which.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import augury

TURNS = augury.Rotate((-20, -10, 10, 20))
POINTS, SEEDS, BUDGETS = 300, range(5), (10, 30, 60, 100, 200)


def with_copies(images: augury.Examples) -> augury.CopiedFeatures:
    """Pixels of the images and of all their turns."""
    pixels = images.to_float()
    copies = TURNS.copies(pixels).reshape(len(images), len(TURNS), -1)
    return augury.CopiedFeatures(pixels.reshape(len(images), -1), copies, images.labels)


def main() -> Figure:
    """Three policies over five budgets."""
    train, test = with_copies(augury.load("digits").first(POINTS)), with_copies(augury.load("digits", split="test"))
    everything = test.augmented(np.arange(len(test)))
    scores = augury.score(train.features, train.labels, method="influence")
    policies = {
        "influence": [augury.rank(scores, "proportional", seed=seed) for seed in SEEDS],
        "random": [augury.rank(scores, "uniform", seed=seed) for seed in SEEDS],
        "least influential first": [augury.rank(scores, "inverse", seed=seed) for seed in SEEDS],
    }
    curve = augury.measure(train, (everything.X, everything.y), policies, BUDGETS)

    figure, axis = plt.subplots(figsize=(7, 4))
    for policy, rows in curve.summary().groupby("policy", sort=False):
        axis.plot(rows["budget"], rows["mean"], marker="o", label=policy)
        axis.fill_between(rows["budget"], rows["low"], rows["high"], alpha=0.2)
    axis.axhline(curve.none, color="grey", linestyle=":", label="no augmentation")
    axis.axhline(curve.full, color="grey", linestyle="--", label="full augmentation")
    axis.set(xlabel="points augmented", ylabel="accuracy on the test digits and their turns")
    axis.legend(fontsize=8)
    figure.tight_layout()

    at = curve.summary().set_index(["policy", "budget"])["share"]
    for policy in policies:
        shares = ", ".join(f"{at[policy, budget]:.0%} with {budget}" for budget in BUDGETS)
        print(f"{policy}: share of full augmentation's gain {shares} points")
    return figure


if __name__ == "__main__":
    main().savefig("plot_curve.png")
