"""Figures 5 and 11 to 13: the points with the highest and the lowest scores."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from augury.report.subsampling.figures.canvas import DPI
from augury.report.subsampling.sweep import IMAGES, Images

SHOWN = 10  # pictures in a row
HEIGHT = 84  # of a picture, about, in pixels: small pictures are enlarged by a whole number
LABELS, GAP = 80, 6  # the width of the rows' names, and the space between rows, in pixels
SPACE = 1 / 16  # between pictures, as a share of their width


def size_of(images: Images) -> tuple[float, float]:
    """Width and height of the figure in inches, so that each pixel of a small picture is a square of whole pixels."""
    rows = [_row(images[name][:SHOWN]) for name in IMAGES]
    scale = _scale(rows[0].shape[0])
    width = LABELS + GAP + max(scale * row.shape[1] for row in rows)
    return round(width) / DPI, round(GAP + sum(scale * row.shape[0] + GAP for row in rows)) / DPI


def draw_images(figure: Figure, images: Images) -> None:
    """Four rows: highest influence, highest loss, lowest influence, lowest loss, the first of them at the left."""
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches() * DPI
    top = height
    for name in IMAGES:
        row = _row(images[name][:SHOWN])
        wide, high = (_scale(row.shape[0]) * side for side in (row.shape[1], row.shape[0]))
        top -= GAP + high
        axes = figure.add_axes((LABELS / width, top / height, wide / width, high / height))
        axes.imshow(row, interpolation="auto" if high < row.shape[0] else "nearest", aspect="auto")
        axes.set_axis_off()
        axes.text(-0.01, 0.5, name.replace("_", "\n"), transform=axes.transAxes, ha="right", va="center")


def _scale(height: int) -> float:
    return float(max(1, round(HEIGHT / height))) if height <= 2 * HEIGHT else HEIGHT / height


def _row(images: UInt8[np.ndarray, "points channels height width"]) -> UInt8[np.ndarray, "height _row _colours"]:
    """Pictures side by side on white, in colours."""
    points, _, height, width = images.shape
    gap = max(1, round(SPACE * width))
    row = np.full((height, points * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        start = i * (width + gap)
        row[:, start : start + width] = np.broadcast_to(image.transpose(1, 2, 0), (height, width, 3))
    return row
