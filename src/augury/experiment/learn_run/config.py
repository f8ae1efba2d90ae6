"""`LearnConfig`: everything that decides what `augury learn` finds, checked before any work begins."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from augury.choices import BASELINES, Before, Rule
from augury.experiment.checks import Check, UnexpectedError, at_least, names, one_of, positive, share, text
from augury.experiment.config import RunConfig
from augury.experiment.settings import Settings

Kind = Literal["bounded", "learned"]
NONE = "none"
AS_IN_RUN = {setting.name: setting.metadata for setting in fields(RunConfig)}


def _told(panel: str, meaning: str, check: Check) -> dict[str, Any]:
    """What a field's metadata tell."""
    return {"panel": panel, "help": meaning, "check": check}


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, str | float | int) and not isinstance(value, bool) else None
    except ValueError:
        return None


def _target(value: object) -> str:
    """`none`, a share, or data."""
    return text(value) if _number(value) is None else str(share(value))


def _up_to_one(value: object) -> float:
    """A share of the images, perhaps all."""
    number = _number(value)
    if number is None or not 0 < number <= 1:
        raise UnexpectedError("a share above 0 and up to 1")
    return number


def _not_negative(value: object) -> float:
    return 0.0 if _number(value) == 0 else positive(value)


def _baselines(value: Any) -> tuple[str, ...]:  # noqa: ANN401  (a text, or names)
    found = names(value)
    if not found or len(set(found)) < len(found) or not set(found) <= set(BASELINES):
        raise UnexpectedError(f"some of {', '.join(BASELINES)}, each once, with commas between them")
    return found


@dataclass(frozen=True)
class LearnConfig(Settings):
    """What `augury learn` does. Each field is an option of that command; the text beside it is its documentation.

    Raises
    ------
    InputError
        If a value is none of its choices or out of range.
    """

    command_name: ClassVar[str] = "learn"

    data: str = field(metadata=AS_IN_RUN["data"])
    data_dir: str | None = field(default=None, metadata=AS_IN_RUN["data_dir"])
    classes: tuple[str, ...] | None = field(default=None, metadata=AS_IN_RUN["classes"])
    first: int | None = field(default=None, metadata=AS_IN_RUN["first"])
    per_class: int | None = field(
        default=None,
        metadata=_told(
            "Data", "Only so many labelled points of each class, drawn by the seed; a share for the target included.", at_least(2)
        ),
    )
    size: int | None = field(default=None, metadata=AS_IN_RUN["size"])
    test: str | None = field(default=None, metadata=AS_IN_RUN["test"])
    test_share: float = field(default=0.25, metadata=AS_IN_RUN["test_share"])
    target: str = field(
        default=NONE,
        metadata=_told(
            "Data",
            "On which labelled points the network is to do well: data (images as they will be met), a share of the training points (0.3), "
            "or none: the training points themselves, cross-fitted.",
            _target,
        ),
    )
    transformation: Kind = field(
        default="bounded",
        metadata=_told("Learning", "What changes images: familiar changes within bounds, or a network, trained first.", one_of(Kind)),
    )
    transformation_steps: int = field(default=1500, metadata=_told("Learning", "Steps of that training.", at_least(1)))
    rule: Rule = field(
        default="matching",
        metadata=_told(
            "Learning",
            "How: by matching the target's gradients, comparing a few draws an image, or along the influence's derivative.",
            one_of(Rule),
        ),
    )
    draws: int = field(default=4, metadata=_told("Learning", "Of the rule choice: how many draws an image are compared.", at_least(2)))
    divergence: float = field(
        default=0.003, metadata=_told("Learning", "Of the rule choice: the weight of what keeps E near its beginning.", _not_negative)
    )
    share: float = field(default=0.8, metadata=_told("Learning", "The share of each batch that is augmented.", _up_to_one))
    folds: int = field(default=3, metadata=_told("Learning", "Of the cross-fitting, where there is no target.", at_least(2)))
    model: str = field(
        default="strided",
        metadata=_told(
            "Model", "The network: strided, allconv, tiny, lenet, cnn128, cnn512, norbnet, resnet20, resnet56, timm:NAME.", text
        ),
    )
    steps: int = field(default=800, metadata=_told("Model", "Steps of 64 images with which each network is fitted.", at_least(1)))
    device: str = field(default="auto", metadata=AS_IN_RUN["device"])
    compare: tuple[str, ...] = field(
        default=("crop", "affine", "trivialaugment", "random-tau"),
        metadata=_told("Comparison", f"What to compare with, with commas: {', '.join(BASELINES)}.", _baselines),
    )
    before: Before = field(
        default="auto",
        metadata=_told(
            "Comparison", "What changes images before what was learned: auto is trivialaugment for RGB, else crop.", one_of(Before)
        ),
    )
    retrainings: int = field(
        default=3, metadata=_told("Comparison", "Networks fitted with each augmentation, each from a seed of its own.", at_least(1))
    )
    checks: int = field(
        default=200, metadata=_told("Comparison", "Augmented batches whose effect is predicted and then measured.", at_least(3))
    )
    C: float = field(
        default=0.01, metadata=_told("Comparison", "Inverse strength of the L2 penalty of the head that is refitted for it.", positive)
    )
    seed: int = field(default=0, metadata=_told("Comparison", "Decides splits, networks and draws.", at_least(0)))

    @property
    def target_share(self) -> float | None:
        """The share of the training points that are the target."""
        return _number(self.target)

    @property
    def target_data(self) -> str | None:
        """The data that are the target."""
        return None if self.target == NONE or self.target_share is not None else self.target

    @property
    def elsewhere(self) -> bool:
        """Whether networks are tested on the training data's own test images though the target is other data."""
        return self.target_data is not None and self.test is None

    @property
    def idle(self) -> frozenset[str]:
        """The settings that change nothing, given what is chosen."""
        of_choice = set() if self.rule == "choice" else {"draws", "divergence"}
        of_folds = set() if self.target == NONE else {"folds"}
        return frozenset(of_choice | of_folds | ({"transformation_steps"} if self.transformation == "bounded" else set()))

    @property
    def sources(self) -> tuple[str | None, ...]:
        """Where the points come from."""
        return self.data, self.test, self.target_data

    def as_run(self) -> RunConfig:
        """The settings by which `augury run` would read the same data."""
        settings = {name: getattr(self, name) for name in ("data", "data_dir", "classes", "first", "size", "test", "test_share", "seed")}
        given: dict[str, Any] = {} if self.target_data is None else {"target": "val", "validation": self.target_data}
        return RunConfig(**settings, **given)


@dataclass(frozen=True)
class ForeseeConfig(LearnConfig):
    """What `augury foresee` compares: the settings of `augury learn` that have to do with it are options of that command."""

    command_name: ClassVar[str] = "foresee"

    compare: tuple[str, ...] = field(
        default=BASELINES, metadata=_told("Comparison", f"What to compare, with commas: {', '.join(BASELINES)}.", _baselines)
    )
