"""Several processes that fit one network together, each with its share of every batch, to what one process alone would come to.

Started by `torchrun`, each process holds the whole network and all data. Of a batch, a process computes the loss of its share; gradients
are summed over all, so that each takes the step of the whole batch. What one process does with a whole batch is kept:

- batch norm normalises by the mean and variance of the whole batch, and derivatives run through both;
- dropout draws the whole batch's mask everywhere, and uses its share;
- augmentations, a `Learner` among them, see the whole batch in every process: their draws are then the same everywhere.

So the results are those of one process but for the rounding of sums in another order. Other layers whose output for an image depends on
the rest of the batch, or that draw numbers of their own, are not known here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as shared
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from augury.data.examples import Images
from augury.model import Model, features


@dataclass(frozen=True)
class Crew:
    """The processes that work together.

    Parameters
    ----------
    rank
        This one's number, from 0.
    size
        How many there are; 1: this one works alone.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Crew:
        """The processes of the group that has been joined; where none has been, this one alone."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def share(self, count: int) -> slice:
        """Which of `count` things are this process's; all of them in every process where there are fewer than processes."""
        if count < self.size:
            return slice(0, count)
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def mean(self, losses: Float[Tensor, " share"], count: int) -> Float[Tensor, ""]:
        """What this process's losses add to the mean over `count` of them; with one process, that mean."""
        if self.size == 1:
            return losses.mean()
        return losses.sum() / (count if count >= self.size else count * self.size)

    def summed(self, value: Tensor) -> Tensor:
        """The value summed over all processes, in each of them; no derivative runs through it."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def sum_gradients(self, network: nn.Module) -> None:
        """Sum each parameter's gradient over all processes, in one message."""
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        if self.size == 1 or not weights:
            return
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        total = self.summed(torch.cat([gradient.flatten() for gradient in gradients]))
        for weight, part in zip(weights, torch.split(total, [weight.numel() for weight in weights]), strict=True):
            weight.grad = part.view_as(weight)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            distributed.barrier()

    @contextlib.contextmanager
    def as_one(self, network: nn.Module) -> Iterator[None]:
        """Within the block, batch norm and dropout treat the processes' shares as one batch."""
        changed = [module for module in network.modules() if self.size > 1 and isinstance(module, _BatchNorm | _DropoutNd)]
        for module in changed:
            kind: Callable[..., Tensor] = _normalised if isinstance(module, _BatchNorm) else _dropped
            vars(module)["forward"] = partial(kind, self, module, module.forward)
        try:
            yield
        finally:
            for module in changed:
                del vars(module)["forward"]


@contextlib.contextmanager
def joined() -> Iterator[Crew]:
    """Join the other processes that `torchrun` has started, until the block ends; without `torchrun`, this process works alone.

    Gloo carries the messages between CPUs, NCCL those between GPUs, of which each process takes the one with its local number.
    """
    if not distributed.is_torchelastic_launched() or Crew.here().size > 1:
        yield Crew.here()
        return
    on_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpus else "gloo")
    try:
        yield Crew.here()
    finally:
        distributed.destroy_process_group()


def shared_features(
    model: Model, images: Images, *, batch: int = 256, device: str | torch.device = "auto"
) -> Float32[np.ndarray, "points features"]:
    """What `augury.model.features` gives, each process reading its share of the images; every process gets all of them."""
    crew = Crew.here()
    own = features(model, images[crew.share(len(images))], batch=batch, device=device)
    if crew.size == 1 or len(images) < crew.size:
        return own
    parts: list[Float32[np.ndarray, "share features"] | None] = [None] * crew.size
    distributed.all_gather_object(parts, own)
    return np.concatenate([part for part in parts if part is not None])


def _normalised(crew: Crew, norm: _BatchNorm, alone: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Batch norm by the mean and variance over all processes' shares."""
    if not norm.training:
        return alone(x)
    axes = [0, *range(2, x.ndim)]
    values = x.float()
    count = crew.summed(torch.tensor(float(values.numel() // values.shape[1]), device=x.device))
    mean = _total(values.sum(axes)) / count
    centred = values - _spread(mean, x)
    variance = _total(centred.square().sum(axes)) / count
    _remember(norm, mean.detach(), variance.detach() * count / (count - 1))
    scaled = centred * _spread((variance + norm.eps).rsqrt(), x)
    if norm.affine:
        scaled = scaled * _spread(norm.weight, x) + _spread(norm.bias, x)
    return scaled.to(x.dtype)


def _total(value: Tensor) -> Tensor:
    """The sum over all processes, through which derivatives run."""
    total: Tensor = shared.all_reduce(value)  # type: ignore[no-untyped-call]  # torch leaves it so
    return total


def _spread(value: Tensor, x: Tensor) -> Tensor:
    """One number a channel, in the axes of `x`."""
    return value.view(1, -1, *[1] * (x.ndim - 2))


def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as PyTorch's batch norm does."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    pace = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, pace)
    norm.running_var.lerp_(variance, pace)


def _dropped(crew: Crew, dropout: _DropoutNd, alone: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Dropout by this process's share of the mask that one process draws for the whole batch."""
    if not dropout.training or dropout.p == 0:
        return alone(x)
    count = int(crew.summed(torch.tensor(len(x), device=x.device)))
    own = crew.share(count)
    if own.stop - own.start != len(x):  # fewer than processes: each has all
        return alone(x)
    places = x.shape[1:] if type(dropout) is nn.Dropout else (x.shape[1], *[1] * (x.ndim - 2))
    mask = x.new_empty((count, *places)).bernoulli_(1 - dropout.p).div_(1 - dropout.p)
    return x * mask[own]
