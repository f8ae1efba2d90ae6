"""Write `docs/reproduced.md`: the tables that say how the papers came out, taken from what `experiments/` has stored.

    python docs/scripts/reproduced.py

The reports there are written from stored cells by `augury report`; this page repeats a part of each and links to the whole.
"""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
EXPERIMENTS = DOCS.parent / "experiments"


def part(report: str, heading: str) -> str:
    """What stands under a heading, up to the next heading of any rank."""
    text = (EXPERIMENTS / report).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{report} has no heading {heading!r}")
    return found[1].strip()


def table(report: str, heading: str) -> str:
    """The first table under a heading."""
    return "\n".join(re.findall(r"(?:^\|.*\n?)+", part(report, heading), flags=re.MULTILINE)[0].splitlines())


def whole(file: str) -> str:
    """A stored table."""
    return (EXPERIMENTS / file).read_text(encoding="utf-8").strip()


def page() -> str:
    """The whole page."""
    return f"""# Reproduced

What was measured, from the results that are stored in `experiments/`. The whole reports: [subsampling](experiments/subsampling/report.md),
[copies](experiments/copies/report.md), [learning](experiments/learning/report.md), [the toy problem](experiments/learning-toy/report.md).

## Leave-one-out, predicted and real

Digits, regression of the real change on the predicted one (`experiments/leave_one_out.py`):

{whole("leave-one-out/table.md")}

## MNIST 3 v 8, translated

Area under the curve of accuracy over the number of augmented points, at most 1,000; mean ± deviation over 5 draws, for three trainings of
the network (`experiments/mnist_3v8_translate.py`):

{whole("mnist-3v8-translate/table.md")}

## Efficient Augmentation via Data Subsampling

{part("subsampling/report.md", "In short")}

Table 1, accuracy in per cent on the augmented test set, ours beside the paper's:

{table("subsampling/tables.md", "Table 1")}

[What agrees, what does not, and why](experiments/subsampling/README.md); [all tables](experiments/subsampling/tables.md);
[fidelity](experiments/subsampling/fidelity.md).

## Copies against points

Tasks and seeds that meet what was asked, of those to which it applies. The constants behind `auto` were tuned on seed 0; the other seeds
are the check. What each column asks is said in [the report](experiments/copies/report.md).

{table("copies/report.md", "Targets")}

[What agrees, what does not, and why](experiments/copies/README.md).

## Learning to Augment Influential Data

Above: the mean difference to the best baseline on the same labels, in points, ± its standard error.

{table("learning/report.md", "What was to be reached")}

[What is measured and what not](experiments/learning/README.md); [every row](experiments/learning/tables.md).

The toy problem, losses in nats on the validation points and on fresh points like them; its settings were chosen on these seeds, so that the
numbers illustrate and test nothing:

{table("learning-toy/report.md", "Loss")}
"""


def main() -> None:
    """Write."""
    (DOCS / "reproduced.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
