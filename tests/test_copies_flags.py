from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from augury.copies import choose_copies, flag_copies
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence
from augury.transforms import Rotate

Array = npt.NDArray[Any]


def clouds() -> tuple[Array, Array, Array, Array]:
    """Two classes of points, and four copies of each, of which a tenth lie where the other class does."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    centres = np.where(y[:, None] == 1, 2.0, -2.0) * np.array([1.0, 0.5, 0.0])
    X = centres + rng.normal(size=(200, 3))
    lost = rng.random((200, 4)) < 0.1
    copies = np.where(lost[:, :, None], -1, 1) * centres[:, None] + rng.normal(size=(200, 4, 3))
    return X, y, copies, lost


def test_flagged_copies_are_those_that_have_lost_their_label() -> None:
    X, y, copies, lost = clouds()
    flags = flag_copies(SoftmaxHead().fit(X, y), (X, y), copies)
    truth = lost.ravel()
    assert flags.flagged[truth].mean() > 0.9
    assert flags.flagged[~truth].mean() < 0.1
    assert truth[flags.harmful].mean() > 0.8
    assert truth[flags.disputed].mean() > 0.8


def test_the_flags_are_influence_on_the_target_and_a_vote_of_other_points() -> None:
    X, y, copies, _ = clouds()
    head = SoftmaxHead().fit(X, y)
    target = X[:50] + 0.1, y[:50]
    flags = flag_copies(head, (X, y), copies, target, neighbours=7, harm=0.9)
    pool = copies.reshape(-1, 3), np.repeat(y, 4)
    np.testing.assert_allclose(flags.influence, np.asarray(influence(head, (X, y), pool, target)), rtol=1e-8, atol=1e-15)
    assert flags.bound == pytest.approx(np.quantile(np.abs(np.asarray(influence(head, (X, y), (X, y), target))), 0.9))
    for row in (0, 3, 77, 500):
        distance = np.linalg.norm(X - pool[0][row], axis=1)
        distance[row // 4] = np.inf
        nearest = np.argsort(distance)[:7]
        assert flags.disagreement[row] == pytest.approx((y[nearest] != pool[1][row]).mean())


def test_the_frame_holds_the_flagged_copies_the_most_harmful_first() -> None:
    X, y, copies, _ = clouds()
    flags = flag_copies(SoftmaxHead().fit(X, y), (X, y), copies)
    frame = flags.to_frame()
    assert len(frame) == flags.flagged.sum()
    assert (np.diff(frame["influence"]) <= 0).all()
    assert (frame["harmful"] | frame["disputed"]).all()
    assert (frame["candidate"] == frame["point"] * 4 + frame["copy"]).all()


def test_no_flagged_copy_is_dropped_from_the_ordering_but_most_come_last() -> None:
    X, y, copies, lost = clouds()
    head = SoftmaxHead().fit(X, y)
    ordering = choose_copies(head, (X, y), copies, (X, y), weight=1)
    assert len(ordering) == lost.size
    rank = np.argsort(ordering.candidates)
    assert np.median(rank[lost.ravel()]) > 0.9 * lost.size


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("settings", "message"),
    [({"harm": 1.5}, "harm"), ({"neighbours": 0}, "neighbours"), ({"neighbours": 200}, "neighbours"), ({"target": "self"}, "target")],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    X, y, copies, _ = clouds()
    with pytest.raises(InputError, match=message):
        flag_copies(SoftmaxHead().fit(X, y), (X, y), copies, **settings)


@pytest.fixture(scope="module")
def turned() -> tuple[Array, Array, Array, Array, tuple[Array, Array]]:
    """MNIST's 6 and 9 turned by up to 180 degrees: features (pixels averaged 4 x 4), labels, copies, angles; and other upright points."""
    if not os.environ.get("AUGURY_DATA"):
        pytest.skip("AUGURY_DATA is not set: it names the folder that holds MNIST")
    from augury.data import load

    try:
        examples = load("mnist").only(["6", "9"]).first(1000)
    except InputError as error:
        pytest.skip(f"AUGURY_DATA holds no MNIST: {error}")
    transform = Rotate.up_to(180, 13)
    images = examples.to_float()
    copies = pooled(transform.copies(images[:500]))
    features = pooled(images)
    angles = np.tile(np.abs(transform.angles), 500)
    return features[:500], examples.labels[:500], copies, angles, (features[500:], examples.labels[500:])


def pooled(images: Array) -> Array:
    return images.reshape(*images.shape[:-3], 7, 4, 7, 4).mean(axis=(-3, -1)).reshape(*images.shape[:-3], 49).astype(np.float64)


def test_a_six_turned_into_a_nine_is_flagged_and_harms(turned: tuple[Array, Array, Array, Array, tuple[Array, Array]]) -> None:
    X, y, copies, angles, unseen = turned
    head = SoftmaxHead().fit(X, y)
    flags = flag_copies(head, (X, y), copies)
    upside_down, upright = angles >= 150, angles <= 30
    assert flags.flagged[upside_down].mean() > 0.8
    assert flags.flagged[upright].mean() < 0.2
    flat, labels = copies.reshape(-1, 49), np.repeat(y, copies.shape[1])

    def accuracy(kept: Array) -> float:
        return float(SoftmaxHead().fit(np.concatenate([X, flat[kept]]), np.concatenate([y, labels[kept]])).score(*unseen))

    assert accuracy(~flags.flagged) > accuracy(np.ones(len(flat), dtype=bool)) + 0.02
    assert accuracy(~flags.flagged) > accuracy(flags.flagged) + 0.05
