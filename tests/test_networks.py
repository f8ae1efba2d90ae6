"""Reference networks: published sizes and accuracies, shapes, seeds, weights in files."""

import importlib
import math
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn

from augury.errors import InputError, MissingExtraError
from augury.networks import FACTORIES, Init, Network, build, create, default_for, feature_layer, is_own, load_weights, seeded
from augury.networks.strided import HalvingConv, StandardiseEach

FEATURES = {"tiny": 64, "lenet": 84, "cnn128": 128, "cnn512": 512, "norbnet": 128, "norbnet1152": 1152, "resnet20": 64, "resnet56": 64}
AT_EACH_PLACE = {"allconv": (512, 16), "strided": (96, 8)}  # features, and how many pixels lie between two places


def features_of(name: str, height: int, width: int) -> int:
    if name in FEATURES:
        return FEATURES[name]
    features, step = AT_EACH_PLACE[name]
    return features * math.ceil(height / step) * math.ceil(width / step)


def made(name: str, channels: int = 1, side: int = 28, classes: int = 10, seed: int = 0, init: Init = "default") -> Network:
    return build(name, channels=channels, height=side, width=side, classes=classes, seed=seed, init=init)


def weights(network: Network) -> npt.NDArray[np.float32]:
    return np.concatenate([weight.detach().numpy().ravel() for weight in network.module.parameters()])


def pretrained(name: str) -> Path:
    """The file of published CIFAR-10 weights, or a skip."""
    folder = os.environ.get("AUGURY_MODELS")
    if not folder:
        pytest.skip("AUGURY_MODELS is not set: it names the folder with the pretrained CIFAR ResNets")
    path = Path(folder) / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"AUGURY_MODELS has no {path.name}")
    return path


