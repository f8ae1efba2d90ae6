"""MNIST: the transformation model trained by the adversarial game, without labels, with default settings.

    AUGURY_DATA=... OMP_NUM_THREADS=1 python experiments/transformation_mnist.py WORK_FOLDER

Stores the log of losses and flow statistics, one row every 50 steps. The trained model and the game's checkpoint go to WORK_FOLDER, from
which a killed training goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from augury.data import load
from augury.files import write_table
from augury.learned import AdversarialConfig, FieldTransformation, save_module, train_transformation

RESULTS = Path(__file__).parent / "transformation-mnist"


def main(work: Path) -> None:
    """Train, and store the log."""
    torch.set_num_threads(1)
    transformation = FieldTransformation(1, 28, 28)
    images = load("mnist").images
    report = train_transformation(transformation, images, config=AdversarialConfig(), checkpoint=work / "checkpoint.safetensors")
    save_module(transformation, work / "transformation.safetensors")
    write_table(RESULTS / "log.parquet", report.log, {"kind": "adversarial log"})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
