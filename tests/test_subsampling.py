from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import augury.experiment.subsampling.sweep as sweep_module
from augury.augmentation import augment
from augury.errors import InputError
from augury.evaluation import C_GRID, Draw, trial
from augury.experiment import RunConfig
from augury.experiment.subsampling import NAMES, POLICIES, SCORES, Sweep, Task, own_task, paper_task
from augury.experiment.subsampling.policies import Cell, cells
from augury.experiment.subsampling.retrained import RetrainedFeatures
from augury.experiment.subsampling.settings import Settings
from augury.head import SoftmaxHead
from augury.selection import Ordering

POINTS = 60
FEW = {"scores": ["influence", "support"], "policies": ["baseline", "random_proportional", "vsv"], "seeds": 2}


def sweep(task: Task, folder: Path, *, scores: list[str], policies: list[str], seeds: int, jobs: int = 1) -> None:
    """Measure and store, without drawing a report."""
    Sweep(folder).measure([task], cells(scores, policies, seeds), jobs)


def digits_task(**settings: object) -> Task:
    """Threes and eights of the embedded digits, two shifts... as small as a sweep can be."""
    config = {"data": "digits", "classes": "3,8", "first": POINTS, "epochs": 2, "transform": "flip"} | settings
    return own_task(RunConfig.read(**config), features="tiny")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small sweep that ran through at once."""
    folder = tmp_path_factory.mktemp("sweep")
    sweep(digits_task(), folder, **FEW)
    return folder


def stored(folder: Path) -> dict[str, bytes]:
    """What a sweep leaves for good, but for what can be made again."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if "work" not in path.parts and path.is_file()}


def test_the_papers_policies_come_with_all_their_refinements_and_seeds() -> None:
    paper = ["baseline", *(f"{kind}_{way}" for kind in ("random", "deterministic") for way in ("proportional", "inverse_proportional"))]
    for score in ("influence", "loss"):
        found = cells([score], paper, seeds=5)
        assert len(found) == len({cell.name for cell in found}) == 5 + 4 * 5 + 5 + 4 + 1  # settings.md 1.7
        assert {cell.seed for cell in found if cell.policy.startswith("deterministic")} == {0}
        refined = {(cell.policy, cell.update, cell.downweight) for cell in found if cell.update or cell.downweight}
        assert {policy for policy, *_ in refined} == {"random_proportional", "deterministic_proportional"}
        assert len(refined) == 6


def test_every_score_and_policy_of_the_table_makes_cells() -> None:
    found = cells(list(SCORES), list(POLICIES), seeds=1)
    assert {cell.policy for cell in found} == set(POLICIES)
    assert {cell.score for cell in found} == set(SCORES)


@pytest.mark.parametrize(
    ("scores", "policies", "message"), [(["los"], ["baseline"], "score: got 'los'"), (["loss"], ["dp"], "policy: got 'dp'")]
)
def test_unknown_scores_and_policies_are_refused_by_name(scores: list[str], policies: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cells(scores, policies, seeds=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_nine_tasks_have_the_settings_of_the_code_and_of_the_paper(name: str) -> None:
    data, transform = name.split("-")
    code, paper = paper_task(name), paper_task(name, preset="paper")
    assert (code.config.data, code.config.first, code.C, paper.C) == (data, 1000, "1", "cv")
    assert (code.penalty, paper.penalty) == (2e-10, None)
    if transform == "rotate" and data == "mnist":
        assert code.config.transform == paper.config.transform == "rotate:30:15"
    if transform == "translate":
        assert paper.config.transform == code.config.transform.replace("3", "2") + ":cardinal"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mnist-shear"}, "task: no task is called"),
        ({"name": "mnist-crop", "preset": "x"}, "preset: got 'x'"),
        ({"name": "mnist-crop", "C": "2"}, "C: got '2'"),
    ],
)
def test_unknown_tasks_presets_and_ways_to_fit_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        paper_task(**settings)


