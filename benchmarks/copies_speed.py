"""Exhaustive copies against other libraries' fixed transforms, on one core, beside the time of a plain copy of as many bytes.

    OMP_NUM_THREADS=1 .venv-bench/bin/python benchmarks/copies_speed.py

Translate, rotate, crop and flip, as `parse` sets them for the size, at 28, 32, 96 and 224 pixels, uint8 and float32. Every side takes a
batch in its own layout and writes all copies into one array of that layout, which is there before. Writes `copies_speed.json` beside
this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import albumentations
import cv2
import kornia.geometry as kornia
import numpy as np
import torch
from machine import OURS, Machine, calls_for, case, interleaved, save
from torch import Tensor

from augury.transforms import Crop, Flip, Rotate, Translate, parse

# torchvision's transforms need none of its compiled operators, but its import does, and some builds lack them: their signatures will do.
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
try:
    from torchvision.transforms.v2 import functional as torchvision
except RuntimeError:
    for operator in ("nms", "qnms"):
        OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision.transforms.v2 import functional as torchvision

SIZES = {28: (1, 1000), 32: (3, 1000), 96: (3, 100), 224: (3, 20)}  # channels and points
SETS = ("translate", "rotate", "crop", "flip")
TURN = 0.03  # seconds that ours is called for at a time, and the others as often: what comes before it is in the caches
WHAT = (
    "All copies of each image by a fixed set, written into memory in use: processor seconds of one core for the whole batch. The others "
    "are OpenCV image by image and albumentations, both with channels last, torchvision (its border is black) and kornia (floats only), "
    "both with channels first as ours; the ratio is to the fastest. The floor is reading every image and writing every copy once."
)

Set = Translate | Rotate | Crop | Flip
Images = np.ndarray[Any, Any]
Move = Callable[..., Any]  # one copy of an image or a batch


def shifts(transform: Translate) -> list[tuple[int, int]]:
    """Pixels to the right and down of each copy."""
    return [(x * transform.pixels, y * transform.pixels) for y in (1, -1) for x in (1, -1)]


def opencv_moves(transform: Set, size: int) -> list[Move]:
    """One function of (image, dst) a copy."""
    centre, warp = ((size - 1) / 2,) * 2, partial(cv2.warpAffine, dsize=(size, size), borderMode=cv2.BORDER_REPLICATE)
    if isinstance(transform, Translate):
        matrices = [np.array([[1, 0, x], [0, 1, y]], np.float32) for x, y in shifts(transform)]
        return [partial(warp, M=matrix, flags=cv2.INTER_NEAREST) for matrix in matrices]
    if isinstance(transform, Rotate):
        return [partial(warp, M=cv2.getRotationMatrix2D(centre, angle, 1), flags=cv2.INTER_LINEAR) for angle in transform.angles]
    if isinstance(transform, Flip):
        return [partial(cv2.flip, flipCode=1)]
    resize = partial(cv2.resize, dsize=(size, size), interpolation=cv2.INTER_AREA)
    return [partial(lambda image, dst, cut: resize(image[cut:-cut, cut:-cut], dst=dst), cut=cut) for cut in transform.pixels]


def opencv(moves: list[Move], images: Images, copies: Images) -> None:
    """Write every move of every image where it belongs, channels last."""
    for image, out in zip(images, copies, strict=True):
        for move, dst in zip(moves, out, strict=True):
            move(image, dst=dst)


def albumentations_moves(transform: Set, size: int) -> list[Move]:
    """One function of a batch with channels last a copy."""
    made: list[Any]
    if isinstance(transform, Translate):
        affine = partial(albumentations.Affine, interpolation=cv2.INTER_NEAREST, border_mode=cv2.BORDER_REPLICATE, p=1)
        made = [affine(translate_px={"x": x, "y": y}) for x, y in shifts(transform)]
    elif isinstance(transform, Rotate):
        made = [albumentations.Rotate((angle, angle), border_mode=cv2.BORDER_REPLICATE, p=1) for angle in transform.angles]
    elif isinstance(transform, Flip):
        made = [albumentations.HorizontalFlip(p=1)]
    else:
        resize = albumentations.Resize(size, size, interpolation=cv2.INTER_AREA)
        crops = [albumentations.Crop(cut, cut, size - cut, size - cut) for cut in transform.pixels]
        made = [albumentations.Compose([crop, resize]) for crop in crops]
    return [partial(lambda images, move: move(images=images)["images"], move=move) for move in made]


def torchvision_moves(transform: Set, size: int) -> list[Move]:
    """One function of a batch a copy."""
    if isinstance(transform, Translate):
        affine = partial(torchvision.affine, angle=0.0, scale=1.0, shear=[0.0, 0.0])
        return [partial(affine, translate=list(shift)) for shift in shifts(transform)]
    if isinstance(transform, Rotate):
        turn = partial(torchvision.rotate, interpolation=torchvision.InterpolationMode.BILINEAR)
        return [partial(turn, angle=angle) for angle in transform.angles]
    if isinstance(transform, Flip):
        return [torchvision.horizontal_flip]
    crop = partial(torchvision.resized_crop, size=[size, size], antialias=False)
    return [partial(crop, top=cut, left=cut, height=size - 2 * cut, width=size - 2 * cut) for cut in transform.pixels]


def kornia_moves(transform: Set, size: int) -> list[Move]:
    """One function of a batch a copy."""
    if isinstance(transform, Translate):
        move = partial(kornia.translate, mode="nearest", padding_mode="border")
        return [partial(move, translation=torch.tensor([shift], dtype=torch.float32)) for shift in shifts(transform)]
    if isinstance(transform, Rotate):
        return [partial(kornia.rotate, angle=torch.tensor([angle]), padding_mode="border") for angle in transform.angles]
    if isinstance(transform, Flip):
        return [kornia.hflip]
    return [partial(lambda images, cut: kornia.resize(images[..., cut:-cut, cut:-cut], (size, size)), cut=cut) for cut in transform.pixels]


def batched(moves: list[Move], images: Images | Tensor, copies: Any) -> None:  # noqa: ANN401  (of the images' kind)
    """Write every move of the batch."""
    for i, move in enumerate(moves):
        copies[:, i] = move(images)


def sides(transform: Set, images: Images) -> tuple[Mapping[str, Callable[[], None]], Mapping[str, Images]]:
    """Every library's way, ours first, and the arrays of copies with channels first and last: memory in use, for all to write into."""
    size, tensor = images.shape[-1], torch.from_numpy(images)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    copies = {
        name: np.zeros((len(given), len(transform), *given.shape[1:]), images.dtype) for name, given in (("first", images), ("last", last))
    }
    found = {
        OURS: partial(transform.write, images, copies["first"]),
        "OpenCV": partial(opencv, opencv_moves(transform, size), last, copies["last"]),
        "albumentations": partial(batched, albumentations_moves(transform, size), last, copies["last"]),
        "torchvision": partial(batched, torchvision_moves(transform, size), tensor, torch.from_numpy(copies["first"])),
    }
    if images.dtype == np.float32:
        found["kornia"] = partial(batched, kornia_moves(transform, size), tensor, torch.from_numpy(copies["first"]))
    return found, copies


