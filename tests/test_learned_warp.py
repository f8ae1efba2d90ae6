"""The warp and the paper's convolutions, against scipy, scikit-image, torch's own padding, and their adjoints."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import skimage.transform
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from torch import Tensor, nn

from augury.learned import AugmentationNetwork, FieldTransformation
from augury.learned.critics import Critic
from augury.learned.layers import SameConv, SameConvTranspose, sizes, widths
from augury.learned.warp import warp
from augury.transforms.border import Border

BORDERS = {  # ours, and what scipy calls it
    "edge": (Border(), {"mode": "nearest"}),
    "reflect": (Border("reflect"), {"mode": "mirror"}),
    "zeros": (Border("zeros"), {"mode": "grid-constant", "cval": 0.0}),
    "fill": (Border("fill", 0.7), {"mode": "grid-constant", "cval": 0.7}),
}
SHAPES = [(28, 28), (32, 32), (33, 20), (7, 96), (2, 3)]


def randoms(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_flow_of_zero_gives_the_same_bits(border: str, dtype: torch.dtype, height: int, width: int) -> None:
    images = randoms(3, 2, height, width).to(dtype)
    assert torch.equal(warp(images, torch.zeros(3, 2, height, width, dtype=dtype), BORDERS[border][0]), images)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_any_flow_fetches_what_scipy_interpolates(border: str, height: int, width: int) -> None:
    images, flow = randoms(2, 3, height, width), 3 * width * (randoms(2, 2, height, width, seed=1) - 0.5)
    ours, scipys = BORDERS[border]
    found = warp(images, flow, ours).numpy()
    rows, columns = np.mgrid[:height, :width]
    for image, (right, down), warped in zip(images.numpy(), flow.numpy(), found, strict=True):
        for plane, result in zip(image, warped, strict=True):
            assert_allclose(result, ndimage.map_coordinates(plane, (rows + down, columns + right), order=1, **scipys), atol=1e-11)


def test_whole_pixels_move_bits() -> None:
    images = torch.rand(1, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(1, 2, 9, 11)
    flow[:, 0], flow[:, 1] = 2, -1
    assert torch.equal(warp(images, flow)[:, :, 1:, :-2], images[:, :, :-1, 2:])


def test_an_affine_map_with_repeated_edges_agrees_with_scikit_image() -> None:
    image = randoms(28, 28).numpy()
    affine = skimage.transform.AffineTransform(scale=(1.2, 0.9), rotation=0.4, shear=0.2, translation=(-3.3, 2.1))
    rows, columns = np.mgrid[:28, :28].astype(np.float64)
    places = np.stack([columns.ravel(), rows.ravel()], axis=1)
    flow = torch.from_numpy((affine(places) - places).T.reshape(1, 2, 28, 28).copy())
    expected = skimage.transform.warp(image, affine, order=1, mode="edge")
    assert_allclose(warp(torch.from_numpy(image)[None, None], flow)[0, 0].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("border", BORDERS)
def test_the_warp_has_the_gradients_of_its_values(border: str) -> None:
    images, flow = randoms(2, 2, 5, 6).requires_grad_(), (4 * (randoms(2, 2, 5, 6, seed=2) - 0.5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, s: warp(x, s, BORDERS[border][0]), (images, flow))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_flow_that_has_diverged_shows_and_harms_nothing_else(border: str, value: float) -> None:
    images, flow = randoms(2, 1, 20, 20).float().requires_grad_(), torch.zeros(2, 2, 20, 20)
    flow[0, 0, 3, 4] = value
    made = warp(images, flow.requires_grad_(), BORDERS[border][0])
    made.sum().backward()  # torch by itself would end the process here
    elsewhere = torch.ones(2, 1, 20, 20, dtype=torch.bool)
    elsewhere[0, 0, 3, 4] = False
    assert torch.equal(made[elsewhere], images[elsewhere])
    assert not np.isnan(value) or made[~elsewhere].isnan().all()


@pytest.mark.parametrize("side", [5, 8, 28])
def test_a_stride_of_one_pads_as_torch_does_for_the_same_size(side: int) -> None:
    ours = SameConv(2, 3, 1).double()
    theirs = nn.Conv2d(2, 3, 4, padding="same").double()
    theirs.load_state_dict(ours.state_dict())
    images = randoms(2, 2, side, side + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, once in a process, that it pads a copy
        expected = theirs(images)
    assert_allclose(ours(images).detach().numpy(), expected.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("side", [5, 8, 7, 28])
def test_a_stride_of_two_halves_as_tensorflow_does(side: int) -> None:
    conv, images = SameConv(1, 1, 2).double(), randoms(1, 1, side, side)
    outputs = -(-side // 2)
    total = max((outputs - 1) * 2 + 4 - side, 0)  # tensorflow's documented rule: the smaller half before, the larger after
    padded = np.pad(images[0, 0].numpy(), (total // 2, total - total // 2))
    kernel, bias = conv.weight.detach()[0, 0].numpy(), float(conv.bias.detach()) if conv.bias is not None else 0.0
    expected = [[(padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] * kernel).sum() + bias for j in range(outputs)] for i in range(outputs)]
    assert_allclose(conv(images)[0, 0].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("stride", "height", "width"), [(1, 7, 8), (2, 8, 28), (2, 7, 13), (2, 9, 4)])
def test_the_transposed_convolution_is_the_adjoint(stride: int, height: int, width: int) -> None:
    conv, back = SameConv(2, 3, stride).double(), SameConvTranspose(3, 2, stride, (height, width)).double()
    with torch.no_grad():
        back.weight.copy_(conv.weight)
        for bias in (conv.bias, back.bias):
            assert bias is not None
            bias.zero_()
        images = randoms(1, 2, height, width)
        made = conv(images)
        others = randoms(*made.shape, seed=3)
        assert back(others).shape == images.shape
        assert_allclose(float((made * others).sum()), float((images * back(others)).sum()), rtol=1e-12)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_the_networks_of_the_papers_appendix_have_its_layers() -> None:
    assert sizes(28, 28) == [(28, 28), (14, 14), (7, 7)]
    assert widths(28, 28) == [16, 32, 64]
    assert sizes(32, 32) == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert widths(32, 32) == [16, 32, 64, 128]
    grey, colour = 16 * 16 + 16, 48 * 16 + 16  # 4 x 4 kernels from one channel and from three, with biases
    shared = (256 * 32 + 32) + (512 * 64 + 64)
    coarse = 1024 * 128 + 128
    assert parameters(AugmentationNetwork(1, 28, 28)) == grey + shared + 3136 * 128 + 128
    assert parameters(AugmentationNetwork(3, 32, 32)) == colour + shared + coarse + 2048 * 128 + 128
    assert parameters(Critic(1, 28, 28)) == grey + shared + 3136 + 1
    assert parameters(Critic(3, 32, 32)) == colour + shared + coarse + 2048 + 1
    assert parameters(Critic(2, 28, 28)) == (32 * 16 + 16) + shared + 3136 + 1
    back = (1024 * 32 + 32) + (512 * 16 + 16)
    assert parameters(FieldTransformation.paper(1, 28, 28)) == 128 * 3136 + 3136 + back + (256 * 8 + 8)
    assert parameters(FieldTransformation.paper(3, 32, 32)) == 128 * 2048 + 2048 + (2048 * 64 + 64) + back + (256 * 18 + 18)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (96, 96), (21, 38)])
def test_the_decoder_undoes_each_halving(height: int, width: int) -> None:
    made: list[tuple[int, ...]] = []
    transformation = FieldTransformation(1, height, width)
    for layer in transformation.decoder:
        layer.register_forward_hook(lambda _, __, output: made.append(tuple(output.shape[2:])))
    transformation.decoder(torch.zeros(1, 128))
    found = [size for size, _ in itertools.groupby(size for size in made if size)]
    assert found == sizes(height, width)[::-1]