def test_a_sweep_stores_one_curve_for_each_cell_and_packs_them(swept: Path) -> None:
    found = Sweep(swept).curves.read()
    wanted = cells(FEW["scores"], FEW["policies"], FEW["seeds"])
    assert set(found["cell"]) == {cell.name for cell in wanted}
    assert not [path for path in (swept / "curves").iterdir() if path.is_dir()]
    baseline = found[(found["policy"] == "baseline") & (found["seed"] == 0)]
    assert baseline["budget"].tolist() == sorted({max(1, round(share * POINTS)) for share in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)})
    setting = Sweep(swept).settings.read().iloc[0]
    last = found[(found["budget"] == POINTS) & ~found["downweight"]]["accuracy"]
    np.testing.assert_allclose(last, setting["full"], atol=1e-12)  # where everything is augmented all policies are the same
    np.testing.assert_allclose(found[(found["budget"] == POINTS) & found["downweight"]]["accuracy"], setting["full_downweight"], atol=1e-12)


def test_virtual_support_vectors_are_measured_at_their_own_number(swept: Path) -> None:
    found = Sweep(swept).curves.read()
    settings = Sweep(swept).of(digits_task())
    assert found[found["policy"] == "vsv"]["budget"].tolist() == [int((settings.scores("support").values > 0).sum())]


def test_a_cell_is_a_trial_with_the_settings_of_its_task(swept: Path) -> None:
    settings = Sweep(swept).of(digits_task())
    draw = Draw(settings.scores("influence"), "proportional", "sampled", 1, update=True, penalty=2e-10)
    expected = trial(settings.setting(1), draw, settings.checkpoints, SoftmaxHead(), downweight=True)
    found = Sweep(swept).curves.read()
    assert found[found["cell"] == "influence.random_proportional.update.downweight.1"]["accuracy"].tolist() == expected


