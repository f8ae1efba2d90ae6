"""From scores to an ordering of the candidates; a budget is a prefix of it.

A policy is a product of two small choices: the *preference* turns scores into odds of being taken (`odds`), the *order* turns odds into a
full ordering (`policies`; `strata` and `determinantal` for the two orders that also look at features). Budgets nest, so one draw serves all
of them, except for a determinantal order, whose draw is of one size.
"""

from augury.choices import Order as Order
from augury.choices import Preference as Preference
from augury.selection.determinantal import diversify as diversify
from augury.selection.determinantal import sample_k_dpp as sample_k_dpp
from augury.selection.ordering import Ordering as Ordering
from augury.selection.ordering import budget_size as budget_size
from augury.selection.policies import rank as rank
from augury.selection.strata import stratify as stratify
