"""An augmentation that is itself a transform: G, which changes images by parameters tau; its training; and E, which chooses tau."""

from augury.learned.adversarial import AdversarialReport, train_transformation
from augury.learned.adversarial_config import AdversarialConfig
from augury.learned.bounded import BoundedTransformation
from augury.learned.fields import FieldTransformation
from augury.learned.network import AugmentationNetwork
from augury.learned.saved import load_module, save_module
from augury.learned.statistics import Statistics, measure
from augury.learned.transformation import Transformation, WarpingTransformation, random_tau

__all__ = [
    "AdversarialConfig",
    "AdversarialReport",
    "AugmentationNetwork",
    "BoundedTransformation",
    "FieldTransformation",
    "Statistics",
    "Transformation",
    "WarpingTransformation",
    "load_module",
    "measure",
    "random_tau",
    "save_module",
    "train_transformation",
]
