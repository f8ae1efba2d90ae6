"""Tables, too: which noisy copies of which patients make a classifier robust to the noise of another laboratory.

    python examples/tabular_copies.py

Breast cancer Wisconsin (ships with scikit-learn): 30 measurements a patient. The classifier will be used on measurements with more noise
than those it is trained on, so each training patient gets 20 noisy copies. Which twentieth of these is worth most?
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import augury

PATIENTS, COPIES, NOISE, SHARE, SEEDS = 150, 20, 1.0, 0.05, range(10)


def noisy(X: npt.NDArray[np.float64], copies: int, seed: int) -> npt.NDArray[np.float64]:
    """(patients, copies, measurements): each measurement with noise of its own, in units of its spread over patients."""
    return X[:, None] + np.random.default_rng(seed).normal(scale=NOISE, size=(len(X), copies, X.shape[1]))


def losses(seed: int) -> dict[str, float]:
    """Mean test loss, in nats, on noisy measurements: with no copies, all, a share at random, and the same share chosen."""
    X, y = load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, train_size=PATIENTS, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), noisy(scaler.transform(X_test), COPIES, seed + 1000).reshape(-1, X.shape[1])
    y_test = np.repeat(y_test, COPIES)

    copies = noisy(X, COPIES, seed)
    head = augury.SoftmaxHead(C=1.0).fit(X, y)
    chosen = augury.choose_copies(head, (X, y), copies, budget=SHARE)  # no further labels: the patients' own copies are the target

    features = augury.CopiedFeatures(X, copies, y)
    full = features.augmented(np.arange(len(X)))
    budget, everything = len(chosen.selected), PATIENTS * COPIES
    drawn = np.random.default_rng(seed).choice(everything, budget, replace=False)
    weights = np.ones(PATIENTS + budget)
    weights[PATIENTS:] = chosen.weight_at(budget)  # random copies weigh what chosen ones weigh
    rows = np.concatenate([np.arange(PATIENTS), PATIENTS + drawn])
    fits = {
        "no copies": augury.SoftmaxHead().fit(X, y),
        "all copies": augury.SoftmaxHead().fit(*full),
        "random": augury.SoftmaxHead().fit(full.X[rows], full.y[rows], weights),
        "chosen": augury.SoftmaxHead().fit(*augury.training_set(features, chosen, budget)),
    }
    return {name: float(-np.log(fit.predict_proba(X_test)[np.arange(len(y_test)), y_test]).mean()) for name, fit in fits.items()}


def main() -> None:
    """Means over the seeds, and the share of full augmentation's gain."""
    found = [losses(seed) for seed in SEEDS]
    means = {name: np.mean([row[name] for row in found]) for name in found[0]}
    for name, mean in means.items():
        share = (means["no copies"] - mean) / (means["no copies"] - means["all copies"])
        print(f"{name:<11} test loss {mean:.3f}   share of the gain {share:4.0%}")


if __name__ == "__main__":
    main()
