"""The command line: each command is a thin call of the package, its options are the fields of `RunConfig`."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Any

import typer

from augury.cli.commands import app
from augury.errors import InputError

BAD_INPUT, INTERRUPTED = 2, 130
USAGE_ERROR: Any = typer.BadParameter.__base__  # what Typer raises on any wrong command line; it exports this child of it alone


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
        command = "learn" if sys.argv[1:2] == ["learn"] else "run"
        typer.echo(f"interrupted: the same `augury {command}` takes up what it has left", err=True)
    sys.exit(code)


def _fail(message: str) -> int:
    typer.echo(f"error: {' '.join(message.splitlines())}", err=True)
    return BAD_INPUT


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning without the place in the code that only its author can use."""
    typer.echo(f"warning: {message}", err=True)
