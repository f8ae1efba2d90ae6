"""Which copies to add: an ordering of (point, copy) pairs by the fall of a target's mean loss that each is predicted to bring.

The influence of *Learning to Augment Influential Data* used for the purpose of *Efficient Augmentation via Data Subsampling*, with a budget
counted in copies.
"""

from augury.copies.choose import choose_copies
from augury.copies.flags import CopyFlags, flag_copies
from augury.copies.ordering import CopyOrdering, by_points, training_set
from augury.copies.streamed import ChosenCopies, choose_from_blocks
from augury.copies.target import class_weighted, worst_group

__all__ = [
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
]
