"""Exhaustive, deterministic, batched copies of images: the built-in sets, what is made of them, and the text that names them.

A transform of k copies turns images (points, channels, height, width) into copies (points, k, channels, height, width), and has one name
for each copy; see `Transform`. `parse` reads one from a text such as `rotate:30,translate+flip`.
"""

from augury.transforms.combinations import Compose, Custom, Union
from augury.transforms.foreign import as_transform
from augury.transforms.language import parse
from augury.transforms.moved import Flip, Translate
from augury.transforms.transform import Transform
from augury.transforms.warped import Crop, Rotate

__all__ = ["Compose", "Crop", "Custom", "Flip", "Rotate", "Transform", "Translate", "Union", "as_transform", "parse"]
