"""`RunConfig`: everything that decides a run's results, checked before any work begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from augury import lazy
from augury.choices import EngineName, Method, Order, Preference
from augury.errors import InputError
from augury.experiment.checks import Check, at_least, flag, names, one_of, path, positive, processes, share, text
from augury.experiment.copy_settings import checked_price, checked_weight
from augury.experiment.settings import ELSEWHERE, Settings

if TYPE_CHECKING:
    from augury import evaluation, parallel
else:
    evaluation, parallel = lazy.modules("augury.evaluation", "augury.parallel")

__all__ = ["ELSEWHERE", "OF_COPIES", "OF_POINTS", "CopyFormat", "RunConfig", "Target", "Unit"]

Unit = Literal["points", "copies"]
Target = Literal["own", "val", "folds"]
CopyFormat = Literal["png", "npz", "none"]
OF_POINTS = ("score", "policy", "preference", "update", "downweight")  # settings without a meaning where copies are chosen,
OF_COPIES = ("price", "copy_weight")  # and where points are


def _setting(default: Any, panel: str, meaning: str, check: Check, *also: str) -> Any:  # noqa: ANN401  (a field of any type)
    """A field with the text that documents it, here and in the command line's help, where it may have further names."""
    return field(default=default, metadata={"panel": panel, "help": meaning, "check": check, "also": also})


