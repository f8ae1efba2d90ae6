"""Every G keeps one contract; the paper's gives Eq. 20, and the bounded one familiar changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kornia
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor
from torch.nn import functional

from augury.errors import InputError
from augury.learned import (
    AugmentationNetwork,
    BoundedTransformation,
    FieldTransformation,
    Transformation,
    WarpingTransformation,
    load_module,
    random_tau,
    save_module,
)
from augury.learned.bounded import spline
from augury.transforms import Rotate

NOTHING: dict[str, Any] = dict.fromkeys(
    ("rotation", "scale", "shear", "shift", "flow", "brightness", "contrast", "saturation", "hue", "blur", "stroke", "light", "tint"), 0
)

Make = Callable[[int, int, int], WarpingTransformation]
MAKERS: dict[str, Make] = {
    "fields": FieldTransformation,
    "spatial": lambda *shape: FieldTransformation(*shape, kind="spatial", border="reflect"),
    "appearance": lambda *shape: FieldTransformation(*shape, kind="appearance", tau_size=5),
    "global": lambda *shape: FieldTransformation(*shape, pooling="global", border="zeros"),
    "paper": FieldTransformation.paper,
    "bounded": BoundedTransformation,
    "affine": lambda *shape: BoundedTransformation(*shape, flow=0, brightness=0, contrast=0, saturation=0, hue=0, border="zeros"),
    "colours": lambda *shape: BoundedTransformation(*shape, **NOTHING | {"brightness": 0.3, "contrast": 0.5, "hue": 90}),
}
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 96, 96), (3, 17, 23), (1, 9, 8)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=generator(1), dtype=torch.float64).to(dtype)


def eager(transformation: WarpingTransformation, strength: float = 3.0) -> WarpingTransformation:
    """With larger weights, so that an untrained decoder does something."""
    with torch.no_grad():
        for weight in transformation.parameters():
            weight.mul_(strength)
    return transformation


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_every_transformation_keeps_the_contract(name: str, shape: tuple[int, int, int]) -> None:
    transformation = eager(MAKERS[name](*shape))
    assert isinstance(transformation, Transformation)
    images, tau = pictures(4, *shape), random_tau(4, transformation.tau_size, generator())
    before = images.clone(), tau.clone(), torch.get_rng_state()
    made = transformation(images, tau)
    assert made.shape == images.shape
    assert made.dtype == images.dtype
    assert not torch.allclose(made, images, atol=1e-3)
    assert name == "paper" or (made.min() >= 0 and made.max() <= 1)
    assert torch.equal(transformation(images, tau), made)  # deterministic
    for i in range(4):  # whatever else is in the batch
        assert_allclose(transformation(images[i : i + 1], tau[i : i + 1])[0].detach(), made[i].detach(), atol=1e-4)
    assert transformation(images[:0], tau[:0]).shape == (0, *shape)
    for found, expected in zip((images, tau, torch.get_rng_state()), before, strict=True):
        assert torch.equal(found, expected)  # nothing is touched


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", MAKERS)
def test_the_result_has_the_images_precision_and_is_the_same_picture(name: str, dtype: torch.dtype) -> None:
    transformation = eager(MAKERS[name](3, 12, 15))
    images, tau = pictures(2, 3, 12, 15, dtype=dtype), random_tau(2, transformation.tau_size, generator())
    made = transformation(images, tau)
    assert made.dtype == dtype
    assert_allclose(made.detach().float(), transformation(images.float(), tau).detach(), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_a_tau_of_half_precision_moves_pixels_as_precisely(name: str) -> None:
    transformation = eager(MAKERS[name](3, 12, 15))
    images, tau = pictures(2, 3, 12, 15), random_tau(2, transformation.tau_size, generator()).bfloat16()
    assert torch.equal(transformation(images, tau), transformation(images, tau.float()))
    assert torch.equal(transformation.flow(tau), transformation.flow(tau.float()))


@pytest.mark.parametrize("name", MAKERS)
def test_all_work_is_done_on_the_images_device(name: str) -> None:
    transformation = MAKERS[name](3, 12, 15).to("meta")  # which refuses to mix with the CPU
    images, tau = torch.empty(2, 3, 12, 15, device="meta"), torch.empty(2, transformation.tau_size, device="meta")
    assert transformation(images, tau).device.type == "meta"
    assert transformation.flow(tau).shape == (2, 2, 12, 15)


@pytest.mark.parametrize("name", MAKERS)
def test_images_and_tau_have_the_gradients_of_the_values(name: str) -> None:
    transformation = MAKERS[name](3, 5, 6).double() if name != "paper" else FieldTransformation.paper(1, 5, 6).double()
    channels = transformation.channels
    images = (0.4 + 0.2 * pictures(1, channels, 5, 6, dtype=torch.float64)).requires_grad_()
    tau = (0.5 * random_tau(1, transformation.tau_size, generator()).double() + 0.01).requires_grad_()
    assert torch.autograd.gradcheck(transformation, (images, tau))


@pytest.mark.parametrize("name", MAKERS)
def test_its_parts_are_the_stages_of_the_result(name: str) -> None:
    transformation = eager(MAKERS[name](3, 12, 15))
    images, tau = pictures(2, 3, 12, 15), random_tau(2, transformation.tau_size, generator())
    parts = transformation.parts(images, tau)
    total = parts.warped + parts.change
    assert torch.equal(parts.images, total.clamp(0, 1) if transformation.clamp else total)
    assert torch.equal(parts.images, transformation(images, tau))
    assert torch.equal(parts.flow, transformation.flow(tau))
    assert transformation.moves == bool((parts.flow != 0).any())
    assert transformation.moves or torch.equal(parts.warped, images)


def test_senseless_images_and_taus_are_refused(without_type_checks: None) -> None:
    transformation = FieldTransformation(1, 8, 8)
    images, tau = pictures(2, 1, 8, 8), torch.zeros(2, 128)
    with pytest.raises(InputError, match=r"images: dtype uint8; expected floats in \[0, 1\]"):
        transformation((255 * images).to(torch.uint8), tau)
    with pytest.raises(InputError, match=r"images: shape \(2, 1, 8, 9\); this transformation was made for \(points, 1, 8, 8\)"):
        transformation(pictures(2, 1, 8, 9), tau)
    with pytest.raises(InputError, match=r"tau: shape \(1, 128\) for 2 images; expected \(2, 128\)"):
        transformation(images, tau[:1])
    with pytest.raises(InputError, match=r"tau: shape \(2, 127\) for 2 images"):
        transformation.flow(tau[:, 1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FieldTransformation(1, 8, 8, kind="odd"), "kind: 'odd'; expected one of both, spatial, appearance"),
        (lambda: FieldTransformation(1, 8, 8, tau_size=0), "tau_size: 0; expected at least 1"),
        (lambda: FieldTransformation(1, 8, 8, pooling=0), "pooling: 0; expected the window's side in pixels, such as 4, or 'global'"),
        (lambda: FieldTransformation(1, 8, 8, spatial_bound=0), "spatial_bound: 0; expected a positive number, or None"),
        (lambda: FieldTransformation(1, 8, 8, appearance_bound=-1), "appearance_bound: -1"),
        (lambda: FieldTransformation(1, 1, 8), "images: 1 channels of 1 x 8 pixels; expected at least 1 channel of 2 x 2"),
        (lambda: FieldTransformation(1, 8, 8, border="torn"), "border: 'torn' is unknown"),
        (lambda: FieldTransformation(1, 8, 8, seed=-1), "seed: -1"),
        (lambda: BoundedTransformation(1, 8, 8, rotation=-1), "rotation: -1; expected 0 to 180"),
        (lambda: BoundedTransformation(1, 8, 8, contrast=1.5), "contrast: 1.5; expected 0 to 1"),
        (lambda: BoundedTransformation(1, 8, 8, control=3), "control: 3; expected at least 4"),
        (lambda: BoundedTransformation(1, 8, 8, **NOTHING | {"hue": 10}), "bounds: all are zero"),
    ],
)
def test_senseless_settings_are_refused(make: Callable[[], object], message: str, without_type_checks: None) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_global_pooling_gives_each_picture_exactly_one_affine_map() -> None:
    transformation = eager(FieldTransformation(1, 12, 17, kind="spatial", pooling="global")).double()
    images, tau = pictures(3, 1, 12, 17, dtype=torch.float64), random_tau(3, 128, generator()).double()
    s = (0.2 * transformation.decoder(tau).tanh()).mean(dim=(2, 3)).detach()
    theta = torch.stack([s[:, [0, 1, 4]], s[:, [2, 3, 5]]], dim=1) + torch.eye(2, 3, dtype=torch.float64)
    grid = functional.affine_grid(theta, [3, 1, 12, 17], align_corners=True)
    rows, columns = torch.meshgrid(torch.arange(12), torch.arange(17), indexing="ij")
    flow = torch.stack([(grid[..., 0] + 1) * 8 - columns, (grid[..., 1] + 1) * 5.5 - rows], dim=1)
    assert float(flow.abs().max()) > 0.5
    assert_allclose(transformation.flow(tau).detach(), flow, atol=1e-12)
    expected = functional.grid_sample(images, grid, padding_mode="border", align_corners=True)
    assert_allclose(transformation(images, tau).detach(), expected, atol=1e-12)


@pytest.mark.parametrize("pooling", [1, 2, 3, 4, 40])
def test_the_fields_are_averaged_over_the_window_and_combined_by_equation_20(pooling: int) -> None:
    transformation = eager(FieldTransformation(3, 9, 7, tau_size=4, pooling=pooling, spatial_bound=None, clamp=False)).double()
    images, tau = pictures(1, 3, 9, 7, dtype=torch.float64), random_tau(1, 4, generator()).double()
    decoded = transformation.decoder(tau)[0].detach().numpy()
    fields = decoded.copy()
    fields[6:] = 0.25 * np.tanh(fields[6:])
    smooth = np.empty_like(fields)
    before, after = (pooling - 1) // 2, pooling // 2
    for i in range(9):
        for j in range(7):
            smooth[:, i, j] = fields[:, max(0, i - before) : i + after + 1, max(0, j - before) : j + after + 1].mean(axis=(1, 2))
    parts = transformation.parts(images, tau)
    flow, warped, change = (part[0].detach().numpy() for part in (parts.flow, parts.warped, parts.change))
    for i in range(9):
        for j in range(7):
            x, y = j / 3 - 1, i / 4 - 1
            w, b = smooth[:4, i, j].reshape(2, 2), smooth[4:6, i, j]
            assert_allclose(flow[:, i, j], (w @ [x, y] + b) * [3, 4], atol=1e-12)
            c_w, c_b = smooth[6:15, i, j].reshape(3, 3), smooth[15:, i, j]
            assert_allclose(change[:, i, j], c_w @ warped[:, i, j] + c_b, atol=1e-12)


def test_fields_of_zero_are_exactly_the_identity() -> None:
    transformation, images = FieldTransformation(3, 17, 28), pictures(2, 3, 17, 28)
    with torch.no_grad():
        for weight in transformation.decoder[-1].parameters():
            weight.zero_()
    assert torch.equal(transformation(images, random_tau(2, 128, generator())), images)


def test_bounds_hold_however_large_the_weights_are() -> None:
    transformation = eager(FieldTransformation(1, 29, 29, spatial_bound=0.1, appearance_bound=0.05), 100)
    images, tau = pictures(8, 1, 29, 29), random_tau(8, 128, generator())
    parts = transformation.parts(images, tau)
    assert 0.1 * 14 < float(parts.flow.detach().abs().max()) <= 0.3 * 14 + 1e-4  # two factors of places within 1, and a bias
    assert 0.05 < float(parts.change.detach().abs().max()) <= 0.1 + 1e-6


@pytest.mark.parametrize("name", ["bounded", "affine", "colours"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_bounded_transformation_with_tau_zero_gives_the_same_bits(name: str, shape: tuple[int, int, int]) -> None:
    transformation, images = MAKERS[name](*shape), pictures(2, *shape)
    assert torch.equal(transformation(images, torch.zeros(2, transformation.tau_size)), images)


def only(channels: int, height: int, width: int, border: str = "edge", **bounds: float) -> BoundedTransformation:
    return BoundedTransformation(channels, height, width, **NOTHING | bounds, border=border)


def at(transformation: WarpingTransformation, images: Tensor, *tau: float) -> Tensor:
    return transformation(images, torch.tensor([tau], dtype=images.dtype).expand(len(images), -1))


@pytest.mark.parametrize("angle", [-30.0, 12.5, 30.0])
def test_a_turn_is_the_exhaustive_transforms_turn(angle: float) -> None:
    images = pictures(2, 1, 28, 20, dtype=torch.float64)
    found = at(only(1, 28, 20, rotation=30), images, angle / 30)
    assert_allclose(found, Rotate(angle).copies(images)[:, 0], atol=1e-7)


@pytest.mark.parametrize("signs", [(1, 1, 1, 1, 1), (-1, 0.5, -0.3, 0.7, -1), (0.2, -1, 1, -1, 0.4)])
def test_affine_changes_agree_with_kornia(signs: tuple[float, ...]) -> None:
    transformation = only(3, 28, 20, rotation=25, scale=0.3, shear=15, shift=0.1)
    assert transformation.names == ("rotation", "scale", "shear", "shift_x", "shift_y")
    images = pictures(1, 3, 28, 20, dtype=torch.float64)
    turn, scale, shear, right, down = (torch.tensor(sign, dtype=torch.float64) for sign in signs)
    angle, lean = torch.deg2rad(25 * turn), torch.tan(torch.deg2rad(15 * shear))
    rotate = torch.tensor([[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]], dtype=torch.float64)  # y grows downwards
    linear = rotate @ torch.tensor([[1, -lean], [0, 1]], dtype=torch.float64) * 1.3**scale
    centre = torch.tensor([9.5, 13.5], dtype=torch.float64)
    offset = centre - linear @ centre + torch.stack([0.1 * 20 * right, 0.1 * 28 * down])
    matrix = torch.cat([linear, offset[:, None]], dim=1)[None]
    expected = kornia.geometry.transform.warp_affine(images, matrix, (28, 20), padding_mode="border", align_corners=True)
    assert_allclose(at(transformation, images, *signs), expected, atol=1e-9)


def test_a_positive_shift_goes_to_the_right_and_down() -> None:
    images = pictures(1, 1, 8, 16)
    made = at(only(1, 8, 16, shift=0.25), images, 1, 1)
    assert torch.equal(made[:, :, 2:, 4:], images[:, :, :-2, :-4])
    assert torch.equal(made[:, :, 0, 4:], images[:, :, 0, :-4])  # the edge, repeated


@given(seed=st.integers(0, 2**31), side=st.integers(8, 40))
def test_the_smooth_flow_keeps_its_bound(seed: int, side: int) -> None:
    transformation = only(1, side, side + 3, flow=0.1)
    tau = random_tau(4, transformation.tau_size, generator(seed)).sign()
    assert float(transformation.flow(tau).abs().max()) <= 0.1 * side * (1 + 1e-6)


def test_the_splines_weigh_to_one_and_reproduce_straight_lines() -> None:
    weights = spline(29, 7)
    assert (weights >= 0).all()
    assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert_allclose(weights @ np.arange(7), 1 + np.linspace(0, 4, 29), atol=1e-12)  # control points lie one apart, the second at the edge
    assert_allclose(weights[0, :3], [1 / 6, 4 / 6, 1 / 6], atol=1e-12)


def test_a_flow_follows_its_control_points() -> None:
    transformation = only(1, 20, 20, flow=0.2, control=4)
    tau = torch.zeros(1, transformation.tau_size)
    tau[0, [i for i, name in enumerate(transformation.names) if name.startswith("flow_y") and name.endswith("_0")]] = 1
    flow = transformation.flow(tau)[0]
    assert not flow[0].any()
    assert_allclose(flow[1], np.broadcast_to(4 * spline(20, 4)[:, 0], (20, 20)), atol=1e-6)  # all rows alike: weights sum to one


def test_brightness_and_contrast_are_linear_about_middle_grey() -> None:
    images = 0.3 + 0.4 * pictures(1, 1, 8, 8, dtype=torch.float64)
    transformation = only(1, 8, 8, brightness=0.1, contrast=0.5)
    assert transformation.names == ("brightness", "contrast")
    assert_allclose(at(transformation, images, 1, 0), images + 0.1, atol=1e-12)
    assert_allclose(at(transformation, images, 0, -1), 0.5 + 0.5 * (images - 0.5), atol=1e-12)
    assert_allclose(at(transformation, images, 1, 1), 0.6 + 1.5 * (images - 0.5), atol=1e-12)


def test_full_loss_of_saturation_is_grey_of_the_same_brightness() -> None:
    images = pictures(2, 3, 8, 8, dtype=torch.float64)
    made = at(only(3, 8, 8, saturation=1), images, -1)
    grey = torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64), images)
    assert_allclose(made, grey[:, None].expand(-1, 3, -1, -1), atol=1e-12)


def test_a_third_of_a_full_turn_of_hue_exchanges_the_colours() -> None:
    images = pictures(2, 3, 8, 8, dtype=torch.float64)
    transformation = only(3, 8, 8, hue=120)
    assert_allclose(at(transformation, images, 1), images[:, [2, 0, 1]], atol=1e-12)  # red becomes green
    assert_allclose(at(transformation, images, -1), images[:, [1, 2, 0]], atol=1e-12)
    grey = images[:, :1].expand(-1, 3, -1, -1)
    assert_allclose(at(transformation, grey, 0.4), grey, atol=1e-12)


def test_tint_multiplies_each_colour_after_everything_else() -> None:
    images = 0.4 + 0.2 * pictures(2, 3, 8, 8, dtype=torch.float64)
    transformation = only(3, 8, 8, tint=0.8)
    assert transformation.names == ("tint_red", "tint_green", "tint_blue")
    gains = torch.tensor([0.6, 1.0, 0.2], dtype=torch.float64)[:, None, None]
    assert_allclose(at(transformation, images, -0.5, 0, -1), images * gains, atol=1e-12)
    assert_allclose(at(only(3, 8, 8, brightness=0.1, tint=0.8), images, -1, -0.5, 0, -1), (images - 0.1) * gains, atol=1e-12)
    assert only(1, 8, 8, brightness=0.1, tint=0.8).names == ("brightness",)


def test_colours_change_in_the_order_that_is_documented() -> None:
    images = 0.4 + 0.2 * pictures(1, 3, 8, 8, dtype=torch.float64)
    transformation = only(3, 8, 8, brightness=0.05, contrast=0.3, saturation=0.5, hue=40)
    assert transformation.names == ("brightness", "contrast", "saturation", "hue")
    made = images
    for bounds, tau in (({"hue": 40}, 0.7), ({"saturation": 0.5}, -0.6), ({"contrast": 0.3}, 0.8), ({"brightness": 0.05}, -0.9)):
        made = at(only(3, 8, 8, **bounds), made, tau)
    assert_allclose(at(transformation, images, -0.9, 0.8, -0.6, 0.7), made, atol=1e-12)


def test_photographs_go_on_beyond_their_borders_and_digits_do_not() -> None:
    for shape, expected in (((3, 9, 9), "reflect"), ((1, 9, 9), "edge")):
        images = pictures(2, *shape, dtype=torch.float64)
        given = BoundedTransformation.only(*shape, shift=0.4, border=expected)
        assert_allclose(at(BoundedTransformation.only(*shape, shift=0.4), images, 1, -1), at(given, images, 1, -1), rtol=0, atol=0)
        other = BoundedTransformation.only(*shape, shift=0.4, border="zeros")
        assert not torch.allclose(at(other, images, 1, -1), at(given, images, 1, -1))


def test_changes_with_a_bound_of_zero_take_no_part_of_tau() -> None:
    assert BoundedTransformation(1, 8, 8).tau_size == 5 + 2 * 25 + 2 + 4
    assert BoundedTransformation(3, 8, 8, shear=0, control=4).tau_size == 4 + 2 * 16 + 4 + 4 + 3


MODULES: dict[str, Callable[[], Any]] = {
    **{name: lambda make=make: make(3, 12, 15) for name, make in MAKERS.items()},
    "E": lambda: AugmentationNetwork(3, 12, 15, tau_size=7, dropout=0.5, seed=3),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_comes_back_from_its_file_with_the_same_bits(name: str, tmp_path: Path) -> None:
    module = MODULES[name]()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.01)
    path = save_module(module, tmp_path / "m.safetensors")
    before = path.read_bytes()
    back = load_module(path, type(module))
    assert back.settings == module.settings
    images = pictures(2, 3, 12, 15)
    if isinstance(module, WarpingTransformation):
        tau = random_tau(2, module.tau_size, generator())
        assert torch.equal(back(images, tau), module(images, tau))
    else:
        assert torch.equal(back.eval()(images), module.eval()(images))
    assert save_module(back, path).read_bytes() == before


def test_files_of_anything_else_are_refused(tmp_path: Path) -> None:
    path = save_module(AugmentationNetwork(1, 8, 8), tmp_path / "e.safetensors")
    with pytest.raises(InputError, match="expected a saved WarpingTransformation, found AugmentationNetwork"):
        load_module(path, WarpingTransformation)
    assert isinstance(load_module(save_module(BoundedTransformation(1, 8, 8), path), WarpingTransformation), BoundedTransformation)
    safetensors.torch.save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="found a file without Augury's record; give the file that save_module wrote"):
        load_module(path, FieldTransformation)
    with pytest.raises(InputError, match="no such file"):
        load_module(tmp_path / "absent", FieldTransformation)
