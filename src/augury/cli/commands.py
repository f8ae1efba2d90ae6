"""The commands, one function each."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer

from augury import report as reports
from augury.cli.learn import learn
from augury.cli.options import DATA, MODEL, SETTINGS, Cache, Json, Quiet, ScoresFile, configured, place
from augury.cli.output import answer, measured, print_table, tell
from augury.cli.reproduce import reproduce
from augury.experiment import RunConfig, augment_data, curve_data, load_selection, score_data
from augury.experiment import run as run_all
from augury.progress import silenced
from augury.report.copies import write_copies_report
from augury.report.learn_run import write_learn_report
from augury.report.learning import write_learning_report
from augury.report.subsampling import write_sweep_report
from augury.scores import Scores
from augury.selection import rank

DEMO = {"data": "digits", "transform": "rotate:30:6,crop", "budget": "10%"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]})
app.add_typer(reproduce, name="reproduce")
app.command()(learn)


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


@app.command()
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
        tell(run_all(config, out=out), as_json=json_)


@app.command()
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
        tell(run_all(config, **DEMO, out=out), as_json=json_)


@app.command()
@configured(*DATA, *MODEL, "score", "target")
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
        found = score_data(config, out=out, save_model=save_model, cache=cache)
    lowest, highest = float(found.values.min()), float(found.values.max())
    answer(
        {"scores": str(out), "method": found.method, "points": len(found), "lowest": lowest, "highest": highest},
        f"scores: {out} ({found.method} of {len(found)} points, from {lowest:.3g} to {highest:.3g})",
        as_json=json_,
    )


@app.command()
@configured("budget", "policy", "preference", "seed")
def select(
    config: RunConfig,
    scores: ScoresFile,
    *,
    out: Annotated[Path, place("Where the selection goes, as Parquet.")] = Path("selection.parquet"),
    json_: Json = False,
) -> None:
    """Order the points by their scores and take a budget of them."""
    found = rank(Scores.load(scores), config.preference, config.policy, config.seed).within(config.budget)
    found.save(out)
    answer(
        {"selection": str(out), "points": len(found), "selected": found.selected.tolist()},
        f"selection: {out} ({len(found.selected)} of {len(found)} points)",
        as_json=json_,
    )


@app.command()
@configured(*DATA, "transform")
def augment(
    config: RunConfig,
    selection: Annotated[Path, typer.Argument(metavar="SELECTION", help="The file that `augury select` or `augury run` wrote.")],
    *,
    out: Annotated[Path, place("A folder for PNG files, or a file that ends in .npz.")] = Path("augmented"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write the copies of the selected points, or, where copies were selected, just these."""
    with silenced(quiet):
        written = augment_data(config, load_selection(selection), out=out)
    answer({"copies": str(written)}, f"copies: {written}", as_json=json_)


@app.command()
@configured(*DATA, *MODEL, "transform", "test_copies", "policy", "preference", "budget", "downweight", "seeds", "jobs")
def curve(
    config: RunConfig,
    scores: ScoresFile,
    *,
    out: Annotated[Path, place("Where the curve goes, as Parquet.")] = Path("curve.parquet"),
    cache: Cache = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Measure accuracy along growing budgets, for a policy on the scores and for points at random."""
    with silenced(quiet):
        found = curve_data(config, Scores.load(scores), out=out, cache=cache)
    if not json_:
        columns = ["policy", "budget", "mean", "deviation", "share"]
        print_table("accuracy by budget", columns, found.summary()[columns].round(4).to_numpy().tolist())
    answer({"file": str(out), **measured(found)}, f"curve: {out}", as_json=json_)


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a run, or of a reproduced paper.")]) -> None:
    """Write the report of a folder anew, from the results in it."""
    written_by = {"settings": write_sweep_report, "baselines": write_copies_report, "cells": write_learning_report}
    written_by |= {"augmentation.safetensors": write_learn_report}
    write = next((write for name, write in written_by.items() if (folder / name).exists()), reports.write_report)  # what no other kind has
    typer.echo(f"report: {write(folder)}")
