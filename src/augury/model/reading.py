"""One pass of images through a network, caught at one layer, that leaves no trace in the network."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.errors import InputError
from augury.model.definition import INPUT, Model

Block = npt.NDArray[np.float32]
Read = Callable[[npt.NDArray[Any]], Block]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; `auto` is the current CUDA device where there is one, and the CPU elsewhere."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise InputError(
            f"device: {device!r} cannot be used here ({_first_line(error)}); expected auto, cpu, or cuda where present"
        ) from None
    if resolved.type == "cuda" and resolved.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return resolved


def to_batch(images: npt.NDArray[Any], network: nn.Module, device: torch.device) -> Float[Tensor, "points channels height width"]:
    """Images as `network` takes them: in [0, 1], of its weights' precision, on `device`; a copy, safe to write into."""
    batch = torch.tensor(images, device=device)
    scaled = batch.float() / 255 if batch.dtype == torch.uint8 else batch
    return scaled.to(next((weight.dtype for weight in network.parameters() if weight.is_floating_point()), torch.float32))


@contextlib.contextmanager
def reading(model: Model, device: torch.device) -> Iterator[Read]:
    """A function from a block of images to their features; when the block ends, the network is as it was."""
    network = model.network if device_of(model.network) in (None, device) else copy.deepcopy(model.network).to(device)
    caught: list[object] = []
    handle = _catch(network, model.layer, caught)
    try:
        with modes_kept(network):
            network.eval()
            yield lambda images: _read(network, images, device, caught)
    finally:
        handle.remove()


@contextlib.contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """After the block, every part of the network is in training or evaluation mode as it was before."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training  # not .train(), which a network may have overridden


def device_of(network: nn.Module) -> torch.device | None:
    """Where the network's weights lie; None if it has none."""
    tensor = next(itertools.chain(network.parameters(), network.buffers()), None)
    return None if tensor is None else tensor.device


def _catch(network: nn.Module, layer: str, caught: list[object]) -> torch.utils.hooks.RemovableHandle:
    """Append what the layer gives out, or takes in, to `caught` at every forward pass; cloned, since later layers may work in place."""

    def keep(value: object) -> None:
        caught.append(value.clone() if isinstance(value, Tensor) else value)

    module = network.get_submodule(layer.removesuffix(INPUT))
    if layer.endswith(INPUT):
        return module.register_forward_pre_hook(lambda _, inputs, named: keep((*inputs, *named.values())[0]), with_kwargs=True)
    return module.register_forward_hook(lambda _, __, output: keep(output))


def _read(network: nn.Module, images: npt.NDArray[Any], device: torch.device, caught: list[object]) -> Block:
    caught.clear()
    batch = to_batch(images, network, device)
    with torch.no_grad(), exact(device):  # not inference_mode: a tensor that the network keeps from it could never be trained with
        forward(network, batch)
    if len(caught) != 1:
        raise InputError(f"layer: it ran {len(caught)} times in one forward pass; expected once: choose a layer that runs once")
    value = caught[0]
    if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != len(images):
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"layer: it gives {found} for {len(images)} images; expected a tensor whose first axis are the points")
    single = value.float()
    if single.ndim == 4:
        single = single.mean(dim=(2, 3))
    result: Block = single.reshape(len(images), -1).cpu().numpy()
    return result


def forward(network: nn.Module, batch: Tensor) -> Any:  # noqa: ANN401  (a network may give out anything)
    """What the network gives for the batch; if it refuses the batch, an `InputError` that tells the batch's shape and the reason."""
    try:
        return network(batch)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        shape = ", ".join(map(str, batch.shape))
        raise InputError(
            f"images: the network refuses a batch of shape ({shape}), that is (points, channels, height, width): {_first_line(error)}; "
            "choose a network for images of this size and number of channels"
        ) from error


def exact(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Convolutions on CUDA with full float32 products and fixed algorithms, so that results repeat and agree with the CPU's."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    flags: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    return flags


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
