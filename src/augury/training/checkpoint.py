"""A training's state as one safetensors file, whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from augury.errors import InputError
from augury.files import first_line, write_atomic
from augury.networks import read_weights

METADATA_KEY = "augury"
NETWORK, OPTIMIZER = "network", "optimizer"


@dataclass(frozen=True)
class Player:
    """A module and the optimizer that fits it."""

    module: nn.Module
    optimizer: torch.optim.Optimizer

    def state(self) -> dict[str, Tensor]:
        """Weights, buffers and the optimizer's state, by name."""
        state = {f"{NETWORK}.{name}": value for name, value in self.module.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            state |= {f"{OPTIMIZER}.{number}.{name}": value for name, value in values.items() if value is not None}
        return state

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put both into the state that `state` gave."""
        weights: dict[str, Tensor] = {}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == NETWORK:
                weights[rest] = value
            else:
                number, key = rest.split(".", 1)
                state.setdefault(int(number), {})[key] = value
        self.module.load_state_dict(weights)
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})


def save(path: Path, cause: str, players: Sequence[Player], losses: list[float]) -> None:
    """Write the players' states and the losses so far; `cause` is a digest of all that the training depends on."""
    state = {f"{place}.{name}": value for place, player in enumerate(players) for name, value in player.state().items()}
    tensors = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    record = {"kind": "checkpoint", "cause": cause, "losses": losses}
    content = safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(record, sort_keys=True)})
    write_atomic(path, lambda stream: stream.write(content))


def resume(path: Path, cause: str, players: Sequence[Player]) -> list[float]:
    """Put the players into the state of the checkpoint, and give the losses so far: none where there is no checkpoint."""
    if not path.exists():
        return []
    tensors, metadata = read_weights(path)
    losses = _losses(metadata, cause, path)
    try:
        for place, player in enumerate(players):
            prefix = f"{place}."
            player.load({name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)})
    except (KeyError, ValueError, RuntimeError) as error:  # names or shapes of another network or optimizer
        raise InputError(f"checkpoint: {path} is damaged ({first_line(error)}); delete it") from None
    return losses


def _losses(metadata: Mapping[str, str], cause: str, path: Path) -> list[float]:
    """The losses that a checkpoint of this cause tells of."""
    try:
        record = json.loads(metadata.get(METADATA_KEY, "{}"))
        own = record["kind"] == "checkpoint" and record["cause"] == cause
        losses = [float(loss) for loss in record["losses"]] if own else []
    except (KeyError, TypeError, ValueError, RecursionError):  # whatever a record of something else leads to
        own, losses = False, []
    if not own:
        raise InputError(
            f"checkpoint: {path} is of a training with another configuration, data or initial network; delete it, or give another path"
        )
    return losses
