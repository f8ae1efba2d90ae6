"""A LightningModule whose training set is a data set and the copies of its chosen points, drawn by their weights.

    python examples/lightning_loop.py

The digits that ship with scikit-learn; the classifier will meet digits that are turned by up to 20 degrees, and is trained on 200 upright
ones. `torch_loop.py` does the same in a plain loop. Lightning is no dependency of Augury: `pip install lightning`.
"""

from __future__ import annotations

import logging

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import augury

POINTS, SHARE, STEPS, BATCH = 200, 0.2, 400, 32
TURNS = augury.Rotate([-20, -10, 10, 20])


class Digits(lightning.LightningModule):
    """A small convolutional network; what goes into its last layer are the features of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(144, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores."""
        scores: Tensor = self.head(self.body(images))
        return scores

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Mean cross-entropy; the weights of the copies are in the sampler."""
        images, labels = batch
        return nn.functional.cross_entropy(self(images), labels)

    def test_step(self, batch: list[Tensor]) -> None:
        """Accuracy."""
        images, labels = batch
        self.log("accuracy", (self(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def trainer(steps: int) -> lightning.Trainer:
    """So many steps on one processor, without files or a progress bar."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(max_steps=steps, accelerator="cpu", devices=1, **quiet)


def trained(originals: TensorDataset, selection: augury.Ordering | npt.NDArray[np.int64], seed: int) -> Digits:
    """The same number of steps, whatever the size of the data set; a point and its copies together weigh what the point alone would."""
    torch.manual_seed(seed)
    dataset = augury.AugmentedDataset(originals, selection, TURNS, downweight=True)
    sampler = augury.weighted_sampler(dataset, num_samples=STEPS * BATCH, seed=seed)
    model = Digits()
    trainer(STEPS).fit(model, DataLoader(dataset, batch_size=BATCH, sampler=sampler))
    return model.eval()


def accuracies(seed: int) -> dict[str, float]:
    """Accuracy on turned test digits by what was added to the training set."""
    digits = augury.load("digits")
    train = digits.select(np.random.default_rng(seed).permutation(len(digits))[:POINTS])
    images, labels = train.to_float(), train.labels
    originals = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    test = augury.load("digits", split="test")
    turned = torch.from_numpy(TURNS.copies(test.to_float()).reshape(-1, *test.shape))
    truth = torch.from_numpy(np.repeat(test.labels, len(TURNS)))

    none = np.empty(0, dtype=np.int64)
    plain = trained(originals, none, seed)
    features = augury.features(augury.Model(plain, "head:input"), images)
    chosen = augury.rank(augury.score(features, labels, "influence"), seed=seed).within(SHARE)
    models = {"no copies": plain, "chosen points": trained(originals, chosen, seed)}
    models["all points"] = trained(originals, np.arange(POINTS), seed)
    loader = DataLoader(TensorDataset(turned, truth), batch_size=len(truth))
    return {name: trainer(1).test(model, loader, verbose=False)[0]["accuracy"] for name, model in models.items()}


def main() -> None:
    """One seed."""
    torch.set_num_threads(1)  # a network this small gains nothing from more
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for name, accuracy in accuracies(0).items():
        print(f"{name:<14} accuracy on turned digits {accuracy:.1%}")


if __name__ == "__main__":
    main()
