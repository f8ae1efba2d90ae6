"""`augury learn` from end to end: stages, resumption, output, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from augury import data
from augury.errors import InputError
from augury.experiment import folder, run
from augury.experiment.learn_run import LearnConfig, LearnRun, learn_run, stages
from augury.experiment.learn_run import running as runs
from augury.files import PARTIAL, read_json, read_table, write_json
from augury.learned import LearnedAugmentation
from augury.training import Crew
from conftest import Augury
from test_distributed import TOLERANCE
from test_resume import Killed, contents, times

SETTINGS: dict[str, Any] = {"data": "digits", "classes": ("3", "8"), "per_class": 20, "steps": 3, "folds": 2, "model": "tiny"}
SETTINGS |= {"retrainings": 2, "compare": ("crop", "random-tau"), "checks": 4}
WORDS = ["digits", "--classes", "3,8", "--per-class", "20", "--steps", "3", "--folds", "2", "--model", "tiny"]
WORDS += ["--retrainings", "2", "--compare", "crop,random-tau", "--checks", "4"]
FILES = ("config.json", "versions.json", "labels.parquet", "augmentation.safetensors", "history.parquet", "components.parquet")
FILES += ("check.parquet", "results.parquet", "gallery.npz", "figures", "report.html")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted; no test changes it."""
    path = tmp_path_factory.mktemp("finished") / "run"
    learn_run(**SETTINGS, out=path)
    return path


