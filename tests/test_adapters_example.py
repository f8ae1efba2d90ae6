from __future__ import annotations

import runpy
from pathlib import Path

import pytest


@pytest.mark.usefixtures("without_type_checks")  # thousands of samples
def test_in_the_example_of_a_plain_loop_copies_of_turned_digits_help_to_read_turned_digits() -> None:
    names = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "torch_loop.py"))
    names["trained"].__globals__["STEPS"] = 150
    found = names["accuracies"](0)
    assert 0.4 < found["no copies"] < found["all points"]
    assert found["no copies"] < found["chosen points"]
