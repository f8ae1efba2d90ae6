"""Which digits are worth augmenting.

    python examples/plot_scores.py

The ten digits with the highest score, and the ten with the lowest: how much the head would lose on each if it were fitted without it. High
scores go to digits that few others speak for; low scores to digits of which there are plenty.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import augury


def main() -> Figure:
    """Score 1,000 digits by influence on features that are their pixels."""
    digits = augury.load("digits").first(1000)
    X = digits.to_float().reshape(len(digits), -1)
    scores = augury.score(X, digits.labels, method="influence")
    order = np.argsort(-scores.values)

    figure, axes = plt.subplots(2, 10, figsize=(9, 2.6))
    for row, points in zip(axes, (order[:10], order[-10:]), strict=True):
        for axis, i in zip(row, points, strict=True):
            axis.imshow(digits.images[i, 0], cmap="gray_r")
            axis.set_title(f"{scores.classes[scores.labels[i]]}: {scores.values[i]:.2g}", fontsize=9)
            axis.set_axis_off()
    figure.suptitle("label: score in nats, highest above, lowest below", fontsize=10)

    share = scores.values[order[:100]].sum() / scores.values.sum()
    print(f"The tenth of the digits with the highest scores has {share:.0%} of the sum of all scores.")
    return figure


if __name__ == "__main__":
    main().savefig("plot_scores.png")