def test_what_is_stored_is_not_measured_again(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(swept)
    monkeypatch.setattr(sweep_module, "trial", lambda *_, **__: pytest.fail("measured again"))
    sweep(digits_task(), swept, **FEW)
    assert stored(swept) == before


def failing_after(count: int, work: Callable[..., None]) -> Callable[..., None]:
    """The work, done so many times and then killed."""
    done = []

    def killed(*arguments: object) -> None:
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(work(*arguments))

    return killed


def test_a_sweep_killed_twice_ends_with_the_same_bytes(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (3, 4):
        with monkeypatch.context() as patch:
            patch.setattr(sweep_module, "_measured", failing_after(count, sweep_module._measured))
            with pytest.raises(KeyboardInterrupt):
                sweep(digits_task(), tmp_path, **FEW)
    assert len(Sweep(tmp_path).curves.names(digits_task().group)) == 3 + 4
    sweep(digits_task(), tmp_path, **FEW)
    assert stored(tmp_path) == stored(swept)


def test_the_number_of_processes_changes_no_byte(swept: Path, tmp_path: Path) -> None:
    sweep(digits_task(), tmp_path, jobs=2, **FEW)
    assert stored(tmp_path) == stored(swept)


def test_all_policies_run_on_several_classes(tmp_path: Path) -> None:
    task = own_task(RunConfig.read(data="digits", classes="1,3,8", first=40, epochs=2, transform="flip"), features="tiny")
    policies = ["baseline", "deterministic_inverse_proportional", "random_softmax_proportional", "clustered", "dpp", "vsv"]
    sweep(task, tmp_path, scores=list(SCORES), policies=policies, seeds=1)
    found = Sweep(tmp_path).curves.read()
    assert set(found["policy"]) == set(policies)
    assert found["accuracy"].between(0, 1).all()
    assert found[found["policy"] == "dpp"]["budget"].max() <= 10


def test_the_heads_c_may_be_chosen_at_every_refit(tmp_path: Path) -> None:
    task = own_task(RunConfig.read(data="digits", classes="3,8", first=40, epochs=2, transform="flip"), features="tiny", C="cv")
    settings = Sweep(tmp_path).of(task)
    sweep(task, tmp_path, scores=["loss"], policies=["baseline"], seeds=1)
    ordering = Cell("uniform", "baseline", update=False, downweight=False, seed=0).draw(settings.scores("uniform"), None)
    expected = trial(settings.setting(0), ordering, settings.checkpoints, SoftmaxHead(), grid=C_GRID)
    assert Sweep(tmp_path).curves.read()["accuracy"].tolist() == expected


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A task whose network is trained anew on every augmented set."""
    config = RunConfig.read(data="digits", classes="3,8", first=POINTS, epochs=2, transform="translate:1")
    settings = Sweep(tmp_path_factory.mktemp("retrained")).of(own_task(config, features="tiny-retrained"))
    settings.prepare()
    return settings


def test_a_retrained_setting_holds_the_features_of_the_network_trained_on_just_these_images(retrained: Settings) -> None:
    setting = retrained.setting(seed=3)
    assert isinstance(setting, RetrainedFeatures)
    chosen = np.array([7, 2, 30])
    training, test = setting.at(chosen, downweight=True)
    points = retrained.pipeline.splits.train
    copies = augment(points, chosen, retrained.pipeline.transform)
    order = np.argsort(np.repeat(chosen, 4), kind="stable")
    model = setting.trained(np.concatenate([points.images, copies.images[order]]), np.concatenate([points.labels, copies.labels[order]]))
    from augury.model import features

    np.testing.assert_allclose(training.X[POINTS:], features(model, copies.images), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(test.X, features(model, retrained.test_images.images), rtol=1e-5, atol=1e-6)
    assert training.y[POINTS:].tolist() == copies.labels.tolist()
    assert set(training.weights[chosen]) == set(training.weights[POINTS:]) == {1 / 5}


def test_a_retrained_setting_depends_on_which_points_are_chosen_and_not_on_their_order(retrained: Settings) -> None:
    setting = retrained.setting(seed=0)
    (there, test), (back, same) = (setting.at(np.array(chosen), downweight=False) for chosen in ([4, 1, 9], [9, 4, 1]))
    assert test.X.equal(same.X)
    rows = {point: there.X[POINTS + 4 * i : POINTS + 4 * i + 4] for i, point in enumerate([4, 1, 9])}
    np.testing.assert_array_equal(back.X[POINTS:], np.concatenate([rows[9], rows[4], rows[1]]))


def test_full_augmentation_is_trained_once_for_all_policies_of_a_seed(retrained: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = retrained.setting(seed=0)
    everything = np.arange(POINTS)
    first, _ = setting.at(everything, downweight=False)
    monkeypatch.setattr(RetrainedFeatures, "trained", lambda *_: pytest.fail("trained again"))
    again, _ = retrained.setting(seed=0).at(everything[::-1].copy(), downweight=True)
    np.testing.assert_array_equal(again.X[POINTS:], first.X[POINTS:].reshape(POINTS, 4, -1)[::-1].reshape(4 * POINTS, -1))


def test_a_retrained_sweep_runs(tmp_path: Path) -> None:
    config = RunConfig.read(data="digits", classes="3,8", first=POINTS, epochs=1, transform="flip")
    task = own_task(config, features="tiny-retrained")
    sweep(task, tmp_path, scores=["loss"], policies=["baseline", "random_proportional"], seeds=1)
    found = Sweep(tmp_path).curves.read()
    assert set(found["features"]) == {"tiny-retrained"}
    assert len(found.groupby("cell")) == 5


def test_scores_before_and_after_full_augmentation_are_kept_for_the_figures(swept: Path) -> None:
    found = Sweep(swept).scores.read()
    settings = Sweep(swept).of(digits_task())
    for method in ("influence", "loss"):
        rows = found[found["method"] == method]
        assert rows["point"].tolist() == list(range(POINTS))
        np.testing.assert_array_equal(rows["initial"], settings.scores(method).values)
        assert set(rows["label"]) == {"3", "8"}
    assert isinstance(Cell("loss", "baseline", update=False, downweight=False, seed=0).draw(settings.scores("loss"), None), Ordering)
    assert isinstance(found, pd.DataFrame)
