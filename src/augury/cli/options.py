"""The options of the commands: the fields of `RunConfig` or of other settings, and what every command has."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from augury.experiment.config import RunConfig
from augury.experiment.settings import Settings

KEYWORD = inspect.Parameter.KEYWORD_ONLY
TYPED = "COMMANDLINE"  # where an option's value came from, as Typer names it
SETTINGS = {setting.name: setting for setting in fields(RunConfig)}
EXIT_CODES = "Exit codes: 0 done, 1 a defect of Augury, 2 bad input, 130 interrupted."
WORDS = {int: "N", float: "X", bool: ""}
DATA = ("data", "data_dir", "classes", "first", "size", "test", "test_share", "validation", "validation_share", "seed")
MODEL = ("model", "weights", "layer", "epochs", "C", "device")
WORK = ("jobs", "engine", "address")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress on standard error.", rich_help_panel="Output")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="The result as JSON on standard output.", rich_help_panel="Output")]
ScoresFile = Annotated[Path, typer.Argument(metavar="SCORES", help="The file that `augury score` wrote.")]


def place(text: str) -> Any:  # noqa: ANN401  (typer gives its options no type)
    """An option that takes a path to write to."""
    return typer.Option(metavar="PATH", help=text, rich_help_panel="Output")


Cache = Annotated[Path | None, place("Folder in which features are kept, by content, for later commands.")]


def configured(*names: str, of: type[Settings] = RunConfig) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `command(config, ...)` the named fields of the settings `of` as options, before its own; all if none is named."""
    settings = {setting.name: setting for setting in fields(of)}
    types, chosen = get_type_hints(of), names or tuple(settings)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(context: Any, **options: Any) -> None:  # noqa: ANN401  (Typer's, and whatever the command line gives)
            typed = [name for name in chosen if getattr(context.get_parameter_source(name), "name", "") == TYPED]
            given: dict[str, Any] = {"data": ""}  # a command that asks for no data reads none
            if of is RunConfig:
                given["unit"] = "points"  # which single stages know
            given |= {name: options.pop(name) if name in options else not options.pop(f"no_{name}") for name in chosen}
            config = of.read(**given)
            if isinstance(config, RunConfig):
                config.refuse_idle(typed)
            command(config, **options)

        declared = inspect.signature(command, eval_str=True).parameters
        own = [parameter.replace(kind=KEYWORD) for name, parameter in declared.items() if name != "config"]
        parameters = [*(_parameter(setting, types[name]) for name, setting in settings.items() if name in chosen), *own]
        required_first = sorted(parameters, key=lambda parameter: parameter.default is not parameter.empty)
        asked = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        wrapped.__signature__ = inspect.Signature([asked, *required_first])  # type: ignore[attr-defined]  # how Typer reads a command
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (asked, *parameters)}
        return wrapped

    return decorate


def _parameter(setting: Field[Any], declared: Any) -> inspect.Parameter:  # noqa: ANN401  (a type)
    """A field as an option; one that is on unless told otherwise becomes the switch that turns it off.

    Values come in as texts, whatever they may be: `RunConfig` says more clearly than Typer what is wrong with one.
    """
    name, text, default = setting.name, setting.metadata["help"], setting.default
    if default is MISSING:
        return inspect.Parameter(name, KEYWORD, annotation=Annotated[str, typer.Argument(metavar=name.upper(), help=text)])
    if default is True:
        name, text, default = f"no_{name}", f"Do not {text[0].lower()}{text[1:]}", False
    default = ",".join(default) if isinstance(default, tuple) else default
    choices = get_args(declared) if get_origin(declared) is Literal else ()
    if choices:
        text = f"{text.removesuffix('.')}: {', '.join(choices)}."
    word = "NAME" if choices else next((word for kind, word in WORDS.items() if kind in (declared, *get_args(declared))), "TEXT")
    option = typer.Option(
        f"--{name.replace('_', '-')}", *setting.metadata.get("also", ()), metavar=word, help=text, rich_help_panel=setting.metadata["panel"]
    )
    kind: Any = bool if default is False else str | None
    return inspect.Parameter(name, KEYWORD, default=default, annotation=Annotated[kind, option])
