"""`augury foresee` from end to end: what it tells, what it warns of, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from augury.errors import InputError
from augury.experiment.learn_run import ForeseeConfig, foresee_data
from augury.files import read_table
from augury.learned import BoundedTransformation, LearnedAugmentation, TauDistribution
from conftest import Augury
from test_learned_learn import digits

WORDS = ["digits", "--first", "400", "--steps", "60", "--model", "tiny"]
NAMES = ("none", "crop", "affine", "random-tau")
USUAL = "Loss: how hard the changed images are."


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits that lie two pixels to the right."""
    images, labels = digits(1000, 1200)
    moved = np.roll(images, 2, axis=3)
    path = tmp_path_factory.mktemp("target") / "beside.npz"
    np.savez(path, images=(255 * moved).astype(np.uint8), labels=labels.astype(str))
    return path


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An augmentation that moves digits two pixels to the right."""
    G = BoundedTransformation.only(1, 8, 8, shift=0.25)
    E = TauDistribution(1, 8, 8, tau_size=2, widths=True, concentration=50.0)
    E.shared.data[0, 0] = 3.0
    return LearnedAugmentation(G, E, share=1).save(tmp_path_factory.mktemp("learned") / "augmentation.safetensors")


def test_it_tells_the_agreements_of_all_and_leaves_them_in_a_file(augury: Augury, beside: Path, learned: Path, tmp_path: Path) -> None:
    out = tmp_path / "foreseen.parquet"
    words = [*WORDS, "--target", str(beside), "--compare", ",".join(NAMES), "--learned", str(learned)]
    told = json.loads(augury("foresee", *words, "--json", "--out", str(out)).out)
    config = ForeseeConfig.read(data="digits", first=400, steps=60, model="tiny", target=str(beside), compare=NAMES)
    expected = foresee_data(config, learned=[learned])
    assert set(expected.index) == {*NAMES, str(learned)}
    assert [row.pop("augmentation") for row in told["foreseen"]] == list(expected.index)
    assert_allclose([[row["agreement"], row["loss"]] for row in told["foreseen"]], expected)
    assert told["file"] == str(out)
    found, record = read_table(out, "foreseen", ("augmentation", "agreement", "loss"))
    assert found["augmentation"].tolist() == list(expected.index)
    assert (record["train"], record["target"], record["configuration"]["steps"]) == (400, 200, 60)


def test_what_moves_images_as_the_target_is_moved_comes_first(augury: Augury, beside: Path, learned: Path) -> None:
    answer = augury("foresee", *WORDS, "--target", str(beside), "--compare", "crop,affine", "--learned", str(learned), "--steps", "200")
    assert str(learned)[:10] in answer.out.splitlines()[4]
    assert answer.out.replace("\n", " ").rstrip().endswith(USUAL)
    assert "foreseeing: 3 augmentations" in answer.err


def test_it_warns_where_nothing_tells_the_target_from_the_training_images(augury: Augury) -> None:
    answer = augury("foresee", *WORDS, "--target", "0.3", "--compare", "none,heuristic", "--quiet")
    assert answer.err == ""
    assert "Here images that are hardly changed agree best" in " ".join(answer.out.split())


def test_without_a_target_there_is_nothing_to_foresee(augury: Augury) -> None:
    answer = augury("foresee", *WORDS)
    assert answer.code == 2
    assert "error: target: none; expected labelled images as they will be met" in answer.err


def test_a_file_that_holds_no_augmentation_is_refused(beside: Path) -> None:
    config = ForeseeConfig.read(data="digits", first=400, target=str(beside))
    with pytest.raises(InputError, match=r"beside\.npz"):
        foresee_data(config, learned=[beside])
