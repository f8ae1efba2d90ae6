"""Adversarial training of G: the penalty in closed form, the game against one written out by hand, kills, and what is found wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import Tensor, nn

from augury.errors import InputError
from augury.learned import (
    AdversarialConfig,
    AdversarialReport,
    BoundedTransformation,
    FieldTransformation,
    WarpingTransformation,
    measure,
    random_tau,
    train_transformation,
)
from augury.learned.critics import gradient_penalty
from augury.learned.fields import Kind
from augury.learned.game import Game

CPU = torch.device("cpu")
SHORT = AdversarialConfig(steps=30, batch=16, critic_steps=2, log_every=10)


def digits(points: int = 200) -> npt.NDArray[np.uint8]:
    images: npt.NDArray[np.uint8] = np.rint(load_digits().images[:points, None] * 255 / 16).astype(np.uint8)
    return images


def small(seed: int = 0, kind: Kind = "both") -> FieldTransformation:
    return FieldTransformation(1, 8, 8, tau_size=6, seed=seed, kind=kind)


def fitted(transformation: WarpingTransformation, config: AdversarialConfig = SHORT, checkpoint: Path | None = None) -> AdversarialReport:
    """Trained on digits, whatever is wrong with the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train_transformation(transformation, digits(), config=config, checkpoint=checkpoint)


def weights(module: nn.Module) -> npt.NDArray[np.float32]:
    return np.concatenate([weight.detach().numpy().ravel() for weight in module.parameters()])


