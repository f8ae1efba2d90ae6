"""Figures of pictures: an image along a line of taus (Figure 4 of the paper), images before and after, and flows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from PIL import Image

from augury.report.learn_run.folder import LearnFolder
from augury.report.pictures import Picture, picture
from augury.report.subsampling.figures.canvas import BLUE, DPI, GREY, RED

SIDE = 76  # pixels of a picture on the sheet, about; small pictures are enlarged by a whole number
LABELS, GAP, BREAK = 74, 5, 22  # pixels: the width of the rows' names, and the space between rows and between blocks
STAGES = ("image", "flow", "warped", "change", "result")
ARROWS = 10  # of a flow, along an axis at most
FLOWS, FLOW_COLUMNS = 10, 5
MARGIN = 0.12  # around a picture with arrows, as a share of its side
Pixels = npt.NDArray[np.uint8]
Rows = list[tuple[str, list[Pixels]]]


def strip_size(run: LearnFolder) -> tuple[float, float]:
    """Width and height in inches of what `draw_strips` draws."""
    return _size([_strip(run, number) for number in range(len(run.pictures["strip_images"]))])


def draw_strips(figure: Figure, run: LearnFolder) -> None:
    """Five rows for each image: the image, the flow's direction as hue and its length as strength, and so on."""
    _draw(figure, [_strip(run, number) for number in range(len(run.pictures["strip_images"]))])


def grid_size(run: LearnFolder) -> tuple[float, float]:
    """Width and height in inches of what `draw_grid` draws."""
    return _size([_grid(run)])


def draw_grid(figure: Figure, run: LearnFolder) -> None:
    """A column an image: as it is, and below it as the augmentation makes it, draw by draw."""
    _draw(figure, [_grid(run)])


def grid(run: LearnFolder) -> list[tuple[str, list[Picture]]]:
    """What `draw_grid` draws, picture by picture, each with its words."""
    labels = [str(label) for label in run.pictures["grid_labels"]]
    return [
        (name, [_described(image, f"{label}, {name}") for image, label in zip(images, labels, strict=True)]) for name, images in _grid(run)
    ]


def strips(run: LearnFolder) -> list[list[tuple[str, list[Picture]]]]:
    """What `draw_strips` draws, likewise: for each image its stages."""
    blocks = [_strip(run, number) for number in range(len(run.pictures["strip_images"]))]
    return [
        [(name, [_described(image, f"{name}, tau {place}") for place, image in enumerate(images, start=1)]) for name, images in block]
        for block in blocks
    ]


def _described(image: Pixels, text: str) -> Picture:
    return picture(np.ascontiguousarray(image.transpose(2, 0, 1)), text)


def draw_flows(figure: Figure, run: LearnFolder) -> None:
    """Flows as arrows over the first images, a draw each, from where a pixel's value comes to where it goes."""
    before, flows = run.pictures["grid_before"], run.pictures["grid_flow"]
    count = min(FLOWS, len(before))
    axes = figure.subplots(-(-count // FLOW_COLUMNS), FLOW_COLUMNS, squeeze=False).ravel()
    for panel in axes:
        panel.set_axis_off()
    for panel, image, flow in zip(axes, before[:count], flows[:count, 0], strict=False):
        _arrows(panel, image, flow)


def _arrows(panel: Axes, image: UInt8[np.ndarray, "channels height width"], flow: Float[np.ndarray, "2 height width"]) -> None:
    height, width = image.shape[1:]
    panel.imshow(255 - (255 - _colours(image)) // 2, interpolation="nearest")
    step = -(-height // ARROWS)
    rows, columns = (np.arange(step // 2, side, step) for side in (height, width))
    right, down = flow[:, rows[:, None], columns]
    x, y = np.meshgrid(columns, rows)
    panel.quiver(x + right, y + down, -right, -down, angles="xy", scale_units="xy", scale=1, width=0.011, color=RED)
    panel.set_xlim(-0.5 - MARGIN * width, width - 0.5 + MARGIN * width)
    panel.set_ylim(height - 0.5 + MARGIN * height, -0.5 - MARGIN * height)


def _strip(run: LearnFolder, number: int) -> Rows:
    shown = {name: run.pictures[f"strip_{name}"][number] for name in ("flow", "warped", "change", "images")}
    image = _colours(run.pictures["grid_before"][number])
    reach = max(float(np.abs(shown["change"]).max()), 1e-6)
    change = np.rint(127.5 * (1 + shown["change"] / reach)).astype(np.uint8)
    columns = [
        [image] * len(shown["flow"]),
        _hues(shown["flow"]),
        *([_colours(one) for one in part] for part in (shown["warped"], change, shown["images"])),
    ]
    return list(zip(STAGES, columns, strict=True))


def _grid(run: LearnFolder) -> Rows:
    before, after = run.pictures["grid_before"], run.pictures["grid_after"]
    draws = [(f"draw {draw + 1}", [_colours(image) for image in after[:, draw]]) for draw in range(after.shape[1])]
    return [("image", [_colours(image) for image in before]), *draws]


def _hues(flows: Float[np.ndarray, "taus 2 height width"]) -> list[Pixels]:
    """White where nothing moves; the strongest colour for the longest displacement."""
    right, down = flows[:, 0], flows[:, 1]
    length = np.hypot(right, down)
    colours = np.stack(
        [(np.arctan2(down, right) / (2 * np.pi)) % 1, length / max(float(length.max()), 1e-6), np.ones_like(length)], axis=-1
    )
    return list(np.rint(255 * hsv_to_rgb(colours)).astype(np.uint8))


def _colours(image: UInt8[np.ndarray, "channels height width"]) -> UInt8[np.ndarray, "height width 3"]:
    return np.ascontiguousarray(np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)))


def _shown_size(picture: Pixels) -> tuple[int, int]:
    """Width and height on the sheet, in pixels."""
    height, width = picture.shape[:2]
    scale = max(1, round(SIDE / height)) if height <= 2 * SIDE else SIDE / height
    return round(scale * width), round(scale * height)


def _size(blocks: Sequence[Rows]) -> tuple[float, float]:
    wide, high = _shown_size(blocks[0][0][1][0])
    columns, rows = len(blocks[0][0][1]), sum(len(block) for block in blocks)
    tall = rows * (high + GAP) + GAP + (len(blocks) - 1) * BREAK
    return (LABELS + columns * (wide + GAP)) / DPI, tall / DPI


def _draw(figure: Figure, blocks: Sequence[Rows]) -> None:
    figure.set_layout_engine("none")
    width, height = (round(side * DPI) for side in figure.get_size_inches())
    sheet = Image.new("RGB", (width, height), "white")
    top = GAP
    for block in blocks:
        for name, pictures in block:
            wide, high = _shown_size(pictures[0])
            for column, shown in enumerate(pictures):
                sheet.paste(_resized(shown, (wide, high)), (LABELS + column * (wide + GAP), top))
            colour = BLUE if name in ("result", "image") else GREY
            figure.text((LABELS - 2 * GAP) / width, 1 - (top + high / 2) / height, name, ha="right", va="center", color=colour)
            top += high + GAP
        top += BREAK
    figure.figimage(np.asarray(sheet))


def _resized(picture: Pixels, size: tuple[int, int]) -> Image.Image:
    """Enlarged pixel by pixel, or reduced smoothly."""
    kind = Image.Resampling.NEAREST if size[0] >= picture.shape[1] else Image.Resampling.LANCZOS
    return Image.fromarray(picture).resize(size, kind)
