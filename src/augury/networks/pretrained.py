"""Any model of the library timm, built without its weights, with the reference networks' convention for the input."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from augury.errors import InputError, MissingExtraError
from augury.networks.residual import Standardise

PREFIX = "timm:"


def create(name: str, classes: int) -> tuple[nn.Module, str]:
    """The timm model `name` with fresh weights, and the name of its classifier.

    It takes images in [0, 1], grey or RGB: a hook before its forward pass standardises them with the mean and deviation of timm's
    configuration for this name. Nothing is fetched; weights come from a local file through `load_weights`.
    """
    module = _create(name, classes)
    config: dict[str, Any] = module.pretrained_cfg
    standardise = Standardise(tuple(config["mean"]), tuple(config["std"]))
    module.add_module("standardise", standardise)
    module.register_forward_pre_hook(_standardise_first)
    classifier = module.get_classifier()
    names = [name for name, child in module.named_modules() if child is classifier]
    if not names or not isinstance(classifier, nn.Linear):
        raise InputError(
            f"network: timm's {name} does not end in one linear layer; build it with timm and give it as augury.Model(network, layer)"
        )
    return module, names[0]


def _create(name: str, classes: int) -> Any:  # noqa: ANN401  (timm ships no types)
    try:
        import timm  # noqa: PLC0415  (an optional extra)
    except ImportError:
        raise MissingExtraError("timm", extra="timm", purpose=f"the network {PREFIX}{name}") from None
    except RuntimeError as error:  # torchvision, which timm imports, beside a torch of another build
        raise InputError(f"network: timm is installed and cannot be imported ({error}); install the torchvision of this torch") from None
    if not timm.is_model(name):
        raise InputError(f"network: timm has no model called {name!r}; `timm.list_models()` lists them")
    return timm.create_model(name, pretrained=False, num_classes=classes)


def _standardise_first(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (module.get_submodule("standardise")(inputs[0]),)
