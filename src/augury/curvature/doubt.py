"""The warning that an influence may be far from what a refit would bring."""

from __future__ import annotations


class InfluenceWarning(UserWarning):
    """An influence that is doubtful, and what to do: the head is not at its minimum, H ill-conditioned, or a point's leverage near 1."""
