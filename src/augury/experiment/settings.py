"""Settings that decide a run's results: checked, recorded, and told as a command line."""

from __future__ import annotations

import csv
import io
import shlex
from dataclasses import Field, asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from augury.errors import InputError
from augury.experiment.checks import UnexpectedError

Own = TypeVar("Own", bound="Settings")

ELSEWHERE = frozenset({"data_dir", "device", "jobs", "engine", "address"})  # where and how fast the work is done changes no result


@dataclass(frozen=True)
class Settings:
    """What a command does: subclasses are dataclasses whose fields are its options, with `panel`, `help` and `check` as metadata.

    Raises
    ------
    InputError
        If a value is none of its choices or out of range.
    """

    command_name: ClassVar[str]

    def __post_init__(self) -> None:
        for setting in fields(self):
            object.__setattr__(self, setting.name, _checked(setting, getattr(self, setting.name)))

    @classmethod
    def read(cls: type[Own], **settings: Any) -> Own:  # noqa: ANN401, PYI019  (texts, whatever the field; beartype takes Self in classes of its own)
        """The configuration that these settings name, numbers being also read from texts, as the command line has them."""
        known = {setting.name: setting for setting in fields(cls)}
        if unknown := settings.keys() - known.keys():
            raise InputError(f"settings: no setting is called {min(unknown)!r}; expected some of {', '.join(known)}")
        if "data" not in settings:
            raise InputError("data: missing; expected a named set or a path")
        return cls(**{name: _checked(known[name], value) for name, value in settings.items()})

    @property
    def idle(self) -> frozenset[str]:
        """The settings that change nothing, given what is chosen."""
        return frozenset()

    @property
    def sources(self) -> tuple[str | None, ...]:
        """Where the points come from."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """What decides the results, as JSON holds it."""
        left_out = ELSEWHERE | self.idle
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items() if name not in left_out}

    def command(self) -> str:
        """The command line that does this run again, into a folder of your choice; named sets are looked for where `AUGURY_DATA` says."""
        settings = {option.name: (option.default, getattr(self, option.name)) for option in fields(self)}
        words = ["augury", self.command_name, settings.pop("data")[1]]
        for option, (default, value) in settings.items():
            if option in ELSEWHERE or value == default:
                continue
            name = option.replace("_", "-")
            words += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", _word(value)]
        return shlex.join([*words, "--out", "DIR"])


def _checked(setting: Field[Any], value: object) -> Any:  # noqa: ANN401  (a field of any type)
    if value is None and setting.default is None:
        return None
    try:
        return setting.metadata["check"](value)
    except UnexpectedError as error:
        raise InputError(f"{setting.name}: got {value!r}; expected {error}") from None


def _word(value: object) -> str:
    """A value as the command line takes it; names with commas between them, quoted where they hold one themselves."""
    if not isinstance(value, tuple):
        return str(value)
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()
