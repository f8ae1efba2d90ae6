"""The settings of a choice of copies: their price, which recommends a budget, and their weight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from augury import lazy
from augury.experiment.checks import UnexpectedError, text

if TYPE_CHECKING:
    from augury import copies
else:
    copies = lazy.module("augury.copies")

AUTO: Literal["auto"] = "auto"


class Price(NamedTuple):
    """What one more copy must be predicted to bring: nats of the target's mean loss, or, as a share of one, its accuracy."""

    amount: float
    of: Literal["loss", "accuracy"]

    @classmethod
    def of_text(cls, given: str) -> Price:
        """Read "1e-5" (nats a copy) or "0.001%" (accuracy a copy)."""
        number = given.strip()
        try:
            found = cls(float(number[:-1]) / 100, "accuracy") if number.endswith("%") else cls(float(number), "loss")
        except ValueError:
            found = cls(math.nan, "loss")
        if not 0 <= found.amount < math.inf:
            raise UnexpectedError("nats of the target's loss a copy, 0 or more, such as 1e-5, or accuracy a copy, such as 0.001%")
        return found

    def recommended(self, ordering: copies.CopyOrdering) -> int:
        """The number of copies that is predicted to be worth most after its price, the smallest of the best: perhaps 0."""
        if self.of == "loss":
            return ordering.recommended(self.amount)
        curve = ordering.predicted()
        return int(curve["budget"][int((curve["accuracy"] - self.amount * curve["budget"]).argmax())])


def checked_price(value: object) -> str:
    """The text of a price, see `Price`."""
    found = text(value)
    Price.of_text(found)
    return found


def checked_weight(value: object) -> str:
    """`auto`, or the text of a number from 1 up."""
    found = text(value)
    try:
        allowed = found == AUTO or 1 <= float(found) < math.inf
    except ValueError:
        allowed = False
    if not allowed:
        raise UnexpectedError("auto, or a number from 1 up: 1 counts each copy as one")
    return found


def weight_of(given: str) -> float | Literal["auto"]:
    """What `checked_weight` has checked, as `augury.choose_copies` takes it."""
    return AUTO if given == AUTO else float(given)
