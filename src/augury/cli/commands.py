"""The commands, one function each."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augury import lazy
from augury.cli.foresee import foresee
from augury.cli.learn import learn
from augury.cli.options import DATA, EXIT_CODES, MODEL, SETTINGS, WORK, Cache, Json, Quiet, ScoresFile, configured, place
from augury.cli.output import answer, measured, print_checkup, print_table, tell
from augury.cli.reproduce import reproduce
from augury.cli.table import table
from augury.experiment.config import RunConfig
from augury.progress import silenced

if TYPE_CHECKING:
    from augury import doctor as checkups
    from augury import experiment, scores, selection
    from augury import report as reports
    from augury.report import copies as copies_reports
    from augury.report import learn_run as learn_reports
    from augury.report import learning as learning_reports
    from augury.report import rechosen as rechosen_reports
    from augury.report import subsampling as sweep_reports
else:
    checkups, experiment, scores, selection, reports = lazy.modules(
        "augury.doctor", "augury.experiment", "augury.scores", "augury.selection", "augury.report"
    )
    copies_reports, learn_reports, learning_reports, rechosen_reports, sweep_reports = lazy.modules(
        *("augury.report.copies", "augury.report.learn_run", "augury.report.learning", "augury.report.rechosen"),
        "augury.report.subsampling",
    )

DEMO = {"data": "digits", "transform": "rotate:20:4", "unit": "copies", "budget": "5%"}

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]}, epilog=EXIT_CODES
)
app.add_typer(reproduce, name="reproduce")
app.add_typer(table, name="table")
command = functools.partial(app.command, epilog=EXIT_CODES)
command()(learn)
command()(foresee)


def _show_version(wanted: bool) -> bool:  # noqa: FBT001  (Typer calls it by position)
    if wanted:
        typer.echo(f"augury {importlib.metadata.version('augury')}")
        raise typer.Exit
    return wanted


@app.callback()
def augury(
    *,
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Predict what a data augmentation is worth before training on it: which points to augment, and what that brings."""


@command()
@configured(*SETTINGS)
def run(
    config: RunConfig,
    *,
    out: Annotated[Path, place("The run folder; what an interrupted run left there is taken up.")] = Path("augury-run"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do the whole job: choose points or copies, write the copies, measure the curve, report."""
    with silenced(quiet):
        tell(experiment.run(config, out=out), as_json=json_)


@command()
@configured("seed")
def demo(
    config: RunConfig,
    *,
    out: Annotated[Path, place("The run folder; what an interrupted run left there is taken up.")] = Path("augury-demo"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do the whole job on embedded data, 1,000 small images of digits, in about a minute."""
    with silenced(quiet):
        tell(experiment.run(config, **DEMO, out=out), as_json=json_)


@command()
@configured(*DATA, *MODEL, "score", "target", *WORK)
def score(
    config: RunConfig,
    *,
    out: Annotated[Path, place("Where the scores go, as Parquet.")] = Path("scores.parquet"),
    save_model: Annotated[Path | None, place("Where the trained network goes, for --weights of later commands.")] = None,
    cache: Cache = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Score the training points by what augmenting each of them is worth."""
    with silenced(quiet):
        found = experiment.score_data(config, out=out, save_model=save_model, cache=cache)
    lowest, highest = float(found.values.min()), float(found.values.max())
    answer(
        {"scores": str(out), "method": found.method, "points": len(found), "lowest": lowest, "highest": highest},
        f"scores: {out} ({found.method} of {len(found)} points, from {lowest:.3g} to {highest:.3g})",
        as_json=json_,
    )


@command()
@configured("budget", "policy", "preference", "seed")
def select(
    config: RunConfig,
    scored: ScoresFile,
    *,
    out: Annotated[Path, place("Where the selection goes, as Parquet.")] = Path("selection.parquet"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Order the points by their scores and take a budget of them."""
    with silenced(quiet):
        loaded = scores.Scores.load(scored)
        found = selection.rank(loaded, config.preference, config.policy, config.seed).within(config.budget)
        found.save(out)
    answer(
        {"selection": str(out), "points": len(found), "selected": found.selected.tolist()},
        f"selection: {out} ({len(found.selected)} of {len(found)} points)",
        as_json=json_,
    )


@command()
@configured(*DATA, "transform")
def augment(
    config: RunConfig,
    selected: Annotated[Path, typer.Argument(metavar="SELECTION", help="The file that `augury select` or `augury run` wrote.")],
    *,
    out: Annotated[Path, place("A folder for PNG files, or a file that ends in .npz.")] = Path("augmented"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write the copies of the selected points, or, where copies were selected, just these."""
    with silenced(quiet):
        written = experiment.augment_data(config, experiment.load_selection(selected), out=out)
    answer({"copies": str(written)}, f"copies: {written}", as_json=json_)


@command()
@configured(*DATA, *MODEL, "transform", "test_copies", "policy", "preference", "budget", "downweight", "seeds", *WORK)
def curve(
    config: RunConfig,
    scored: ScoresFile,
    *,
    out: Annotated[Path, place("Where the curve goes, as Parquet.")] = Path("curve.parquet"),
    cache: Cache = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Measure accuracy along growing budgets, for a policy on the scores and for points at random."""
    with silenced(quiet):
        found = experiment.curve_data(config, scores.Scores.load(scored), out=out, cache=cache)
    if not json_:
        columns = ["policy", "budget", "mean", "deviation", "share"]
        print_table("accuracy by budget", columns, found.summary()[columns].round(4).to_numpy().tolist())
    answer({"file": str(out), **measured(found)}, f"curve: {out}", as_json=json_)


@command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a run, or of a reproduced paper.")],
    *,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write the report of a folder anew, from the results in it."""
    written_by = {  # by what no kind of folder below it has
        "settings": sweep_reports.write_sweep_report,
        "baselines": copies_reports.write_copies_report,
        "costs": learning_reports.write_learning_report,
        "cells": rechosen_reports.write_rechosen_report,
        "augmentation.safetensors": learn_reports.write_learn_report,
    }
    write = next((write for name, write in written_by.items() if (folder / name).exists()), reports.write_report)
    with silenced(quiet):
        page = write(folder)
    answer({"report": str(page)}, f"report: {page}", as_json=json_)


@command()
@configured("data_dir")
def doctor(config: RunConfig, *, json_: Json = False) -> None:
    """Look over what Augury works with here: versions, devices, threads, data sets, extras."""
    found = checkups.examine(config.data_dir)
    answer(found, "", as_json=True) if json_ else print_checkup(found)
