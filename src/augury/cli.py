"""The command line: each command is a thin call of the package, its options are the fields of `RunConfig`."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import io
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

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
from augury.selection import Ordering, rank

BAD_INPUT, INTERRUPTED = 2, 130
KEYWORD = inspect.Parameter.KEYWORD_ONLY
USAGE_ERROR: Any = typer.BadParameter.__base__  # what Typer raises on any wrong command line; it exports this child of it alone
SETTINGS = {setting.name: setting for setting in fields(RunConfig)}
TYPES = get_type_hints(RunConfig)
WORDS = {int: "N", float: "X", bool: ""}
DATA = ("data", "data_dir", "classes", "first", "size", "test", "test_share", "validation", "validation_share", "seed")
MODEL = ("model", "weights", "epochs", "C", "device")
DEMO = {"data": "digits", "transform": "rotate:30:6,crop", "budget": "10%"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]})

Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress on standard error.", rich_help_panel="Output")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="The result as JSON on standard output.", rich_help_panel="Output")]
ScoresFile = Annotated[Path, typer.Argument(metavar="SCORES", help="The file that `augury score` wrote.")]


def _out(text: str) -> Any:  # noqa: ANN401  (typer gives its options no type)
    return typer.Option(metavar="PATH", help=text, rich_help_panel="Output")


Cache = Annotated[Path | None, _out("Folder in which features are kept, by content, for later commands.")]


def configured(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `command(config, ...)` the named fields of `RunConfig` as options, before its own."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(**options: Any) -> None:  # noqa: ANN401  (whatever the command line gives)
            given: dict[str, Any] = {"data": ""}  # a command that asks for no data reads none
            given |= {name: options.pop(name) if name in options else not options.pop(f"no_{name}") for name in names}
            command(RunConfig.read(**given), **options)

        declared = inspect.signature(command, eval_str=True).parameters
        own = [parameter.replace(kind=KEYWORD) for name, parameter in declared.items() if name != "config"]
        parameters = [*(_parameter(SETTINGS[name]) for name in SETTINGS if name in names), *own]
        required_first = sorted(parameters, key=lambda parameter: parameter.default is not parameter.empty)
        wrapped.__signature__ = inspect.Signature(required_first)  # type: ignore[attr-defined]  # how Typer reads a command
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapped

    return decorate


def _parameter(setting: Field[Any]) -> inspect.Parameter:
    """A field as an option; one that is on unless told otherwise becomes the switch that turns it off.

    Values come in as texts, whatever they may be: `RunConfig` says more clearly than Typer what is wrong with one.
    """
    name, text, default = setting.name, setting.metadata["help"], setting.default
    if default is MISSING:
        return inspect.Parameter(name, KEYWORD, annotation=Annotated[str, typer.Argument(metavar=name.upper(), help=text)])
    if default is True:
        name, text, default = f"no_{name}", f"Do not {text[0].lower()}{text[1:]}", False
    declared = TYPES[setting.name]
    choices = get_args(declared) if get_origin(declared) is Literal else ()
    if choices:
        text = f"{text.removesuffix('.')}: {', '.join(choices)}."
    word = "NAME" if choices else next((word for kind, word in WORDS.items() if kind in (declared, *get_args(declared))), "TEXT")
    option = typer.Option(f"--{name.replace('_', '-')}", metavar=word, help=text, rich_help_panel=setting.metadata["panel"])
    kind: Any = bool if default is False else str | None
    return inspect.Parameter(name, KEYWORD, default=default, annotation=Annotated[kind, option])


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
    out: Annotated[Path, _out("The run folder; what an interrupted run left there is taken up.")] = Path("augury-run"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do the whole job: score the points, choose, write the copies, measure the curve, report."""
    with silenced(quiet):
        _tell(run_all(config, out=out), as_json=json_)


