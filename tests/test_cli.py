"""The command line as a person meets it: stages that chain, help, output, errors and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from typer.testing import CliRunner

from augury import cli, selection, shards
from augury.cli import commands
from augury.experiment import RunConfig, curve_data, folder, pipeline, run, score_data
from augury.experiment.learning import toy
from augury.head import SoftmaxHead
from augury.scores import Scores, score
from augury.selection import Ordering, rank
from conftest import Answer, Augury

COMMANDS = ("run", "learn", "demo", "score", "select", "augment", "curve", "report", "doctor")
PAPERS = ("subsampling", "copies", "learning", "rechosen", "toy")
GROUPS = {"reproduce": PAPERS, "table": ("score", "select")}
NARROW = os.environ | {"COLUMNS": "80"}
DATA = ["digits", "--first", "80", "--classes", "3,8"]
QUICK = ["--epochs", "3", "--seed", "1"]
TRANSFORM = ["--transform", "flip"]
POINTS = ["--unit", "points"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `augury score` and `augury select` wrote."""
    place = tmp_path_factory.mktemp("scored")
    for words in (
        ["score", *DATA, *QUICK, "--out", place / "scores.parquet", "--save-model", place / "net.safetensors", "--cache", place / "cache"],
        ["select", place / "scores.parquet", "--seed", "1", "--out", place / "selection.parquet"],
    ):
        assert CliRunner().invoke(cli.app, [*map(str, words)], catch_exceptions=False).exit_code == 0
    return place


@pytest.mark.parametrize("target", ["own", "val"])
def test_the_stages_one_by_one_give_what_run_gives(augury: Augury, tmp_path: Path, target: str) -> None:
    whole, single = tmp_path / "whole", tmp_path / "single"
    model, cache, test = (single / "net.safetensors", single / "cache", ["--no-test-copies", "--seeds", "2"])
    ready = ["--weights", model, "--cache", cache]
    for words in (
        ["run", *DATA, *QUICK, *TRANSFORM, *POINTS, *test, "--target", target, "--out", whole],
        ["score", *DATA, *QUICK, "--target", target, "--save-model", model, "--cache", cache, "--out", single / "scores.parquet"],
        ["select", single / "scores.parquet", "--seed", 1, "--out", single / "selection.parquet"],
        ["augment", *DATA, *TRANSFORM, "--seed", 1, single / "selection.parquet", "--out", single / "augmented"],
        ["curve", *DATA, *TRANSFORM, *test, *ready, single / "scores.parquet", "--seed", 1, "--out", single / "curve.parquet"],
    ):
        assert augury(*words).code == 0
    for name in ("scores.parquet", "selection.parquet", "curve.parquet"):
        assert (single / name).read_bytes() == (whole / name).read_bytes()
    assert model.read_bytes() == (whole / "model.safetensors").read_bytes()
    copies = {path.relative_to(whole / "augmented"): path.read_bytes() for path in whole.glob("augmented/*/*.png")}
    assert {path.relative_to(single / "augmented"): path.read_bytes() for path in single.glob("augmented/*/*.png")} == copies
    assert len(list(cache.iterdir())) == {"own": 4, "val": 5}[target]  # the network's features, known again by its weights


def test_the_stages_are_of_points_in_python_too(scored: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"first": 80, "classes": ("3", "8"), "transform": "flip,rotate:10:2", "target": "val", "seeds": 1}
    config = RunConfig(data="digits", weights=str(scored / "net.safetensors"), **settings)
    assert config.unit == "copies"
    found = score_data(config, out=tmp_path / "scores.parquet")
    assert (found.method, len(found)) == ("validation", 80)
    assert curve_data(config, found, out=tmp_path / "curve.parquet").frame["budget"].max() == 80


