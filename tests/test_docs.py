"""What the documentation says is executed or generated, and the site is built without warnings and loads nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from typer.testing import CliRunner

import augury
from augury.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HAND_WRITTEN = ("index", "start", "choose", "trust", "learning")
EXPERIMENTS = ROOT / "experiments"


def script(name: str) -> ModuleType:
    """One of the scripts that write pages."""
    for library in {"notebook": ("nbclient", "nbformat")}.get(name, ()):
        pytest.importorskip(library, reason=f"{library} is not installed: it belongs to the extra dev")
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / f"{page}.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("name", ["cli", "reproduced"])
def test_a_generated_page_is_what_its_script_writes_now(name: str) -> None:
    assert (DOCS / f"{name}.md").read_text() == script(name).page(), f"run python docs/scripts/{name}.py"


def test_the_page_of_the_command_line_names_every_option_that_help_shows() -> None:
    page = (DOCS / "cli.md").read_text()
    for command in ("run", "learn", "score", "reproduce copies"):
        section = page.split(f"## augury {command}\n")[1].split("\n## ")[0]
        told = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "400", "NO_COLOR": "1", "TERM": "dumb"}).output
        options = set(
            re.findall(
                r"(?<![\w-])--[a-zA-Z][\w-]*",
                "\n".join(line for line in told.splitlines() if line.startswith(("│ *    --", "│ --"))),
            )
        )
        assert len(options) > 3
        assert {option for option in options - {"--help"} if option not in section} == set()


def test_the_gallery_shows_the_examples_as_they_are() -> None:
    gallery = script("gallery")
    page = (DOCS / "gallery.md").read_text()
    for path in sorted((ROOT / "examples").glob("*.py")):
        title, text, code = gallery.told(path.read_text())
        assert f"## {title}\n\n{text}\n" in page, f"run python docs/scripts/gallery.py: {path.name}"
        assert "\n".join(f"    {line}".rstrip() for line in code.splitlines()) in page, f"run python docs/scripts/gallery.py: {path.name}"
    assert all((DOCS / picture).stat().st_size < 1e6 for picture in re.findall(r"\]\((gallery/\S+\.png)\)", page))


def test_every_public_name_is_documented_once_and_no_other() -> None:
    found = [name for page in (DOCS / "api").glob("*.md") for name in re.findall(r"^::: augury\.(\w+)", page.read_text(), re.MULTILINE)]
    assert sorted(found) == sorted(augury.__all__)


@pytest.mark.usefixtures("without_type_checks")  # as users run it, and quicker
def test_the_start_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    python = blocks("start", "python")
    exec(compile(python[0], "start.md", "exec"), names)
    for command in re.findall(r"^\$ augury (.*)$", "\n".join(blocks("start", "console")), re.MULTILINE):
        # as it stands, but for the length of training and curve: what is written is checked here, not what was measured
        quick = {"run": ["--epochs", "2", "--seeds", "1"], "score": ["--epochs", "2"]}.get(command.split()[0], [])
        result = CliRunner().invoke(app, [*shlex.split(command), *quick], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    for block in python[1:]:
        exec(compile(block, "start.md", "exec"), names)
    assert Path("result/report.html").exists()
    assert any(Path("augmented").rglob("*.png"))
    assert len(names["chosen"]) == 50
    assert len(names["X_more"]) == 300 + 2 * 30


def test_the_notebook_runs_and_is_stored_without_outputs() -> None:
    notebook = script("notebook")
    stored = notebook.nbformat.read(notebook.NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in stored.cells)
    executed = notebook.executed(notebook.NOTEBOOK)
    html = [output.data.get("text/html", "") for cell in executed.cells for output in cell.get("outputs", []) if "data" in output]
    assert sum("<img" in text for text in html) == 3  # thumbnails of scores, selection and chosen copies
    page = (DOCS / "first-hour.md").read_text()
    assert all(cell.source.split("\n", 1)[-1].strip() in page for cell in stored.cells), "run python docs/scripts/notebook.py"


@pytest.mark.parametrize(
    ("page", "phrase", "file", "source"),
    [
        ("choose", "in 12 of 18 tables", "subsampling/fidelity.md", "Random proportional beats the baseline in 12 of 18 tables"),
        (
            "choose",
            "7 against 4 of 9",
            "subsampling/fidelity.md",
            "Ranked (deterministic) proportional beats the baseline in 4 of 9 tables",
        ),
        ("choose", "random points beat it in 12 of 18", "subsampling/fidelity.md", "The baseline beats random inverse in 12 of 18 tables"),
        (
            "choose",
            "949.3 and 949.4 of 1,000 on MNIST 3 v 8, random 941.0",
            "mnist-3v8-translate/table.md",
            "sampled, proportional | 949.4",
        ),
        ("choose", "949.3 against 941.0 at random", "mnist-3v8-translate/training.md", "949.3 | 941.0"),
        ("choose", "961.2 against 958.5", "mnist-3v8-translate/training.md", "961.2 | 958.5"),
        ("choose", "95 % with 5 % in 17 of 20", "copies/README.md", "70 % in 17, 95 % in 17"),
        (
            "choose",
            "in 19 of 20, with a validation target and with the self-target alike",
            "copies/README.md",
            "19 of 20 for the validation target and 19 of 20",
        ),
        ("choose", "in 11, 4 and 12 of 20", "copies/README.md", "the self-target 11, 4 and 12"),
        ("choose", "within three in 68 of 72", "copies/README.md", "in 68 of 72 choices"),
        ("choose", "0.93 to 1.00", "copies/README.md", "realised loss from 0.93 to 1.00"),
        ("choose", "validation target in 20 of 20", "copies/README.md", "validation target with the same labels in 20 of 20"),
        ("trust", "0.004 nats and the test set's 0.290", "copies/README.md", "0.004 nats and the test set's 0.290"),
        ("trust", "12 of 36", "copies/README.md", "12 of 36 reach 0.9"),
        ("trust", "0.99 on NORB translate and 0.81 on NORB rotate", "copies/README.md", "0.99 on NORB translate, 0.81 on NORB rotate"),
        ("learning", "96.7 % against 95.9 %", "learning/tables.md", "| heuristic | 95.9 |"),
    ],
)
def test_a_number_in_the_advice_is_a_stored_one(page: str, phrase: str, file: str, source: str) -> None:
    def flat(text: str) -> str:
        return " ".join(text.split())

    assert flat(phrase) in flat((DOCS / f"{page}.md").read_text())
    assert flat(source) in flat((EXPERIMENTS / file).read_text())


@pytest.mark.parametrize(
    ("title", "task"),
    [
        (f"{data}, {change}", f"{data.split()[0].lower()}-{change}")
        for data, change in (
            *(("MNIST 3 v 8", change) for change in ("translate", "rotate", "crop")),
            ("NORB", "translate"),
            ("NORB", "rotate"),
        )
    ],
)
def test_the_front_pages_shares_are_the_stored_ones(title: str, task: str) -> None:
    summary = pd.read_parquet(EXPERIMENTS / "copies" / "summary.parquet")
    untuned = summary[(summary["task"] == task) & (summary["preset"] == "code") & (summary["pool"] == "train") & (summary["seed"] > 0)]
    ways = [("copies.self", "auto"), ("copies.validation", "auto"), ("influence.random_proportional", "1"), ("baseline", "1")]
    cells = []
    for way, weighting in ways:
        rows = untuned[(untuned["way"] == way) & (untuned["weighting"] == weighting)]
        assert len(rows) == 4
        cells.append(" / ".join(f"{100 * rows[f'share_{percent}'].mean():.0f}".replace("-", "−") for percent in (1, 5, 25)))
    expected = f"| {title} | {' | '.join(cells)} |"
    assert expected in (ROOT / "README.md").read_text().replace("**", "")


class Loaded(HTMLParser):
    """What a page loads, as against what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag != "a" and not (tag == "link" and found.get("rel") in ("canonical", "prev", "next")):
            self.places += [str(found[name]) for name in ("src", "href", "data", "srcset") if found.get(name)]


def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings", reason="mkdocs is not installed: it belongs to the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    outside = re.compile(r"^\s*(https?:)?//")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        reader = Loaded()
        reader.feed(page.read_text())
        assert [place for place in reader.places if outside.match(place)] == [], page
    for sheet in tmp_path.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text()) == [], sheet
    shown = (tmp_path / "api" / "influence.html").read_text()
    assert "augury.self_influence" in shown
    assert "never positive" in shown
    assert "mnist-1, turned" in (tmp_path / "learning.html").read_text()  # the stored table is in its place