@app.command()
@configured("seed")
def demo(
    config: RunConfig,
    *,
    out: Annotated[Path, _out("The run folder; what an interrupted run left there is taken up.")] = Path("augury-demo"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do the whole job on embedded data, 1,000 small images of digits, in about a minute."""
    with silenced(quiet):
        _tell(run_all(config, **DEMO, out=out), as_json=json_)


@app.command()
@configured(*DATA, *MODEL, "score", "target")
def score(
    config: RunConfig,
    *,
    out: Annotated[Path, _out("Where the scores go, as Parquet.")] = Path("scores.parquet"),
    save_model: Annotated[Path | None, _out("Where the trained network goes, for --weights of later commands.")] = None,
    cache: Cache = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Score the training points by what augmenting each of them is worth."""
    with silenced(quiet):
        found = score_data(config, out=out, save_model=save_model, cache=cache)
    lowest, highest = float(found.values.min()), float(found.values.max())
    _answer(
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
    out: Annotated[Path, _out("Where the selection goes, as Parquet.")] = Path("selection.parquet"),
    json_: Json = False,
) -> None:
    """Order the points by their scores and take a budget of them."""
    found = rank(Scores.load(scores), config.preference, config.policy, config.seed).within(config.budget)
    found.save(out)
    _answer(
        {"selection": str(out), "points": len(found), "selected": found.selected.tolist()},
        f"selection: {out} ({len(found.selected)} of {len(found)} points)",
        as_json=json_,
    )


@app.command()
@configured(*DATA, "transform")
def augment(
    config: RunConfig,
    selection: Annotated[Path, typer.Argument(metavar="SELECTION", help="The file that `augury select` wrote.")],
    *,
    out: Annotated[Path, _out("A folder for PNG files, or a file that ends in .npz.")] = Path("augmented"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write the copies of the selected points."""
    with silenced(quiet):
        written = augment_data(config, Ordering.load(selection), out=out)
    _answer({"copies": str(written)}, f"copies: {written}", as_json=json_)


@app.command()
@configured(*DATA, *MODEL, "transform", "test_copies", "policy", "preference", "budget", "downweight", "seeds", "jobs")
def curve(
    config: RunConfig,
    scores: ScoresFile,
    *,
    out: Annotated[Path, _out("Where the curve goes, as Parquet.")] = Path("curve.parquet"),
    cache: Cache = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Measure accuracy along growing budgets, for a policy on the scores and for points at random."""
    with silenced(quiet):
        found = curve_data(config, Scores.load(scores), out=out, cache=cache)
    if not json_:
        columns = ["policy", "budget", "mean", "deviation", "share"]
        _print_table("accuracy by budget", columns, found.summary()[columns].round(4).to_numpy().tolist())
    _answer({"file": str(out), **_measured(found)}, f"curve: {out}", as_json=json_)


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run folder.")]) -> None:
    """Write the report page of a run folder anew, from the results in it."""
    typer.echo(f"report: {reports.write_report(folder)}")


def _answer(result: Mapping[str, Any], line: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(result, indent=2) if as_json else line)


def _tell(found: Run, *, as_json: bool) -> None:
    """The result of a run: a readable summary, or JSON."""
    if as_json:
        typer.echo(json.dumps(_result(found), indent=2))
        return
    if found.curve is not None:
        rows = [list(row) for row in reports.summary_rows(found.curve, found.ordering)]
        title = f"accuracy on the {found.curve.cause['test']} test set"
        _print_table(title, ["policy", "budget", "accuracy", "share of gain"], rows)
        Console(highlight=False).print(reports.headline(found.curve, found.ordering), markup=False)
    selection = f"{found.folder / 'selection.parquet'} ({len(found.ordering.selected)} of {len(found.ordering)} points)"
    for name, place in (("selection", selection), ("copies", found.copies), ("report", found.report)):
        if place is not None:
            typer.echo(f"{name + ':':<10} {place}")


def _result(found: Run) -> dict[str, Any]:
    result: dict[str, Any] = {
        "folder": str(found.folder),
        "points": len(found.ordering),
        "selected": found.ordering.selected.tolist(),
        "copies": None if found.copies is None else str(found.copies),
    }
    if found.curve is None:
        return result
    return result | {"report": str(found.report), "headline": reports.headline(found.curve, found.ordering), **_measured(found.curve)}


def _measured(curve: Curve) -> dict[str, Any]:
    summary = json.loads(curve.summary().to_json(orient="records", double_precision=15))
    return {"none": curve.none, "full": curve.full, "points": curve.points, "curve": summary}


def _print_table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*("" if pd.isna(value) else str(value) for value in row))
    Console().print(table)


def main() -> None:
    """Run the command line; bad input and wrong usage end it with one line and exit code 2, Ctrl-C with 130."""
    warnings.showwarning = _warn
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where a terminal lacks a character, another one is shown
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except USAGE_ERROR as error:
        command = "augury" if error.ctx is None else error.ctx.command_path
        code = _fail(f"{error.format_message().rstrip('.')}; see `{command} --help`")
    except (InputError, OSError) as error:
        code = _fail(str(error))
    if code == INTERRUPTED:
        typer.echo("interrupted: the same `augury run` takes up what it has left", err=True)
    sys.exit(code)


def _fail(message: str) -> int:
    typer.echo(f"error: {' '.join(message.splitlines())}", err=True)
    return BAD_INPUT


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning without the place in the code that only its author can use."""
    typer.echo(f"warning: {message}", err=True)


if __name__ == "__main__":
    main()