@pytest.mark.parametrize(
    ("name", "channels", "side", "parameters"),
    [
        ("lenet", 1, 28, 44_426),  # LeNet-5 with 16 full 5x5 maps, the count of many course notes
        ("cnn128", 1, 28, 1_199_882),  # printed by Keras for mnist_cnn
        ("cnn512", 3, 32, 1_250_858),  # printed by Keras for cifar10_cnn
        ("resnet20", 3, 32, 269_722),  # He et al.: 0.27 M
        ("resnet56", 3, 32, 853_018),  # He et al.: 0.85 M
    ],
)
def test_a_network_of_a_paper_has_its_published_number_of_parameters(name: str, channels: int, side: int, parameters: int) -> None:
    assert sum(weight.numel() for weight in made(name, channels, side).module.parameters()) == parameters


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 16, 21), (1, 17, 40)])
@pytest.mark.parametrize("name", FACTORIES)
def test_every_network_gives_scores_and_its_features_at_every_size(name: str, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    network = build(name, channels=channels, height=height, width=width, classes=7, seed=0)
    seen = []
    network.module.get_submodule(network.classifier).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    assert network.module(torch.rand(2, *shape)).shape == (2, 7)
    assert seen == [(2, features_of(name, height, width))]
    assert network.features == features_of(name, height, width)


@pytest.mark.parametrize("name", FACTORIES)
def test_every_network_takes_its_smallest_image_and_refuses_a_smaller_one(name: str) -> None:
    smallest = FACTORIES[name][1]
    assert made(name, 1, smallest).module(torch.rand(2, 1, smallest, smallest)).shape == (2, 10)
    with pytest.raises(InputError, match=f"at least {smallest} x {smallest} pixels, got {smallest - 1} x {smallest - 1}"):
        made(name, 1, smallest - 1)


@pytest.mark.parametrize("name", FACTORIES)
def test_weights_follow_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = weights(made(name, side=16, seed=3))
    torch.manual_seed(2)
    assert_array_equal(first, weights(made(name, side=16, seed=3)))
    assert np.abs(first - weights(made(name, side=16, seed=4))).max() > 0.01


def test_building_leaves_the_global_generators_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  (the global generator is meant)
    made("cnn512")
    assert torch.equal(before[0], torch.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_seeded_draws_are_a_function_of_all_their_integers() -> None:
    def draw(*entropy: int) -> list[float]:
        with seeded(*entropy):
            return torch.rand(4).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert len({tuple(draw(*entropy)) for entropy in [(1, 2), (2, 1), (1,), (1, 3)]}) == 4
    with pytest.raises(InputError, match="seed: -1"):
        draw(-1)


def test_the_papers_initialisation_has_kernels_of_deviation_a_twentieth_and_no_bias() -> None:
    module = made("cnn512", init="paper").module
    kernels = torch.cat([weight.flatten() for name, weight in module.named_parameters() if name.endswith("weight")]).detach()
    assert float(kernels.std()) == pytest.approx(0.05, rel=0.01)
    assert abs(float(kernels.mean())) < 2e-4
    assert all(not weight.any() for name, weight in module.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    ("shape", "name"),
    [((1, 8, 8), "tiny"), ((3, 32, 15), "tiny"), ((1, 28, 28), "lenet"), ((1, 96, 96), "lenet"), ((3, 32, 32), "resnet20")],
)
def test_the_default_network_suits_the_images(shape: tuple[int, int, int], name: str) -> None:
    assert default_for(*shape) == name


def test_a_residual_network_sees_a_grey_image_as_three_equal_channels() -> None:
    module = made("resnet20", 1, 16).module.eval()
    grey = torch.rand(3, 1, 16, 16)
    assert torch.equal(module(grey), module(grey.repeat(1, 3, 1, 1)))


def test_an_option_a_shortcut_takes_every_second_pixel_and_pads_a_quarter_of_the_channels() -> None:
    block = made("resnet20", 3, 16).module.get_submodule("layer2.0").eval()
    nn.init.zeros_(block.bn2.weight)  # the residual is zero, so the output is the shortcut
    x = torch.rand(2, 16, 9, 9)
    assert torch.equal(block(x)[:, 8:24], x[:, :, ::2, ::2])
    assert not block(x)[:, :8].any()
    assert not block(x)[:, 24:].any()


def test_the_all_convolutional_network_is_the_discriminator_it_comes_from() -> None:
    module = made("allconv").module
    kernels = [tuple(weight.shape) for weight in module.parameters() if weight.ndim == 4]
    assert kernels == [(64, 1, 5, 5), (128, 64, 5, 5), (256, 128, 5, 5), (512, 256, 5, 5)]
    assert [norm.num_features for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)] == [128, 256, 512]
    assert module.linear.weight.shape == (10, 2048)
    values = torch.cat([weight.detach().flatten() for name, weight in module.named_parameters() if weight.ndim > 1])
    assert values.abs().max() <= 0.04
    assert float(values.std()) == pytest.approx(0.02 * 0.880, rel=0.01)  # a normal distribution cut off at two deviations


@pytest.mark.parametrize(("side", "first"), [(8, 1), (7, 0)])
def test_a_halving_convolution_has_tensorflows_same_padding(side: int, first: int) -> None:
    layer = HalvingConv(1, 1)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        layer.weight[0, 0, 2, 2] = 1  # the middle of the window shows where the windows lie
    image = torch.arange(float(side * side)).view(1, 1, side, side)
    assert torch.equal(layer(image), image[:, :, first::2, first::2])


def test_each_image_is_standardised_by_itself() -> None:
    contrasts = torch.tensor([0.1, 1, 0], dtype=torch.float64).view(3, 1, 1, 1)
    images = torch.rand(3, 2, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * contrasts + 0.25
    standardised = StandardiseEach()(images)
    assert_allclose(standardised.mean(dim=(1, 2, 3)), 0, atol=1e-12)
    assert_allclose(standardised[1].std(correction=0), 1, rtol=1e-12)
    assert_allclose(standardised[0].std(correction=0), images[0].std(correction=0) * 12, rtol=1e-12)  # its deviation is below 1 / 12
    assert not standardised[2].any()


def test_the_all_convolutional_network_sees_no_brightness_and_no_contrast() -> None:
    module = made("allconv").module.eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert_allclose(module(images).detach(), module(0.5 * images + 0.3).detach(), atol=1e-4)


@pytest.mark.parametrize("name", ["lenet5", "", "ResNet20"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match=r"expected one of tiny, lenet, .*resnet56, or timm:NAME"):
        made(name)


def test_a_network_for_one_class_or_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(InputError, match="classes: 1"):
        made("tiny", classes=1)
    with pytest.raises(InputError, match="init: 'xavier'; expected one of default, paper"):
        getattr(build, "__wrapped__", build)(  # without the type checks of the test run
            "tiny", channels=1, height=8, width=8, classes=2, seed=0, init="xavier"
        )


@pytest.mark.parametrize(
    ("file", "name", "published"),
    [("resnet20", "resnet20", 0.9173), ("resnet20-noaug", "resnet20", 0.8543), ("resnet56", "resnet56", 0.9339)],
)
def test_published_weights_reach_their_published_accuracy(file: str, name: str, published: float) -> None:
    if not os.environ.get("AUGURY_DATA"):
        pytest.skip("AUGURY_DATA is not set: it names the folder that holds CIFAR-10")
    from augury.data import load

    network = made(name, 3, 32)
    load_weights(network.module, pretrained(file))
    try:
        test = load("cifar10", split="test").first(500)
    except InputError as error:
        pytest.skip(f"AUGURY_DATA holds no CIFAR-10: {error}")
    with torch.no_grad():
        right = network.module.eval()(torch.from_numpy(test.to_float())).argmax(1).numpy() == test.labels
    assert right.mean() == pytest.approx(published, abs=0.03)  # two standard errors of 500 images at 0.88


def test_published_weights_fit_another_number_of_classes_without_their_classifier() -> None:
    path = pretrained("resnet20")
    network = made("resnet20", 3, 32, classes=2)
    own = network.module.linear.weight.clone()
    with pytest.raises(InputError, match=r"linear\.\w+ has shape .*another number of classes"):
        load_weights(network.module, path)
    load_weights(network.module, path, skip=network.classifier)
    assert torch.equal(network.module.linear.weight, own)
    assert torch.equal(network.module.conv1.weight, safetensors.torch.load_file(path)["conv1.weight"])


def test_weights_survive_a_file_exactly(tmp_path: Path) -> None:
    first, second = made("norbnet", seed=1), made("norbnet", seed=2)
    safetensors.torch.save_file(first.module.state_dict(), tmp_path / "w.safetensors")
    load_weights(second.module, tmp_path / "w.safetensors")
    assert_array_equal(weights(first), weights(second))


@pytest.mark.parametrize("other", ["cnn128", "resnet20"])
def test_weights_of_another_network_are_refused_and_nothing_changes(tmp_path: Path, other: str) -> None:
    safetensors.torch.save_file(made(other).module.state_dict(), tmp_path / "w.safetensors")
    network = made("lenet")
    before = weights(network)
    with pytest.raises(InputError, match=r"w\.safetensors: .*(another network|has shape)"):
        load_weights(network.module, tmp_path / "w.safetensors")
    assert_array_equal(before, weights(network))


def test_an_absent_or_damaged_file_of_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    for name, message in (("absent", "no such file"), ("damaged", "not a readable safetensors file")):
        with pytest.raises(InputError, match=rf"{name}\.safetensors: {message}"):
            load_weights(made("tiny").module, tmp_path / f"{name}.safetensors")


def test_a_timm_model_without_timm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"timm:resnet18.*pip install 'augury\[timm\]'"):
        made("timm:resnet18")


class Backbone(nn.Module):
    """What Augury asks of a timm model: its configuration and its classifier."""

    pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.5)}  # noqa: RUF012  (as timm has it)

    def __init__(self, classes: int, head: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Flatten(), head(12, classes))

    def get_classifier(self) -> nn.Module:
        return self.head[1]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images)


