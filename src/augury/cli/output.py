"""What the commands say on standard output: lines and tables for people, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from augury import lazy

if TYPE_CHECKING:
    import pandas as pd

    from augury import copies, evaluation, experiment, selection
    from augury import report as reports
else:
    pd, copies, evaluation, experiment, selection, reports = lazy.modules(
        "pandas", "augury.copies", "augury.evaluation", "augury.experiment", "augury.selection", "augury.report"
    )


def answer(result: Mapping[str, Any], line: str, *, as_json: bool) -> None:
    """A result in one line, or as JSON."""
    typer.echo(json.dumps(result, indent=2) if as_json else line)


def tell(found: experiment.Run, *, as_json: bool) -> None:
    """The result of a run: a readable summary, or JSON."""
    if as_json:
        typer.echo(json.dumps(_result(found), indent=2))
        return
    if found.curve is not None:
        rows = [list(row) for row in reports.summary_rows(found.curve, found.ordering)]
        title = f"accuracy on the {found.curve.cause['test']} test set"
        print_table(title, ["policy", "budget", "accuracy", "share of gain"], rows)
        Console(highlight=False).print(reports.headline(found.curve, found.ordering), markup=False)
    for name, text in _lines(found):
        typer.echo(f"{name + ':':<10} {text}")


def _lines(found: experiment.Run) -> list[tuple[str, object]]:
    """What a run has left where, and what it recommends."""
    unit = "copies" if isinstance(found.ordering, copies.CopyOrdering) else "points"
    size = f"{len(found.ordering.selected)} of {len(found.ordering)} {unit}"
    lines: list[tuple[str, object]] = [("selection", f"{found.folder / 'selection.parquet'} ({size}{_weighing(found.ordering)})")]
    lines += [(name, place) for name, place in (("copies", found.copies), ("report", found.report)) if place is not None]
    if isinstance(found.ordering, copies.CopyOrdering) and found.flags is not None:
        lines.append(("flagged", f"{found.folder / 'flags.parquet'} ({reports.flagged(found.flags, len(found.ordering))})"))
        lines.append(("budget", reports.recommendation(found.ordering)))
    return lines


def _weighing(ordering: selection.Ordering | copies.CopyOrdering) -> str:
    if not isinstance(ordering, copies.CopyOrdering):
        return ""
    return f", each weighing {ordering.weight_at(len(ordering.selected)):.3g}"


def _result(found: experiment.Run) -> dict[str, Any]:
    result: dict[str, Any] = {
        "folder": str(found.folder),
        "points": len(found.scores),
        **_chosen(found),
        "copies": None if found.copies is None else str(found.copies),
    }
    if found.curve is None:
        return result
    told = {"report": str(found.report), "headline": reports.headline(found.curve, found.ordering)}
    return {**measured(found.curve), **result, **told}


def _chosen(found: experiment.Run) -> dict[str, Any]:
    """The selected points; or the selected copies as pairs of point and copy, with their weight and all that was predicted."""
    ordering = found.ordering
    if not isinstance(ordering, copies.CopyOrdering):
        return {"selected": ordering.selected.tolist()}
    size = len(ordering.selected)
    return {
        "candidates": len(ordering),
        "selected": [list(pair) for pair in zip(ordering.point[:size].tolist(), ordering.copy[:size].tolist(), strict=True)],
        "weight": ordering.weight_at(size),
        "recommended": ordering.cause["recommended"],
        "predicted": ordering.predicted().to_dict("records"),
        "flagged": None if found.flags is None else len(found.flags.frame),
    }


def measured(curve: evaluation.Curve) -> dict[str, Any]:
    """A curve as JSON has it."""
    summary = json.loads(curve.summary().to_json(orient="records", double_precision=15))
    return {"none": curve.none, "full": curve.full, "points": curve.points, "curve": summary}


def print_table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """A table for people; what is missing stays empty."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*("" if pd.isna(value) else str(value) for value in row))
    Console().print(table)


def print_checkup(found: Mapping[str, Any]) -> None:
    """What `augury.doctor.examine` has found, a line a thing."""
    for part, told in found.items():
        if isinstance(told, Mapping):
            typer.echo("\n".join([f"{part}:", *(f"  {name}: {value}" for name, value in told.items())]))
        else:
            typer.echo(f"{part}: {told}")
