"""An interrupted choice of copies ends with the same files as one that nothing interrupted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from augury.copies import CopyOrdering
from augury.errors import InputError
from augury.experiment import Run, copy_stages, pipeline, run
from augury.files import read_json
from test_resume import contents, run_killed_at_each_file, times

SETTINGS: dict[str, Any] = {"data": "digits", "first": 60, "classes": ("3", "8"), "transform": "translate:1:cardinal", "epochs": 2}
SETTINGS |= {"unit": "copies", "budget": 12, "copy_weight": 3, "seeds": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted; no test changes it."""
    path = tmp_path_factory.mktemp("finished") / "run"
    run(**SETTINGS, out=path)
    return path


def test_a_finished_run_leaves_its_results_and_nothing_else(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *("config.json", "versions.json", "model.safetensors", "scores.parquet", "selection.parquet", "flags.parquet", "curve.parquet"),
        *("augmented", "copies.parquet", "gallery.npz", "report.html"),
    }


def test_a_second_run_computes_nothing_and_touches_no_file(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("computed again")

    for module, names in (
        (pipeline, ("train", "score")),
        (copy_stages, ("choose_copies", "flag_copies", "measure_copies", "save_gallery")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    before = times(finished)
    again = run(**SETTINGS, out=finished)
    assert times(finished) == before
    assert again.report == finished / "report.html"
    assert again.copies == finished / "augmented"


def test_the_same_run_in_another_folder_has_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    run(**SETTINGS, out=tmp_path / "other")
    assert contents(tmp_path / "other") == contents(finished)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process at every file")
def test_a_run_killed_in_the_middle_of_writing_each_of_its_files_ends_with_the_same_files(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = run_killed_at_each_file(SETTINGS, tmp_path / "killed", monkeypatch)
    assert len(contents(finished)) <= kills < 100
    assert contents(tmp_path / "killed") == contents(finished)


def test_results_that_were_deleted_are_made_again(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "copied")
    for name in ("curve.parquet", "flags.parquet", "gallery.npz", "report.html", "copies.parquet"):
        (copied / name).unlink()
    run(**SETTINGS, out=copied)
    assert contents(copied) == contents(finished)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"unit": "points", "copy_weight": "auto"}, "unit = 'copies', and now it is 'points'"),
        ({"price": "1e-5"}, "price = '0', and now it is '1e-5'"),
        ({"copy_weight": 2}, "copy_weight = '3', and now it is '2'"),
        ({"target": "folds"}, "target = 'own', and now it is 'folds'"),
    ],
)
def test_another_configuration_is_refused_and_changes_nothing(finished: Path, change: dict[str, Any], told: str) -> None:
    before = times(finished)
    with pytest.raises(InputError) as caught:
        run(**SETTINGS | change, out=finished)
    assert told in str(caught.value)
    assert times(finished) == before


def test_a_run_folder_is_read_as_it_was_written(finished: Path) -> None:
    found = Run.load(finished)
    assert found.config == read_json(finished / "config.json")
    assert isinstance(found.ordering, CopyOrdering)
    assert found.curve is not None
    assert found.flags is not None
    assert len(found.ordering) == 4 * len(found.scores) == found.curve.points == 240
    assert len(found.ordering.selected) == 12
