"""The tasks of *Efficient Augmentation via Data Subsampling*, by preset, and any other data as a task of the same kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

from augury.errors import InputError
from augury.experiment.config import RunConfig

RETRAINED = "-retrained"

CLASSES = {"mnist": ("3", "8"), "cifar10": ("airplane", "automobile"), "norb": ("animal", "human")}
POINTS = 1000
# The authors' code and their paper differ; the code's milder rotations and crops fit the paper's own plots better (its settings are the
# default here). The paper says that images move up, down, left and right; its code moves them diagonally.
TRANSFORMS: dict[str, dict[str, dict[str, str]]] = {
    "code": {
        "translate": {"mnist": "translate:2", "cifar10": "translate:3", "norb": "translate:6"},
        "rotate": {"mnist": "rotate:30:15", "cifar10": "rotate:5:4", "norb": "rotate:5:4"},
        "crop": {"mnist": "crop:1-6", "cifar10": "crop:2", "norb": "crop:2"},
    },
    "paper": {
        "translate": {"mnist": "translate:2:cardinal", "cifar10": "translate:2:cardinal", "norb": "translate:6:cardinal"},
        "rotate": dict.fromkeys(CLASSES, "rotate:30:15"),
        "crop": dict.fromkeys(CLASSES, "crop:1-6"),
    },
}
FEATURES = {"mnist": "lenet", "cifar10": "resnet20-noaug", "norb": "norbnet"}
NAMES = tuple(f"{data}-{transform}" for data in CLASSES for transform in TRANSFORMS["code"])
NOTES = {"norb": "pixels of small NORB that went through JPEG"}
PENALTY = {"code": 2e-10, "paper": None}  # the code's Hessian leaves the head's penalty out, but for this much


@dataclass(frozen=True)
class Task:
    """Points, their copies, the network whose features count, and how the head is fitted: what a table of the paper is about.

    Parameters
    ----------
    name
        For instance `mnist-translate`.
    config
        Data, transform and training of the network.
    features
        The network's name, such as `lenet`; with `-retrained` after it, it is trained from scratch on every augmented set.
    preset
        `code` or `paper`: where these differ (transforms, C, the penalty in the Hessian), whom to follow.
    C
        The head's C: 1, or `cv`: chosen by cross-validation at every refit.
    """

    name: str
    config: RunConfig
    features: str
    preset: str = "code"
    C: str = "1"

    @property
    def network(self) -> str:
        """The features' name without how they are used."""
        return self.features.removesuffix(RETRAINED)

    @property
    def retrained(self) -> bool:
        """Whether the network is trained anew on every augmented set."""
        return self.features.endswith(RETRAINED)

    @property
    def penalty(self) -> float | None:
        """The L2 penalty in the Hessian of the influence score; None: the head's own."""
        return PENALTY[self.preset]

    @property
    def group(self) -> str:
        """The name of its cells' folder."""
        return f"{self.name}.{self.features}.{self.preset}.C={self.C}"

    @property
    def note(self) -> str:
        """What every number of it must say."""
        return NOTES.get(self.config.data, "")

    @property
    def key(self) -> dict[str, str]:
        """The columns by which its rows are known."""
        return {"task": self.name, "preset": self.preset, "features": self.features, "C": self.C}


def paper_task(
    name: str,
    *,
    features: str | None = None,
    preset: str = "code",
    C: str | None = None,
    data_dir: str | None = None,
    first: int = POINTS,
) -> Task:
    """One of the paper's nine tasks, `mnist-translate` to `norb-crop`; `C`: None: 1 with the preset `code`, `cv` with `paper`."""
    if name not in NAMES:
        raise InputError(f"task: no task is called {name!r}; expected some of {', '.join(NAMES)}")
    if preset not in TRANSFORMS:
        raise InputError(f"preset: got {preset!r}; expected code or paper")
    _check_C(C)
    data, transform = name.split("-")
    shown = name if first == POINTS else f"{name}-{first}"
    copies = TRANSFORMS[preset][transform][data]
    config = RunConfig(data=data, classes=CLASSES[data], first=first, transform=copies, unit="points", data_dir=data_dir, curve=False)
    return Task(shown, config, features or FEATURES[data], preset, C or ("1" if preset == "code" else "cv"))


def own_task(config: RunConfig, *, features: str | None = None, C: str = "1") -> Task:
    """A task on any data: the configuration's points, test set and transform. With the preset `code`, C aside."""
    _check_C(C)
    parts = [
        config.data.rstrip("/").rsplit("/", 1)[-1],
        config.transform,
        *(config.classes or ()),
        *([] if config.first is None else [config.first]),
    ]
    name = "-".join(map(str, parts)).translate(str.maketrans("/:,+ ", "_____"))
    return Task(name, replace(config, curve=False), features or config.model, "code", C)


def _check_C(C: str | None) -> None:
    if C not in (None, "1", "cv"):
        raise InputError(f"C: got {C!r}; expected 1, or cv for cross-validation at every refit")
