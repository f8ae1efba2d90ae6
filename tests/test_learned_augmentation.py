"""A learned augmentation in other people's training loops: its contract, its file, and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from augury.errors import InputError
from augury.learned import (
    Applied,
    AugmentationNetwork,
    BoundedTransformation,
    Draw,
    FieldTransformation,
    LearnedAugmentation,
    TauDistribution,
    WarpingTransformation,
    as_augment,
    random_tau,
    save_module,
)
from augury.learned.augmentation import LEARNED
from augury.learned.baselines import Unchanged, named_baseline
from augury.training import Augment, Learner, Moment

SHAPE = (3, 9, 8)
NAMES = ["shared", "conditional", "network", "dropout", "fields"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(points: int = 5, *, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    found = torch.rand(points, *SHAPE, generator=generator(seed))
    return (found * 255).to(dtype) if dtype == torch.uint8 else found.to(dtype)


def learned(name: str, share: float = 1.0) -> LearnedAugmentation:
    """One of every kind, as if it had been learned."""
    G: WarpingTransformation = FieldTransformation(*SHAPE, tau_size=4) if name == "fields" else BoundedTransformation(*SHAPE, shift=0.2)
    size = G.tau_size
    E = {
        "shared": lambda: TauDistribution(*SHAPE, tau_size=size, concentration=2),
        "conditional": lambda: TauDistribution(*SHAPE, tau_size=size, conditional=True),
        "network": lambda: AugmentationNetwork(*SHAPE, tau_size=size),
        "dropout": lambda: AugmentationNetwork(*SHAPE, tau_size=size, dropout=0.5),
        "fields": lambda: TauDistribution(*SHAPE, tau_size=size),
    }[name]()
    with torch.no_grad():
        for weight in E.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator(3)))
        for weight in G.parameters():
            weight.mul_(3)
    return LearnedAugmentation(G, E, share=share, record={"seed": 3, "history": {"effect": [-0.5, -0.75]}})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_images_keep_their_shape_and_type_and_range(name: str, dtype: torch.dtype) -> None:
    aug, images = learned(name), pictures(dtype=dtype)
    before = images.clone()
    made = aug(images, generator=generator())
    assert made.shape == images.shape
    assert made.dtype == dtype
    assert made.min() >= 0
    assert made.max() <= (255 if dtype == torch.uint8 else 1)
    assert not torch.equal(made, images)
    assert torch.equal(images, before)
    assert aug(images[:0], generator=generator()).shape == (0, *SHAPE)


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_rounded_to_the_nearest_grey_level(name: str) -> None:
    aug, images = learned(name), pictures(dtype=torch.uint8)
    draw = aug.params(images, generator=generator())
    exact = aug(images.float() / 255, params=draw) * 255
    assert_allclose(aug(images, params=draw).float(), exact, atol=0.5 + 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_in_evaluation_mode_it_is_the_identity(name: str) -> None:
    aug, images = learned(name).eval(), pictures()
    assert aug(images) is images
    assert not torch.equal(aug.train()(images, generator=generator()), images)


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_can_be_looked_at_and_replayed(name: str) -> None:
    aug, images = learned(name, share=0.6), pictures(40)
    draw = aug.params(images, generator=generator())
    assert isinstance(draw, Draw)
    assert draw.tau.shape == (40, aug.transformation.tau_size)
    assert float(draw.tau.abs().max()) <= 1
    made = aug(images, params=draw)
    assert torch.equal(made, aug(images, generator=generator()))
    assert torch.equal(made, aug(images, params=draw))
    by_hand = aug.transformation(images, draw.tau)
    assert torch.equal(made[draw.changed], by_hand[draw.changed])
    assert torch.equal(made[~draw.changed], images[~draw.changed])
    assert 10 < int(draw.changed.sum()) < 38


@pytest.mark.parametrize("name", ["shared", "conditional", "dropout", "fields"])
def test_the_generator_is_the_only_source_of_chance(name: str) -> None:
    aug, images, before = learned(name), pictures(), torch.get_rng_state()
    chance = generator(1)
    first, second = aug(images, generator=chance), aug(images, generator=chance)
    assert torch.equal(first, aug(images, generator=generator(1)))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(1)  # without one, torch's own is used
        assert torch.equal(aug(images), first)
    taus = aug.params(images[:1].expand(20, *SHAPE), generator=generator()).tau
    assert len(taus.unique(dim=0)) == 20  # every image has a draw of its own


@given(share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_the_share_of_the_images_is_changed(share: float, seed: int) -> None:
    aug, images = learned("shared", share), pictures(1).expand(400, *SHAPE)
    changed = aug.params(images, generator=generator(seed)).changed.double().mean()
    assert abs(float(changed) - share) <= 5 * (share * (1 - share) / 400) ** 0.5 + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_images_and_nothing_that_was_learned(name: str) -> None:
    aug, images = learned(name), pictures().requires_grad_()
    assert not any(value.requires_grad for value in aug.parameters())
    draw = aug.params(images, generator=generator())
    assert not draw.tau.requires_grad
    made = aug(images, params=draw)
    (gradient,) = torch.autograd.grad(made.square().sum(), images)
    assert float(gradient.abs().max()) > 0
    assert not aug(pictures(), params=draw).requires_grad
    inside = 0.3 + 0.4 * pictures(1, dtype=torch.float64)
    single = Draw(0.3 * random_tau(1, draw.tau.shape[1], generator()).double(), torch.tensor([True]))
    assert torch.autograd.gradcheck(lambda given: aug(given, params=single), (inside.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_changed_alike_whatever_else_is_in_the_batch(name: str) -> None:
    aug, images = learned(name), pictures()
    draw = aug.params(images, generator=generator())
    whole = aug(images, params=draw)
    for i in range(5):
        alone = aug(images[i : i + 1], params=Draw(draw.tau[i : i + 1], draw.changed[i : i + 1]))
        assert_allclose(alone[0], whole[i], atol=1e-4)


class Augmented(TensorDataset):
    """A Dataset that augments image by image."""

    def __init__(self, images: Tensor, aug: LearnedAugmentation) -> None:
        super().__init__(images)
        self.aug = aug

    def __getitem__(self, index: Any) -> Tensor:  # noqa: ANN401  (as torch has it)
        return self.aug(self.tensors[0][index : index + 1])[0]


class Collate:
    """A collate function that augments a whole batch."""

    def __init__(self, aug: LearnedAugmentation) -> None:
        self.aug = aug

    def __call__(self, samples: list[tuple[Tensor]]) -> Tensor:
        return self.aug(torch.stack([image for (image,) in samples]))


@pytest.mark.parametrize("name", ["shared", "dropout", "fields"])
def test_it_works_in_a_workers_dataset_and_in_its_collate_function(name: str) -> None:
    aug, images = learned(name), pictures(6)
    settings: dict[str, Any] = {"batch_size": 3, "num_workers": 1, "timeout": 60}
    collating = DataLoader(TensorDataset(images), collate_fn=Collate(aug), generator=generator(), **settings)
    for loader in (DataLoader(Augmented(images, aug), generator=generator(), **settings), collating):
        first, second = (torch.cat(list(loader)) for _ in range(2))  # two epochs
        assert first.shape == images.shape
        assert not torch.equal(first, images)
        assert not torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_from_its_file_with_the_same_bits(name: str, tmp_path: Path) -> None:
    aug, images = learned(name, share=0.7), pictures()
    path = aug.save(tmp_path / "a.safetensors")
    back = LearnedAugmentation.load(path)
    assert torch.equal(back(images, generator=generator()), aug(images, generator=generator()))
    assert (back.share, back.record, repr(back)) == (0.7, aug.record, repr(aug))
    assert not any(value.requires_grad for value in back.parameters())
    assert back.training
    assert back.save(tmp_path / "again").read_bytes() == path.read_bytes()


def test_it_can_be_copied_and_pickled() -> None:
    aug, images = learned("conditional"), pictures()
    for other in (copy.deepcopy(aug), pickle.loads(pickle.dumps(aug))):
        assert torch.equal(other(images, generator=generator()), aug(images, generator=generator()))


def record_of(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(str(path), framework="pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["augury"])
    return found


BROKEN: dict[str, Any] = {
    "a list": lambda record: [],
    "a number": lambda record: 3,
    "another kind": lambda record: record | {"kind": "Examples"},
    "no parts": lambda record: {"kind": record["kind"]},
    "parts of nothing": lambda record: record | {"parts": {"transformation": None, "network": []}},
    "an unknown part": lambda record: record | {"parts": record["parts"] | {"network": {"kind": "os.system", "settings": {}}}},
    "parts exchanged": lambda record: (
        record | {"parts": {"transformation": record["parts"]["network"], "network": record["parts"]["transformation"]}}
    ),
    "strange settings": lambda record: (
        record | {"parts": record["parts"] | {"network": {"kind": "TauDistribution", "settings": {"__class__": "x"}}}}
    ),
    "settings of no kind": lambda record: record | {"parts": record["parts"] | {"network": {"kind": "TauDistribution", "settings": "abc"}}},
    "a share of words": lambda record: record | {"share": "most"},
    "a share of two": lambda record: record | {"share": 2},
    "no share": lambda record: {key: value for key, value in record.items() if key != "share"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_with_another_record_is_refused(name: str, tmp_path: Path, without_type_checks: None) -> None:
    path = learned("shared").save(tmp_path / "a.safetensors")
    tensors, record = safetensors.torch.load_file(path), BROKEN[name](record_of(path))
    safetensors.torch.save_file(tensors, path, {"augury": json.dumps(record)})
    with pytest.raises(InputError, match=r"a\.safetensors: expected a saved LearnedAugmentation|share: 2|holds a os\.system"):
        LearnedAugmentation.load(path)


def test_files_of_anything_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match=r"a\.safetensors: no such file"):
        LearnedAugmentation.load(path)
    path.write_bytes(pickle.dumps(learned("shared")))
    with pytest.raises(InputError, match="not a readable safetensors file"):
        LearnedAugmentation.load(path)
    for record in (None, {"augury": "{"}):
        safetensors.torch.save_file({"a": torch.zeros(1)}, path, record)
        with pytest.raises(InputError, match="expected a saved LearnedAugmentation; give the file that its method save"):
            LearnedAugmentation.load(path)
    with pytest.raises(InputError, match="expected a saved LearnedAugmentation"):
        LearnedAugmentation.load(save_module(TauDistribution(*SHAPE, tau_size=2), path))
    aug = learned("shared")
    whole = aug.save(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        LearnedAugmentation.load(path)
    tensors = safetensors.torch.load_file(aug.save(path))
    record = json.dumps(record_of(path))
    safetensors.torch.save_file({name: value[..., :1].contiguous() for name, value in tensors.items()}, path, {"augury": record})
    with pytest.raises(InputError, match="has shape"):
        LearnedAugmentation.load(path)


def test_its_repr_tells_what_it_is_made_of() -> None:
    text = repr(learned("network", share=0.5))
    assert text.startswith("LearnedAugmentation(BoundedTransformation({'channels': 3, 'height': 9, 'width': 8, 'rotation': 20")
    assert text.endswith("share=0.5)")
    assert "AugmentationNetwork({" in text


def test_the_summary_tells_mean_and_deviation_of_each_change_by_name() -> None:
    aug, images = learned("shared"), pictures()
    frame, names = aug.summary(images), aug.transformation.names  # type: ignore[union-attr]
    taus = aug.params(images[:1].expand(5000, *SHAPE), generator=generator()).tau
    assert list(frame.index) == list(names)
    assert_allclose(frame["mean"], taus.mean(dim=0), atol=0.04)
    assert_allclose(frame["deviation"], taus.std(dim=0), atol=0.04)
    assert_allclose(frame["divergence"], aug.network.divergences(images)[0], atol=1e-6)
    for name in ("network", "dropout"):
        aug = learned(name)
        chosen = aug.network(images) if name == "network" else aug.network.eval()(images)
        aug.network.train()
        frame = aug.summary(images)
        assert_allclose(frame["mean"], chosen.mean(dim=0), atol=1e-6)
        assert_allclose(frame["deviation"], chosen.std(dim=0, correction=0), atol=1e-6)
        assert frame["divergence"].isna().all()
    assert list(learned("fields").summary(images).index) == ["tau_0", "tau_1", "tau_2", "tau_3"]


def test_the_spread_between_images_counts_into_the_deviation() -> None:
    aug, images = learned("conditional"), pictures(20)
    taus = torch.cat([aug.params(images, generator=generator(seed)).tau for seed in range(200)])
    assert_allclose(aug.summary(images)["deviation"], taus.std(dim=0), atol=0.03)


def test_it_augments_the_batches_of_a_training() -> None:
    aug, images = learned("shared"), pictures()
    applied, F = Applied(aug), nn.Linear(1, 1)
    assert isinstance(applied, Augment)
    assert not isinstance(applied, Learner)
    made = applied(images, torch.zeros(5, dtype=torch.int64), Moment(F, 0, 1, generator(4)))
    assert torch.equal(made, aug(images, generator=generator(4)))


@pytest.mark.parametrize("name", NAMES)
def test_before_anything_was_learned_a_distribution_is_as_it_began_and_a_network_changes_nothing(name: str) -> None:
    aug = learned(name)
    images, first = pictures(), aug.unlearned()
    assert first.training
    assert not aug.eval().unlearned().training
    aug.train()
    if not isinstance(aug.network, TauDistribution):
        assert torch.equal(first(images), images)
        return
    fresh = LearnedAugmentation(aug.transformation, TauDistribution(**aug.network.settings), share=aug.share)
    with torch.no_grad():
        aug.network.shared += 0.5
    assert torch.equal(aug.unlearned()(images, generator=generator()), fresh(images, generator=generator()))
    assert not torch.equal(aug(images, generator=generator()), fresh(images, generator=generator()))


def test_points_behind_the_training_images_are_changed_as_before_anything_was_learned() -> None:
    aug, images = learned("shared"), pictures()
    with torch.no_grad():
        aug.network.shared += 2
    labels, numbers = torch.zeros(5, dtype=torch.int64), torch.tensor([9, 2, 8, 0, 3])
    made = as_augment(aug, Unchanged(), 4)(images, labels, Moment(nn.Identity(), 0, 1, generator(4), chosen=numbers))
    chance = generator(4)
    trained, target = numbers < 4, numbers >= 4
    assert torch.equal(made[trained], aug(images[trained], generator=chance))
    assert torch.equal(made[target], aug.unlearned()(images[target], generator=chance))
    everywhere = as_augment(aug, Unchanged())(images, labels, Moment(nn.Identity(), 0, 1, generator(4)))
    assert torch.equal(everywhere, aug(images, generator=generator(4)))


def test_alone_nothing_is_drawn_as_it_was_at_the_beginning() -> None:
    G = BoundedTransformation.only(*SHAPE, rotation=30, brightness=0.2)
    E = TauDistribution(*SHAPE, tau_size=2, concentration=8.0, widths=True, kept=0.75)
    with torch.no_grad():
        E.shared[0] += torch.tensor([0.1, 2])
    aug, images = LearnedAugmentation(G, E, share=0.9), pictures(400)
    alone = aug.alone()
    assert alone.share == 0.25
    assert (E.kept, E.least) == (0.75, None)  # as before
    tau = alone.params(images, generator=generator()).tau
    assert (aug.summary(images)["divergence"] > LEARNED).tolist() == [False, True]
    assert torch.equal(tau, E.rsample(images, _after_the_shares(len(images))).detach() * torch.tensor([0, 1]))
    assert torch.equal(aug.alone(None).params(images, generator=generator()).tau != 0, torch.ones_like(tau, dtype=torch.bool))
    assert float((aug.params(images, generator=generator()).tau < 0).double().mean()) > 0.2 > float((tau < 0).double().mean())
    assert LearnedAugmentation(G, E, share=0.2).alone().share == 0.2
    assert not aug.eval().alone().training


def _after_the_shares(count: int) -> torch.Generator:
    chance = generator()
    torch.rand(count, generator=chance)
    return chance


def test_a_network_of_taus_has_nothing_to_leave_out() -> None:
    aug = next(learned(name) for name in NAMES if not isinstance(learned(name).network, TauDistribution))
    assert aug.alone() is aug


def test_another_augmentation_can_vary_the_images_in_the_place_of_e() -> None:
    aug, images = learned("shared"), pictures()
    labels, numbers = torch.zeros(5, dtype=torch.int64), torch.tensor([9, 2, 8, 0, 3])
    made = as_augment(aug, Unchanged(), 4, alone=True)(images, labels, Moment(nn.Identity(), 0, 1, generator(4), chosen=numbers))
    trained, target = numbers < 4, numbers >= 4
    assert torch.equal(made[trained], aug.alone()(images[trained], generator=generator(4)))
    assert torch.equal(made[target], images[target])
    everywhere = as_augment(aug, Unchanged(), alone=True)(images, labels, Moment(nn.Identity(), 0, 1, generator(4)))
    assert torch.equal(everywhere, aug.alone()(images, generator=generator(4)))


def test_where_nothing_was_learned_the_other_augmentation_is_all_there_is() -> None:
    G, images = BoundedTransformation.wide(3, 32, 32), torch.rand(6, 3, 32, 32, generator=generator())
    aug = LearnedAugmentation(G, TauDistribution(3, 32, 32, tau_size=G.tau_size, concentration=G.usual(), widths=True, kept=0.5))
    with torch.no_grad():
        aug.network.shared += 0.1
    labels, before = torch.zeros(6, dtype=torch.int64), named_baseline("trivialaugment", 3, 32, 32, share=0.8)
    made, alone = (
        augment(images, labels, Moment(nn.Identity(), 0, 1, generator(4), chosen=torch.arange(6)))
        for augment in (as_augment(aug, before, 4, alone=True), before)
    )
    assert torch.equal(made, alone)
    assert not torch.equal(made, images)


def test_a_trainings_checkpoint_tells_what_was_learned_by_its_repr() -> None:
    one, same, other = (learned("shared") for _ in range(3))
    with torch.no_grad():
        other.network.shared += 0.1
    assert repr(Applied(one)) == repr(Applied(same))
    assert repr(Applied(one)) != repr(Applied(other))
    assert repr(Applied(one)) != repr(Applied(learned("shared", share=0.5)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(2, 3, 9, 9), r"float32 of shape \(2, 3, 9, 9\)"),
        (torch.zeros(2, 1, 9, 8), "float32 of shape"),
        (torch.zeros(2, *SHAPE, dtype=torch.int64), "int64 of shape"),
    ],
    ids=["size", "channels", "type"],
)
def test_images_of_another_shape_or_type_are_refused(name: str, images: Tensor, found: str) -> None:
    with pytest.raises(InputError, match=rf"images: {found}.*it was learned for \(points, 3, 9, 8\): floats in \[0, 1\], or uint8"):
        learned(name)(images)


def test_what_does_not_fit_is_refused(without_type_checks: None) -> None:
    aug, images = learned("shared"), pictures()
    with pytest.raises(InputError, match="params: a draw for 4 images, given with 5"):
        aug(images, params=aug.params(images[:4]))
    with pytest.raises(InputError, match="network: it gives 3 components of tau, the transformation takes 4"):
        LearnedAugmentation(FieldTransformation(*SHAPE, tau_size=4), TauDistribution(*SHAPE, tau_size=3))
    with pytest.raises(InputError, match=r"share: 1\.5; expected a share of the images"):
        learned("shared", share=1.5)


def test_it_goes_to_another_device_whole() -> None:
    aug = learned("shared").to("meta")  # which refuses to mix with the CPU
    assert {value.device.type for value in [*aug.parameters(), *aug.buffers()]} == {"meta"}
    draw = Draw(torch.zeros(5, aug.transformation.tau_size, device="meta"), torch.ones(5, dtype=torch.bool, device="meta"))
    assert aug(pictures().to("meta"), params=draw).device.type == "meta"
