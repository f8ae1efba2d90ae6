"""The teacher of each rule."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from augury.choices import Rule
from augury.errors import InputError
from augury.learned.distribution import TauDistribution
from augury.learned.matching import MatchingTeacher
from augury.learned.teaching import ChoiceTeacher, Goal, GradientTeacher, Teacher
from augury.learned.teaching_config import TeachingConfig
from augury.learned.transformation import Transformation

TEACHERS: Mapping[Rule, type[Teacher]] = MappingProxyType(
    {"matching": MatchingTeacher, "choice": ChoiceTeacher, "gradient": GradientTeacher}
)
KINDS: Mapping[Rule, str] = MappingProxyType(
    {
        "matching": "a TauDistribution",
        "choice": "a TauDistribution",
        "gradient": "an AugmentationNetwork, or another module from images to tau",
    }
)


def teacher(transformation: Transformation, network: nn.Module, goal: Goal, config: TeachingConfig, steps: int) -> Teacher:
    """The teacher of `config.rule`.

    Raises
    ------
    InputError
        If E is not of the kind that the rule teaches.
    """
    if not teaches(config.rule, network):
        raise InputError(f"network: the rule {config.rule} teaches {KINDS[config.rule]}; got a {type(network).__name__}")
    return TEACHERS[config.rule](transformation, network, goal, config, steps)


def teaches(rule: Rule, network: nn.Module) -> bool:
    """Whether E is of the kind that the rule teaches."""
    return isinstance(network, TauDistribution) == (rule != "gradient")
