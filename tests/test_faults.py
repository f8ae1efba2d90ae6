"""Processes that are killed at random moments, and processes that meet in one folder.

Each command is killed at `AUGURY_FAULTS` moments, one if that is not set; `make test-faults` sets 20.
"""

from __future__ import annotations

import errno
import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from augury import lock
from augury.cli import app
from augury.errors import InputError
from augury.experiment import RunConfig, run
from augury.experiment.learn_run import learn_run
from augury.experiment.subsampling import own_task, reproduce_subsampling
from augury.files import PARTIAL
from augury.lock import held
from test_resume import contents, times

MOMENTS = int(os.environ.get("AUGURY_FAULTS", "1"))
LATEST = 0.9  # share of an uninterrupted run's time after which none is killed

POINTS: dict[str, Any] = {"data": "digits", "first": 40, "classes": ("3", "8"), "transform": "flip", "epochs": 3}
LEARN: dict[str, Any] = {"data": "digits", "classes": ("3", "8"), "per_class": 10, "steps": 3, "folds": 2, "model": "tiny"}
SWEEP: dict[str, Any] = {"scores": ("uniform", "influence"), "policies": ("baseline", "random_proportional"), "seeds": 2, "jobs": 1}
COMMANDS: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "run, points": (run, POINTS | {"unit": "points", "seeds": 2}),
    "run, copies": (run, POINTS | {"unit": "copies", "budget": 12}),
    "reproduce": (reproduce_subsampling, SWEEP | {"tasks": [own_task(RunConfig(**POINTS))]}),
    "learn": (learn_run, LEARN | {"retrainings": 1, "compare": ("crop",), "checks": 3}),
}

posix = pytest.mark.skipif(os.name != "posix", reason="this system has neither SIGKILL nor flock")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Where processes begin with all imported, so that they spend their time, and meet their end, at work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["augury.experiment.running", "augury.experiment.learn_run.running", "augury.experiment.subsampling"])
    first = context.Process(target=os.getpid)  # waits for the imports, as no other then needs to
    first.start()
    first.join()
    return context


def results(folder: Path) -> dict[str, bytes]:
    """All files but those that kills have left unfinished, and a sweep's workshop, which can be made again."""
    return {name: content for name, content in contents(folder).items() if not (name.endswith(PARTIAL) or name.startswith("work/"))}


def killed(processes: ForkServerContext, work: tuple[Callable[..., object], dict[str, Any]], out: Path, after: float) -> bool:
    """Start work on a folder and kill it after so many seconds; whether it was at work still."""
    process = processes.Process(target=work[0], kwargs=work[1] | {"out": out})
    process.start()
    process.join(after)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@posix
@pytest.mark.parametrize("command", COMMANDS)
def test_work_killed_at_any_moment_ends_with_the_same_files(processes: ForkServerContext, tmp_path: Path, command: str) -> None:
    work, never = COMMANDS[command], 600.0
    begun = time.monotonic()
    assert not killed(processes, work, tmp_path / "whole", never)
    duration = time.monotonic() - begun
    expected = results(tmp_path / "whole")
    for number, share in enumerate(np.random.default_rng(7).uniform(0, LATEST, MOMENTS)):
        out, moment = tmp_path / f"killed-{number}", share * duration
        while not killed(processes, work, out, moment):  # a machine that is less busy now has come to the end before
            shutil.rmtree(out)
            moment /= 2
        assert not killed(processes, work, out, never)
        assert results(out) == expected, f"killed after {moment:.3f} of {duration:.3f} s"
        shutil.rmtree(out)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder `busy` until it is told to end."""
    script = "import sys; from pathlib import Path; from augury.lock import held\n"
    script += "with held(Path(sys.argv[1])): print('held', flush=True); input()"
    words = [sys.executable, "-c", script, str(tmp_path / "busy")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@posix
@pytest.mark.parametrize(
    "words", [["run", "digits"], ["learn", "digits"], ["reproduce", "toy"], ["reproduce", "subsampling"], ["reproduce", "copies"], ["demo"]]
)
def test_a_second_process_in_a_folder_is_refused_and_told_who_is_at_work(
    holder: subprocess.Popen[str], tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = tmp_path / "busy"
    (busy / "note").write_text("of the first")
    before = times(busy)
    result = CliRunner().invoke(app, [*words, "--quiet", "--out", str(busy)])
    assert isinstance(result.exception, InputError)
    who = f"process {holder.pid}" if Path("/proc/locks").exists() else "another process"
    assert str(result.exception) == f"out: {busy} is in use by {who}; wait until that has ended, or give another folder"
    assert times(busy) == before


@posix
def test_the_lock_of_a_process_ends_with_it_however_that_ends(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is in use by"), held(tmp_path / "busy"):
        pass
    holder.kill()
    holder.wait()
    with held(tmp_path / "busy"):
        assert list((tmp_path / "busy").iterdir()) == []


@posix
def test_two_threads_or_calls_in_one_folder_are_two_as_well(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(InputError, match=f"is in use by process {os.getpid()}|another process"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_folders_that_stay_empty_go_again_and_others_stay(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / "a" / "b"):
        1 / 0  # noqa: B018  (an error of the work)
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "note").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "note"]
    with held(tmp_path / "a"):
        pass
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize("how", ["no such call", "refused by the file system"])
def test_where_there_are_no_locks_this_is_told_and_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if how == "no such call":
        monkeypatch.setattr(lock, "fcntl", None)
    else:
        monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with held(tmp_path):
        pass
    told = {
        "no such call": f"none on {tmp_path}, for this system has none",
        "refused by the file system": f"none on {tmp_path} (No locks av",
    }
    assert capsys.readouterr().err.startswith(f"lock: {told[how]}")


def test_a_kernel_that_does_not_tell_who_holds_a_lock_is_no_obstacle(
    holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LOCKS", tmp_path / "nowhere")
    with pytest.raises(InputError, match="is in use by another process; wait"), held(tmp_path / "busy"):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"^out: .* cannot be written \(Permission denied\)"), held(tmp_path / "new"):
        pass


@posix
def test_a_worker_that_is_killed_as_for_lack_of_memory_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = importlib.import_module("augury.evaluation.measure")
    words = ["run", "digits", "--first", "40", "--classes", "3,8", "--transform", "flip", "--epochs", "1", "--seeds", "1", "--quiet"]
    words += ["--unit", "points"]
    with monkeypatch.context() as patches:
        patches.setattr(measuring, "_trial", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        result = CliRunner().invoke(app, [*words, "--jobs", "2", "--out", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(
        "jobs: a worker process ended before its work was done, probably for lack of memory; give fewer"
    )
    assert not (tmp_path / "curve.parquet").exists()
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path)]).exit_code == 0
