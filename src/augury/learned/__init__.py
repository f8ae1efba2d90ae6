"""An augmentation that is itself a transform: G, which changes images by parameters tau; its training; and E, which chooses tau."""

from augury.learned.adversarial import AdversarialReport, train_transformation
from augury.learned.adversarial_config import AdversarialConfig
from augury.learned.augmentation import Applied, Draw, LearnedAugmentation, as_augment
from augury.learned.bounded import BoundedTransformation
from augury.learned.checking import check_predictions
from augury.learned.copies import LearnedCopies
from augury.learned.distribution import TauDistribution
from augury.learned.fields import FieldTransformation
from augury.learned.foresight import foresee
from augury.learned.learn import learn
from augury.learned.network import AugmentationNetwork
from augury.learned.saved import load_module, save_module
from augury.learned.statistics import Statistics, measure
from augury.learned.teaching_config import TeachingConfig
from augury.learned.transformation import Transformation, WarpingTransformation, random_tau

__all__ = [
    "AdversarialConfig",
    "AdversarialReport",
    "Applied",
    "AugmentationNetwork",
    "BoundedTransformation",
    "Draw",
    "FieldTransformation",
    "LearnedAugmentation",
    "LearnedCopies",
    "Statistics",
    "TauDistribution",
    "TeachingConfig",
    "Transformation",
    "WarpingTransformation",
    "as_augment",
    "check_predictions",
    "foresee",
    "learn",
    "load_module",
    "measure",
    "random_tau",
    "save_module",
    "train_transformation",
]