@dataclass(frozen=True)
class RunConfig(Settings):
    """What `augury run` does. Each field is an option of that command; the text beside it is its documentation.

    Raises
    ------
    InputError
        If a value is none of its choices or out of range.
    """

    command_name: ClassVar[str] = "run"

    data: str = field(
        metadata={
            "panel": "Data",
            "help": "Labelled images: digits (embedded), mnist, cifar10, norb, or a path: a folder with one sub-folder a class, an .npz "
            "file (images, labels), a Parquet file or folder, a Hugging Face data set on disk.",
            "check": path,
        }
    )
    data_dir: str | None = _setting(
        None, "Data", "Folder of mnist, cifar10 and norb; if not given, the environment variable AUGURY_DATA names it.", path
    )
    classes: tuple[str, ...] | None = _setting(None, "Data", "Only these classes, by name, with commas: 3,8.", names)
    first: int | None = _setting(None, "Data", "Only the first so many training points, in the data's order.", at_least(1))
    size: int | None = _setting(None, "Data", "Bring all images to this side length, in pixels.", at_least(1))
    test: str | None = _setting(None, "Data", "Data to test on; if not given, the data's own test set, or a share split off.", path)
    test_share: float = _setting(0.25, "Data", "The share split off for testing.", share)
    test_copies: bool = _setting(
        default=True,
        panel="Data",
        meaning="Test on the copies of the test points as well (the 'augmented test').",
        check=flag,
    )
    validation: str | None = _setting(
        None, "Data", "Data whose loss counts with --target val; if not given, the data's own validation set, or a share split off.", path
    )
    validation_share: float = _setting(0.2, "Data", "The share split off for --target val.", share)
    transform: str = _setting(
        "translate",
        "Choice",
        "The copies: translate, rotate, crop, flip. 'rotate,translate' makes both; 'translate+flip' copies of copies. 'rotate:30:15': 15 "
        "angles up to 30 degrees; 'crop:1-6': pixels; 'translate:2:cardinal': pixels and directions; 'learned:FILE:4': four draws of what "
        "`augury learn` wrote.",
        text,
    )
    unit: Unit = _setting(
        "copies",
        "Choice",
        "What is chosen and what a budget counts: single copies, by the fall of the target's loss that each is predicted to bring, or "
        "points, each with all its copies, by score and policy (with --score, --policy, --preference, --update, --downweight).",
        one_of(Unit),
    )
    budget: str = _setting("10%", "Choice", "How much to augment: a number of points or copies (50), or a share of them (10%).", text)
    score: Method = _setting("influence", "Choice", "What makes a point worth augmenting.", one_of(Method))
    target: Target = _setting(
        "own",
        "Choice",
        "Whose loss counts: the points' own (for a point: leave-one-out; for a copy: all points and their copies), a validation set's, "
        "or, for copies, the points' own, each scored without itself.",
        one_of(Target),
    )
    price: str = _setting(
        "0",
        "Choice",
        "For copies: what one more must be predicted to bring to be recommended, in nats of the target's loss (1e-5), or in accuracy on "
        "the target (0.001%).",
        checked_price,
    )
    copy_weight: str = _setting(
        "auto", "Choice", "For copies: what each may count for at most, for those not chosen: a number from 1 up, or auto.", checked_weight
    )
    policy: Order = _setting(
        "sampled",
        "Choice",
        "Draw points at random by their scores, take them by rank, draw them within clusters of the features, or so that alike points are "
        "rarely together (k-DPP).",
        one_of(Order),
    )
    preference: Preference = _setting("proportional", "Choice", "How scores become the odds of being taken.", one_of(Preference))
    update: bool = _setting(
        default=False, panel="Choice", meaning="Score the points again at every budget of the curve, by the head fitted there.", check=flag
    )
    downweight: bool = _setting(default=False, panel="Choice", meaning="Let a point and its k copies weigh 1/(k+1) each.", check=flag)
    seeds: int = _setting(5, "Choice", "Draws of each sampled policy on the curve.", at_least(1))
    seed: int = _setting(0, "Choice", "Decides splits, network and first draw.", at_least(0))
    model: str = _setting(
        "auto",
        "Model",
        "The network that gives the features: auto (tiny, lenet or resnet20, by the images' shape), tiny, lenet, cnn128, cnn512, norbnet, "
        "allconv, strided, resnet20, resnet56, timm:NAME, or your own, MODULE:FACTORY, which is imported and called.",
        text,
    )
    weights: str | None = _setting(
        None, "Model", "Its weights, a safetensors file; without them it is trained on the training points.", path, "--checkpoint"
    )
    layer: str | None = _setting(
        None,
        "Model",
        "The layer whose output are the features, of maps their mean; with ':input' after it, its input. If not given, what goes into the "
        "last linear layer.",
        text,
    )
    epochs: int = _setting(
        40, "Model", "Epochs of that training, which uses no augmentation; with 0 the network stays as it was made.", at_least(0)
    )
    C: float = _setting(1.0, "Model", "Inverse strength of the head's L2 penalty.", positive)
    device: str = _setting("auto", "Model", "Where networks run: auto, cpu, cuda.", text)
    copies: CopyFormat = _setting("png", "Output", "Files of the chosen copies.", one_of(CopyFormat))
    curve: bool = _setting(
        default=True,
        panel="Output",
        meaning="Measure the accuracy-versus-budget curve and show it in a report.",
        check=flag,
    )
    jobs: int = _setting(
        1, "Work", "Processes, -1 for one a core; no result depends on it. On a Ray cluster: workers, all if not given.", processes
    )
    engine: EngineName = _setting("local", "Work", "Where they are: on this machine, or a cluster's.", one_of(EngineName))
    address: str | None = _setting(
        None,
        "Work",
        "The cluster's: auto, HOST:6379 or ray://HOST:10001 for Ray, tcp://HOST:8786 for Dask; if not given, one is started here.",
        text,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_unit()
        if self.target == "val" and self.score not in ("influence", "validation"):
            raise InputError(f"target: 'val' goes with the score influence; {self.score} looks at each point alone: leave one of them out")
        if self.update:
            evaluation.check_update(self.method, self.policy)
        if self.engine != "local" or self.address is not None:
            self.workers()

    def _check_unit(self) -> None:
        self.refuse_idle(option.name for option in fields(self) if getattr(self, option.name) != option.default)
        if self.target == "folds" and self.unit == "points":
            raise InputError("target: 'folds' goes with the unit 'copies'; a point's own influence leaves it out already: use 'own'")

    def refuse_idle(self, given: Iterable[str]) -> None:
        """An `InputError` if one of the settings that were given, be it as they are by default, changes nothing."""
        for name in given:
            if name in self.idle:
                other = "points" if self.unit == "copies" else "copies"
                cure = f"set unit to {other!r} (--unit {other}), or leave it out"
                raise InputError(f"{name}: has a meaning only where {other} are chosen; {cure}")

    def workers(self) -> parallel.Engine:
        """Where the work is done."""
        return parallel.Engine(self.jobs, self.engine, self.address)

    @property
    def method(self) -> Method:
        """The score's own name: influence on a validation target is the score `validation`."""
        return "validation" if self.target == "val" else self.score

    @property
    def seed_range(self) -> range:
        """The seeds of the chosen policy's draws; a ranked policy needs one."""
        return range(self.seed, self.seed + (1 if self.policy == "ranked" else self.seeds))

    @property
    def idle(self) -> frozenset[str]:
        """The settings that change nothing, given what is chosen."""
        return frozenset(OF_POINTS if self.unit == "copies" else OF_COPIES)

    @property
    def sources(self) -> tuple[str | None, ...]:
        """Where the points come from."""
        return self.data, self.test, self.validation