@pytest.fixture
def stub_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of timm's interface with two models, which fails where pretrained weights would be fetched."""

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> Backbone:
        assert not pretrained
        return Backbone(num_classes, {"linear": nn.Linear, "bilinear": lambda _, classes: nn.Bilinear(1, 1, classes)}[name])

    stub = types.SimpleNamespace(is_model={"linear", "bilinear"}.__contains__, create_model=create_model)
    monkeypatch.setitem(sys.modules, "timm", stub)


def test_a_timm_model_sees_grey_pixels_as_standardised_rgb_and_saves_only_its_own_weights(stub_timm: None) -> None:
    network = build("timm:linear", channels=1, height=2, width=2, classes=5, seed=0)
    grey = torch.rand(3, 1, 2, 2)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in Backbone.pretrained_cfg.values())
    expected = network.module.head(((grey.repeat(1, 3, 1, 1)) - mean) / deviation)
    assert torch.allclose(network.module(grey), expected, atol=1e-6)
    assert (network.classifier, network.features) == ("head.1", 12)
    assert set(network.module.state_dict()) == {"head.1.weight", "head.1.bias"}


@pytest.mark.parametrize(("name", "message"), [("absent", "no model called 'absent'"), ("bilinear", "does not end in one linear layer")])
def test_a_timm_model_that_cannot_serve_is_refused(stub_timm: None, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(f"timm:{name}")


def test_real_timm_features_are_timms_own() -> None:
    try:
        timm = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"the extra timm cannot be imported here: {error}")
    network = made("timm:resnet18", 3, 64, classes=3)
    reference = timm.create_model("resnet18", num_classes=3).eval()
    reference.load_state_dict(network.module.state_dict())
    images = torch.rand(2, 3, 64, 64)
    mean, deviation = (torch.tensor(reference.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(network.module.eval()(images), reference((images - mean) / deviation), atol=1e-5)


MODULE = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, classes)

    def forward(self, images):
        return self.fc(self.conv(images).mean(dim=(2, 3)))

def factory():
    return Small()

def wants(classes):
    return Small(classes)

def breaks():
    raise RuntimeError("no such\\nmodel")

def gives():
    return {"weights": 1}

SIZE = 3
"""


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with modules of a person's own, in which one works."""
    (tmp_path / "own_nets.py").write_text(MODULE)
    (tmp_path / "own_needs.py").write_text("import a_package_that_is_nowhere")
    (tmp_path / "own_typo.py").write_text("def factory(:")
    (tmp_path / "own_empty.py").write_text("")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def test_a_factory_of_ones_own_is_found_in_the_working_folder_and_follows_from_the_seed(own_modules: Path) -> None:
    path, generator = sys.path.copy(), torch.get_rng_state()
    for name in ("own_nets:factory", "own_nets:Small"):
        first, again, other = (create(name, seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert not torch.equal(first["fc.weight"], other["fc.weight"])
    assert sys.path == path
    assert torch.equal(torch.get_rng_state(), generator)
    assert feature_layer(create("own_nets:factory", 0)) == "fc:input"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("own_nets:", "got 'own_nets:'; expected MODULE:FACTORY, such as my_module:factory"),
        (":factory", "got ':factory'; expected MODULE:FACTORY"),
        ("own_nets:factory()", r"got 'own_nets:factory\(\)'; expected MODULE:FACTORY"),
        (
            "own_nests:factory",
            "no module 'own_nests' in .* or where Python looks; give MODULE:FACTORY, such as my_module:factory, and start",
        ),
        ("own_nests.deep:factory", "no module 'own_nests' in "),
        (
            "own_needs:factory",
            "the module own_needs cannot be imported .*No module named 'a_package_that_is_nowhere'.*; install what it needs",
        ),
        ("own_typo:factory", r"the module own_typo cannot be imported \(SyntaxError: .*; mend it"),
        ("own_empty:factory", "own_empty has nothing to call 'factory'; expected a function or class, and it has none"),
        ("own_nets:factry", "own_nets has nothing to call 'factry'; expected a function or class, such as factory, "),
        ("own_nets:SIZE", "own_nets has nothing to call 'SIZE'"),
        (
            "own_nets:wants",
            r"own_nets:wants fails \(TypeError: .*missing 1 required.*\); expected a factory that is called without arguments",
        ),
        ("own_nets:breaks", r"own_nets:breaks fails \(RuntimeError: no such\)"),
        ("own_nets:gives", r"own_nets:gives gives dict; expected a torch\.nn\.Module"),
    ],
)
def test_a_factory_that_gives_no_network_is_told_in_one_line(own_modules: Path, name: str, told: str) -> None:
    with pytest.raises(InputError, match=f"^model: {told}") as caught:
        create(name, 0)
    assert "\n" not in str(caught.value)


def test_names_of_factories_are_told_from_names_of_networks() -> None:
    assert [is_own(name) for name in ("my_module:factory", "package.module:Net", "timm:resnet18", "resnet20", "auto")] == [True] * 2 + [
        False
    ] * 3
