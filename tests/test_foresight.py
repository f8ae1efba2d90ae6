"""`foresee`: agreements by hand, the right augmentation first, and nothing that depends on what else is asked."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.nn import functional

import augury
from augury.errors import InputError
from augury.learned import LearnedAugmentation, TauDistribution, foresee
from augury.learned.baselines import BASELINES, Unchanged, named_baseline
from augury.learned.foresight import LOOKS, _Asked
from augury.learned.gradients import FLOOR, Groups
from augury.learned.objective import Target
from augury.learned.teaching import Goal
from augury.training import Moment, TrainingConfig
from test_learned_learn import digits, network, shifts, state

SHORT = TrainingConfig(20, 32, learning_rate=5e-3)


@dataclass(frozen=True)
class Beside:
    """Moves images to the right."""

    pixels: int

    def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        del labels, moment
        return images.roll(self.pixels, dims=3)


MOVES = {f"{pixels}": Beside(pixels) for pixels in (2, 1, 0, -2)}


def moved(pixels: int) -> tuple[Any, Any]:
    images, labels = digits(600, 800)
    return np.roll(images, pixels, axis=3), labels


def asked(target: Any = None, augmentations: Any = MOVES, **settings: Any) -> pd.DataFrame:  # noqa: ANN401  (any of foresee's)
    usual: dict[str, Any] = {"training": SHORT, "device": "cpu"}
    return foresee(network(), digits(0, 600), moved(2) if target is None else target, augmentations, **usual | settings)


def test_agreements_are_those_of_gradients_by_hand() -> None:
    images, labels = digits(0, 200)
    groups = Groups(Goal(images, labels, *moved(1)), 400)  # so that the whole target is looked at
    F, first = network().eval(), torch.Generator().manual_seed(3)
    found = _Asked(Beside(1), MOVES, groups, 0.0, frozenset({5}))
    for step in (4, 5, 6):
        made = found(torch.from_numpy(images[:8]), torch.from_numpy(labels[:8]), Moment(F, step, 10, first))
        assert torch.equal(made, torch.from_numpy(images[:8]).roll(1, dims=3))

    def loss(some: Target, pixels: int) -> Tensor:
        return functional.cross_entropy(F(some.images.roll(pixels, dims=3)), some.labels)

    def gradients(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        rows = []
        for some, its in parts:
            copied = copy.deepcopy(F)
            functional.cross_entropy(copied(some), its).backward()
            rows.append(torch.cat([weight.grad.flatten() for weight in copied.parameters() if weight.grad is not None]))
        return torch.stack(rows)

    drawn = groups.drawn(F, torch.zeros(1), torch.Generator().manual_seed(3))
    aim, its = (torch.from_numpy(part) for part in moved(1))
    wanted = gradients([(aim[its == k], its[its == k]) for k in range(10)])
    made = {name: gradients([(some.images.roll(move.pixels, dims=3), some.labels) for some in drawn]) for name, move in MOVES.items()}
    root = made["1"].square().mean(dim=0).sqrt()
    metric = 1 / (root + FLOOR * root.max())
    for name, g in made.items():
        expected = 1 - ((g - wanted).square() @ metric) / ((g.square() + wanted.square()) @ metric)
        hard = np.mean([float(loss(some, MOVES[name].pixels).detach()) for some in drawn])
        assert_allclose(found.told[name], [(float(expected.mean()), hard)], rtol=1e-4)


def test_the_network_that_is_asked_has_the_mean_of_its_last_weights_and_the_others_draw_alike() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Seeing:
        def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
            assert moment.chosen is None
            assert not moment.network.training
            weight = moment.network.get_submodule("4").weight
            assert isinstance(weight, Tensor)
            seen.append((weight.detach().clone(), torch.rand(3, generator=moment.generator)))
            return images

    images, labels = digits(0, 200)
    found = _Asked(Unchanged(), {"one": Seeing(), "other": Seeing()}, Groups(Goal(images, labels, *moved(1)), 60), 0.6, frozenset({3}))
    F, weights = network(), []
    for step in range(4):
        with torch.no_grad():
            F[4].weight.add_(1.0)
        weights.append(F[4].weight.detach().clone())
        batch = torch.from_numpy(images[:8]), torch.from_numpy(labels[:8])
        found(*batch, Moment(F, step, 4, torch.Generator().manual_seed(step), chosen=torch.arange(8)))
    mean = weights[0]
    for newest, weight in zip((1 / 2, 0.4, 0.4), weights[1:], strict=True):
        mean = mean.lerp(weight, newest)
    assert F.training
    assert len(seen) == 2
    assert_allclose(seen[0][0], mean, rtol=1e-5)
    assert torch.equal(seen[0][1], seen[1][1])


@pytest.mark.parametrize("pixels", [2, -2])
@pytest.mark.usefixtures("without_type_checks")  # hundreds of steps
def test_what_makes_images_such_as_the_targets_comes_first(pixels: int) -> None:
    found = asked(moved(pixels))
    assert found.index[0] == str(pixels)
    assert found.index[-1] == str(-pixels)
    assert found["agreement"].is_monotonic_decreasing
    assert found.columns.tolist() == ["agreement", "loss"]
    assert found.index.name == "augmentation"
    assert found["agreement"].iloc[0] > found.loc["0", "agreement"] + 0.1


@pytest.mark.usefixtures("without_type_checks")
def test_where_the_target_is_as_the_training_images_so_are_the_images_as_they_are() -> None:
    assert asked(moved(0)).index[0] == "0"


def test_what_is_told_of_one_does_not_depend_on_the_others_or_their_order() -> None:
    whole = asked()
    turned = asked(augmentations=dict(reversed(MOVES.items())))
    assert whole.equals(turned)
    assert asked(augmentations={"1": MOVES["1"]}).loc["1"].equals(whole.loc["1"])
    assert (asked(seed=1).loc["1"] != whole.loc["1"]).all()


def test_the_network_and_the_global_generators_are_left_as_they_were() -> None:
    F = network()
    before, chance = state(F), torch.get_rng_state()
    foresee(F, digits(0, 100), moved(1), {"moved": Beside(1)}, training=TrainingConfig(2, 32), device="cpu")
    assert np.array_equal(state(F), before)
    assert F.training
    assert torch.equal(torch.get_rng_state(), chance)


def test_every_look_is_within_the_part_that_is_trained_however_short() -> None:
    for epochs, batch in ((1, 100), (1, 32), (4, 16), (50, 64)):
        calls: list[int] = []

        class Counted:
            def __call__(self, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
                calls.append(moment.step)  # noqa: B023  (called at once)
                return images

        foresee(network(), digits(0, 100), moved(1), {"x": Counted()}, training=TrainingConfig(epochs, batch), device="cpu")
        steps = epochs * -(-67 // batch)
        assert 1 <= len(calls) <= LOOKS
        assert max(calls) < max(1, 0.3 * steps)
        assert len(calls) == min(LOOKS, len(set(calls)))


def test_the_usual_ones_are_compared_by_default() -> None:
    short = TrainingConfig(1, 32)
    found = asked(None, None, training=short)
    assert set(found.index) == set(BASELINES)
    half = {name: named_baseline(name, 1, 8, 8, share=0.5) for name in ("crop", "affine")}
    assert asked(None, half, training=short).loc["crop"].equals(found.loc["crop"])
    assert asked(None, half, training=short, share=0.5).loc["affine"].equals(asked(None, None, training=short, share=0.5).loc["affine"])


@pytest.mark.usefixtures("without_type_checks")
def test_what_was_learned_is_compared_after_the_usual_crop() -> None:
    E = TauDistribution(1, 8, 8, tau_size=2, widths=True, concentration=50.0)
    with torch.no_grad():
        E.shared[0, 0] = 3.0  # to the right
    learned = LearnedAugmentation(shifts(), E, share=1)
    found = asked(None, MOVES | {"learned": learned, "crop": named_baseline("crop", 1, 8, 8)})
    assert found.loc["learned", "agreement"] > found.loc["crop", "agreement"] + 0.1
    assert next(learned.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"augmentations": {}}, "augmentations: none; expected some to compare, by name, or None for the usual ones"),
        ({"target": (np.zeros((5, 1, 8, 9), np.float32), np.arange(5))}, "target: images of shape .1, 8, 9., those of train .1, 8, 8."),
        ({"share": 2}, "share: 2; expected a share of the images"),
        ({"augmentations": None, "target": (np.zeros((5, 1, 8, 8), np.float32), np.full(5, 11))}, "labels"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked(**{"augmentations": None} | given)


def test_a_target_of_other_classes_is_called_by_its_name() -> None:
    train, target = (augury.from_arrays(*digits(0, 60), tuple(names)) for names in ("abcdefghij", "klmnopqrst"))
    with pytest.raises(InputError, match="target: its classes are k, l"):
        foresee(network(), train, target, MOVES, device="cpu")


def test_a_network_that_ends_in_no_linear_layer_is_refused() -> None:
    with pytest.raises(InputError, match="model: it has no linear layer"):
        foresee(nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()), digits(0, 60), moved(1), MOVES, training=SHORT, device="cpu")
