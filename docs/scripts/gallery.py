"""Run the examples that draw, and write `docs/gallery.md` with what they print and their pictures beside it.

    python docs/scripts/gallery.py

Each script `examples/plot_*.py` begins with a docstring (its title, how to run it, what it shows) and has a function `main` that prints and
gives a figure.
"""

from __future__ import annotations

import ast
import contextlib
import io
import runpy
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).parents[1]
EXAMPLES = DOCS.parent / "examples"
ORDER = ("scores", "copies", "curve", "leave_one_out", "chosen_copies")
INTRODUCTION = """# Gallery

Each picture is made by the script beneath it, from the digits that ship with scikit-learn. Three more examples, on a table of measurements
and in training loops, print numbers alone: they are at the end.
"""
OTHERS = ("tabular_copies", "torch_loop", "lightning_loop")


def told(source: str) -> tuple[str, str, str]:
    """Title, explanation and code of an example."""
    title, _, text = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n    python ")
    return title.rstrip("."), text.partition("\n\n")[2].strip(), source.split('"""', 2)[2].strip()


def section(name: str, printed: str | None) -> str:
    """An example's part of the page; one that was not run has no picture."""
    title, text, code = told((EXAMPLES / f"{name}.py").read_text())
    shown = "" if printed is None else f"![{title}](gallery/{name}.png)\n\n```text\n{printed.strip()}\n```\n\n"
    indented = "\n".join(f"    {line}".rstrip() for line in code.splitlines())
    return f'## {title}\n\n{text}\n\n{shown}??? example "examples/{name}.py"\n\n    ```python\n{indented}\n    ```\n'


def page(printed: dict[str, str]) -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(section(name, printed[name]) for name in printed), *(section(name, None) for name in OTHERS)])


def run(name: str, pictures: Path) -> str:
    """What an example prints; its picture is stored."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        figure = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    figure.savefig(pictures / f"{name}.png", dpi=100, metadata={"Software": None})
    return stream.getvalue()


def main() -> None:
    """Run and write."""
    mpl.use("Agg")
    pictures = DOCS / "gallery"
    pictures.mkdir(exist_ok=True)
    (DOCS / "gallery.md").write_text(page({f"plot_{name}": run(f"plot_{name}", pictures) for name in ORDER}), encoding="utf-8")


if __name__ == "__main__":
    main()
