"""Augury inside what people use already: scikit-learn and imbalanced-learn, PyTorch's loaders, Hugging Face data sets and pandas.

Each adapter is a thin layer: it reads what the other library holds, calls `augury.score`, `rank` or `choose_copies`, and gives back what
came in. For other libraries' random augmentations see `augury.as_transform`.
"""

from augury.adapters.classifier import AugmentedClassifier
from augury.adapters.dataset import AugmentedDataset
from augury.adapters.loading import collate, weighted_sampler
from augury.adapters.selector import AugmentationSelector
from augury.adapters.tables import add_copies, from_dataset, select

__all__ = [
    "AugmentationSelector",
    "AugmentedClassifier",
    "AugmentedDataset",
    "add_copies",
    "collate",
    "from_dataset",
    "select",
    "weighted_sampler",
]
