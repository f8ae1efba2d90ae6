"""A network ready to be differentiated: in evaluation mode, its losses the same every time, and nothing of it changed afterwards."""

from __future__ import annotations

import contextlib
import copy
import difflib
import itertools
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from augury.curvature.labelled import LabelledSet, PointLosses, cross_entropy
from augury.curvature.network import Kind, NetworkCurvature, Parameters
from augury.errors import InputError
from augury.model.reading import device_of, exact, modes_kept

PASSES = 4  # more of the same batch: one toss of a coin a pass stays unnoticed once in 16 times, and on three sets once in 4096
REPEATED = 100  # losses of the same input twice may differ by so many epsilons of the largest: sums in another order, on a GPU
RANDOM = (
    "network: its losses of the same inputs differ by {gap:.1e} from one pass to the next, although it is in evaluation mode: it draws at "
    "random (dropout or augmentation inside that ignores the mode?); make it deterministic in eval(), and augment the inputs beforehand"
)
MIXED = (
    "network: a point's loss changes by {gap:.1e} with the points that share its batch, so that no point has an influence of its own; give "
    "batch normalisation its running statistics (track_running_stats=True), or put a normalisation by point in its place"
)


@contextlib.contextmanager
def undisturbed(network: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """The network in evaluation mode on `device` (a copy, if it lies elsewhere); modes and random generators are afterwards as before.

    Attention takes the paths that can be differentiated twice. An operation without a forward derivative is an `InputError`.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"network: got {type(network).__name__}; expected a torch.nn.Module")
    placed = network if device_of(network) in (None, device) else copy.deepcopy(network).to(device)
    with modes_kept(placed), _generators_kept(device), exact(device), sdpa_kernel(SDPBackend.MATH), _fast_path_shut():
        _load_forward_mode()
        placed.eval()
        try:
            yield placed
        except NotImplementedError as error:  # only the first sentence: the rest asks to file an issue with PyTorch
            raise InputError(
                f"network: an operation in it cannot be differentiated as curvature needs: {str(error).split('. ')[0]}; replace this "
                "operation, or choose `parameters` behind it"
            ) from error


def _load_forward_mode() -> None:
    """The first forward derivative of a process, at which PyTorch warns of deprecated parts of its own that it loads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


@contextlib.contextmanager
def _fast_path_shut() -> Iterator[None]:
    """Without the fused encoder layers, which PyTorch uses in evaluation mode and cannot differentiate."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextlib.contextmanager
def _generators_kept(device: torch.device) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (a network may draw from the global generator)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  (as above)


def network_curvature(
    network: nn.Module,
    points: LabelledSet,
    *,
    loss: PointLosses | None,
    kind: Kind,
    penalty: float | Mapping[str, float],
    damping: float,
    parameters: Sequence[str] | None,
    batch: int,
) -> NetworkCurvature:
    """The curvature over `points` of a network that is `undisturbed`, once its losses are known to be fit; see `network_influence`."""
    if kind not in ("gauss-newton", "hessian"):
        raise InputError(f"curvature: got {kind!r}; expected 'gauss-newton' or 'hessian'")
    if batch < 1:
        raise InputError(f"batch: {batch}; expected at least 1")
    chosen = _chosen(network, parameters)
    tensors = itertools.chain(network.named_parameters(), network.named_buffers())
    fixed = {name: value.detach().clone() for name, value in tensors if name not in chosen}
    ridge = _ridge(chosen, penalty, damping)
    curvature = NetworkCurvature(network, loss or cross_entropy, chosen, fixed, points, kind, ridge, batch)
    check_scoring(curvature, points, "train")
    return curvature


def _chosen(network: nn.Module, names: Sequence[str] | None) -> Parameters:
    """The parameters of these names, or below the modules of these names; None: all that require a gradient."""
    known = dict(network.named_parameters())
    wanted = [name for name, value in known.items() if value.requires_grad] if names is None else names
    for name in wanted:
        if not any(_within(parameter, name) for parameter in known):
            near = ", ".join(difflib.get_close_matches(name, known, n=8, cutoff=0))
            raise InputError(f"parameters: the network has no parameter or module with parameters called {name!r}; expected some of {near}")
    chosen = {name: value.detach() for name, value in known.items() if any(_within(name, part) for part in wanted)}
    if not chosen:
        raise InputError("parameters: none chosen, or none requires a gradient; name those that the points' influence goes through")
    return chosen


def _within(parameter: str, name: str) -> bool:
    return parameter == name or parameter.startswith(f"{name}.")


def _ridge(chosen: Parameters, penalty: float | Mapping[str, float], damping: float) -> Float[Tensor, " size"]:
    penalties = dict(penalty) if isinstance(penalty, Mapping) else dict.fromkeys(chosen, penalty)
    for name in penalties:
        if name not in chosen:
            raise InputError(f"penalty: {name!r} is none of the chosen parameters; expected some of {', '.join(chosen)}")
    for name, value in {"damping": damping, **{f"penalty of {name}": value for name, value in penalties.items()}}.items():
        if not 0 <= value < math.inf:
            raise InputError(f"{name}: got {value}; expected a finite number that is not negative")
    parts = [torch.full((value.numel(),), penalties.get(name, 0.0) + damping, dtype=torch.float64) for name, value in chosen.items()]
    return torch.cat(parts).to(next(iter(chosen.values())).device)


def check_scoring(curvature: NetworkCurvature, points: LabelledSet, name: str) -> None:
    """Refuse, on the first batch, losses that are no losses, that chance decides, or that depend on the points of the same batch."""
    part = curvature.placed(points[: curvature.batch])
    _check_labels(curvature, points, part, name)
    once = _checked_losses(curvature, part, name)
    epsilon = torch.finfo(next(iter(curvature.parameters.values())).dtype).eps
    largest = float(once.abs().max())
    again = max(float((_checked_losses(curvature, part, name) - once).abs().max()) for _ in range(PASSES))
    if again > REPEATED * epsilon * max(1.0, largest):
        raise InputError(RANDOM.format(gap=again))
    half = part[: (len(part) + 1) // 2]
    apart = float((_checked_losses(curvature, half, name) - once[: len(half)]).abs().max())
    if apart > math.sqrt(epsilon) * max(1.0, largest):
        raise InputError(MIXED.format(gap=apart))


@contextlib.contextmanager
def _named(part: LabelledSet, name: str) -> Iterator[None]:
    """Tell what refuses which batch."""
    try:
        with torch.no_grad():
            yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shapes = f"inputs {tuple(part.inputs.shape)} and labels {tuple(part.labels.shape)}"
        raise InputError(f"{name}: network or loss refuse a batch of {shapes}: {str(error).splitlines()[0]}") from error


def _checked_losses(curvature: NetworkCurvature, part: LabelledSet, name: str) -> Tensor:
    with _named(part, name):
        losses = curvature.losses(curvature.parameters, part)
    if losses.shape != (len(part),):
        raise InputError(f"loss: it gives {tuple(losses.shape)} for {len(part)} points; expected one for each, as reduction='none' gives")
    if not bool(losses.isfinite().all()):
        raise InputError(f"{name}: a loss is NaN or infinite; expected finite numbers: are the inputs and the network's weights finite?")
    return losses


def _check_labels(curvature: NetworkCurvature, points: LabelledSet, part: LabelledSet, name: str) -> None:
    """For class scores, that there are such, and that every label is the index of a class."""
    if curvature.loss is not cross_entropy:
        return
    with _named(part, name):
        scores = curvature.outputs(curvature.parameters, part)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(part):
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(
            f"network: it gives {found} for {len(part)} points; expected class scores, (points, classes), or give your own `loss`"
        )
    labels, classes = points.labels, scores.shape[1]
    if labels.ndim != 1 or labels.is_floating_point() or int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise InputError(
            f"{name}: {labels.dtype} labels of shape {tuple(labels.shape)} from {labels.min()} to {labels.max()}, and the network tells "
            f"{classes} classes apart; expected one integer from 0 to {classes - 1} a point"
        )
