"""`learn_run`: the whole job in one folder, which `LearnRun` reads."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import distributed

from augury.errors import InputError
from augury.experiment.folder import claim_folder
from augury.experiment.learn_run.config import LearnConfig
from augury.experiment.learn_run.foreseen import foresee_rows
from augury.experiment.learn_run.stages import LearnStages
from augury.files import read_json, read_table
from augury.learned import LearnedAugmentation
from augury.progress import say
from augury.report.learn_run import read_foreseen, write_learn_report
from augury.training import Crew, joined


@dataclass(frozen=True)
class LearnRun:
    """A finished run of `augury learn`: its folder and the results in it.

    Parameters
    ----------
    folder, config
        Where, and what.
    results
        A row a retrained network: `augmentation`, `seed`, `accuracy`, `loss`, and how many labels it has used.
    check
        A row an augmented batch: the `predicted` and the `measured` change of the target's loss.
    report
        The page.
    foreseen
        What `augury.foresee` told of each augmentation before any network was fitted with one; None without a target.
    """

    folder: Path
    config: dict[str, Any]
    results: pd.DataFrame
    check: pd.DataFrame
    report: Path
    foreseen: pd.DataFrame | None

    @classmethod
    def load(cls, folder: str | Path) -> LearnRun:
        """Read a folder."""
        folder = Path(folder)
        results, _ = read_table(folder / "results.parquet", "learn-results", ("augmentation", "seed", "accuracy", "loss"))
        check, _ = read_table(folder / "check.parquet", "check", ("predicted", "measured"))
        return cls(folder, read_json(folder / "config.json"), results, check, folder / "report.html", read_foreseen(folder))

    @property
    def file(self) -> Path:
        """Where the augmentation lies."""
        return self.folder / "augmentation.safetensors"

    @property
    def augmentation(self) -> LearnedAugmentation:
        """What was learned."""
        return LearnedAugmentation.load(self.file)


def learn_run(config: LearnConfig | None = None, *, out: str | Path, **settings: Any) -> LearnRun:  # noqa: ANN401  (the fields of LearnConfig)
    """Divide the labels, learn, check the predictions, retrain with the learned augmentation and with others, report.

    Processes that `torchrun` has started work on it together, in one folder that all can read: each step is taken on the shares of all, so
    that the result is that of one process but for rounding. The first of them writes.

    Parameters
    ----------
    config
        What to do; or give its fields as keywords, or both, the keywords winning: `learn_run(data="digits", out="learned")`.
    out
        The folder. What an earlier, perhaps killed, run of the same configuration left there is taken up; the result is the same, file for
        file, as that of a run that was never interrupted.

    Raises
    ------
    InputError
        If the folder holds a run of another configuration or of other data, or another process works in it, or the configuration or data
        are bad.
    """
    settled = LearnConfig.read(**(settings if config is None else asdict(config) | settings))
    if settled.elsewhere:
        say("warning: networks are tested on the training data's own test images, not on such as the target's; give test for others")
    folder = Path(out).expanduser()
    stages = LearnStages(settled, folder)
    with joined() as crew, _claimed(crew, claim_folder(folder, settled, stages.record, device=settled.device)):
        stages.labels, stages.augmentation, stages.history  # noqa: B018  (each writes its file)
        foresee_rows(stages)
        stages.check, stages.results, stages.pictures  # noqa: B018
        if crew.rank == 0:
            if not (folder / "report.html").exists():
                write_learn_report(folder)
            shutil.rmtree(stages.checkpoints, ignore_errors=True)
        crew.wait()
        return LearnRun.load(folder)


@contextlib.contextmanager
def _claimed(crew: Crew, claim: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """The first process claims the folder; if it is refused, so are all."""
    with contextlib.ExitStack() as held:
        refused: list[str | None] = [None]
        if crew.rank == 0:
            try:
                held.enter_context(claim)
            except InputError as error:
                if crew.size == 1:
                    raise
                refused = [str(error)]
        if crew.size > 1:
            distributed.broadcast_object_list(refused)
        if refused[0] is not None:
            raise InputError(refused[0])
        yield
