"""A selection from scores in files: one pass, in which only the best so far are kept.

A draw without replacement adds Gumbel noise to the log odds and takes the highest (see `augury.rank`); the noise of a point depends on the
seed and on the point's index alone, so that neither the shards nor their order matter.
"""

from __future__ import annotations

import json
import math
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from augury.choices import TableOrder
from augury.errors import InputError
from augury.files import METADATA_KEY
from augury.progress import track
from augury.selection import Preference, budget_size
from augury.selection.odds import by_falling_odds
from augury.selection.ordering import checked_seed
from augury.shards import storage
from augury.shards.scoring import ScoreTable, read_part

ROWS = 1 << 20  # that are looked at together, if the budget is smaller than half of them
NOISE = "noise"


def select_table(
    scores: ScoreTable,
    budget: float | int | str,  # noqa: PYI041  (checked at run time, where 1 is no float)
    preference: Preference = "proportional",
    order: TableOrder = "sampled",
    seed: int = 0,
    *,
    out: str | None = None,
) -> pd.DataFrame:
    """The points that `augury.rank` would take first, in its order, from scores that need not fit in memory.

    Parameters
    ----------
    scores
        From `score_table`.
    budget
        How many to take: a number or a share, as in `augury.rank`.
    preference, seed
        As in `augury.rank`; the same seed takes the same points.
    order
        `sampled` or `ranked`.
    out
        A Parquet file to write the selection to, atomically, on any file system.

    Returns
    -------
    pandas.DataFrame
        One row a point taken, the first to take first: rank (from 1), index, label, score, loss, probability.

    Notes
    -----
    Time n log n, by one pass over the scores; memory that of two budgets or of a million points, whichever is more.
    """
    for name, value, choices in (("preference", preference, Preference), ("order", order, TableOrder)):
        if value not in get_args(choices):
            raise InputError(f"{name}: got {value!r}; expected one of {', '.join(get_args(choices))} for a table")
    size, draw = budget_size(budget, len(scores)), checked_seed(seed) if order == "sampled" else None
    floor = min(_smallest(part) for part in scores.parts)
    held: list[pa.Table] = []
    for part in track(scores.parts, "selecting"):
        held.append(_noisy(read_part(part), draw))
        if sum(map(len, held)) >= max(ROWS, 2 * size):
            best = pa.concat_tables(held)
            held = [best.take(np.sort(_first(best, preference, floor, size)))]
    best = pa.concat_tables(held)
    taken = best.take(_first(best, preference, floor, size)).drop_columns([NOISE])
    taken = taken.add_column(0, "rank", pa.array(np.arange(1, len(taken) + 1)))
    if out is not None:
        policy = {"preference": preference, "order": order, "seed": seed, "budget": size}
        _write(out, taken, {"kind": "table selection", "policy": policy, "scores": dict(scores.record)})
    frame: pd.DataFrame = taken.to_pandas()
    return frame


def _smallest(part: str) -> float:
    """The smallest positive score of a part, from its metadata; infinite, if there is none."""
    with storage.opened(part) as source:
        return float(json.loads(pq.read_metadata(source).metadata[METADATA_KEY])["smallest"])


def _noisy(part: pa.Table, seed: int | None) -> pa.Table:
    """The part with its points' noise: the numbers that one draw for all points has at their indices; zero without a seed."""
    if seed is None:
        return part.append_column(NOISE, pa.array(np.zeros(len(part))))
    bits = np.random.PCG64(seed)
    bits.advance(part["index"][0].as_py())
    return part.append_column(NOISE, pa.array(np.random.Generator(bits).gumbel(size=len(part))))


def _first(rows: pa.Table, preference: Preference, floor: float, size: int) -> npt.NDArray[np.int64]:
    """The rows of the first so many points, the first first; equal ones in the order of `rows`.

    Odds depend on the smallest positive score of all points, which stands beside the rows' own, and is then left out.
    """
    values, noise = rows["score"].to_numpy(), rows[NOISE].to_numpy()
    beside = [] if math.isinf(floor) else [floor]
    ordered = by_falling_odds(np.append(values, beside), preference, np.append(noise, [-np.inf] * len(beside)))
    return ordered[ordered < len(values)][:size]


def _write(url: str, taken: pa.Table, record: dict[str, object]) -> None:
    sink = pa.BufferOutputStream()
    table = taken.replace_schema_metadata({METADATA_KEY: json.dumps(record, sort_keys=True).encode()})
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    storage.write(url, memoryview(sink.getvalue()))
