"""Features: equal to a forward pass by hand, kept by content, and no trace left in the network."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn

from augury import features as public_features
from augury.errors import InputError
from augury.model import Model, check_output, copy_features, features, load, reading, resolve_device, save
from augury.networks import build

Bytes = npt.NDArray[np.uint8]


class Counting(nn.Module):
    """A convolutional network with everything that a pass could spoil: batch norm, dropout, frozen parts, work in place; and it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        return self.fc(self.drop(self.relu(self.norm(self.conv(images)))).mean(dim=(2, 3)))


class Twice(nn.Module):
    """Runs one layer twice and another never."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.used(self.used(images.flatten(1)))


@pytest.fixture
def network() -> Counting:
    torch.manual_seed(0)
    network = Counting()
    network(torch.rand(8, 3, 9, 9))  # batch norm has seen something
    network.norm.eval()
    network.conv.weight.requires_grad_(requires_grad=False)
    return network


def pixels(points: int = 10, side: int = 9, channels: int = 3) -> Bytes:
    return np.random.default_rng(0).integers(0, 256, (points, channels, side, side), dtype=np.uint8)


def shifts(block: Bytes) -> Bytes:
    """Three copies: moved by 1, 2 and 3 columns."""
    return np.stack([np.roll(block, shift, axis=-1) for shift in (1, 2, 3)], axis=1)


def test_features_are_what_the_named_layer_gives_out_by_hand(network: Counting) -> None:
    twin = copy.deepcopy(network).eval()
    with torch.no_grad():
        images = torch.from_numpy(pixels()) / 255
        normed = twin.norm(twin.conv(images))
        pooled = normed.clone().relu().mean(dim=(2, 3))
        scores = twin.fc(pooled)
    for layer, expected in (("norm", normed), ("fc:input", pooled), ("fc", scores), ("", scores), ("conv:input", images)):
        averaged = expected.mean(dim=(2, 3)) if expected.ndim == 4 else expected
        for found in (features(Model(network, layer), pixels()), features(network, pixels(), layer=layer)):
            assert_allclose(found, averaged, rtol=1e-5, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 12))
def test_the_batch_size_changes_no_feature(batch: int) -> None:
    network = build("norbnet", channels=1, height=16, width=16, classes=3, seed=0)
    images = pixels(11, 16, 1)
    whole = features(Model.of(network), images, batch=100)
    assert_allclose(features(Model.of(network), images, batch=batch), whole, atol=1e-5)


def test_bytes_and_floats_of_the_same_image_have_the_same_features(network: Counting) -> None:
    model = Model(network, "fc:input")
    assert_array_equal(features(model, pixels()), features(model, pixels().astype(np.float32) / np.float32(255)))


def test_a_network_in_double_precision_is_fed_in_double_precision(network: Counting) -> None:
    single = features(Model(network, "fc:input"), pixels())
    assert_allclose(features(Model(network.double(), "fc:input"), pixels()), single, rtol=1e-5, atol=1e-6)


def test_a_pass_leaves_no_trace_in_the_network(network: Counting) -> None:
    network.train()
    network.norm.eval()
    state = copy.deepcopy(network.state_dict())
    identities = [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
    features(Model(network, "fc:input"), pixels())
    assert [module.training for module in network.modules()] == [True, True, False, True, True, True]
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert identities == [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters())
    assert [weight.requires_grad for weight in network.parameters()] == [False, True, True, True, True, True]
    network(torch.rand(2, 3, 9, 9)).sum().backward()  # and it can still be trained


def test_a_pass_leaves_the_global_generators_alone(network: Counting) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  (the global generator is meant)
    features(Model(network, "fc:input"), pixels())
    assert torch.equal(before[0], torch.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_a_pass_that_fails_leaves_no_trace_either(network: Counting) -> None:
    with pytest.raises(InputError):
        features(Model(network, "fc"), pixels(channels=1))
    assert [module.training for module in network.modules()] == [True, True, False, True, True, True]
    assert all(not module._forward_hooks for module in network.modules())
    assert torch.is_grad_enabled()


def test_the_features_of_copies_are_the_features_of_each_copy(network: Counting) -> None:
    model = Model(network, "fc:input")
    for batch in (1, 4, 7, 100):
        made = copy_features(model, pixels(), shifts, per_point=3, batch=batch)
        assert made.shape == (10, 3, 4)
        for number in range(3):
            assert_allclose(made[:, number], features(model, shifts(pixels())[:, number]), rtol=1e-5, atol=1e-6)


def test_copies_are_made_in_blocks_that_fit_the_batch(network: Counting) -> None:
    seen = []

    def counted(block: Bytes) -> Bytes:
        seen.append(len(block))
        return shifts(block)

    copy_features(Model(network, "fc"), pixels(), counted, per_point=3, batch=12)
    assert seen == [4, 4, 2]


def test_a_second_pass_reads_the_cache_and_a_third_after_a_change_does_not(network: Counting, tmp_path: Path) -> None:
    def passes(layer: str = "fc:input", images: Bytes | None = None, batch: int = 5) -> int:
        before = network.passes
        features(Model(network, layer), pixels() if images is None else images, batch=batch, cache=tmp_path)
        return network.passes - before

    assert (passes(), passes(), passes(batch=2)) == (2, 0, 0)
    with torch.no_grad():
        network.fc.bias[0] += 1e-7
    assert (passes(), passes()) == (2, 0)
    network.norm.running_mean[0] += 1e-3
    assert (passes(), passes()) == (2, 0)
    assert (passes("fc"), passes("fc")) == (2, 0)
    other = pixels()
    other[3, 0, 0, 0] ^= 1
    assert (passes(images=other), passes(images=other), passes()) == (2, 0, 0)
    network.norm.eps = 1e-3  # shows in the network's repr alone
    assert (passes(), passes()) == (2, 0)


def test_another_forward_method_with_the_same_weights_is_another_network(network: Counting, tmp_path: Path) -> None:
    class Other(Counting):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(1 - images)

    Other.__name__ = Other.__qualname__ = "Counting"
    other = Other()
    other.load_state_dict(network.state_dict())
    first, second = (features(Model(each, "fc:input"), pixels(), cache=tmp_path) for each in (network, other))
    assert np.abs(first - second).max() > 0.01


def test_cached_features_are_memory_mapped_and_equal_to_the_computed_ones(network: Counting, tmp_path: Path) -> None:
    model = Model(network, "fc:input")
    written = features(model, pixels(), cache=tmp_path, batch=3)
    read = features(model, pixels(), cache=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("features-")
    assert path.suffix == ".npy"
    for kept in (written, read):
        assert isinstance(kept, np.memmap)
        assert not kept.flags.writeable
        assert_array_equal(kept, features(model, pixels(), batch=3))


def test_the_cache_of_copies_tells_transforms_apart(network: Counting, tmp_path: Path) -> None:
    model = Model(network, "fc:input")

    def passes(transform: str) -> int:
        before = network.passes
        kept = copy_features(model, pixels(), shifts, per_point=3, transform=transform, cache=tmp_path)
        assert_array_equal(kept, copy_features(model, pixels(), shifts, per_point=3))
        return network.passes - before - 1

    assert [passes("shift"), passes("shift"), passes("shift twice")] == [1, 0, 1]
    with pytest.raises(InputError, match="transform: a cache needs a description"):
        copy_features(model, pixels(), shifts, per_point=3, cache=tmp_path)


def test_a_pass_that_is_interrupted_leaves_nothing_in_the_cache(network: Counting, tmp_path: Path) -> None:
    def interrupted(block: Bytes) -> Bytes:
        if network.passes > 3:
            raise KeyboardInterrupt
        return shifts(block)

    with pytest.raises(KeyboardInterrupt):
        copy_features(Model(network, "fc"), pixels(), interrupted, per_point=3, batch=3, transform="shift", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not network.norm.training
    assert network.training


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"no array"])
def test_a_damaged_cache_file_is_computed_anew(network: Counting, tmp_path: Path, damage: bytes) -> None:
    model = Model(network, "fc")
    expected = np.array(features(model, pixels(), cache=tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert_array_equal(features(model, pixels(), cache=tmp_path), expected)
    assert_array_equal(np.load(path), expected)


def test_a_read_only_memory_map_of_images_is_accepted(network: Counting, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", pixels())
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert_array_equal(features(Model(network, "fc"), mapped), features(Model(network, "fc"), pixels()))


def test_a_network_cannot_write_into_the_users_pixels() -> None:
    images = np.ones((2, 1, 4, 4), np.float32)
    found = features(Model(nn.Sequential(nn.Threshold(2, 0, inplace=True)), ""), images)
    assert not found.any()
    assert images.all()


def test_an_unknown_layer_is_refused_with_the_layers_there_are(network: Counting) -> None:
    with pytest.raises(InputError, match="no layer called 'avgpool'; expected one of conv, norm, relu, drop, fc"):
        Model(network, "avgpool")
    deep = build("resnet56", channels=3, height=32, width=32, classes=10, seed=0).module
    with pytest.raises(InputError, match=r"no layer called 'layer3\.8\.conv3'; .*layer3\.8\.conv2.* and \d+ more"):
        Model(deep, "layer3.8.conv3")


@pytest.mark.parametrize(("layer", "times"), [("used", 2), ("unused:input", 0)])
def test_a_layer_that_does_not_run_exactly_once_is_refused(layer: str, times: int) -> None:
    with pytest.raises(InputError, match=f"it ran {times} times"):
        features(Model(Twice(), layer), pixels(3, 2, 1))


def test_a_layer_that_gives_no_value_a_point_is_refused() -> None:
    with pytest.raises(InputError, match=r"it gives \(1, 30\) for 10 images"):
        features(Model(nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, 30))), ""), pixels(10, 1))
    with pytest.raises(InputError, match="it gives tuple for 10 images"):
        features(Model(nn.Sequential(nn.Flatten(), nn.GRU(27, 2)), ""), pixels(10, 3))


def test_images_that_the_network_refuses_are_told_with_their_shape(network: Counting) -> None:
    with pytest.raises(InputError, match=r"refuses a batch of shape \(10, 1, 9, 9\).*expected input.* to have 3 channels"):
        features(Model(network, "fc"), pixels(channels=1))
    lenet = build("lenet", channels=1, height=28, width=28, classes=2, seed=0)
    with pytest.raises(InputError, match=r"refuses a batch of shape \(10, 1, 40, 40\)"):
        features(Model.of(lenet), pixels(10, 40, 1))


def test_the_point_of_a_feature_that_is_not_finite_is_named(network: Counting) -> None:
    images = pixels().astype(np.float32) / np.float32(255)
    images[7, 1, 2, 3] = np.inf
    with pytest.raises(InputError, match="point 7 has a feature that is"):
        features(Model(network, "norm"), images, batch=3)
    with pytest.raises(InputError, match="point 7, copy 0 has a feature that is"):
        copy_features(Model(network, "norm"), images, shifts, per_point=3, batch=6)


def test_senseless_numbers_and_shapes_are_refused(network: Counting) -> None:
    model = Model(network, "fc")
    with pytest.raises(InputError, match="batch: 0"):
        features(model, pixels(), batch=0)
    with pytest.raises(InputError, match="the set is empty"):
        features(model, pixels(0))
    with pytest.raises(InputError, match="per_point: 0"):
        copy_features(model, pixels(), shifts, per_point=0)
    with pytest.raises(InputError, match=r"made an array of shape \(10, 3, 3, 9, 9\) from 10 images; expected \(10, 4,"):
        copy_features(model, pixels(), shifts, per_point=4)


def test_devices_are_found_by_name() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match=f"device: '{name}' cannot be used here"):
            resolve_device(name)


def test_a_network_on_another_device_is_copied_and_not_moved(network: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, passes = features(Model(network, "fc"), pixels()), network.passes
    monkeypatch.setattr(reading, "device_of", lambda _: torch.device("meta"))
    assert_array_equal(features(Model(network, "fc"), pixels(), device="cpu"), expected)
    assert network.passes == passes


@pytest.mark.parametrize("name", ["tiny", "resnet20"])
def test_a_reference_network_survives_its_file_exactly(name: str, tmp_path: Path) -> None:
    model = Model.of(build(name, channels=3, height=16, width=16, classes=4, seed=8))
    read = load(save(model, tmp_path / "model.safetensors"))
    assert (read.layer, read.recipe) == (model.layer, model.recipe)
    assert_array_equal(features(read, pixels(4, 16)), features(model, pixels(4, 16)))
    assert (tmp_path / "model.safetensors").read_bytes() == save(read, tmp_path / "again.safetensors").read_bytes()


def test_a_network_of_the_users_own_is_loaded_into_what_the_user_builds(network: Counting, tmp_path: Path) -> None:
    path = save(Model(network, "fc:input"), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="build it and give it as `network`"):
        load(path)
    read = load(path, Counting())
    assert read.layer == "fc:input"
    assert_array_equal(features(read, pixels()), features(Model(network, "fc:input"), pixels()))


def test_weights_that_two_layers_share_can_be_saved(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))
    network[2].weight = network[1].weight
    read = load(save(Model(network, "2"), tmp_path / "tied.safetensors"), copy.deepcopy(network))
    assert read.network[2].weight is read.network[1].weight
    assert_array_equal(features(read, pixels(2, 2, 1)), features(Model(network, "2"), pixels(2, 2, 1)))


def test_weights_without_a_record_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(Counting().state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match=r"bare\.safetensors: weights without Augury's record"):
        load(tmp_path / "bare.safetensors")


def test_a_bare_network_gives_what_goes_into_its_last_linear_layer(network: Counting) -> None:
    expected = features(Model(network, "fc:input"), pixels())
    assert_array_equal(features(network, pixels()), expected)
    assert_array_equal(public_features(network, pixels(), layer="fc:input"), expected)
    with pytest.raises(InputError, match=r"^layer: 'norm', and the model names its own, 'fc'; give its network, or leave layer out$"):
        features(Model(network, "fc"), pixels(), layer="norm")
    with pytest.raises(InputError, match="no layer called 'avgpool'; expected one of conv, norm, relu, drop, fc"):
        features(network, pixels(), layer="avgpool")
    with pytest.raises(InputError, match=r"^layer: the network has no linear layer"):
        features(nn.Sequential(nn.Conv2d(3, 4, 3)), pixels())


def test_another_layer_of_a_reference_network_survives_its_file(tmp_path: Path) -> None:
    whole = Model.of(build("resnet20", channels=3, height=16, width=16, classes=4, seed=8))
    read = load(save(replace(whole, layer="layer2"), tmp_path / "model.safetensors"))
    assert features(read, pixels(4, 16)).shape == (4, 32)
    assert_array_equal(features(read, pixels(4, 16)), features(whole.network, pixels(4, 16), layer="layer2"))


CLASSIFIER = nn.Sequential(nn.Flatten(), nn.Linear(243, 3))


@pytest.mark.parametrize(
    ("network", "classes", "told"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(243, 1)),
            None,
            "it gives one number an image, as for regression or a single logit, which Au",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(243, 1), nn.Flatten(0)), 2, "it gives one number an image, as for regression"),
        (
            nn.Sequential(CLASSIFIER, nn.Sigmoid()),
            None,
            "it ends in a sigmoid, as for several labels an image, which Augury cannot handle yet",
        ),
        (CLASSIFIER, 4, r"it gives the shape \(2, 3\) for 2 images of 4 classes, and is to be trained on them; expected \(2, 4\): let the"),
        (nn.Conv2d(3, 4, 3), 4, r"it gives the shape \(2, 4, 7, 7\) for 2 images of 4 classes"),
        (nn.Sequential(nn.Flatten(), nn.GRU(243, 2)), 2, "it gives tuple for 2 images of 2 classes"),
    ],
)
def test_a_network_for_another_task_than_classification_is_refused(network: nn.Module, classes: int | None, told: str) -> None:
    with pytest.raises(InputError, match=f"^model: {told}"):
        check_output(network, pixels(), classes)


@pytest.mark.parametrize("network", [CLASSIFIER, nn.Conv2d(3, 4, 3), nn.Sequential(nn.Flatten(), nn.GRU(243, 2))])
def test_a_network_that_is_only_read_may_give_any_number_of_scores_or_none(network: nn.Module) -> None:
    check_output(network, pixels(), None)
    check_output(CLASSIFIER, pixels(), 3)


def test_looking_at_what_a_network_gives_leaves_no_trace(network: Counting) -> None:
    modes, state = [module.training for module in network.modules()], copy.deepcopy(network.state_dict())
    check_output(network.train(), pixels(), 2)
    network.norm.eval()
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
