"""Fit, score and select where the features do not fit in memory: shard by shard, on this machine or on a cluster, by files anywhere.

`FeatureTable.open` looks at the files, `fit_table` fits the head, `score_table` writes the scores, `select_table` takes the points.
"""

from __future__ import annotations

from augury.choices import TableMethod, TableOrder
from augury.shards.fit import fit_table
from augury.shards.scoring import ScoreTable, score_table
from augury.shards.selecting import select_table
from augury.shards.table import Columns, FeatureTable, Shard

__all__ = ["Columns", "FeatureTable", "ScoreTable", "Shard", "TableMethod", "TableOrder", "fit_table", "score_table", "select_table"]
