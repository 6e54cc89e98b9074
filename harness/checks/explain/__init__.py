"""Which fault classes could have made a damaged file from the wild, and which could not. Pure.

``explain(content, name)`` looks for patterns (:mod:`nuls`, :mod:`document`, :mod:`records`, :mod:`transcript`,
:mod:`sqlite`), and the table :data:`rules.RULES` says which cause makes which pattern. Terms are those of
:mod:`explanation`.
"""

from __future__ import annotations

from harness.checks.explain.explaining import explain
from harness.checks.explain.explanation import (
    CAUSES,
    Answer,
    Cause,
    CauseAnswer,
    Explanation,
    Seen,
    Shape,
)
from harness.checks.explain.rules import RULES

__all__ = ["CAUSES", "RULES", "Answer", "Cause", "CauseAnswer", "Explanation", "Seen", "Shape", "explain"]
