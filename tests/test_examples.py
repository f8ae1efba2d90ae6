from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_in_the_example_of_tables_chosen_copies_do_nearly_what_all_of_them_do(capsys: pytest.CaptureFixture[str]) -> None:
    names = runpy.run_path(str(EXAMPLES / "tabular_copies.py"))
    found = names["losses"](0)
    assert found["all copies"] < found["no copies"]
    assert found["chosen"] < found["random"]
    gain = found["no copies"] - found["all copies"]
    assert found["no copies"] - found["chosen"] > 0.5 * gain
