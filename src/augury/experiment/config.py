"""`RunConfig`: everything that decides a run's results, checked before any work begins."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from augury.errors import InputError
from augury.scores import Method
from augury.selection import Order, Preference

Target = Literal["own", "val"]
CopyFormat = Literal["png", "npz", "none"]
CHOICES: dict[str, Any] = {"score": Method, "policy": Order, "preference": Preference, "target": Target, "copies": CopyFormat}
LOWEST = {"first": 1, "size": 1, "seeds": 1, "epochs": 1, "seed": 0, "jobs": -1}
ELSEWHERE = frozenset({"data_dir", "device", "jobs"})  # where and how fast the work is done changes no result


def _setting(default: Any, panel: str, text: str) -> Any:  # noqa: ANN401  (a field of any type)
    """A field with the text that documents it, here and in the command line's help."""
    return field(default=default, metadata={"panel": panel, "help": text})


@dataclass(frozen=True)
class RunConfig:
    """What `augury run` does. Each field is an option of that command; the text beside it is its documentation.

    Raises
    ------
    InputError
        If a value is none of its choices or out of range.
    """

    data: str = field(
        metadata={
            "panel": "Data",
            "help": "Labelled images: digits (embedded), mnist, cifar10, norb, or a path: a folder with one sub-folder a class, an .npz "
            "file (images, labels), a Parquet file or folder, a Hugging Face data set on disk.",
        }
    )
    transform: str = _setting(
        "translate",
        "Choice",
        "The copies: translate, rotate, crop, flip. 'rotate,translate' pools both; 'translate:2+flip' makes copies of copies; "
        "'rotate:30:15' sets the largest angle and the number of angles, 'crop:1-6' the pixels, 'translate:2:cardinal' the directions.",
    )
    budget: str = _setting("10%", "Choice", "How much to augment: a number of points (50) or a share of them (10%).")
    score: Method = _setting("influence", "Choice", "What makes a point worth augmenting.")
    target: Target = _setting("own", "Choice", "Influence on the point's own loss (leave-one-out), or on the loss of a validation set.")
    policy: Order = _setting("sampled", "Choice", "Draw points at random by their scores, or take them by rank.")
    preference: Preference = _setting("proportional", "Choice", "How scores become the odds of being taken.")
    downweight: bool = _setting(default=False, panel="Choice", text="Let a point and its k copies weigh 1/(k+1) each.")
    seeds: int = _setting(5, "Choice", "Draws of each sampled policy on the curve.")
    seed: int = _setting(0, "Choice", "Decides splits, network and first draw.")
    model: str = _setting(
        "auto", "Model", "The network that gives the features: auto, tiny, lenet, cnn128, cnn512, norbnet, resnet20, resnet56, timm:NAME."
    )
    weights: str | None = _setting(None, "Model", "Its weights (a safetensors file); without them it is trained on the training points.")
    epochs: int = _setting(40, "Model", "Epochs of that training, which uses no augmentation.")
    C: float = _setting(1.0, "Model", "Inverse strength of the head's L2 penalty.")
    device: str = _setting("auto", "Model", "Where networks run: auto, cpu, cuda.")
    data_dir: str | None = _setting(None, "Data", "Folder of the named sets; the environment variable AUGURY_DATA if not given.")
    classes: tuple[str, ...] | None = _setting(None, "Data", "Only these classes, by name, with commas: 3,8.")
    first: int | None = _setting(None, "Data", "Only the first so many training points.")
    size: int | None = _setting(None, "Data", "Bring all images to this side length, in pixels.")
    test: str | None = _setting(None, "Data", "A test set of its own; else the data's own, or a share split off.")
    test_share: float = _setting(0.25, "Data", "The share split off as the test set where none is given.")
    test_copies: bool = _setting(
        default=True, panel="Data", text="Test on the test points and all their copies ('augmented test'), or on the clean points alone."
    )
    validation: str | None = _setting(None, "Data", "A target set of its own for --target val; else the data's own, or a share split off.")
    validation_share: float = _setting(0.2, "Data", "The share split off as the target set where none is given.")
    copies: CopyFormat = _setting("png", "Output", "Files of the chosen points' copies.")
    curve: bool = _setting(default=True, panel="Output", text="Measure the accuracy-versus-budget curve, and write the report.")
    jobs: int = _setting(1, "Output", "Processes that measure the curve, -1 for one a core; no result depends on it.")

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            object.__setattr__(self, "classes", tuple(name.strip() for name in self.classes.split(",")))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise InputError(f"{name}: got {getattr(self, name)!r}; expected one of {', '.join(get_args(choices))}")
        for name, lowest in LOWEST.items():
            if getattr(self, name) is not None and getattr(self, name) < lowest:
                raise InputError(f"{name}: got {getattr(self, name)}; expected {lowest} or more")
        for name in ("test_share", "validation_share"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name}: got {getattr(self, name):g}; expected a share between 0 and 1")
        if self.target == "val" and self.score not in ("influence", "validation"):
            raise InputError(f"target: 'val' goes with score 'influence'; the score {self.score!r} looks at each point alone")

    @property
    def method(self) -> Method:
        """The score's own name: influence on a validation target is the score `validation`."""
        return "validation" if self.target == "val" else self.score

    @property
    def seed_range(self) -> range:
        """The seeds of the chosen policy's draws; a ranked policy needs one."""
        return range(self.seed, self.seed + (1 if self.policy == "ranked" else self.seeds))

    def record(self) -> dict[str, Any]:
        """What decides the results, as JSON holds it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items() if name not in ELSEWHERE}

    def command(self) -> str:
        """The command line that does this run again, into a folder of your choice."""
        words = ["augury", "run", self.data]
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in {"data", *ELSEWHERE} or value == option.default:
                continue
            name = option.name.replace("_", "-")
            words += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", _word(value)]
        return shlex.join([*words, "--out", "DIR"])


def _word(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
