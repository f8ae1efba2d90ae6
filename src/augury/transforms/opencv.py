"""OpenCV, where it is installed: some of its kernels give the same bits as torch's and numpy's, and faster."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor


def opencv_for(images: Tensor) -> Any | None:  # noqa: ANN401  (a module that may be missing)
    """OpenCV, if it is there and can read these images: not where there are none, elsewhere than on the CPU, or for derivatives."""
    unreadable = images.numel() == 0 or images.device.type != "cpu" or (torch.is_grad_enabled() and images.requires_grad)
    return None if unreadable else _opencv()


@cache
def _opencv() -> Any | None:  # noqa: ANN401  (a module that may be missing)
    try:
        return importlib.import_module("cv2")
    except ImportError:
        return None
