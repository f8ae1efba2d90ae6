"""`augury table`: scores and selections of features in files, which need not fit in memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from augury import lazy
from augury.choices import EngineName, Preference, TableMethod, TableOrder
from augury.cli.options import EXIT_CODES, SETTINGS, Json, Quiet, configured, place
from augury.cli.output import answer
from augury.experiment.checks import Check, at_least, names, one_of, text
from augury.experiment.settings import Settings
from augury.progress import silenced

if TYPE_CHECKING:
    from augury import parallel, shards
else:
    parallel, shards = lazy.modules("augury.parallel", "augury.shards")

table = typer.Typer(help="Score and select points whose features lie in files, of any number.", no_args_is_help=True, epilog=EXIT_CODES)
command = functools.partial(table.command, epilog=EXIT_CODES)


def _told(panel: str, meaning: str, check: Check) -> dict[str, Any]:
    """What a field's metadata tell."""
    return {"panel": panel, "help": meaning, "check": check}


@dataclass(frozen=True)
class TableConfig(Settings):
    """What the commands on tables do; each field is an option of one of them."""

    command_name: ClassVar[str] = "table"

    data: str = field(
        metadata=_told(
            "Data", "Features and labels in Parquet or Arrow files: one, or a folder of them, here or at any URL that fsspec knows.", text
        )
    )
    label: str = field(default="label", metadata=_told("Data", "The column of labels.", text))
    features: tuple[str, ...] | None = field(
        default=None,
        metadata=_told(
            "Data",
            "The columns of features, with commas: one of lists, or some of numbers; if not given, the one of lists, or all of numbers.",
            names,
        ),
    )
    score: TableMethod = field(default="influence", metadata=_told("Choice", "What makes a point worth augmenting.", one_of(TableMethod)))
    target: str | None = field(
        default=None,
        metadata=_told("Choice", "For the score validation: files of the points whose loss is to fall, with the same columns.", text),
    )
    C: float = field(default=1.0, metadata=SETTINGS["C"].metadata)
    budget: str = field(default="10%", metadata=_told("Choice", "How many points to take: a number (50), or a share of them (10%).", text))
    policy: TableOrder = field(
        default="sampled",
        metadata=_told("Choice", "Draw points at random by their scores, or take them by rank.", one_of(TableOrder)),
    )
    preference: Preference = field(default="proportional", metadata=SETTINGS["preference"].metadata)
    seed: int = field(default=0, metadata=_told("Choice", "Decides the draw.", at_least(0)))
    jobs: int = field(default=1, metadata=SETTINGS["jobs"].metadata)
    engine: EngineName = field(default="local", metadata=SETTINGS["engine"].metadata)
    address: str | None = field(default=None, metadata=SETTINGS["address"].metadata)

    @property
    def sources(self) -> tuple[str | None, ...]:
        """Where the points come from."""
        return self.data, self.target


CHOICE = ("budget", "policy", "preference", "seed")
SCORING = tuple(setting.name for setting in fields(TableConfig) if setting.name not in CHOICE)


@table.callback()
def _tables() -> None:
    """Score and select points whose features lie in files, of any number."""


@command()
@configured(*SCORING, of=TableConfig)
def score(
    config: TableConfig,
    *,
    out: Annotated[str, place("The folder of the scores, here or at a URL; shards that are scored there are not scored again.")] = "scores",
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Fit the head to all points, shard by shard, and write each one's score."""
    opened = functools.partial(shards.FeatureTable.open, label=config.label, features=config.features)
    engine = parallel.Engine(config.jobs, config.engine, config.address)
    with silenced(quiet):
        target = None if config.target is None else opened(config.target)
        found = shards.score_table(opened(config.data), out, config.score, C=config.C, target=target, engine=engine)
    result = {"scores": found.url, "method": config.score, "points": len(found), "parts": len(found.parts)}
    answer(result, f"scores: {found.url} ({config.score} of {len(found)} points, in {len(found.parts)} files)", as_json=json_)


@command()
@configured(*CHOICE, of=TableConfig)
def select(
    config: TableConfig,
    scores: Annotated[str, typer.Argument(metavar="SCORES", help="The folder that `augury table score` wrote.")],
    *,
    out: Annotated[str, place("Where the selection goes, as Parquet, here or at a URL.")] = "selection.parquet",
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Take a budget of the points by their scores, in one pass."""
    with silenced(quiet):
        loaded = shards.ScoreTable.load(scores)
        found = shards.select_table(loaded, config.budget, config.preference, config.policy, config.seed, out=out)
    result = {"selection": out, "points": len(loaded), "selected": len(found)}
    answer(result, f"selection: {out} ({len(found)} of {len(loaded)} points)", as_json=json_)
