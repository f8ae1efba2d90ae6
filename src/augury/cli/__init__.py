"""The command line: each command is a thin call of the package, its options are the fields of `RunConfig`."""

from __future__ import annotations

import io
import re
import sys
import traceback
import warnings
from typing import Any

import typer

from augury.cli.commands import app
from augury.errors import InputError

DEFECT, BAD_INPUT, INTERRUPTED = 1, 2, 130
TAKEN_UP = ("run", "demo", "learn", "reproduce")  # commands that go on where they were interrupted
NO_MEMORY = re.compile("OutOfMemoryError|can't allocate memory|not enough memory")  # as torch has it
USAGE_ERROR: Any = typer.BadParameter.__base__  # what Typer raises on any wrong command line; it exports this child of it alone


def main() -> None:
    """Run the command line: bad input and wrong usage end it with one line and code 2, Ctrl-C with 130, a defect with its trace and 1."""
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
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told below)
        code = _break_down(error)
    if code == INTERRUPTED:
        going_on = f": the same `augury {sys.argv[1]}` takes up what it has left" if sys.argv[1] in TAKEN_UP else ""
        typer.echo(f"interrupted{going_on}", err=True)
    sys.exit(code)


def _fail(message: str) -> int:
    typer.echo(f"error: {' '.join(message.splitlines())}", err=True)
    return BAD_INPUT


def _break_down(error: Exception) -> int:
    """Tell of an error that is not the user's: of lack of memory in one line, of a defect with its trace."""
    if isinstance(error, MemoryError) or NO_MEMORY.search(f"{type(error).__name__}: {error}"):
        return _fail("out of memory; give fewer points (--first), smaller images (--size) or fewer --jobs, or a machine with more of it")
    traceback.print_exception(error)
    typer.echo("error: this is a defect of Augury; please report the lines above, and what `augury doctor` tells", err=True)
    return DEFECT


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning without the place in the code that only its author can use."""
    typer.echo(f"warning: {message}", err=True)
