"""A transformation that needs no training: familiar changes, each within a bound."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import BSpline
from torch import Tensor

from augury.errors import InputError
from augury.learned.surroundings import focused, lit, thickened, tinted
from augury.learned.transformation import Fields, WarpingTransformation, places
from augury.transforms.border import Real

DEGREE = 3  # of the flow's splines
FOCUS = 16  # so many deviations of the blur make the shorter side
PRIMARIES = ("red", "green", "blue")
GREY = (0.299, 0.587, 0.114)  # a colour's brightness (Rec. 601)
WIDE: Mapping[str, Real] = MappingProxyType(  # bounds that leave a learned augmentation room beyond the usual ones, which are the defaults
    {
        "rotation": 60,
        "scale": 0.4,
        "shear": 45,
        "shift": 0.15,
        "flow": 0.1,
        "brightness": 0.4,
        "contrast": 0.95,
        "saturation": 0.8,
        "hue": 30,
        "blur": 1,
        "stroke": 1,
        "light": 0.8,
        "tint": 0.9,
    }
)
LIMITS = {"rotation": 180, "scale": 9, "shear": 80, "shift": 1, "flow": 1, "hue": 180} | dict.fromkeys(
    ("brightness", "contrast", "saturation", "blur", "stroke", "light", "tint"), 1
)


class BoundedTransformation(WarpingTransformation):
    """Scales, shears, turns, shifts and bends; then changes strokes, focus, of RGB images colours, contrast, brightness, and the light.

    Each component of tau drives one of them, and reaches its bound at -1 and 1; tau = 0 is exactly the identity. A bound of 0 leaves
    the change out, and its components of tau with it; `names` tells which there are.

    Parameters
    ----------
    channels, height, width
        The images' shape.
    rotation
        In degrees; a positive tau turns counter-clockwise as displayed.
    scale
        tau = 1 enlarges what is shown by the factor 1 + scale, tau = -1 reduces it by the same.
    shear
        In degrees: how far upright lines lean; a positive tau leans their upper ends to the right.
    shift
        As a share of the image's width and height; positive taus shift to the right and down.
    flow
        The largest displacement by a smooth flow, along each axis, as a share of the image's shorter side: a cubic B-spline over
        `control` x `control` points, each of which has two components of tau.
    control
        At least 4.
    brightness
        What is added to every pixel.
    contrast
        The share by which distances from middle grey grow (or shrink, for a negative tau).
    saturation
        For RGB images: the share by which distances from the same brightness in grey grow.
    hue
        For RGB images: a turn around the grey axis, in degrees.
    blur
        The share by which a pixel moves towards the mean of its surroundings, a Gaussian of a 16th of the shorter side; a negative tau
        sharpens.
    stroke
        The share by which a pixel moves towards the lightest of the 3 x 3 around it, so that light strokes grow thicker; a negative tau
        thins them.
    light
        The share by which one side is lighter than the middle, and the other darker; it has a component across and one down.
    tint
        For RGB images: the share by which the light has more of a colour; it has a component each for red, green and blue.
    border
        As for every `WarpingTransformation`. None: `reflect` for RGB images, since photographs go on beyond their borders, and `edge` for
        others.
    fill, clamp
        As for every `WarpingTransformation`.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        rotation: Real = 20,
        scale: Real = 0.2,
        shear: Real = 15,
        shift: Real = 0.1,
        flow: Real = 0.1,
        control: int = 5,
        brightness: Real = 0.2,
        contrast: Real = 0.3,
        saturation: Real = 0.5,
        hue: Real = 15,
        blur: Real = 0.5,
        stroke: Real = 0.5,
        light: Real = 0.3,
        tint: Real = 0.3,
        border: str | None = None,
        fill: Real = 0.0,
        clamp: bool = True,
    ) -> None:
        bounds: dict[str, Real] = {"rotation": rotation, "scale": scale, "shear": shear, "shift": shift, "flow": flow}
        bounds |= {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        bounds |= {"blur": blur, "stroke": stroke, "light": light, "tint": tint}
        _check(bounds, control)
        names = _names(bounds, control, channels)
        border = border or ("reflect" if channels == len(PRIMARIES) else "edge")
        settings: dict[str, Any] = bounds | {"control": control}
        super().__init__(channels, height, width, len(names), border=border, fill=fill, clamp=clamp, settings=settings)
        self.bounds, self.control, self.names = bounds, control, names
        self.place: Tensor
        self.rows: Tensor
        self.columns: Tensor
        self.register_buffer("place", places(height, width), persistent=False)
        self.register_buffer("rows", torch.from_numpy(spline(height, control)).float(), persistent=False)
        self.register_buffer("columns", torch.from_numpy(spline(width, control)).float(), persistent=False)

    @property
    def moves(self) -> bool:
        """Whether it has a flow."""
        return any(self.bounds[name] > 0 for name in ("rotation", "scale", "shear", "shift", "flow"))

    @property
    def tried(self) -> list[bool]:
        """All but the flow's."""
        return [not name.startswith("flow") for name in self.names]

    @classmethod
    def wide(cls, channels: int, height: int, width: int) -> BoundedTransformation:
        """One within `WIDE`."""
        bounds: dict[str, Any] = dict(WIDE)
        return cls(channels, height, width, **bounds)

    @classmethod
    def only(
        cls, channels: int, height: int, width: int, *, border: str | None = None, clamp: bool = True, **bounds: Real
    ) -> BoundedTransformation:
        """One with no changes but those whose bounds are given."""
        every: dict[str, Any] = dict.fromkeys(LIMITS, 0) | bounds
        return cls(channels, height, width, border=border, clamp=clamp, **every)

    def usual(self) -> list[float]:
        """`within` the usual bounds, which are the defaults, where its own are wider."""
        parameters = inspect.signature(BoundedTransformation).parameters
        return self.within(**{name: min(own, parameters[name].default) for name, own in self.bounds.items() if own > 0})

    def within(self, **bounds: Real) -> list[float]:
        """For each component of tau, the concentration of a symmetric Beta distribution as wide as the uniform one within smaller `bounds`.

        By the variance: 1 / (2 concentration + 1) = (smaller bound / own bound)^2 / 3. Bounds that are not named stay as they are: 1.
        """
        narrow = [name for name, bound in bounds.items() if name not in self.bounds or not 0 < bound <= self.bounds[name]]
        if narrow:
            raise InputError(
                f"{narrow[0]}: {bounds[narrow[0]]:g}; expected above 0 and at most {self.bounds.get(narrow[0], 0):g}, the own bound"
            )
        families = [next(family for family in self.bounds if name.startswith(family)) for name in self.names]
        shares = [bounds.get(family, self.bounds[family]) / self.bounds[family] for family in families]
        return [(3 / share**2 - 1) / 2 for share in shares]

    def fields(self, tau: Float[Tensor, "points tau"]) -> Fields:
        """What each tau means at each pixel."""
        values = dict(zip(self.names, tau.unbind(dim=1), strict=True))
        flow = self._affine(tau) + self._bent(tau) if self.moves else None
        if not any(name in values for name in ("brightness", "contrast", "saturation", "hue")):
            return Fields(flow, None, None)
        return Fields(flow, *self._colour(tau))

    def touched(
        self, images: Float[Tensor, "points channels height width"], tau: Float[Tensor, "points tau"]
    ) -> Float[Tensor, "points channels height width"]:
        """The moved images with other strokes and in other focus."""
        if self.bounds["stroke"] > 0:
            images = thickened(images, self._value(tau, "stroke") * self.bounds["stroke"])
        if self.bounds["blur"] > 0:
            images = focused(images, self._value(tau, "blur") * self.bounds["blur"], min(self.height, self.width) / FOCUS)
        return images

    def relit(
        self, images: Float[Tensor, "points channels height width"], tau: Float[Tensor, "points tau"]
    ) -> Float[Tensor, "points channels height width"]:
        """All of it, haze too, in a light of a colour and from one side."""
        if f"tint_{PRIMARIES[0]}" in self.names:
            images = tinted(images, torch.stack([self._value(tau, f"tint_{colour}") for colour in PRIMARIES], dim=1) * self.bounds["tint"])
        if self.bounds["light"] == 0:
            return images
        return lit(images, *(self._value(tau, f"light_{axis}") * self.bounds["light"] for axis in "xy"))

    def _value(self, tau: Tensor, name: str) -> Tensor:
        """The component of that name, between minus and plus 1; zero where it is left out."""
        return tau[:, self.names.index(name)] if name in self.names else tau.new_zeros(len(tau))

    def _affine(self, tau: Tensor) -> Tensor:
        """Where the inverse of the affine map takes each pixel, less the pixel's own place.

        Maps are kept as what they add to the identity, so that none adds exactly zero.
        """
        angle = self._value(tau, "rotation") * math.radians(self.bounds["rotation"])
        lean = (self._value(tau, "shear") * math.radians(self.bounds["shear"])).tan()
        smaller = (self._value(tau, "scale") * -math.log1p(self.bounds["scale"])).expm1()
        zero = torch.zeros_like(angle)
        less = -2 * (angle / 2).sin() ** 2  # cos(angle) - 1
        turn = _matrix([[less, -angle.sin()], [angle.sin(), less]])
        linear = _after(_after(_matrix([[smaller, zero], [zero, smaller]]), _matrix([[zero, lean], [zero, zero]])), turn)
        sides = (self.width, self.height)
        shift = torch.stack(
            [self._value(tau, f"shift_{axis}") * side * self.bounds["shift"] for axis, side in zip("xy", sides, strict=True)], 1
        )
        moved = torch.einsum("nab,bhw->nahw", linear, self.place.to(tau.dtype))
        return moved - (shift + (linear @ shift[:, :, None])[:, :, 0])[:, :, None, None]

    def _bent(self, tau: Tensor) -> Tensor:
        """The smooth flow."""
        if self.bounds["flow"] == 0:
            return tau.new_zeros(())
        start = self.names.index("flow_x_0_0")
        knots = tau[:, start : start + 2 * self.control**2].reshape(-1, 2, self.control, self.control)
        largest = self.bounds["flow"] * min(self.height, self.width)
        bent: Tensor = largest * (self.rows.to(tau.dtype) @ knots @ self.columns.to(tau.dtype).T)
        return bent

    def _colour(self, tau: Tensor) -> tuple[Tensor, Tensor]:
        """What the colour change adds to the identity, as a matrix and a vector: hue, then saturation, contrast and brightness."""
        identity = torch.eye(self.channels, dtype=tau.dtype, device=tau.device)
        contrast = self._value(tau, "contrast") * self.bounds["contrast"]
        matrix = contrast[:, None, None] * identity
        if self.channels == len(PRIMARIES):
            away = identity - identity.new_tensor(GREY).expand(3, 3)
            saturation = self._value(tau, "saturation") * self.bounds["saturation"]
            turn = _turn(self._value(tau, "hue") * math.radians(self.bounds["hue"]))
            matrix = _after(matrix, _after(saturation[:, None, None] * away, turn))
        bias = self._value(tau, "brightness") * self.bounds["brightness"] - contrast / 2
        return matrix[..., None, None], bias[:, None, None, None].expand(-1, self.channels, 1, 1)


def spline(size: int, control: int) -> Float[np.ndarray, "size control"]:
    """The weight of each control point at each of `size` places from end to end: uniform cubic B-splines, none negative, their sum 1."""
    knots = np.arange(control + DEGREE + 1, dtype=np.float64)
    weights: Float[np.ndarray, "size control"] = BSpline(knots, np.eye(control), DEGREE)(np.linspace(DEGREE, control, size))
    return weights


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _after(last: Tensor, first: Tensor) -> Tensor:
    """(I + last)(I + first) - I."""
    return last + first + last @ first


def _turn(angle: Tensor) -> Tensor:
    """The rotation of colours around the grey axis, less the identity (Rodrigues)."""
    side = 1 / math.sqrt(3)
    across = angle.new_tensor([[0, -side, side], [side, 0, -side], [-side, side, 0]])
    return angle.sin()[:, None, None] * across + (2 * (angle / 2).sin() ** 2)[:, None, None] * (across @ across)


def _names(bounds: dict[str, Real], control: int, channels: int) -> tuple[str, ...]:
    components = {name: [name] for name in bounds}
    components |= {name: [f"{name}_x", f"{name}_y"] for name in ("shift", "light")}
    components["flow"] = [f"flow_{axis}_{row}_{column}" for axis in "xy" for row in range(control) for column in range(control)]
    components["tint"] = [f"tint_{colour}" for colour in PRIMARIES]
    if channels != len(PRIMARIES):
        components |= {name: [] for name in ("saturation", "hue", "tint")}
    found = tuple(component for name, bound in bounds.items() if bound > 0 for component in components[name])
    if not found:
        raise InputError("bounds: all are zero, so that nothing would change; give at least one, such as rotation=20")
    return found


def _check(bounds: dict[str, Real], control: int) -> None:
    for name, bound in bounds.items():
        if not 0 <= bound <= LIMITS[name]:
            raise InputError(f"{name}: {bound:g}; expected 0 to {LIMITS[name]}")
    if control < DEGREE + 1:
        raise InputError(f"control: {control}; expected at least {DEGREE + 1} points along each side, such as 5")