def measured(name: str, size: int, dtype: str, machine: Machine) -> dict[str, Any]:
    """One case: all sides on the same random images, and how far OpenCV's copies are from ours."""
    channels, points = SIZES[size]
    images = np.random.default_rng(0).integers(0, 256, (points, channels, size, size), dtype=np.uint8)
    images = images if dtype == "uint8" else (images / np.float32(255)).astype(np.float32)
    transform: Any = parse(name, size)
    ways, copies = sides(transform, images)
    ways[OURS]()
    ways["OpenCV"]()
    difference = float(abs(copies["first"].astype(np.float32) - np.moveaxis(copies["last"], -1, 2)).max())
    floor = machine.floor(moved=images.nbytes * (1 + len(transform)))
    title = f"{name}, {size} x {size} x {channels}, {dtype}"
    seconds = interleaved(ways, calls=calls_for(ways[OURS], TURN))
    return case(title, seconds, floor, copies=points * len(transform), largest_difference_to_opencv=difference)


def main() -> None:
    """All sets, sizes and dtypes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    machine = Machine.measured()
    cases = []
    for size in SIZES:
        for dtype in ("uint8", "float32"):
            for name in SETS:
                cases.append(measured(name, size, dtype, machine))
                print(cases[-1]["case"], cases[-1]["ratio"], f"{cases[-1]['floor_share']:.2f}", flush=True)
    save(__file__, WHAT, cases, machine, ["opencv-python-headless", "albumentations", "torchvision", "kornia"])


if __name__ == "__main__":
    main()
