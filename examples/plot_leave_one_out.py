"""Prediction against truth: what leaving a point out does to its own loss.

    python examples/plot_leave_one_out.py

Influence is a derivative; leaving a point out is a whole step. Both are shown beside what refitting without the point really brings: the
plain derivative falls short where the point has much leverage, and `correction="leverage"` makes up for most of it.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import augury

POINTS, REFITS = 200, 60


def main() -> Figure:
    """Predict for 200 digits; refit without each of the 60 for which most is predicted."""
    digits = augury.load("digits").first(POINTS)
    X, y = digits.to_float().reshape(POINTS, -1).astype(np.float64), digits.labels
    head = augury.SoftmaxHead(C=1.0).fit(X, y)
    plain = -augury.self_influence(head, train=(X, y))
    corrected = -augury.self_influence(head, train=(X, y), correction="leverage")

    checked = np.argsort(-corrected)[:REFITS]
    real = np.empty(REFITS)
    for row, i in enumerate(checked):
        others = np.arange(POINTS) != i
        without = augury.SoftmaxHead(C=1.0).fit(X[others], y[others])
        before, after = (model.predict_proba(X[i : i + 1])[0, y[i]] for model in (head, without))
        real[row] = np.log(before) - np.log(after)

    figure, axis = plt.subplots(figsize=(5, 4.5))
    for name, values in (("plain", plain), ("corrected", corrected)):
        slope = np.polyfit(values[checked], real, 1)[0]
        axis.scatter(values[checked], real, s=14, label=name)
        print(f"{name}: slope {slope:.3f}, correlation {np.corrcoef(values[checked], real)[0, 1]:.4f}")
    axis.axline((0, 0), slope=1, color="grey", linewidth=1)
    axis.set(xlabel="predicted rise of the point's loss, nats", ylabel="rise after refitting without it, nats")
    axis.legend()
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main().savefig("plot_leave_one_out.png")