def together(*words: str) -> subprocess.CompletedProcess[str]:
    """The command `augury` in two processes that torchrun starts."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "augury.cli"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*torchrun, *words], capture_output=True, text=True, env=environment, check=False, timeout=300)


def refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed again")


def test_a_finished_run_leaves_its_results_and_nothing_else(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == set(FILES)


def test_every_row_uses_the_same_labels_and_seeds(finished: Path) -> None:
    found = LearnRun.load(finished)
    assert found.results["augmentation"].tolist() == ["learned"] * 2 + ["crop"] * 2 + ["random-tau"] * 2
    assert found.results["seed"].tolist() == [0, 1] * 3
    assert set(found.results["train_labels"]) == {40}
    assert set(found.results["target_labels"]) == {0}
    assert found.results["accuracy"].between(0, 1).all()
    assert found.check.shape == (4, 2)
    assert found.foreseen is None  # there is no target
    assert isinstance(found.augmentation, LearnedAugmentation)
    listed, told = read_table(finished / "labels.parquet", "labels", ("origin", "label", "use"))
    assert told["words"] == "40 labels, all to train on"
    assert listed.groupby(["use", "label"]).size().to_dict() == {("train", "3"): 20, ("train", "8"): 20}


def test_the_command_gives_the_same_files_and_tells_the_result(augury: Augury, finished: Path, tmp_path: Path) -> None:
    answer = augury("learn", *WORDS, "--json", "--out", tmp_path / "run")
    assert contents(tmp_path / "run") == contents(finished)
    told = json.loads(answer.out)
    assert told["labels"] == 40
    assert told["results"][0]["augmentation"] == "learned"
    assert "labels: 40 labels, all to train on" in answer.err.splitlines()
    again = augury("learn", *WORDS, "--quiet", "--out", tmp_path / "run")
    assert (again.code, again.err) == (0, "")
    assert f"augmentation: {tmp_path / 'run' / 'augmentation.safetensors'}\n" in again.out
    assert "on the test set" in again.out


def test_two_processes_started_by_torchrun_come_to_what_one_does_and_the_first_tells_it(finished: Path, tmp_path: Path) -> None:
    done = together("learn", *WORDS, "--json", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["labels"] == 40
    assert done.stderr.count("data: digits\n") == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == set(FILES)
    found, expected = LearnRun.load(tmp_path / "run"), LearnRun.load(finished)
    for name, weight in expected.augmentation.state_dict().items():
        learned = found.augmentation.state_dict()[name].double()
        assert_allclose(learned, weight.double(), rtol=0, atol=TOLERANCE * float(weight.abs().max()), err_msg=name)
    names = ["augmentation", "seed", "train_labels", "target_labels", "test_images"]
    assert found.results[names].equals(expected.results[names])
    assert_allclose(found.results["loss"], expected.results["loss"], rtol=TOLERANCE)
    assert_allclose(found.results["accuracy"], expected.results["accuracy"], atol=1.5 / expected.results["test_images"][0])
    assert_allclose(found.check, expected.check, rtol=0, atol=10 * TOLERANCE * expected.check.abs().to_numpy().max())
    assert (tmp_path / "run" / "labels.parquet").read_bytes() == (finished / "labels.parquet").read_bytes()


@pytest.mark.parametrize("rank", [0, 1])
def test_what_the_first_of_two_processes_is_refused_all_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rank: int) -> None:
    sent: list[str | None] = []

    def broadcast(box: list[str | None]) -> None:
        sent.extend(box)
        box[0] = "out: it is a file"

    monkeypatch.setattr(runs.distributed, "broadcast_object_list", broadcast)
    claim = folder.claim_folder(Path(__file__), LearnConfig(data="digits"), dict, device="cpu")
    with pytest.raises(InputError, match="out: it is a file"), runs._claimed(Crew(rank, 2), claim):
        raise AssertionError("went on")
    assert sent == [None if rank else f"out: {__file__} is a file; expected a folder, new or of an earlier run"]


def test_a_second_run_computes_nothing_and_touches_no_file(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "learn", "check_predictions", "save_pictures"):
        monkeypatch.setattr(stages, name, refuse)
    monkeypatch.setattr(runs, "write_learn_report", refuse)
    before = times(finished)
    learn_run(**SETTINGS, out=finished)
    assert times(finished) == before


def test_a_run_killed_in_the_middle_of_writing_its_files_ends_with_the_same_files(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace, made = tmp_path / "killed", Path.replace, list[Path]()

    def half_then_die(temporary: Path, target: Path) -> Path:
        new = target.is_relative_to(out) and not target.exists() and target.suffix != ".png"
        if new and len(made) == 4:
            os.truncate(temporary, temporary.stat().st_size // 2)
            raise Killed
        made.extend([target] * new)
        return replace(temporary, target)

    kills = 0
    while kills < 40:
        made.clear()
        with monkeypatch.context() as patches:
            patches.setattr(Path, "replace", half_then_die)
            try:
                learn_run(**SETTINGS, out=out)
                break
            except Killed:
                kills += 1
                (out / f".left{PARTIAL}").write_bytes(b"half")
    assert 4 <= kills < 40
    assert contents(out) == contents(finished)


def test_results_that_were_deleted_are_made_again(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "copied")
    for name in ("history.parquet", "components.parquet", "check.parquet", "gallery.npz", "report.html", "labels.parquet"):
        (copied / name).unlink()
    learn_run(**SETTINGS, out=copied)
    assert contents(copied) == contents(finished)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 5}, "steps = 3, and now it is 5"),
        ({"compare": "crop"}, r"compare = \['crop', 'random-tau'\], and now it is \['crop'\]"),
        ({"target": 0.3}, "target = 'none', and now it is '0.3'"),
        ({"per_class": 21}, "per_class = 20, and now it is 21"),
    ],
)
def test_a_run_of_another_configuration_in_the_same_folder_is_refused(finished: Path, change: dict[str, Any], told: str) -> None:
    before = times(finished)
    with pytest.raises(InputError, match=f"holds a run with {told}"):
        learn_run(**SETTINGS | change, out=finished)
    assert times(finished) == before


def test_a_folder_of_another_command_is_refused_either_way(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds what `augury learn` made, and now it is `augury run`; give another folder"):
        run(data="digits", first=60, classes=("3", "8"), out=finished)
    write_json(tmp_path / "config.json", {"train_digest": "x"})
    with pytest.raises(InputError, match="holds what `augury run` made, and now it is `augury learn`"):
        learn_run(**SETTINGS, out=tmp_path)


def test_a_share_of_the_points_as_target_counts_in_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS | {"target": "0.25", "retrainings": 1, "compare": ("none",), "rule": "gradient", "before": "randaugment"}
    as_augment, counts = stages.as_augment, set()
    monkeypatch.setattr(
        stages, "as_augment", lambda *given, **named: (counts.add((given[2], named["alone"])), as_augment(*given, **named))[1]
    )
    found = learn_run(**settings, out=tmp_path)
    assert counts == {(30, True), (None, True)}  # training images, not the target's, are changed, after RandAugment; none is foreseen with
    assert found.foreseen is not None
    assert set(found.foreseen.index) == {"learned", "none"}
    assert set(found.results["train_labels"]) == {30}
    assert set(found.results["target_labels"]) == {10}
    listed, told = read_table(tmp_path / "labels.parquet", "labels", ("use",))
    assert listed["use"].value_counts().to_dict() == {"train": 30, "target": 10}
    assert told["words"] == "40 labels: 30 to train on, 10 as target"
    record = read_json(tmp_path / "config.json")
    assert {"draws", "divergence", "folds", "transformation_steps"}.isdisjoint(record)
    assert record["before"] == "randaugment"
    assert record["command"].startswith("augury learn digits --classes 3,8 --per-class 20 --target 0.25 --rule gradient")


def test_other_data_as_target_is_what_the_network_is_to_do_well_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = data.load("digits").only(["3", "8"])
    points.select(np.arange(100, 130)).save(tmp_path / "deployed.npz")
    settings = SETTINGS | {"target": str(tmp_path / "deployed.npz"), "retrainings": 1, "compare": ("crop",)}
    found = learn_run(**settings, out=tmp_path / "run")
    assert "warning: networks are tested on the training data's own test images, not on such as the target's" in capsys.readouterr().err
    assert "own test images the learned augmentation" in found.report.read_text(encoding="utf-8")
    assert found.config["elsewhere"]
    assert not LearnConfig.read(**settings, test=settings["target"]).elsewhere
    assert not LearnConfig.read(**SETTINGS, target=0.3).elsewhere
    assert set(found.results["target_labels"]) == {30}
    assert set(found.results["train_labels"]) == {40}
    assert found.foreseen is not None
    table, told = read_table(tmp_path / "run" / "foreseen.parquet", "foreseen", ("augmentation", "agreement", "loss"))
    assert table.set_index("augmentation").equals(found.foreseen)
    assert (told["train"], told["target"]) == (40, 30)
    assert '<th scope="col" class="number">foreseen agreement</th>' in found.report.read_text()


@pytest.mark.filterwarnings("ignore:G ")
def test_a_transformation_is_trained_first_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS | {"transformation": "learned", "transformation_steps": 2, "retrainings": 1, "compare": ("random-tau",)}
    found = learn_run(**settings, out=tmp_path / "run")
    log, _ = read_table(tmp_path / "run" / "transformation.parquet", "transformation-log", ("step", "image_distance"))
    assert log["step"].tolist() == [2]
    assert type(found.augmentation.transformation).__name__ == "FieldTransformation"
    (tmp_path / "run" / "results.parquet").unlink()
    monkeypatch.setattr(stages, "train_transformation", refuse)
    assert learn_run(**settings, out=tmp_path / "run").results.equals(found.results)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--target", "1.5"], "target: got '1.5'; expected a share between 0 and 1"),
        (["--target", "nowhere"], "source: no file or folder 'nowhere'"),
        (["--compare", "crop,magic"], "compare: got 'crop,magic'; expected some of none, crop, affine"),
        (["--compare", "crop,crop"], "compare: got 'crop,crop'; expected some of none, crop, affine"),
        (["--share", "0"], "share: got '0'; expected a share above 0 and up to 1"),
        (["--divergence", "-1"], "divergence: got '-1'; expected a positive number"),
        (["--draws", "1"], "draws: got '1'; expected a whole number, 2 or more"),
        (["--folds", "30"], "folds: 30, and the smallest class has 20 labelled points; lower folds, or give a target"),
        (["--rule", "magic"], "rule: got 'magic'; expected one of matching, choice, gradient"),
        (["--per-class", "500"], "labels: class '3' has"),
        (["--model", "magic"], "network: no network is called 'magic'"),
        (["--device", "magic"], "device: 'magic' cannot be used here"),
        (["--checks", "2"], "checks: got '2'; expected a whole number, 3 or more"),
    ],
)
def test_bad_input_ends_with_one_line_code_2_and_no_results(augury: Augury, tmp_path: Path, words: list[str], told: str) -> None:
    answer = augury("learn", *WORDS, *words, "--out", tmp_path / "run", "--quiet")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert answer.err.startswith(f"error: {told}")
    assert not (tmp_path / "run" / "augmentation.safetensors").exists()


def test_the_help_tells_every_setting_with_its_default(augury: Augury, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = augury("learn", "--help")
    assert max(map(len, answer.out.splitlines())) <= 80
    told = re.sub(r"[\s│]+", " ", answer.out)
    for setting in fields(LearnConfig):
        assert setting.metadata["help"].removesuffix(".").split(":")[0].split()[0] in told
        if setting.name != "data":
            assert f"--{setting.name.replace('_', '-')}" in told
    assert "[default: crop,affine,trivialaugment,random-tau]" in told
    assert " learn " in augury("--help").out


def test_the_report_is_written_anew_from_the_results(augury: Augury, finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "copied")
    (copied / "report.html").unlink()
    assert augury("report", copied).out == f"report: {copied / 'report.html'}\n"
    assert contents(copied) == contents(finished)


def test_rows_are_made_on_the_device_on_which_networks_are_fitted(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.model, "resolve_device", lambda _: torch.device("meta"))
    found = stages.LearnStages(LearnConfig.read(**SETTINGS), finished)
    learned, affine = found.row("learned").second, found.row("affine").second.augment  # after the crop, and of a share
    assert {value.device.type for value in learned.augmentation.state_dict().values()} == {"meta"}
    assert {value.device.type for value in affine.transformation.buffers()} == {"meta"}
    assert {value.device.type for value in found.augmentation.state_dict().values()} == {"cpu"}
