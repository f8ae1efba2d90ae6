"""What is said about stored sweeps is what they hold."""

from __future__ import annotations

from pathlib import Path

from augury.report.subsampling.sweep import Sweep

SUBSAMPLING = Path(__file__).parents[1] / "experiments" / "subsampling"


def lines(name: str) -> list[str]:
    return (SUBSAMPLING / name).read_text().splitlines()


def test_every_figure_quoted_in_the_readme_of_the_subsampling_sweep_stands_in_its_report() -> None:
    quoted = [line for line in lines("README.md") if line.startswith("| ") or " tables (paper: " in line or "Spearman" in line]
    assert len(quoted) > 15
    assert [line for line in quoted if line not in {*lines("report.md"), *lines("tables.md")}] == []


def test_the_stored_tables_are_those_of_the_stored_cells() -> None:
    text = (SUBSAMPLING / "tables.md").read_text()
    areas = [found.mean() for variant in Sweep.load(SUBSAMPLING).variants for found in variant.areas.values()]
    assert len(areas) > 300
    assert [area for area in areas if f"{area:.3f}" not in text] == []
