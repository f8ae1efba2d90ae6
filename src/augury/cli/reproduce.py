"""`augury reproduce`: a paper's experiments, whole, by one command."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from augury import lazy
from augury.choices import (
    LEARNING_ROWS,
    LEARNING_TASKS,
    PAPER_POLICIES,
    PAPER_SCORES,
    PAPER_TASKS,
    RECHOSEN_TASKS,
    RECHOSEN_WAYS,
    EngineName,
)
from augury.cli.options import EXIT_CODES, SETTINGS, Json, Quiet, place
from augury.cli.output import answer
from augury.errors import InputError
from augury.experiment.checks import names
from augury.experiment.config import RunConfig
from augury.lock import held
from augury.progress import silenced

if TYPE_CHECKING:
    from augury.experiment import copies as of_copies
    from augury.experiment import learning as of_learning
    from augury.experiment import rechosen as of_rechosen
    from augury.experiment import subsampling as of_subsampling
    from augury.experiment.learning import toy as of_toy
else:
    of_copies, of_learning, of_rechosen, of_subsampling, of_toy = lazy.modules(
        *("augury.experiment.copies", "augury.experiment.learning", "augury.experiment.rechosen", "augury.experiment.subsampling"),
        "augury.experiment.learning.toy",
    )

reproduce = typer.Typer(help="Repeat a paper's experiments: measure, store, compare.", no_args_is_help=True, epilog=EXIT_CODES)
command = functools.partial(reproduce.command, epilog=EXIT_CODES)


def _choice(text: str, metavar: str = "NAMES", panel: str = "Sweep") -> Any:  # noqa: ANN401  (typer gives its options no type)
    return typer.Option(metavar=metavar, help=text, rich_help_panel=panel)


def _own(name: str, before: str = "") -> Any:  # noqa: ANN401  (likewise)
    return _choice(before + SETTINGS[name].metadata["help"], "TEXT", "Own data")


EngineOption = Annotated[str, _choice(f"Where they are: {', '.join(get_args(EngineName))}.", "NAME", "Work")]
Address = Annotated[str | None, _choice(SETTINGS["address"].metadata["help"], "TEXT", "Work")]


def _of_own_data(data: str | None, **given: str | None) -> dict[str, str]:
    """The settings that were given for data of one's own; without such data there must be none."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if data is None and chosen:
        raise InputError(f"{min(chosen)}: belongs to data of your own; give --data, or leave it out")
    return chosen


@reproduce.callback()
def _papers() -> None:
    """Repeat a paper's experiments: measure, store, compare."""


