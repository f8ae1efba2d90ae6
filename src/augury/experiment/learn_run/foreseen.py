"""Which augmentation suits a target, told from a person's data before anyone trains with any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from augury.errors import InputError
from augury.experiment.learn_run.config import ForeseeConfig
from augury.experiment.learn_run.stages import LEARNED, LearnStages
from augury.files import write_table
from augury.learned import LearnedAugmentation, foresee
from augury.progress import say
from augury.training import Augment

FILE = "foreseen.parquet"


def foresee_data(config: ForeseeConfig, *, learned: Sequence[str | Path] = (), out: str | Path | None = None) -> pd.DataFrame:
    """`augury.foresee` on the data of a configuration.

    Parameters
    ----------
    config
        Data, target, network, and which of the usual augmentations to compare.
    learned
        Files that `augury learn` wrote, to be compared as well.
    out
        Where the table goes, as Parquet; None: nowhere.

    Raises
    ------
    InputError
        If there is no target, or configuration, data or files are bad.
    """
    stages = LearnStages(config, Path())
    usual: dict[str, Any] = {name: stages.row(name) for name in config.compare}
    if stages.points.labels.target is None:
        raise InputError(
            "target: none; expected labelled images as they will be met, for which it is foreseen, or a share of the training points (0.3)"
        )
    found = _foreseen(stages, usual | {str(path): LearnedAugmentation.load(path) for path in learned})
    if out is not None:
        _write(found, stages, Path(out))
    return found


def foresee_rows(stages: LearnStages) -> None:
    """`foreseen.parquet` in the folder of `augury learn`: what is foreseen of its rows; where there is a target alone."""
    path = stages.folder / FILE
    if stages.points.labels.target is not None and stages.lacks(path):
        found = _foreseen(stages, {name: stages.row(name, target=False) for name in (LEARNED, *stages.config.compare)})
        stages.write(lambda: _write(found, stages, path))


def _foreseen(stages: LearnStages, compared: Mapping[str, Augment | LearnedAugmentation]) -> pd.DataFrame:
    config, labels = stages.config, stages.points.labels
    assert labels.target is not None
    say(f"foreseeing: {len(compared)} augmentations")
    training, network = stages.training(len(labels.train), config.seed), stages.network(config.seed)
    settings: dict[str, Any] = {"training": training, "share": config.share, "seed": config.seed, "device": config.device}
    return foresee(network, labels.train, labels.target, compared, **settings)


def _write(found: pd.DataFrame, stages: LearnStages, path: Path) -> None:
    labels = stages.points.labels
    assert labels.target is not None
    record = {"kind": "foreseen", "configuration": stages.config.record(), "train": len(labels.train), "target": len(labels.target)}
    write_table(path, found.reset_index(), record)
