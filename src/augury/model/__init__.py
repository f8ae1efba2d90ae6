"""The user's network and its features: what one named layer gives for each image, computed once and kept by content.

The network is only read: modes, weights, hooks, gradients and device are afterwards as they were.
"""

from __future__ import annotations

from augury.model.definition import Model, load, save
from augury.model.features import copy_features, features
from augury.model.outputs import check_output
from augury.model.reading import resolve_device

__all__ = ["Model", "check_output", "copy_features", "features", "load", "resolve_device", "save"]
