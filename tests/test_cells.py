from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from augury.cells import Cells
from augury.errors import InputError


def frame(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"budget": range(len(values)), "accuracy": values})


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    """Two groups, three cells, one of them of two rows."""
    found = Cells(tmp_path / "curves", "test-curve")
    found.write("a", "second", frame(0.2))
    found.write("a", "first", frame(0.1, 0.15))
    found.write("b", "only", frame(0.3))
    return found


def test_cells_are_read_sorted_by_group_and_name_with_the_rows_of_each_in_their_order(cells: Cells) -> None:
    found = cells.read()
    assert found["cell"].tolist() == ["first", "first", "second", "only"]
    assert found["accuracy"].tolist() == [0.1, 0.15, 0.2, 0.3]


def test_packing_changes_nothing_that_is_read(cells: Cells) -> None:
    before = cells.read()
    cells.pack("a")
    assert (cells.folder / "a.parquet").exists()
    assert not (cells.folder / "a").exists()
    pd.testing.assert_frame_equal(cells.read(), before)
    assert cells.names("a") == {"first", "second"}


def test_cells_that_come_after_packing_are_packed_with_the_others(cells: Cells) -> None:
    cells.pack("a")
    cells.write("a", "third", frame(0.9))
    assert cells.names("a") == {"first", "second", "third"}
    cells.pack("a")
    assert cells.read_group("a")["cell"].tolist() == ["first", "first", "second", "third"]


def test_packing_gives_the_same_bytes_in_whatever_order_and_steps_the_cells_came(cells: Cells, tmp_path: Path) -> None:
    other = Cells(tmp_path / "other", "test-curve")
    other.write("a", "first", frame(0.1, 0.15))
    other.pack("a")
    other.write("a", "second", frame(0.2))
    for table in (cells, other):
        table.pack("a")
    assert (cells.folder / "a.parquet").read_bytes() == (other.folder / "a.parquet").read_bytes()


def test_a_packing_killed_before_it_removed_the_single_cells_counts_none_of_them_twice(cells: Cells) -> None:
    loose = [(path, path.read_bytes()) for path in (cells.folder / "a").iterdir()]
    before = cells.read()
    cells.pack("a")
    (cells.folder / "a").mkdir()
    for path, content in loose:
        path.write_bytes(content)
    (cells.folder / "a" / ".left.parquet.0.augury.part").write_bytes(b"half")
    pd.testing.assert_frame_equal(cells.read(), before)
    cells.pack("a")
    assert [path.name for path in cells.folder.iterdir() if path.is_dir()] == ["b"]
    pd.testing.assert_frame_equal(cells.read(), before)


def test_there_may_be_no_cells_at_all(tmp_path: Path) -> None:
    empty = Cells(tmp_path / "none", "test-curve")
    assert empty.read().empty
    assert empty.names("a") == set()
    empty.pack("a")
    assert not empty.folder.exists()


def test_a_table_of_another_kind_among_the_cells_is_refused_by_name(cells: Cells) -> None:
    Cells(cells.folder, "other-kind").write("a", "stranger", frame(1.0))
    with pytest.raises(InputError, match=r"stranger\.parquet: expected test-curve, found other-kind"):
        cells.read()
