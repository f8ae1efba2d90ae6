"""Choosing copies against choosing points: the tasks of paper 2, the same features, head, labels and numbers of copies for every way."""

from __future__ import annotations

from augury.experiment.copies.sweep import Sweep, reproduce_copies
from augury.experiment.copies.ways import WAYS, Cell, cells

__all__ = ["WAYS", "Cell", "Sweep", "cells", "reproduce_copies"]