@command()
def subsampling(
    *,
    task: Annotated[str, _choice(f"Tasks of the paper, with commas: {', '.join(PAPER_TASKS)}.")] = ",".join(PAPER_TASKS),
    features: Annotated[
        str | None, _choice("Networks whose features count, with commas: lenet, lenet-retrained, resnet20-noaug, norbnet, norbnet1152, ...")
    ] = None,
    score: Annotated[str, _choice(f"Scores, with commas: {', '.join(PAPER_SCORES)}.")] = ",".join(PAPER_SCORES),
    policy: Annotated[str, _choice(f"Policies, with commas: {', '.join(PAPER_POLICIES)}.")] = ",".join(PAPER_POLICIES),
    preset: Annotated[str, _choice("Whom to follow where they differ: code or paper.", "NAME")] = "code",
    c: Annotated[str | None, typer.Option("--C", metavar="NAME", help="The head's C: 1, or cv.", rich_help_panel="Sweep")] = None,
    seeds: Annotated[str, _choice("Draws of each policy that has chance in it.", "N")] = "5",
    jobs: Annotated[str, _choice("Processes, -1 for one a core; no result depends on it.", "N", "Work")] = "1",
    engine: EngineOption = "local",
    address: Address = None,
    data: Annotated[str | None, _own("data", "Other data instead of the paper's tasks. ")] = None,
    transform: Annotated[str | None, _own("transform")] = None,
    classes: Annotated[str | None, _own("classes")] = None,
    first: Annotated[str | None, _own("first")] = None,
    test: Annotated[str | None, _own("test")] = None,
    model: Annotated[str | None, _own("model")] = None,
    weights: Annotated[str | None, _own("weights")] = None,
    data_dir: Annotated[str | None, _choice(SETTINGS["data_dir"].metadata["help"], "TEXT", "Output")] = None,
    out: Annotated[Path, place("The sweep's folder; what is measured there is not measured again.")] = Path("experiments/subsampling"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """*Efficient Augmentation via Data Subsampling*: every policy on every task, tables and figures beside the paper's."""
    checked = RunConfig.read(data=data or "", seeds=seeds, jobs=jobs, engine=engine, address=address)
    chosen = _of_own_data(data, transform=transform, classes=classes, first=first, test=test, model=model, weights=weights)
    if data is not None:
        tasks = [of_subsampling.own_task(RunConfig.read(data=data, data_dir=data_dir, **chosen), C=c or "1")]
    else:
        variants = (None,) if features is None else names(features)
        tasks = [
            of_subsampling.paper_task(name, features=one, preset=preset, C=c, data_dir=data_dir) for name in names(task) for one in variants
        ]
    with silenced(quiet), held(out):
        report = of_subsampling.reproduce_subsampling(
            tasks, out=out, scores=names(score), policies=names(policy), seeds=checked.seeds, jobs=checked.workers()
        )
    answer({"report": str(report), "tasks": [one.group for one in tasks]}, f"report: {report}", as_json=json_)


@command()
def copies(
    *,
    task: Annotated[str, _choice(f"Tasks of the paper, with commas: {', '.join(PAPER_TASKS)}.")] = ",".join(PAPER_TASKS),
    preset: Annotated[str, _choice("Whose transforms: code (mild), or paper (wide).", "NAME")] = "code",
    seeds: Annotated[str, _choice("Draws of points, network and policies.", "N")] = "5",
    jobs: Annotated[str, _choice("Processes, -1 for one a core; no result but the time depends on it.", "N", "Work")] = "1",
    engine: EngineOption = "local",
    address: Address = None,
    data: Annotated[str | None, _own("data", "Other data instead of the paper's tasks. ")] = None,
    transform: Annotated[str | None, _own("transform")] = None,
    classes: Annotated[str | None, _own("classes")] = None,
    first: Annotated[str | None, _choice("How many training points, and how many others for validation.", "N", "Own data")] = None,
    test: Annotated[str | None, _own("test")] = None,
    model: Annotated[str | None, _own("model")] = None,
    weights: Annotated[str | None, _own("weights")] = None,
    data_dir: Annotated[str | None, _choice(SETTINGS["data_dir"].metadata["help"], "TEXT", "Output")] = None,
    out: Annotated[Path, place("The sweep's folder; what is measured there is not measured again.")] = Path("experiments/copies"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Copies against points: `choose_copies` beside paper 2's policies, with the same labels, features and numbers of copies."""
    checked = RunConfig.read(data=data or "", seeds=seeds, jobs=jobs, engine=engine, address=address)
    chosen = _of_own_data(data, transform=transform, classes=classes, first=first, test=test, model=model, weights=weights)
    if data is not None:
        tasks = [of_subsampling.own_task(RunConfig.read(data=data, data_dir=data_dir, **chosen))]
    else:
        tasks = [of_subsampling.paper_task(name, preset=preset, C="1", data_dir=data_dir) for name in names(task)]
    with silenced(quiet), held(out):
        report = of_copies.reproduce_copies(tasks, out=out, seeds=checked.seeds, jobs=checked.workers())
    answer({"report": str(report), "tasks": [one.group for one in tasks]}, f"report: {report}", as_json=json_)


@command()
def learning(
    *,
    task: Annotated[str, _choice(f"Tasks, with commas: {', '.join(LEARNING_TASKS)}; with @NETWORK for another network.")] = "mnist-1",
    row: Annotated[str | None, _choice(f"Augmentations, with commas; all but controls if not given: {', '.join(LEARNING_ROWS)}.")] = None,
    transformation: Annotated[
        Path | None, _choice("A transformation trained adversarially (a safetensors file), for the rows that end in -G.", "FILE")
    ] = None,
    seeds: Annotated[str, _choice("Draws of the labels, with everything that follows from them.", "N")] = "5",
    jobs: Annotated[str, _choice("Processes, -1 for one a core; no result but the time depends on it.", "N", "Work")] = "1",
    engine: EngineOption = "local",
    address: Address = None,
    data_dir: Annotated[str | None, _choice(SETTINGS["data_dir"].metadata["help"], "TEXT", "Output")] = None,
    out: Annotated[Path, place("The sweep's folder; what is measured there is not measured again.")] = Path("experiments/learning"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """*Learning to Augment Influential Data*: learned augmentations beside all that one would pick instead, with the same labels."""
    checked = RunConfig.read(data="", seeds=seeds, jobs=jobs, engine=engine, address=address)
    rows = None if row is None else names(row)
    with silenced(quiet), held(out):
        report = of_learning.reproduce_learning(
            out, names(task), rows, checked.seeds, checked.workers(), data_dir=data_dir, transformation=transformation
        )
    answer({"report": str(report), "tasks": list(names(task))}, f"report: {report}", as_json=json_)


@command()
def rechosen(
    *,
    task: Annotated[str, _choice(f"Tasks, with commas: {', '.join(RECHOSEN_TASKS)}.")] = ",".join(RECHOSEN_TASKS),
    way: Annotated[str, _choice(f"How copies are chosen, with commas: {', '.join(RECHOSEN_WAYS)}.")] = ",".join(RECHOSEN_WAYS),
    seeds: Annotated[str, _choice("Draws of points, first weights and order.", "N")] = "3",
    jobs: Annotated[str, _choice("Processes, -1 for one a core; no result depends on it.", "N", "Work")] = "1",
    engine: EngineOption = "local",
    address: Address = None,
    data_dir: Annotated[str | None, _choice(SETTINGS["data_dir"].metadata["help"], "TEXT", "Output")] = None,
    out: Annotated[Path, place("The sweep's folder; what is measured there is not measured again.")] = Path("experiments/rechosen"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Whole networks trained on chosen copies, rescored between budgets."""
    checked = RunConfig.read(data="", seeds=seeds, jobs=jobs, engine=engine, address=address)
    with silenced(quiet), held(out):
        report = of_rechosen.reproduce_rechosen(out, names(task), names(way), checked.seeds, checked.workers(), data_dir=data_dir)
    answer({"report": str(report), "tasks": list(names(task))}, f"report: {report}", as_json=json_)


@command()
def toy(
    *,
    seeds: Annotated[str, _choice("Draws of the points, with everything that follows from them.", "N")] = "5",
    out: Annotated[Path, place("Where tables and figures go.")] = Path("experiments/learning-toy"),
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Points in the plane, both rows of Figure 3 of *Learning to Augment Influential Data*."""
    checked = RunConfig.read(data="", seeds=seeds)
    with silenced(quiet), held(out):
        report = of_toy.reproduce_toy(out=out, seeds=checked.seeds)
    answer({"report": str(report)}, f"report: {report}", as_json=json_)
