"""`augury foresee`: which augmentation suits a target, told before anyone trains with any of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augury import lazy
from augury.choices import PLAIN
from augury.cli.options import Json, Quiet, configured, place
from augury.cli.output import answer, print_table
from augury.experiment.learn_run.config import ForeseeConfig
from augury.progress import silenced

if TYPE_CHECKING:
    from augury.experiment import learn_run as runs
else:
    (runs,) = lazy.modules("augury.experiment.learn_run")

DATA = ("data", "data_dir", "classes", "first", "per_class", "size", "test", "test_share", "target")
OTHERS = ("share", "model", "steps", "device", "compare", "seed")
MEANING = (
    "Agreement with the target, 1 at most: more is better, where the target differs from the training images. Loss: how hard the changed "
    "images are."
)
ALIKE = "Here images that are hardly changed agree best: nothing tells the target from the training images, and agreement says nothing."


@configured(*DATA, *OTHERS, of=ForeseeConfig)
def foresee(
    config: ForeseeConfig,
    *,
    learned: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="What `augury learn` wrote, to be compared too; may be given again.", rich_help_panel="Comparison"
        ),
    ] = None,
    out: Annotated[Path | None, place("Where the table goes, as Parquet.")] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Tell which augmentations suit a target, by one short training instead of one with each."""
    with silenced(quiet):
        found = runs.foresee_data(config, learned=learned or (), out=out)
    if json_:
        answer({"foreseen": found.reset_index().to_dict("records")} | ({} if out is None else {"file": str(out)}), "", as_json=True)
        return
    rows = [[name, f"{agreement:.3f}", f"{loss:.2f}"] for name, agreement, loss in found.itertuples(name=None)]
    print_table("foreseen", ["augmentation", "agreement", "loss (nats)"], rows)
    typer.echo(f"{MEANING} {ALIKE}" if found.index[0] in PLAIN else MEANING)
    if out is not None:
        typer.echo(f"table: {out}")
