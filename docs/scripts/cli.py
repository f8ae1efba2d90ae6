"""Write `docs/cli.md` from the command line itself: what `--help` of each command says.

python docs/scripts/cli.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from augury.cli import app

DOCS = Path(__file__).parents[1]
INTRODUCTION = """# Command line

What `augury COMMAND --help` says, written from the commands themselves. Each is a thin call of the package; options of `augury run` are the
fields of `augury.RunConfig` under the same names.
"""


def commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  (Typer's commands have no public type)
    """Each command with its whole name, those of groups in their places."""
    for word, command in group.commands.items():
        yield f"{name} {word}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")


def table(title: str, parameters: Iterable[Any]) -> str:
    """Options or arguments of one panel."""
    rows = [f"| {_spelling(parameter)} | {_escaped(parameter.help or '')} | {_default(parameter)} |" for parameter in parameters]
    return "\n".join([f"| {title} | | default |", "| --- | --- | --- |", *rows])


def section(name: str, command: Any) -> str:  # noqa: ANN401  (Typer's commands have no public type)
    """A command's part of the page."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    panels = list(dict.fromkeys(_panel(option) for option in options))
    words = [name, *(argument.metavar or argument.name.upper() for argument in arguments), *(["[OPTIONS]"] if options else [])]
    group = ["COMMAND"] if hasattr(command, "commands") else []
    parts = [f"## {name}", f"```console\n$ {' '.join([*words, *group])}\n```", command.help or ""]
    parts += [table("Argument", arguments)] if arguments else []
    parts += [table(panel, [option for option in options if _panel(option) == panel]) for panel in panels]
    return "\n\n".join(parts)


def page() -> str:
    """The whole page."""
    program = get_command(app)
    found = [("augury", program), *commands(program, "augury")]
    epilog = [program.epilog] if program.epilog else []
    return "\n\n".join([INTRODUCTION.rstrip(), *epilog, *(section(name, command) for name, command in found)]) + "\n"


def _panel(option: Any) -> str:  # noqa: ANN401  (Typer's options have no public type)
    found = getattr(option, "rich_help_panel", None)
    return found if isinstance(found, str) else "Option"


def _spelling(parameter: Any) -> str:  # noqa: ANN401  (Typer's options have no public type)
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return f"`{', '.join(parameter.opts)}{' ' + parameter.metavar if parameter.metavar else ''}`"


def _default(parameter: Any) -> str:  # noqa: ANN401  (Typer's options have no public type)
    default = getattr(parameter, "default", None)
    if isinstance(default, bool) or not isinstance(default, str | int | float | Path):
        return ""
    return f"<code>{str(default).replace(',', ',<wbr>')}</code>"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def main() -> None:
    """Write."""
    (DOCS / "cli.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
