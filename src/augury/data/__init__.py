"""Labelled images from named sets, folders, arrays and tables, checked once and held as `Examples`.

`load` reads any source that lies on disk, `available_splits` says which parts its publisher gave, and `from_arrays` takes what is already
in memory. Nothing here goes to the network or runs code out of a data file.
"""

from augury.data.arrays import from_arrays
from augury.data.examples import Examples
from augury.data.sources import available_splits, load

__all__ = ["Examples", "available_splits", "from_arrays", "load"]
