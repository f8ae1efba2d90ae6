"""What the README says is executed, and its figures are those that are stored."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from augury.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder of a reader who has a folder `photos` of labelled images."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, colour in (("cats", (200, 120, 40)), ("dogs", (40, 120, 200))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(30):
            noise = rng.integers(-40, 40, (20, 20, 3))
            Image.fromarray((np.array(colour) + noise).astype(np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")


@pytest.mark.usefixtures("without_type_checks")  # as users run them, and quicker
def test_the_commands_of_the_readme_run_as_they_stand_and_the_run_folder_holds_what_it_lists(photos: None) -> None:
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ augury ")]
    assert len(commands) == 6
    for command in commands:
        result = CliRunner().invoke(app, [*shlex.split(command)[1:]], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    table = README.split("`result/` then holds")[1].split("A run that was killed")[0]
    listed = [name for name in re.findall(r"`([\w.]+/?)`", table) if "." in name or name.endswith("/")]
    assert len(listed) == 9
    assert [name for name in listed if not (Path("result") / name).exists()] == []


@pytest.mark.usefixtures("without_type_checks")
def test_the_python_of_the_readme_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["best"]) == 10
    assert names["run"].report.exists()
    assert len(names["copies"]) == 2 * len(names["selection"].selected)


@pytest.mark.parametrize(
    ("document", "table"),
    [
        ("README.md", "mnist-3v8-translate/table.md"),
        ("docs/decisions/0004-loo-correction.md", "leave-one-out/table.md"),
        ("docs/decisions/0005-feature-network.md", "mnist-3v8-translate/training.md"),
    ],
)
def test_the_figures_of_the_documents_are_those_that_are_stored(document: str, table: str) -> None:
    assert (ROOT / "experiments" / table).read_text() in (ROOT / document).read_text()
