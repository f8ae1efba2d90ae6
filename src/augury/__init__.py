"""Augury predicts what a data augmentation is worth before anyone trains on it.

The public names are listed in `__all__`; each is imported when it is first used, so that `import augury` is quick.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from augury import lazy

if TYPE_CHECKING:
    from augury.adapters import AugmentationSelector as AugmentationSelector
    from augury.adapters import AugmentedClassifier as AugmentedClassifier
    from augury.adapters import AugmentedDataset as AugmentedDataset
    from augury.adapters import add_copies as add_copies
    from augury.adapters import collate as collate
    from augury.adapters import from_dataset as from_dataset
    from augury.adapters import select as select
    from augury.adapters import weighted_sampler as weighted_sampler
    from augury.augmentation import CopiedFeatures as CopiedFeatures
    from augury.augmentation import augment as augment
    from augury.copies import ChosenCopies as ChosenCopies
    from augury.copies import CopyFlags as CopyFlags
    from augury.copies import CopyOrdering as CopyOrdering
    from augury.copies import by_points as by_points
    from augury.copies import choose_copies as choose_copies
    from augury.copies import choose_from_blocks as choose_from_blocks
    from augury.copies import class_weighted as class_weighted
    from augury.copies import flag_copies as flag_copies
    from augury.copies import training_set as training_set
    from augury.copies import worst_group as worst_group
    from augury.data import Examples as Examples
    from augury.data import from_arrays as from_arrays
    from augury.data import load as load
    from augury.errors import InputError as InputError
    from augury.evaluation import Curve as Curve
    from augury.evaluation import Draw as Draw
    from augury.evaluation import measure as measure
    from augury.experiment import Run as Run
    from augury.experiment import RunConfig as RunConfig
    from augury.experiment import run as run
    from augury.head import SoftmaxHead as SoftmaxHead
    from augury.influence import Estimate as Estimate
    from augury.influence import Influences as Influences
    from augury.influence import InfluenceWarning as InfluenceWarning
    from augury.influence import Trust as Trust
    from augury.influence import Verification as Verification
    from augury.influence import influence as influence
    from augury.influence import leverage as leverage
    from augury.influence import network_influence as network_influence
    from augury.influence import self_influence as self_influence
    from augury.learned import LearnedAugmentation as LearnedAugmentation
    from augury.learned import LearnedCopies as LearnedCopies
    from augury.learned import TeachingConfig as TeachingConfig
    from augury.learned import foresee as foresee
    from augury.learned import learn as learn
    from augury.model import Model as Model
    from augury.model import features as features
    from augury.notebook import show as show
    from augury.parallel import Engine as Engine
    from augury.report import write_report as write_report
    from augury.scores import Scores as Scores
    from augury.scores import score as score
    from augury.selection import Ordering as Ordering
    from augury.selection import rank as rank
    from augury.selection import sample_k_dpp as sample_k_dpp
    from augury.selection import stratify as stratify
    from augury.shards import FeatureTable as FeatureTable
    from augury.shards import ScoreTable as ScoreTable
    from augury.shards import fit_table as fit_table
    from augury.shards import score_table as score_table
    from augury.shards import select_table as select_table
    from augury.transforms import Compose as Compose
    from augury.transforms import Crop as Crop
    from augury.transforms import Custom as Custom
    from augury.transforms import Flip as Flip
    from augury.transforms import Rotate as Rotate
    from augury.transforms import Translate as Translate
    from augury.transforms import Union as Union
    from augury.transforms.foreign import as_transform as as_transform

_HOMES = {
    "adapters": (
        "AugmentationSelector",
        "AugmentedClassifier",
        "AugmentedDataset",
        "add_copies",
        "collate",
        "from_dataset",
        "select",
        "weighted_sampler",
    ),
    "augmentation": ("CopiedFeatures", "augment"),
    "copies": (
        "ChosenCopies",
        "CopyFlags",
        "CopyOrdering",
        "by_points",
        "choose_copies",
        "choose_from_blocks",
        "class_weighted",
        "flag_copies",
        "training_set",
        "worst_group",
    ),
    "data": ("Examples", "from_arrays", "load"),
    "errors": ("InputError",),
    "evaluation": ("Curve", "Draw", "measure"),
    "experiment": ("Run", "RunConfig", "run"),
    "head": ("SoftmaxHead",),
    "influence": (
        "Estimate",
        "InfluenceWarning",
        "Influences",
        "Trust",
        "Verification",
        "influence",
        "leverage",
        "network_influence",
        "self_influence",
    ),
    "learned": ("LearnedAugmentation", "LearnedCopies", "TeachingConfig", "foresee", "learn"),
    "model": ("Model", "features"),
    "notebook": ("show",),
    "parallel": ("Engine",),
    "report": ("write_report",),
    "scores": ("Scores", "score"),
    "selection": ("Ordering", "rank", "sample_k_dpp", "stratify"),
    "shards": ("FeatureTable", "ScoreTable", "fit_table", "score_table", "select_table"),
    "transforms": ("Compose", "Crop", "Custom", "Flip", "Rotate", "Translate", "Union"),
    "transforms.foreign": ("as_transform",),
}

__all__ = sorted(name for names in _HOMES.values() for name in names)  # noqa: PLE0605  (a list, whatever the linter can see)

__getattr__ = lazy.names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        """Keep the import of the module `augury.influence` from taking the place of the function of that name."""
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
