"""What a network of the user's own gives out: whether it is the scores of classes, which is all that Augury knows yet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from augury.data.examples import Images
from augury.errors import InputError
from augury.model.reading import device_of, forward, modes_kept, to_batch

NOT_YET = "which Augury cannot handle yet: it knows classification, one score a class"
SHOWN = 2  # images that are shown to the network


def check_output(network: nn.Module, images: Images, classes: int | None) -> None:
    """Refuse a network for another task than classification.

    Parameters
    ----------
    network
        It is only read.
    images
        Of which the first few are shown to it.
    classes
        How many classes it is to be trained on; None: it is not, and may give any number of scores, or features.

    Raises
    ------
    InputError
        If it gives one number an image (regression), ends in a sigmoid (many labels an image), or cannot be trained on so many classes.
    """
    if isinstance(list(network.modules())[-1], nn.Sigmoid):
        raise InputError(
            f"model: it ends in a sigmoid, as for several labels an image, {NOT_YET}; give a network that ends in a linear layer"
        )
    with modes_kept(network), torch.no_grad():
        network.eval()
        given = forward(network, to_batch(images[:SHOWN], network, device_of(network) or torch.device("cpu")))
    shape = tuple(given.shape) if isinstance(given, Tensor) else None
    shown = min(SHOWN, len(images))
    if shape in ((), (shown,), (shown, 1)):
        raise InputError(f"model: it gives one number an image, as for regression or a single logit, {NOT_YET}; let it give two or more")
    if classes is not None and shape != (shown, classes):
        got = type(given).__name__ if shape is None else f"the shape {shape}"
        raise InputError(
            f"model: it gives {got} for {shown} images of {classes} classes, and is to be trained on them; expected ({shown}, {classes}): "
            "let the factory make that, or give its weights (weights, --checkpoint), or epochs 0, to use it as it is"
        )
