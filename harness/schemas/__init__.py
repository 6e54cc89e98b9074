"""JSON schemas of everything tornwrite writes for machines, shipped as data.

``result`` is what ``--json`` prints; ``campaign`` its ``result`` for run, probe, demo and report, ``bisection`` for
replay --bisect, ``comparison`` for compare, ``explanation`` for explain, ``pooled`` for a report of several systems,
``rejudged`` for report --rejudge, ``trace_result`` for trace; ``event`` a line of the event stream; ``trial`` a line of
trials.jsonl; ``finding`` a finding.json, ``tree_outline`` the state.json beside it; ``strip`` a strips/*.json;
``trace_header`` and ``trace_operation`` the lines of a trace.jsonl. ``served`` is what serve-api prints,
``api_log_line`` a line of its log.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

NAMES = (
    *(
        "api_log_line",
        "bisection",
        "campaign",
        "comparison",
        "event",
        "explanation",
        "finding",
        "pooled",
        "rejudged",
        "replay",
        "result",
        "served",
        "shrinking",
        "strip",
    ),
    *("trace_header", "trace_operation", "trace_result", "tree_outline", "trial"),
)


def schema(name: str) -> dict[str, Any]:
    """Return a schema by name, one of :data:`NAMES`. Another name is a :class:`KeyError`."""
    if name not in NAMES:
        raise KeyError(name)
    text = resources.files(__name__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