def test_copies_go_into_one_file_where_its_name_ends_so(augury: Augury, scored: Path, tmp_path: Path) -> None:
    answer = augury("augment", *DATA, *TRANSFORM, "--seed", 1, scored / "selection.parquet", "--out", tmp_path / "new" / "copies.npz")
    assert answer.out == f"copies: {tmp_path / 'new' / 'copies.npz'}\n"
    with np.load(tmp_path / "new" / "copies.npz") as arrays:
        assert arrays["images"].shape == (8, 1, 8, 8)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["select", "selection.parquet"], "selection.parquet: expected scores, found selection; give the file that the step before"),
        (["augment", *DATA, "scores.parquet"], "scores.parquet: expected selection, found scores"),
        (["curve", *DATA, "net.safetensors"], "net.safetensors: not a readable Parquet file"),
        (["select", "nowhere"], "nowhere: no such file; expected the scores that an earlier step wrote"),
        (["augment", "digits", "--first", "80", "selection.parquet"], "training points are not the 80 that the scores are of"),
        (["curve", *DATA[:-1], "3,9", "scores.parquet"], "training points are not the 80 that the scores are of; give the same"),
        (["curve", *DATA, "--weights", "scores.parquet", "scores.parquet"], "scores.parquet: not a readable safetensors file"),
        (["curve", *DATA, "--budget", "81", "scores.parquet"], "budget: 81 of 80 points; expected a number from 1 to 80"),
        (["select", "scores.parquet", "--budget", "200%"], "budget: a share of 2; expected more than 0 and at most 1"),
        (["report", "."], "config.json: no such file"),
    ],
)
def test_a_stage_refuses_what_another_kind_or_other_data_gave(
    augury: Augury, scored: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(scored)
    monkeypatch.setattr(pipeline, "train", None)
    before = sorted(scored.iterdir())
    answer = augury(*words)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err.splitlines()[-1]
    assert sorted(scored.iterdir()) == before


def test_scores_of_other_pixels_with_the_same_names_are_refused(augury: Augury, scored: Path, tmp_path: Path) -> None:
    known = Scores.load(scored / "scores.parquet")
    other = Scores(*(vars(known) | {"cause": dict(known.cause) | {"data": "another digest"}}).values())
    other.save(tmp_path / "other.parquet")
    answer = augury("curve", *DATA, "--seed", 1, tmp_path / "other.parquet", "--out", tmp_path / "curve.parquet")
    assert "training points are not the 80 that the scores are of" in answer.err
    assert not (tmp_path / "curve.parquet").exists()


@pytest.mark.parametrize("words", [["--out", "."], ["--save-model", "."]])
def test_a_result_that_could_not_be_written_is_told_before_any_work(
    augury: Augury, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "train", None)
    argument = words[0].removeprefix("--").replace("-", "_")
    assert augury("score", *DATA, *words) == Answer(2, "", f"error: {argument}: . is a folder; expected the name of a file\n")


@pytest.mark.parametrize(
    "command",
    [(), *((name,) for name in (*COMMANDS, *GROUPS)), *((group, name) for group, names in GROUPS.items() for name in names)],
)
def test_help_imports_nothing_that_computes_and_tells_the_exit_codes(tmp_path: Path, command: tuple[str, ...]) -> None:
    heavy = ("torch", "numpy", "scipy", "sklearn", "pandas", "pyarrow", "datasets", "joblib", "altair", "matplotlib", "kornia")
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('heavy:', sorted({set(heavy)!r} & set(sys.modules))))\n"
        f"sys.argv = ['augury', *{command!r}, '--help']\n"
        "from augury.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path, env=NARROW)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "heavy: []"
    assert "Exit codes: 0 done, 1 a defect of Augury, 2 bad input, 130 interrupted." in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_is_whole_at_80_columns(augury: Augury, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = augury(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "…" not in answer.out
    assert answer == augury(command, "-h")


def test_the_help_of_run_tells_every_setting_with_its_choices_and_default(augury: Augury, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = re.sub(r"[\s│]+", " ", augury("run", "--help").out)
    for setting in fields(RunConfig)[1:]:
        flag = f"--{'no-' if setting.default is True else ''}{setting.name.replace('_', '-')}"
        flag = ",".join([flag, *setting.metadata.get("also", ())])
        assert f" {flag} " in told
        if setting.default not in (None, True, False):
            assert re.search(rf" {flag} [A-Z]+ (?:(?! --[\w-]+ [A-Z]+ ).)*\[default: {setting.default}\]", told), flag
    assert "influence, loss, validation, margin, support, uniform." in told
    assert "proportional, inverse, uniform, softmax, inverse_softmax." in told


def test_without_a_command_the_commands_are_listed(augury: Augury) -> None:
    answer = augury()
    assert answer.code == 0
    assert [name for name in COMMANDS if f" {name} " not in answer.out] == []
    assert re.fullmatch(r"augury \d\S+\n", augury("--version").out)


def test_json_is_all_of_the_output_and_progress_goes_elsewhere(augury: Augury, tmp_path: Path) -> None:
    answer = augury("run", *DATA, *QUICK, *TRANSFORM, *POINTS, "--seeds", 1, "--json", "--out", tmp_path / "run")
    result = json.loads(answer.out)
    assert answer.err.startswith("data: digits\nmodel: training tiny on 80 points\n")
    assert result["selected"] == Ordering.load(tmp_path / "run" / "selection.parquet").selected.tolist()
    assert [Path(result[name]).exists() for name in ("folder", "report", "copies")] == [True] * 3
    assert {row["policy"] for row in result["curve"]} == {"influence, sampled, proportional", "random"}
    assert result["curve"][0]["deviation"] is None  # one seed has no spread
    again = augury("run", *DATA, *QUICK, *TRANSFORM, *POINTS, "--seeds", 1, "--out", tmp_path / "run", "--quiet")
    assert again.err == ""
    assert result["headline"].split(":")[0] in " ".join(again.out.split())
    assert max(map(len, again.out.split("selection:")[0].splitlines())) <= 80
    assert f"report:    {tmp_path / 'run' / 'report.html'}\n" in again.out


@pytest.mark.parametrize("command", ["select", "score", "augment", "curve"])
def test_each_stage_answers_in_json_too(augury: Augury, scored: Path, tmp_path: Path, command: str) -> None:
    words: dict[str, list[object]] = {
        "select": [scored / "scores.parquet", "--budget", 3],
        "score": [*DATA, "--score", "uniform", "--weights", scored / "net.safetensors", "--quiet"],
        "augment": [*DATA, *TRANSFORM, "--seed", 1, scored / "selection.parquet", "--quiet"],
        "curve": [
            *DATA,
            *TRANSFORM,
            "--weights",
            scored / "net.safetensors",
            "--seeds",
            1,
            scored / "scores.parquet",
            "--quiet",
            "--seed",
            1,
        ],
    }
    answer = augury(command, *words[command], "--json", "--out", tmp_path / "result")
    assert (answer.code, answer.err) == (0, "")
    result = json.loads(answer.out)
    written = next(result[name] for name in ("scores", "selection", "copies", "file") if name in result)
    assert Path(written) == tmp_path / "result"
    if command == "select":
        expected = rank(Scores.load(scored / "scores.parquet"), "proportional", "sampled", 0)
        assert result["selected"] == expected.indices[:3].tolist()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bogus"], "No such option: --bogus"),
        (["fly"], "No such command 'fly'"),
        (["run"], "Missing argument 'DATA'"),
        (["run", "digits", "--out"], "--out"),
        (["run", "digits", "--epochs", "ten"], "epochs: got 'ten'; expected a whole number, 0 or more"),
        (["run", "digits", "--score", "beauty"], "score: got 'beauty'; expected one of influence, loss"),
        (["run", "digits", *POINTS, "--budget", "0"], "budget: 0 of 1000 points; expected a number from 1 to 1000"),
        (
            ["run", "digits", "--score", "loss"],
            "score: has a meaning only where points are chosen; set unit to 'points' (--unit points), or",
        ),
        (["run", "digits", "--downweight"], "downweight: has a meaning only where points are chosen; set unit to 'points' (--unit points)"),
        (["run", "digits", "--score", "influence"], "score: has a meaning only where points are chosen"),  # as it is by default, but typed
        (["run", "digits", "--unit", "points", "--copy-weight", "auto"], "copy_weight: has a meaning only where copies are chosen"),
        (
            ["run", "digits", *POINTS, "--price", "1"],
            "price: has a meaning only where copies are chosen; set unit to 'copies' (--unit copies)",
        ),
        (["run", "digits", "--model", "none"], "no network is called 'none'"),
        (["run", "digits", "--engine", "spark"], "engine: got 'spark'; expected one of local, ray, dask"),
        (["score", "digits", "--address", "auto"], "address: 'auto' given, and the engine is local; expected engine 'ray' or 'dask'"),
        (["run", "digits", "--engine", "dask", "--address", "tcp://127.0.0.1:9"], "no Dask cluster answers at 'tcp://127.0.0.1:9'"),
        (["reproduce", "learning", "--engine", "spark"], "engine: got 'spark'; expected one of local, ray, dask"),
        (["reproduce", "rechosen", "--engine", "spark"], "engine: got 'spark'; expected one of local, ray, dask"),
        (["reproduce", "rechosen", "--task", "norb"], "task: 'norb' is unknown; expected some of mnist-translate"),
        (["reproduce", "rechosen", "--way", "best"], "ways: 'best' is unknown; expected some of none, random"),
        (["table", "score", "nowhere"], "nowhere: no Parquet or Arrow file"),
        (["table", "score", "nowhere", "--score", "margin"], "score: got 'margin'; expected one of influence, loss, validation, uniform"),
        (["table", "score", "nowhere", "--address", "auto"], "address: 'auto' given, and the engine is local"),
        (["table", "select", "."], ".: no scores here; expected a folder that scoring a table has written"),
        (["run", "nowhere"], "no file or folder 'nowhere', nor a named set of that name (digits, mnist, cifar10, norb)"),
        (["run", "digits", "--out", "file"], "out: file is a file; expected a folder"),
        (["score", "file"], "file is of an unknown kind"),
        (["run", "odd.npz"], r"odd.npz: the name '0\udcff.png' is not UTF-8; rename the file or folder"),
    ],
)
def test_a_wrong_command_line_ends_with_one_line_and_code_2(
    augury: Augury, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    names = [f"{i}\udcff.png" for i in range(2)]  # as Python reads a file's name that holds the byte FF
    np.savez("odd.npz", images=np.zeros((2, 8, 8), np.uint8), labels=[0, 1], origin=names)
    answer = augury(*words)
    assert (answer.code, answer.out) == (2, "")
    last = answer.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last
    assert "Traceback" not in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "odd.npz"]


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_an_engine_that_is_not_installed_is_told_before_any_work(
    augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    answer = augury("run", *DATA, "--engine", engine, "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert re.match(rf"error: engine '{engine}' needs the package '{package}'.*pip install 'augury\[{engine}\]'.*\n$", answer.err)
    assert not (tmp_path / "run").exists()


def test_points_in_files_are_scored_and_selected_as_the_package_does_it(augury: Augury, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    columns = {
        "a": draws.standard_normal(300),
        "b": draws.standard_normal(300),
        "class": draws.integers(0, 3, 300),
        "other": np.arange(300),
    }
    pd.DataFrame(columns).to_parquet(tmp_path / "points.parquet")
    words = ["--label", "class", "--features", "a,b", "--C", 0.5, "--json", "--quiet"]
    answer = augury("table", "score", tmp_path / "points.parquet", *words, "--out", tmp_path / "scores")
    assert json.loads(answer.out) == {"scores": str(tmp_path / "scores"), "method": "influence", "points": 300, "parts": 1}
    X, y = np.column_stack([columns["a"], columns["b"]]), columns["class"]
    expected = score(X, y, "influence", SoftmaxHead(C=0.5).fit(X, y))
    assert_allclose(shards.ScoreTable.load(str(tmp_path / "scores")).to_frame()["score"], expected.values, rtol=1e-7)
    answer = augury("table", "select", tmp_path / "scores", "--budget", "10%", "--seed", 2, "--out", tmp_path / "selection.parquet")
    assert answer.out == f"selection: {tmp_path / 'selection.parquet'} (30 of 300 points)\n"
    taken = pd.read_parquet(tmp_path / "selection.parquet")["index"]
    assert taken.tolist() == rank(expected, "proportional", "sampled", 2).indices[:30].tolist()


def test_interruption_ends_with_130_and_says_how_to_go_on(augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "train", interrupt)
    answer = augury("run", *DATA, "--quiet", "--out", tmp_path)
    assert answer == Answer(130, "", "interrupted: the same `augury run` takes up what it has left\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["select", "scores.parquet"], "interrupted\n"),
        (["reproduce", "toy"], "interrupted: the same `augury reproduce` takes up what it has left\n"),
    ],
)
def test_an_interrupted_command_promises_no_more_than_it_keeps(
    augury: Augury, scored: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], told: str
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(scored)
    monkeypatch.setattr(selection, "rank", interrupt)
    monkeypatch.setattr(toy, "reproduce_toy", interrupt)
    assert augury(*words, "--quiet", "--out", tmp_path / "out") == Answer(130, "", told)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")])
def test_lack_of_memory_is_told_as_such(augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "train", fail)
    answer = augury("run", *DATA, "--quiet", "--out", tmp_path)
    assert answer.code == 2
    assert answer.err.startswith("error: out of memory; give fewer points (--first)")
    assert answer.err.count("\n") == 1


def test_a_defect_ends_with_its_trace_and_code_1(augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("of the author's")

    monkeypatch.setattr(pipeline, "train", fail)
    answer = augury("run", *DATA, "--quiet", "--out", tmp_path)
    assert (answer.code, answer.out) == (1, "")
    assert "ZeroDivisionError: of the author's\nerror: this is a defect of Augury; please report" in answer.err


def test_errors_of_the_system_and_warnings_take_one_line(augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def warn_and_fail(*args: object, **kwargs: object) -> None:
        warnings.warn("something to know", UserWarning, stacklevel=1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_json", warn_and_fail)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        answer = augury("run", *DATA, "--quiet", "--out", tmp_path)
    assert answer == Answer(2, "", "warning: something to know\nerror: [Errno 28] No space left on device\n")


def test_the_demo_runs_the_job_on_embedded_data(augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(commands, "DEMO", commands.DEMO | {"first": 80, "epochs": 1, "seeds": 1, "transform": "flip"})
    answer = augury("demo", "--quiet", "--seed", 2, "--out", tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 2
    assert answer.out.startswith("accuracy on the augmented test set")


def test_as_a_module_it_answers_and_importing_it_changes_nothing(tmp_path: Path) -> None:
    script = (
        "import runpy, sys, warnings; import numpy, torch\n"
        "state = lambda: [torch.get_num_threads(), torch.get_rng_state().sum(), torch.is_grad_enabled(), torch.get_default_dtype(), "
        "warnings.showwarning, numpy.random.get_state()[2], sys.stdout.errors]\n"
        "before = state(); import augury.cli; assert state() == before\n"
        "sys.argv = ['augury', '--help']; runpy.run_module('augury.cli', run_name='__main__')"
    )
    command = [sys.executable, "-W", "ignore:'augury.cli' found in sys.modules:RuntimeWarning", "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env=os.environ | {"COLUMNS": "80"})
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage: " in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_written_anew_from_the_results(augury: Augury, tmp_path: Path) -> None:
    page = run(data="digits", unit="points", first=80, classes=("3", "8"), transform="flip", epochs=1, seeds=1, out=tmp_path).report
    assert page is not None
    before = page.read_bytes()
    page.unlink()
    assert augury("report", tmp_path).out == f"report: {page}\n"
    assert page.read_bytes() == before
    answer = augury("report", tmp_path, "--quiet", "--json")
    assert (json.loads(answer.out), answer.err) == ({"report": str(page)}, "")
