from __future__ import annotations

import importlib
import importlib.util
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PICTURES = sorted(path.stem for path in EXAMPLES.glob("plot_*.py"))
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")  # what is defined in it lives as long as it does


def test_in_the_example_of_tables_chosen_copies_do_nearly_what_all_of_them_do(capsys: pytest.CaptureFixture[str]) -> None:
    names = runpy.run_path(str(EXAMPLES / "tabular_copies.py"))
    found = names["losses"](0)
    assert found["all copies"] < found["no copies"]
    assert found["chosen"] < found["random"]
    gain = found["no copies"] - found["all copies"]
    assert found["no copies"] - found["chosen"] > 0.5 * gain


@pytest.fixture
def without_screen() -> Iterator[None]:
    """Figures are drawn into memory, and closed afterwards."""
    before = mpl.get_backend()
    mpl.use("Agg")
    yield
    plt.close("all")
    mpl.use(before)


@pytest.mark.usefixtures("without_type_checks", "without_screen")
@pytest.mark.parametrize("name", PICTURES)
def test_an_example_with_a_picture_prints_what_the_gallery_shows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    figure = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    assert all(axis.lines or axis.images or axis.collections or not axis.axison for axis in figure.axes)
    shown = re.search(rf"gallery/{name}\.png\)\n\n```text\n(.*?)\n```", (ROOT / "docs" / "gallery.md").read_text(), flags=re.DOTALL)
    assert shown is not None
    last_digits = re.compile(r"\d+(\.\d+)?(?=%| by|;|,|$)", flags=re.MULTILINE)  # results, which may differ in rounding elsewhere
    assert last_digits.sub("", capsys.readouterr().out.strip()) == last_digits.sub("", shown[1])


@pytest.fixture
def lightning() -> None:
    """Lightning, also beside a torchvision that lacks its compiled operators: Lightning's metrics import it where it is installed."""
    if importlib.util.find_spec("lightning") is None:
        pytest.skip("lightning is not installed: it belongs to the extra dev")
    try:
        importlib.import_module("torchvision")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except ModuleNotFoundError:
        pass
    importlib.import_module("lightning")


@pytest.mark.usefixtures("without_type_checks", "lightning")  # thousands of samples
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated")  # Lightning's own use of torch
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")  # a hint: 200 digits need none
@pytest.mark.filterwarnings("ignore:The 'test_dataloader' does not have many workers")  # likewise
def test_in_the_example_with_lightning_copies_of_turned_digits_help_to_read_turned_digits() -> None:
    names = runpy.run_path(str(EXAMPLES / "lightning_loop.py"))
    names["trained"].__globals__["STEPS"] = 100
    found = names["accuracies"](0)
    assert 0.4 < found["no copies"] < found["chosen points"]
    assert found["no copies"] < found["all points"]
