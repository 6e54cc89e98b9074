"""What a judge is told about the world a tree belongs to: limits and rules that no tree shows by itself."""

from __future__ import annotations

import msgspec

DAY_MS = 86_400_000


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """``index_lag_ms``: how far an index entry may be behind its transcript. ``case_sensitive``: the rule by which
    paths inside documents are compared. ``file_times``: modification times of the tree are of the workload's clock,
    so they tell the age of a transcript whose records carry no time.
    """

    index_lag_ms: int = DAY_MS
    case_sensitive: bool = True
    file_times: bool = False


DEFAULT_RULES = Rules()
