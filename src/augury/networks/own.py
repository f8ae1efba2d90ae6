"""Networks of the user's own: made by a factory in a module that Python can import, as `my_module:factory`."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from augury.errors import InputError
from augury.networks.pretrained import PREFIX
from augury.networks.seeding import seeded

EXPECTED = "MODULE:FACTORY, such as my_module:factory"


def is_own(name: str) -> bool:
    """Whether a network's name is that of a factory."""
    return ":" in name and not name.startswith(PREFIX)


def create(name: str, seed: int) -> nn.Module:
    """What the factory gives, called without arguments; torch draws from `seed` meanwhile. The module is looked for here first.

    Raises
    ------
    InputError
        If there is no such module or factory, either fails, or what it gives is no `torch.nn.Module`.
    """
    where, _, factory = name.partition(":")
    if not (where and factory.isidentifier()):
        raise InputError(f"model: got {name!r}; expected {EXPECTED}")
    with _working_folder_first(), seeded(seed):
        found = _looked_up(_imported(where), factory)
        try:
            made = found()
        except Exception as error:
            raise InputError(f"model: {name} fails ({_told(error)}); expected a factory that is called without arguments") from error
    if not isinstance(made, nn.Module):
        raise InputError(f"model: {name} gives {type(made).__name__}; expected a torch.nn.Module")
    return made


def feature_layer(network: nn.Module) -> str:
    """What goes into its last linear layer, in the notation of `augury.model.Model`."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError("layer: the network has no linear layer, whose input would be the features; name the layer that gives them")
    return f"{linear[-1]}:input"


@contextlib.contextmanager
def _working_folder_first() -> Iterator[None]:
    """Import as `python -m` does, whatever started this process."""
    before = sys.path.copy()
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _imported(where: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{where}.".startswith(f"{error.name}."):
            raise InputError(
                f"model: no module {error.name!r} in {Path.cwd()} or where Python looks; give {EXPECTED}, and start where the module lies"
            ) from None
        raise InputError(f"model: the module {where} cannot be imported ({_told(error)}); install what it needs") from error
    except Exception as error:
        raise InputError(f"model: the module {where} cannot be imported ({_told(error)}); mend it") from error


def _looked_up(module: ModuleType, factory: str) -> Any:  # noqa: ANN401  (whatever the module holds)
    found = getattr(module, factory, None)
    if callable(found):
        return found
    public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    near = difflib.get_close_matches(factory, public, n=3, cutoff=0)
    listed = f"expected a function or class, such as {', '.join(near)}" if near else "expected a function or class, and it has none"
    raise InputError(f"model: {module.__name__} has nothing to call {factory!r}; {listed}")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
