"""Interrupted runs end with the same files as uninterrupted ones, and a run folder is never mixed with anything else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from augury.errors import InputError
from augury.experiment import Run, RunConfig, folder, pipeline, run
from augury.files import PARTIAL, read_json, write_json

SETTINGS: dict[str, Any] = {"data": "digits", "first": 80, "classes": ("3", "8"), "transform": "flip", "epochs": 3, "seeds": 2}
SETTINGS |= {"unit": "points"}
COMMAND = ["run", "digits", "--first", "80", "--classes", "3,8", "--transform", "flip", "--epochs", "3", "--seeds", "2", "--unit", "points"]


class Killed(BaseException):
    """What stands for a kill: nothing in the package catches it."""


def contents(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def times(path: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in [path, *path.rglob("*")]}


def run_killed_at_each_file(settings: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Each run goes on where the one before it died, makes one new file, and leaves half of the next in a temporary file."""
    replace, unlink = Path.replace, Path.unlink
    made: list[Path] = []
    dead: list[Path] = []

    def half_then_die(temporary: Path, target: Path) -> Path:
        new = not target.exists() and target.is_relative_to(out)
        if new and made:
            os.truncate(temporary, temporary.stat().st_size // 2)
            dead.append(temporary)
            raise Killed
        made.extend([target] * new)
        return replace(temporary, target)

    def clean_up_while_alive(path: Path, **options: bool) -> None:
        if not dead:
            unlink(path, **options)

    kills = 0
    while kills < 100:
        made.clear()
        dead.clear()
        with monkeypatch.context() as patches, contextlib.suppress(Killed):
            patches.setattr(Path, "replace", half_then_die)
            patches.setattr(Path, "unlink", clean_up_while_alive)
            run(**settings, out=out)
            break
        kills += 1
    return kills


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted; no test changes it."""
    path = tmp_path_factory.mktemp("finished") / "run"
    run(**SETTINGS, out=path)
    return path


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(finished, tmp_path / "copied")


def test_a_finished_run_leaves_its_results_and_nothing_else(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *("config.json", "versions.json", "model.safetensors", "scores.parquet", "selection.parquet", "curve.parquet"),
        *("augmented", "copies.parquet", "gallery.npz", "report.html"),
    }


def test_a_second_run_computes_nothing_and_touches_no_file(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("computed again")

    for name in ("train", "score", "rank", "measure", "augment"):
        monkeypatch.setattr(pipeline, name, refuse)
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
    assert len(contents(finished)) <= kills < 100  # checkpoint and features are written, too, and then removed
    assert contents(tmp_path / "killed") == contents(finished)


def test_the_command_killed_from_outside_ends_with_the_same_files(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "augury.cli", *COMMAND, "--quiet", "--out", out]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # as in this process, for with two the sums round differently
    for sign in ("training.safetensors", "augmented"):
        process = subprocess.Popen(command, env=one_thread)
        while not (out / sign).exists():
            assert process.poll() is None, f"it ended before {sign} was there"
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "report.html").exists()
    run(**SETTINGS, out=out)
    assert contents(out) == contents(finished)


def test_results_that_were_deleted_are_made_again(finished: Path, copied: Path) -> None:
    for name in ("scores.parquet", "curve.parquet", "report.html", "gallery.npz", "versions.json"):
        (copied / name).unlink()
    run(**SETTINGS, out=copied)
    assert contents(copied) == contents(finished)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 4}, "epochs = 3, and now it is 4"),
        ({"transform": "translate:1"}, "transform = 'flip', and now it is 'translate:1"),
        ({"target": "val"}, "target = 'own', and now it is 'val'"),
        ({"budget": 5}, "budget = '10%', and now it is '5'"),
        ({"classes": "8,3"}, "classes = ['3', '8'], and now it is ['8', '3']"),
        ({"copies": "none"}, "copies = 'png', and now it is 'none'"),
    ],
)
def test_another_configuration_is_refused_and_changes_nothing(finished: Path, change: dict[str, Any], told: str) -> None:
    before = times(finished)
    with pytest.raises(InputError, match=r"^out: .* holds a run with .*; give another folder, or delete that one$") as caught:
        run(**SETTINGS | change, out=finished)
    assert told in str(caught.value)
    assert times(finished) == before


@pytest.mark.parametrize("elsewhere", [{"jobs": 2}, {"device": "cpu"}, {"data_dir": "anywhere"}])
def test_where_the_work_is_done_is_no_other_configuration(finished: Path, elsewhere: dict[str, Any]) -> None:
    before = times(finished)
    run(**SETTINGS | elsewhere, out=finished)
    assert times(finished) == before


def test_the_same_settings_on_other_data_are_refused(copied: Path) -> None:
    record = read_json(copied / "config.json")
    write_json(copied / "config.json", record | {"test_digest": "of other pixels"})
    before = times(copied)
    with pytest.raises(InputError, match=r"same settings on other data \(test_digest differs\)"):
        run(**SETTINGS, out=copied)
    assert times(copied) == before


@pytest.mark.parametrize("names", [["notes.txt"], ["config.json"], [".hidden"], ["notes.txt", f".x.1234{PARTIAL}"]])
def test_a_folder_with_other_files_is_refused_and_stays_as_it_is(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text('{"name": "someone else\'s"}')
    before = times(tmp_path), contents(tmp_path)
    with pytest.raises(InputError, match=r"^out: .* holds files but no run; give a new or empty folder$"):
        run(**SETTINGS, out=tmp_path)
    assert (times(tmp_path), contents(tmp_path)) == before


def test_what_a_kill_before_the_first_file_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".config.json.1234{PARTIAL}").write_text("{")
    found = run(**SETTINGS | {"curve": False, "copies": "none"}, out=tmp_path)
    assert sorted(contents(tmp_path)) == sorted(
        ["config.json", "versions.json", "model.safetensors", "scores.parquet", "selection.parquet"],
    )
    assert (found.copies, found.curve, found.report) == (None, None, None)


def test_a_damaged_result_is_named_and_not_overwritten(copied: Path) -> None:
    (copied / "scores.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match=r"scores\.parquet: not a readable Parquet file"):
        run(**SETTINGS, out=copied)
    assert (copied / "scores.parquet").read_bytes() == b"PAR1 and then nothing"


def test_versions_that_changed_since_the_run_began_are_told_and_not_overwritten(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = read_json(copied / "versions.json")
    monkeypatch.setattr(folder, "versions", lambda: begun | {"numpy": "99.0"})
    run(**SETTINGS, out=copied)
    assert f"versions: this run began with numpy {begun['numpy']}, now 99.0\n" in capsys.readouterr().err
    assert read_json(copied / "versions.json") == begun


def test_a_place_that_cannot_be_written_to_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "train", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^out: .*file is a file; expected a folder"):
        run(**SETTINGS, out=tmp_path / "file")
    with pytest.raises(InputError, match=r"^out: .*file/run cannot be written \(Not a directory\)"):
        run(**SETTINGS, out=tmp_path / "file" / "run")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        run(**SETTINGS, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_is_read_as_it_was_written(finished: Path) -> None:
    found = Run.load(finished)
    assert found.config == read_json(finished / "config.json")
    assert found.config["command"] == RunConfig(**SETTINGS).command()
    assert len(found.scores) == len(found.ordering) == found.curve.points == found.config["train_points"]
