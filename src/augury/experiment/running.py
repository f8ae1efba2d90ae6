"""`run`: the whole job in one folder, which `Run` reads."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augury.copies import CopyOrdering
from augury.evaluation import Curve
from augury.experiment.config import RunConfig
from augury.experiment.copy_stages import CopyStages
from augury.experiment.folder import claim
from augury.experiment.pipeline import Pipeline
from augury.experiment.stages import load_selection
from augury.files import read_json
from augury.parallel import held
from augury.report import write_report
from augury.report.copy_folder import Flags
from augury.scores import Scores
from augury.selection import Ordering


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and the results in it.

    `ordering` is of points, or of copies where these were chosen; then `flags` tells which copies a person should look at.
    """

    folder: Path
    config: dict[str, Any]
    scores: Scores
    ordering: Ordering | CopyOrdering
    copies: Path | None
    curve: Curve | None
    report: Path | None
    flags: Flags | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Read a run folder."""
        folder = Path(folder)
        copies = [path for path in (folder / "augmented", folder / "augmented.npz") if path.exists()]
        curve, report, flags = folder / "curve.parquet", folder / "report.html", folder / "flags.parquet"
        return cls(
            folder,
            read_json(folder / "config.json"),
            Scores.load(folder / "scores.parquet"),
            load_selection(folder / "selection.parquet"),
            copies[0] if copies else None,
            Curve.load(curve) if curve.exists() else None,
            report if report.exists() else None,
            Flags.load(flags) if flags.exists() else None,
        )


def run(config: RunConfig | None = None, *, out: str | Path, **settings: Any) -> Run:  # noqa: ANN401  (the fields of RunConfig)
    """Do the whole job: split, features, scores, selection of points or copies, files, curve, report; what `augury run` does.

    Parameters
    ----------
    config
        What to do; or give its fields as keywords, or both, the keywords winning: `run(data="digits", budget="5%", out="demo")`.
    out
        The run folder. What an earlier, perhaps killed, run of the same configuration left there is taken up; the result is the same, file
        for file, as that of a run that was never interrupted.

    Raises
    ------
    InputError
        If the folder holds a run of another configuration or of other data, or another process works in it, or the configuration or data
        are bad.
    """
    settled = RunConfig.read(**(settings if config is None else asdict(config) | settings))
    folder = Path(out).expanduser()
    with held(settled.workers()) as workers, claim(stages := Pipeline(settled, folder, workers=workers)):
        if settled.unit == "points":
            _choose(stages)
        else:
            _choose_copies(CopyStages(stages))
        if settled.curve and not (folder / "report.html").exists():
            write_report(folder)
        shutil.rmtree(folder / "features", ignore_errors=True)
        return Run.load(folder)


def _choose(stages: Pipeline) -> None:
    stages.scores, stages.ordering, stages.written_copies  # noqa: B018  (each writes its file when first read)
    if stages.config.curve:
        stages.curve, stages.gallery  # noqa: B018  (likewise)


def _choose_copies(stages: CopyStages) -> None:
    stages.stages.scores, stages.ordering, stages.flags, stages.written_copies  # noqa: B018  (each writes its file when first read)
    if stages.stages.config.curve:
        stages.curve, stages.gallery  # noqa: B018  (likewise)
