"""Every way at hand to mirror images whose channels are planes, beside a plain copy and OpenCV's way with channels last.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/mirroring.py

Why: `copies_speed.py` lets every library have its own layout, and there OpenCV mirrors 224 x 224 x 3 floats with channels last faster than
Augury does planes. Writes `mirroring.json` beside this file.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from machine import OURS, Machine, calls_for, case, interleaved, save

from augury.transforms import Flip

POINTS, CHANNELS, SIZE = 20, 3, 224
TURN = 0.03  # seconds that ours is called for at a time, and the others as often
WHAT = (
    f"Mirroring {POINTS} images of {SIZE} x {SIZE} x {CHANNELS} floats into memory in use: Augury's way, channels first, in every line "
    "against one of the others. All but the one with channels last do the same on the same layout; `copy` mirrors nothing. The floor is "
    "reading and writing every image once."
)

Array = np.ndarray[Any, Any]


def planes_by_opencv(images: Array, out: Array) -> None:
    """Plane by plane."""
    for image, made in zip(images.reshape(-1, SIZE, SIZE), out.reshape(-1, SIZE, SIZE), strict=True):
        cv2.flip(image, 1, dst=made)


def last_by_opencv(images: Array, out: Array) -> None:
    """Image by image, channels last."""
    for image, made in zip(images, out, strict=True):
        cv2.flip(image, 1, dst=made)


def by_torch(images: Array, out: Array) -> None:
    """Image by image, so that what is made is still in the cache when it is put in its place."""
    for image, made in zip(torch.from_numpy(images), torch.from_numpy(out), strict=True):
        made.copy_(image.flip(2))


def ways() -> dict[str, Callable[[], None]]:
    """Each a function without arguments, ours first."""
    images = np.random.default_rng(0).random((POINTS, CHANNELS, SIZE, SIZE), dtype=np.float32)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    out, out_last, copies = np.zeros_like(images), np.zeros_like(last), np.zeros((POINTS, 1, *images.shape[1:]), np.float32)
    return {
        OURS: partial(Flip().write, images, copies),
        "OpenCV, channels last": partial(last_by_opencv, last, out_last),
        "OpenCV, planes": partial(planes_by_opencv, images, out),
        "torch": partial(by_torch, images, out),
        "numpy": lambda: np.copyto(out, images[..., ::-1]),
        "copy": lambda: np.copyto(out, images),
    }


def main() -> None:
    """One case for each of the others, all timed in the same turns."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    machine, sides = Machine.measured(), ways()
    seconds = interleaved(sides, repeats=15, calls=calls_for(sides[OURS], TURN))
    floor = machine.floor(moved=2 * 4 * POINTS * CHANNELS * SIZE**2)
    cases = [case(f"against {other}", {name: seconds[name] for name in (OURS, other)}, floor) for other in sides if other != OURS]
    save(__file__, WHAT, cases, machine, ["opencv-python-headless"])
    for one in cases:
        print(one["case"], one["ratio"], f"{one['floor_share']:.2f}")


if __name__ == "__main__":
    main()
