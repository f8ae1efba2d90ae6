"""`augury learn`: an augmentation learned from data, checked and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augury import lazy
from augury.cli.options import Json, Quiet, configured, place
from augury.cli.output import answer, print_table
from augury.experiment.learn_run.config import LearnConfig
from augury.progress import silenced

if TYPE_CHECKING:
    from augury import training
    from augury.experiment import learn_run as runs
    from augury.report import learn_run as reports
else:
    runs, reports, training = lazy.modules("augury.experiment.learn_run", "augury.report.learn_run", "augury.training")

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
    with training.joined() as crew, silenced(quiet or crew.rank > 0):
        found = runs.learn_run(config, out=out)
    if crew.rank > 0:  # of the processes that torchrun has started, the first one tells
        return
    if json_:
        answer(_result(found), "", as_json=True)
        return
    print_table("on the test set", COLUMNS, [[row.name, *row.cells[:3]] for row in reports.rows(found.results)])
    claim, evidence = _headline(found)
    typer.echo(f"{claim}. {evidence}")
    typer.echo(f"augmentation: {found.file}\nreport:       {found.report}")


def _headline(found: runs.LearnRun) -> tuple[str, str]:
    return reports.headline(found.results, elsewhere=found.config.get("elsewhere", False))


def _result(found: runs.LearnRun) -> dict[str, Any]:
    told = [
        {"augmentation": row.name, "accuracy": row.accuracy.mean, "loss": row.loss, "networks": row.networks}
        | ({} if found.foreseen is None else {"foreseen": found.foreseen.loc[row.name].to_dict()})
        for row in reports.rows(found.results)
    ]
    labels = {"labels": found.config["labels"], "target_labels": found.config.get("target_points", 0)}
    return {
        "folder": str(found.folder),
        "augmentation": str(found.file),
        "report": str(found.report),
        **labels,
        "headline": ". ".join(_headline(found)),
        "results": told,
    }
