"""The command line: each command is a thin call of the package, its options are the fields of `RunConfig`."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from augury import report as reports
from augury.errors import InputError
from augury.evaluation import Curve
from augury.experiment import Run, RunConfig, augment_data, curve_data, score_data
from augury.experiment import run as run_all
from augury.progress import silenced
from augury.scores import Scores
from augury.selection import Order, Ordering, Preference, rank

BAD_INPUT = 2
SETTINGS = {setting.name: setting for setting in fields(RunConfig)}
DATA = ("data", "data_dir", "classes", "first", "size", "test", "test_share", "validation", "validation_share", "seed")
MODEL = ("model", "weights", "epochs", "C", "device")
DEMO = {"data": "digits", "transform": "translate,rotate:20:4", "budget": "10%", "first": 500}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.", rich_help_panel="Output")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.", rich_help_panel="Output")]
Cache = Annotated[Path | None, typer.Option(help="Folder in which features are kept, by content.", rich_help_panel="Output")]
Seed = Annotated[int, typer.Option(help=SETTINGS["seed"].metadata["help"])]


def _out(text: str) -> Any:  # noqa: ANN401  (typer gives its options no type)
    return typer.Option(help=text, rich_help_panel="Output")


def configured(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `command(config, ...)` the named fields of `RunConfig` as options, before its own."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(**options: Any) -> None:  # noqa: ANN401  (whatever the command line gives)
            command(RunConfig(**{name: options.pop(name) for name in names}), **options)

        declared = inspect.signature(command, eval_str=True).parameters
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, parameter in declared.items() if name != "config"]
        parameters = [*(_parameter(SETTINGS[name]) for name in SETTINGS if name in names), *own]
        required_first = sorted(parameters, key=lambda parameter: parameter.default is not parameter.empty)
        wrapped.__signature__ = inspect.Signature(required_first)  # type: ignore[attr-defined]  # how Typer reads a command
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapped

    return decorate


def _parameter(setting: Field[Any]) -> inspect.Parameter:
    kind = str | None if setting.name == "classes" else get_type_hints(RunConfig)[setting.name]
    texts = {"help": setting.metadata["help"]}
    if setting.default is MISSING:
        return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, typer.Argument(**texts)])
    flags = ["--C"] if setting.name == "C" else []
    option = typer.Option(*flags, rich_help_panel=setting.metadata["panel"], **texts)
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=Annotated[kind, option])


@app.callback()
def augury() -> None:
    """Predict what a data augmentation is worth before training on it: which points to augment, and what that brings."""


@app.command()
@configured(*SETTINGS)
def run(
    config: RunConfig,
    *,
    out: Annotated[Path, _out("The run folder; what an interrupted run left there is taken up.")] = Path("augury-run"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do the whole job: score the points, choose, write the copies, measure the curve, report."""
    with silenced(quiet):
        _tell(run_all(config, out=out), as_json=json_)


@app.command()
def demo(
    *,
    out: Annotated[Path, _out("The run folder.")] = Path("augury-demo"),
    seed: Seed = 0,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do the whole job on the embedded data set, 500 small images of digits, in about a minute."""
    with silenced(quiet):
        _tell(run_all(RunConfig(**DEMO, seed=seed), out=out), as_json=json_)  # type: ignore[arg-type]  # a mapping of mixed types


@app.command()
@configured(*DATA, *MODEL, "score", "target")
def score(
    config: RunConfig,
    *,
    out: Annotated[Path, _out("Where the scores go.")] = Path("scores.parquet"),
    save_model: Annotated[Path | None, _out("Where the trained network goes, for `--weights` of later commands.")] = None,
    cache: Cache = None,
    quiet: Quiet = False,
) -> None:
    """Score the training points by what augmenting each of them is worth."""
    with silenced(quiet):
        found = score_data(config, out=out, save_model=save_model, cache=cache)
    typer.echo(f"{len(found)} scores ({found.method}), from {found.values.min():.3g} to {found.values.max():.3g}: {out}")


@app.command()
def select(
    scores: Annotated[Path, typer.Argument(help="What `augury score` wrote.")],
    *,
    policy: Annotated[Order, typer.Option(help=SETTINGS["policy"].metadata["help"])] = "sampled",
    preference: Annotated[Preference, typer.Option(help=SETTINGS["preference"].metadata["help"])] = "proportional",
    budget: Annotated[str, typer.Option(help=SETTINGS["budget"].metadata["help"])] = "10%",
    seed: Seed = 0,
    out: Annotated[Path, _out("Where the selection goes.")] = Path("selection.parquet"),
) -> None:
    """Order the points by their scores and take a budget of them."""
    found = rank(Scores.load(scores), preference, policy, seed).within(budget)
    found.save(out)
    typer.echo(f"{len(found.selected)} of {len(found)} points selected: {out}")


@app.command()
@configured(*DATA, "transform")
def augment(
    config: RunConfig,
    selection: Annotated[Path, typer.Argument(help="What `augury select` wrote.")],
    *,
    out: Annotated[Path, _out("A folder for PNG files, or a file that ends in .npz.")] = Path("augmented"),
    quiet: Quiet = False,
) -> None:
    """Write the copies of the selected points."""
    with silenced(quiet):
        typer.echo(f"copies: {augment_data(config, Ordering.load(selection), out=out)}")


@app.command()
@configured(*DATA, *MODEL, "transform", "test_copies", "policy", "preference", "budget", "downweight", "seeds", "jobs")
def curve(
    config: RunConfig,
    scores: Annotated[Path, typer.Argument(help="What `augury score` wrote for the same data.")],
    *,
    out: Annotated[Path, _out("Where the curve goes.")] = Path("curve.parquet"),
    cache: Cache = None,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy along the budgets, for the scores' policy and for chance."""
    with silenced(quiet):
        found = curve_data(config, Scores.load(scores), out=out, cache=cache)
    columns = ["policy", "budget", "mean", "deviation", "share"]
    Console().print(_table("accuracy by budget", columns, found.summary()[columns].round(4).to_numpy().tolist()))
    typer.echo(f"curve: {out}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the report page of a run folder anew, from the results in it."""
    typer.echo(f"report: {reports.write_report(folder)}")


def _tell(found: Run, *, as_json: bool) -> None:
    """The result of a run: a readable summary, or JSON."""
    if as_json:
        typer.echo(json.dumps(_result(found), indent=2))
        return
    if found.curve is not None:
        rows: list[list[Any]] = [list(row) for row in reports.summary_rows(found.curve, found.ordering)]
        title = f"accuracy on the {found.curve.cause['test']} test set"
        Console().print(_table(title, ["policy", "points augmented", "accuracy", "share of the full gain"], rows))
        typer.echo(reports.headline(found.curve, found.ordering))
    typer.echo(f"selection: {found.folder / 'selection.parquet'}")
    if found.report is not None:
        typer.echo(f"report:    {found.report}")


def _result(found: Run) -> dict[str, Any]:
    result: dict[str, Any] = {"folder": str(found.folder), "selected": found.ordering.selected.tolist()}
    if found.curve is None:
        return result
    return result | {"report": str(found.report), "headline": reports.headline(found.curve, found.ordering), **_measured(found.curve)}


def _measured(curve: Curve) -> dict[str, Any]:
    summary = json.loads(curve.summary().to_json(orient="records"))
    return {"none": curve.none, "full": curve.full, "points": curve.points, "curve": summary}


def _table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*("" if pd.isna(value) else str(value) for value in row))
    return table


def main() -> None:
    """Run the command line; bad input ends it with one line and exit code 2."""
    try:
        app()
    except (InputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
