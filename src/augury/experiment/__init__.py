"""A configuration becomes a run folder that can be resumed, replayed and read."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augury.errors import InputError
from augury.evaluation import Curve
from augury.experiment.config import RunConfig
from augury.experiment.pipeline import Pipeline, fingerprint, read_splits
from augury.experiment.stages import augment_data, curve_data, score_data
from augury.files import digest, read_json, remove_partial, write_json
from augury.report import write_report
from augury.scores import Scores
from augury.selection import Ordering

__all__ = ["Pipeline", "Run", "RunConfig", "augment_data", "curve_data", "read_splits", "run", "score_data"]

PACKAGES = ("augury", "numpy", "pandas", "pillow", "pyarrow", "scikit-learn", "scipy", "torch")


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and the results in it."""

    folder: Path
    config: dict[str, Any]
    scores: Scores
    ordering: Ordering
    curve: Curve | None
    report: Path | None

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Read a run folder."""
        folder = Path(folder)
        curve, report = folder / "curve.parquet", folder / "report.html"
        return cls(
            folder,
            read_json(folder / "config.json"),
            Scores.load(folder / "scores.parquet"),
            Ordering.load(folder / "selection.parquet"),
            Curve.load(curve) if curve.exists() else None,
            report if report.exists() else None,
        )


def run(config: RunConfig | None = None, *, out: str | Path, **settings: Any) -> Run:  # noqa: ANN401  (the fields of RunConfig)
    """Do the whole job: split, features, scores, selection, copies, curve, report; what `augury run` does.

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
        If the folder holds a run of another configuration or of other data, or the configuration or data are bad.
    """
    try:
        settled = RunConfig(**settings) if config is None else replace(config, **settings)
    except TypeError as error:
        raise InputError(f"settings: {error}; expected the fields of RunConfig") from None
    folder = Path(out).expanduser()
    stages = Pipeline(settled, folder)
    _claim(folder, stages)
    stages.scores, stages.ordering, stages.written_copies, stages.gallery  # noqa: B018  (each writes its file when first read)
    if settled.curve:
        stages.curve  # noqa: B018  (likewise)
        write_report(folder)
    return Run.load(folder)


def _claim(folder: Path, stages: Pipeline) -> None:
    """Write the resolved configuration, or check that the folder has been written by the same one."""
    remove_partial(folder)
    resolved = _resolved(stages)
    path = folder / "config.json"
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"out: {folder} holds files but no run; give a new or empty folder")
        write_json(path, resolved)
    found = read_json(path)
    differing = sorted(key for key in found.keys() | resolved.keys() if found.get(key) != resolved.get(key))
    if differing:
        key = differing[0]
        raise InputError(
            f"out: {folder} holds a run with {key} = {found.get(key)!r}, and now it is {resolved.get(key)!r}; "
            "give another folder, or delete this one"
        )
    write_json(folder / "versions.json", versions())


def _resolved(stages: Pipeline) -> dict[str, Any]:
    """The configuration with what it came to on these data: the record that a reader needs, and what a resumed run must match."""
    splits, config = stages.splits, stages.config
    parts = {"train": splits.train, "test": splits.test} | ({} if splits.validation is None else {"validation": splits.validation})
    return config.record() | {
        "command": config.command(),
        "transform": stages.transform.spec,
        "copies_per_point": len(stages.transform),
        "score": config.method,
        "image": "x".join(str(side) for side in splits.train.shape),
        "class_names": list(splits.train.classes),
        **{f"{name}_points": len(part) for name, part in parts.items()},
        **{f"{name}_digest": fingerprint(part) for name, part in parts.items()},
        "model": stages.network.recipe.name,
        "features": stages.network.features,
        "weights_digest": digest(Path(config.weights).read_bytes()) if config.weights else None,
    }


def versions() -> dict[str, str]:
    """Versions of what computes, and the kind of machine."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return found | {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count())}
