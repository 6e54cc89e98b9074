"""What a judge is told about the world a tree belongs to: limits and rules that no tree shows by itself."""

from __future__ import annotations

import msgspec


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """``case_sensitive``: the rule by which paths inside documents are compared. ``file_times``: modification times of
    the tree are of the workload's clock, so they tell the age of a transcript whose records carry no time.
    """

    case_sensitive: bool = True
    file_times: bool = False


DEFAULT_RULES = Rules()
