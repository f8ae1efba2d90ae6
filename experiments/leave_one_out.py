"""Digits: predicted against real leave-one-out, with and without the leverage correction.

    python experiments/leave_one_out.py

Ten classes, 64 pixels as features, C = 1, the first 1,000 images to train on and the other 797 as the target set. The 40 points with the
largest self-influence and the first 60 are left out, and the head is refitted, one point at a time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import linregress
from sklearn.metrics import log_loss

from augury.data import load
from augury.files import write_table, write_text
from augury.head import SoftmaxHead
from augury.influence import influence, self_influence

RESULTS = Path(__file__).parent / "leave-one-out"
CORRECTIONS = {"plain": None, "corrected": "leverage"}


def measure() -> pd.DataFrame:
    """One row a point: real and predicted rise of its own loss and of the target's mean loss when it is left out."""
    parts = [load("digits", split=split) for split in ("train", "test")]
    (X, y), (Xt, yt) = ((part.to_float().reshape(len(part), -1).astype(float), part.labels) for part in parts)
    head = SoftmaxHead(C=1.0).fit(X, y)
    own = {name: -np.asarray(self_influence(head, (X, y), correction)) for name, correction in CORRECTIONS.items()}
    target = {
        name: np.asarray(influence(head, (X, y), (X, y), (Xt, yt), "remove", correction=correction))
        for name, correction in CORRECTIONS.items()
    }
    points = list(dict.fromkeys([*np.argsort(-own["plain"])[:40].tolist(), *range(60)]))
    rows = []
    for i in points:
        kept = np.arange(len(y)) != i
        refit = SoftmaxHead(C=1.0).fit(X[kept], y[kept])
        real = (loss(refit, X[i : i + 1], y[i : i + 1]) - loss(head, X[i : i + 1], y[i : i + 1]), loss(refit, Xt, yt) - loss(head, Xt, yt))
        rows.append((i, real[0], own["plain"][i], own["corrected"][i], real[1], target["plain"][i], target["corrected"][i]))
    names = ["point", "own", "own_plain", "own_corrected", "target", "target_plain", "target_corrected"]
    return pd.DataFrame(rows, columns=names)


def loss(head: SoftmaxHead, X: np.ndarray, y: np.ndarray) -> float:
    """Mean cross-entropy, in nats."""
    return log_loss(y, head.predict_proba(X), labels=head.classes_)


def table(frame: pd.DataFrame) -> str:
    """Slope of the real change on the predicted one, and correlation, as Markdown."""
    rows = ["| | plain | corrected |\n", "| --- | --- | --- |\n"]
    for what in ("own", "target"):
        lines = [linregress(frame[f"{what}_{name}"], frame[what]) for name in CORRECTIONS]
        rows.append(f"| {what} loss | {' | '.join(f'slope {line.slope:.3f}, r {line.rvalue:.4f}' for line in lines)} |\n")
    return "".join(rows)


if __name__ == "__main__":
    found = measure()
    write_table(RESULTS / "points.parquet", found, {"kind": "leave-one-out", "C": 1.0, "train": 1000, "target": 797, "points": len(found)})
    write_text(RESULTS / "table.md", table(found))
