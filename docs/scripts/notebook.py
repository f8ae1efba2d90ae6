"""Execute `examples/first_hour.ipynb`, and write it with what it gave as `docs/first-hour.md`.

    python docs/scripts/notebook.py

The notebook itself is stored without its outputs.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parents[1]
NOTEBOOK = DOCS.parent / "examples" / "first_hour.ipynb"
NOTE = "*This page is the notebook `examples/first_hour.ipynb`, executed.*"


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs; the first error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def shown(output: nbformat.NotebookNode) -> str:
    """An output as Markdown: HTML where there is some, else text."""
    if output.output_type == "stream":
        return f"```text\n{output.text.strip()}\n```" if output.name == "stdout" else ""
    if "text/html" in output.data:
        html = re.sub(r"<style.*?</style>", "", output.data["text/html"], flags=re.DOTALL)  # pandas': the site has its own
        return f'<div class="output">{"".join(line.strip() for line in html.splitlines())}</div>'
    return f"```text\n{output.data['text/plain']}\n```"


def page(notebook: nbformat.NotebookNode) -> str:
    """The notebook as Markdown."""
    parts: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts += [f"```python\n{cell.source}\n```", *map(shown, cell.outputs)]
    title, rest = parts[0].split("\n", 1)
    return "\n\n".join([title, NOTE, rest.strip(), *(part for part in parts[1:] if part)]) + "\n"


def main() -> None:
    """Execute and write."""
    (DOCS / "first-hour.md").write_text(page(executed(NOTEBOOK)), encoding="utf-8")


if __name__ == "__main__":
    main()
