"""`augury learn`: an augmentation learned from data, checked and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from augury.cli.options import Json, Quiet, configured, place
from augury.cli.output import answer, print_table
from augury.experiment.learn_run import LearnConfig, LearnRun, learn_run
from augury.progress import silenced
from augury.report.learn_run import headline, rows

COLUMNS = ["augmentation", "accuracy", "loss", "learned ahead by"]


@configured(of=LearnConfig)
def learn(
    config: LearnConfig,
    *,
    out: Annotated[Path, place("The folder; what an interrupted run left there is taken up.")] = Path("augury-learned"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Learn an augmentation from your data, check what it predicts, and compare it with others on the same labels."""
    with silenced(quiet):
        found = learn_run(config, out=out)
    if json_:
        answer(_result(found), "", as_json=True)
        return
    print_table("on the test set", COLUMNS, [[row.name, *row.cells[:3]] for row in rows(found.results)])
    claim, evidence = headline(found.results)
    typer.echo(f"{claim}. {evidence}")
    typer.echo(f"augmentation: {found.file}\nreport:       {found.report}")


def _result(found: LearnRun) -> dict[str, Any]:
    told = [
        {"augmentation": row.name, "accuracy": row.accuracy.mean, "loss": row.loss, "networks": row.networks} for row in rows(found.results)
    ]
    labels = {"labels": found.config["labels"], "target_labels": found.config.get("target_points", 0)}
    return {
        "folder": str(found.folder),
        "augmentation": str(found.file),
        "report": str(found.report),
        **labels,
        "headline": ". ".join(headline(found.results)),
        "results": told,
    }