class Linear(nn.Module):
    """D(x) = w . x, whose gradient is w everywhere."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.w


def test_the_penalty_of_a_linear_critic_is_its_slope_less_one_squared() -> None:
    w = torch.tensor([3.0, 0.0, 4.0, 0.0], dtype=torch.float64)
    critic, real, made = Linear(w), torch.rand(5, 1, 2, 2).double(), torch.rand(5, 1, 2, 2).double()
    penalty = gradient_penalty(critic, real, made, torch.rand(5).double())
    assert_allclose(penalty.item(), (5 - 1) ** 2)
    (gradient,) = torch.autograd.grad(penalty, critic.w)
    assert_allclose(gradient, 2 * (5 - 1) * w / 5)  # d (|w| - 1)^2 / dw


def test_the_penalty_is_taken_at_the_given_share_of_the_way_to_the_real_image() -> None:
    class Square(nn.Module):  # the gradient at x is x
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).square().sum(1) / 2

    real, made = torch.full((2, 1, 1, 1), 5.0), torch.full((2, 1, 1, 1), 1.0)
    assert_allclose(gradient_penalty(Square(), real, made, torch.tensor([0.0, 1.0])).item(), (0**2 + 4**2) / 2)
    assert_allclose(gradient_penalty(Square(), real, made, torch.tensor([0.25, 0.25])).item(), 1**2)


def precise(game: Game) -> Game:
    """In float64, since Adam makes whole steps of gradients that are rounding errors."""
    game.players.double()
    game.half = game.half.double()
    return game


@pytest.mark.parametrize("kind", ["both", "appearance"])
def test_the_game_is_two_adams_on_the_papers_losses(kind: Kind) -> None:
    """Three steps, written out with an optimizer a player; the draws alone come from the game."""
    config = AdversarialConfig(steps=3, batch=8, critic_steps=2, flow_weight=0.7, anti_identity=0.02, penalty=4)
    game, hand = (precise(Game(small(kind=kind), digits(), config, CPU)) for _ in range(2))
    theirs = torch.optim.Adam(hand.critics.parameters(), 5e-4, (0.5, 0.9))
    ours = torch.optim.Adam(hand.transformation.parameters(), 5e-4, (0.5, 0.9))
    for number in range(3):
        losses = game.step(number)
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence((0, number)).generate_state(1, np.uint64)[0]))
        for _ in range(2):
            x, tau = hand._draw(generator)
            real = {"image": x}
            if kind == "both":
                real["flow"] = hand._affine_flows(generator)
            total = torch.zeros((), dtype=torch.float64)
            for name, critic in hand.critics.items():
                made = (hand.transformation(x, tau) if name == "image" else hand.transformation.flow(tau) / 3.5).detach()
                share = torch.rand(8, generator=generator).double()[:, None, None, None]
                between = (share * real[name] + (1 - share) * made).requires_grad_()
                (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
                distance = critic(real[name]).mean() - critic(made).mean()
                total = total - distance + 4 * ((slope.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()
            theirs.zero_grad()
            total.backward()
            theirs.step()
        x, tau = hand._draw(generator)
        made = hand.transformation(x, tau)
        inverse = 1 / ((made - x).square().mean() + 1e-3)
        loss = -hand.critics["image"](made).mean()
        if kind == "both":
            flow = hand.transformation.flow(tau) / 3.5
            inverse = inverse + 1 / (flow.square().mean() + 1e-3)
            loss = loss - 0.7 * hand.critics["flow"](flow).mean()
        ours.zero_grad()
        (loss + 0.02 * inverse).backward()
        ours.step()
        assert_allclose(losses[4], inverse.detach(), rtol=1e-9)
        assert_allclose(losses[2 if kind == "both" else 0], distance.detach(), rtol=1e-7)
    assert_allclose(weights(game.players), weights(hand.players), atol=1e-8)


def test_a_training_that_was_killed_and_resumed_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, path, step = small(), tmp_path / "g.safetensors", Game.step
    expected = fitted(whole)

    def killed(game: Game, number: int) -> Tensor:
        if number == 17:
            raise KeyboardInterrupt
        return step(game, number)

    monkeypatch.setattr(Game, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(small(), checkpoint=path)
    monkeypatch.setattr(Game, "step", step)
    resumed = small()
    report = fitted(resumed, checkpoint=path)
    assert_array_equal(weights(resumed), weights(whole))
    pd.testing.assert_frame_equal(report.log, expected.log, check_exact=True)
    assert (report.resumed, expected.resumed) == (10, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["g.safetensors"]
    monkeypatch.setattr(Game, "step", None)
    again = small()
    assert fitted(again, checkpoint=path).resumed == 30  # nothing is left to do
    assert_array_equal(weights(again), weights(whole))


def test_the_log_has_a_row_every_so_many_steps_and_at_the_end() -> None:
    transformation = small()
    report = fitted(transformation, AdversarialConfig(steps=5, batch=4, critic_steps=1, log_every=2))
    assert report.log["step"].tolist() == [2, 4, 5]
    assert np.isfinite(report.log.to_numpy()).all()
    assert report.statistics == measure(transformation, digits())
    assert report.log.iloc[-1]["displacement"] == report.statistics.displacement


def test_training_moves_g_towards_its_aims() -> None:
    transformation = small()
    before = measure(transformation, digits())
    report = fitted(transformation, AdversarialConfig(steps=60, batch=32, critic_steps=1, log_every=10, learning_rate=2e-3))
    assert report.statistics.displacement > 2 * before.displacement
    assert report.statistics.variety > 2 * before.variety
    assert report.log["image_penalty"].iloc[-1] < report.log["image_penalty"].iloc[0]  # the critic's slope goes to one
    assert report.log["flow_penalty"].iloc[-1] < report.log["flow_penalty"].iloc[0]


def test_no_generator_moves_and_every_seed_is_another_training() -> None:
    before = torch.get_rng_state()
    brief = {"steps": 1, "batch": 4, "critic_steps": 1}
    found = []
    for seed in (0, 0, 1):
        transformation = small()
        fitted(transformation, AdversarialConfig(**brief, seed=seed))
        found.append(weights(transformation))
    assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path, config = tmp_path / "c", AdversarialConfig(steps=1, batch=4, critic_steps=1)
    fitted(small(), config, checkpoint=path)
    others: list[tuple[FieldTransformation, AdversarialConfig]] = [
        (small(), AdversarialConfig(steps=2, batch=4, critic_steps=1)),
        (small(seed=1), config),
        (FieldTransformation(1, 8, 8, tau_size=6, pooling=3), config),
    ]
    for transformation, changed in others:
        with pytest.raises(InputError, match="another configuration, data or initial network"):
            fitted(transformation, changed, checkpoint=path)


def test_a_training_that_diverges_names_the_learning_rate() -> None:
    with pytest.raises(InputError, match=r"learning_rate: with 1e\+30, losses or weights are no longer finite before step 2; lower it"):
        fitted(small(), AdversarialConfig(steps=2, batch=4, critic_steps=1, learning_rate=1e30))


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(InputError, match="transformation: it has nothing to fit"):
        fitted(BoundedTransformation(1, 8, 8))
    with pytest.raises(InputError, match=r"images: shape \(200, 1, 8, 8\); expected at least one image of the transformation's shape"):
        fitted(FieldTransformation(1, 8, 9))


def stuck(bias: float) -> FieldTransformation:
    """Every field is the same everywhere, for every tau."""
    transformation = small()
    last = transformation.decoder[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(bias)
    return transformation


STILL = AdversarialConfig(steps=1, batch=2, critic_steps=1, learning_rate=1e-12)  # which leaves G as it was


def test_a_g_that_changes_nothing_is_found_and_the_cure_named() -> None:
    with pytest.warns(UserWarning, match=r"changes nothing to speak of \(by 0\.0% .* raise anti_identity, now 0\.\d+,"):
        report = train_transformation(stuck(0.0), digits(), config=STILL)
    assert report.identity
    assert not report.collapsed
    assert report.statistics.still == 1
    assert len(report.warnings) == 1


def test_a_g_that_no_longer_heeds_tau_is_found_and_the_cure_named() -> None:
    with pytest.warns(UserWarning, match=r"G has collapsed: .* lower learning_rate, now 1e-12, or anti_identity"):
        report = train_transformation(stuck(1.0), digits(), config=STILL)
    assert report.collapsed
    assert not report.identity
    assert report.statistics.variety < 1e-3 < report.statistics.change
    assert report.statistics.still == 0


def test_a_healthy_transformation_is_neither() -> None:
    statistics = measure(BoundedTransformation(1, 8, 8), digits())
    assert not statistics.identity
    assert not statistics.collapsed


def test_statistics_are_those_of_known_shifts() -> None:
    transformation = BoundedTransformation.only(1, 8, 8, shift=0.25, brightness=0.5, clamp=False)
    images = np.full((3, 1, 8, 8), 100, np.uint8)
    images[0] = 200
    found = measure(transformation, images, draws=50, seed=4)
    tau = random_tau(50, 3, torch.Generator().manual_seed(4)).double().numpy()
    shifts, brightness = 2 * tau[:, :2], 0.5 * tau[:, 2]
    lengths = np.hypot(*shifts.T)
    contrast = np.std(images / 255)
    assert_allclose(found.displacement, lengths.mean(), rtol=1e-5)
    assert_allclose(found.spread, np.sqrt(shifts.var(axis=0).sum()), rtol=1e-5)
    assert_allclose(found.still, (lengths < 0.25).mean(), rtol=1e-5)
    assert_allclose(found.change, np.sqrt((brightness**2).mean()) / contrast, rtol=1e-5)  # a shift of an even picture changes nothing
    assert_allclose(found.variety, brightness.std() / contrast, rtol=1e-5)


def test_statistics_need_two_draws_and_an_image() -> None:
    for images, draws in ((digits(), 1), (digits(0), 5)):
        with pytest.raises(InputError, match="expected at least two draws and an image"):
            measure(small(), images, draws=draws)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps: 0; expected at least 1"),
        ({"batch": 0}, "batch: 0"),
        ({"critic_steps": 0}, "critic_steps: 0"),
        ({"log_every": 0}, "log_every: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0; expected a positive number"),
        ({"betas": (0.5, 1.0)}, r"betas: \(0.5, 1.0\); expected two numbers from 0 to below 1"),
        ({"penalty": float("nan")}, "penalty: nan; expected a finite number that is not negative"),
        ({"anti_identity": -1}, "anti_identity: -1"),
        ({"rotation": 500}, "rotation: 500; expected 0 to 180"),
        ({"rotation": 0, "scale": 0, "shear": 0, "shift": 0}, "bounds: all are zero"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AdversarialConfig(**settings)


def test_the_papers_settings_are_kept() -> None:
    config = AdversarialConfig.paper(seed=3)
    assert (config.batch, config.learning_rate, config.betas, config.penalty, config.critic_steps) == (128, 1e-4, (0.5, 0.9), 10, 5)
    assert config.seed == 3


@pytest.mark.parametrize("make", [lambda: FieldTransformation(1, 8, 8, kind="appearance", tau_size=4), lambda: small(kind="spatial")])
def test_a_g_of_one_part_is_trained_on_that_part(make: Callable[[], FieldTransformation]) -> None:
    transformation = make()
    before = weights(transformation)
    report = fitted(transformation, AdversarialConfig(steps=4, batch=8, critic_steps=1, log_every=4))
    assert not np.array_equal(weights(transformation), before)
    assert (report.log["flow_distance"] != 0).all() == transformation.moves
