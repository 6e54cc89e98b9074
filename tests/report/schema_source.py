"""Where the shipped schemas come from. ``python -m tests.report.schema_source`` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

import harness.schemas
from harness.campaign.rejudging import Rejudged
from harness.cli.explain import ExplainResult
from harness.cli.serve_api import ServedResult
from harness.core.api_log import LogLine
from harness.core.event import AnyEvent
from harness.core.operation import AnyOperation
from harness.core.outline import TreeOutline
from harness.core.strip import Strip
from harness.core.trace import Actor
from harness.core.verdict import Finding, TrialRow
from harness.report.bisection import BisectionResult
from harness.report.compare import Comparison
from harness.report.json_document import CampaignResult, ReplayResult, ResultDocument, ShrinkResult
from harness.report.pooled import PooledResult
from harness.report.trace_document import TraceResult

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _of(type_: Any) -> dict[str, Any]:
    return {"$schema": DIALECT, **msgspec.json.schema(type_)}


def _finding() -> dict[str, Any]:
    out = _of(Finding)
    body = out["$defs"]["Finding"]
    body["properties"] = {"format_version": {"const": 1}, **body["properties"]}
    body["required"] = ["format_version", *body["required"]]
    return out


_BYTES = {
    "oneOf": [
        {"type": "object", "properties": {"b64": {"type": "string"}}, "required": ["b64"]},
        {
            "type": "object",
            "properties": {"blob": {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "bytes": {"type": "integer"}},
            "required": ["blob", "bytes"],
        },
    ]
}


def _operation() -> dict[str, Any]:
    out = _of(AnyOperation)
    for body in out["$defs"].values():
        for name, member in body["properties"].items():
            if name in ("data", "requested"):
                optional = "anyOf" in member
                body["properties"][name] = {"anyOf": [_BYTES, {"type": "null"}]} if optional else _BYTES
    return out


def _header() -> dict[str, Any]:
    actor = msgspec.json.schema(Actor)["$defs"]["Actor"]
    strings = {"type": "array", "items": {"type": "string"}}
    pair = {"type": "array", "minItems": 2, "maxItems": 2}
    properties = {
        "format_version": {"const": 1},
        "engine": {"type": "string"},
        "root": {"type": "string"},
        "operations": {"type": "integer", "minimum": 0},
        "actors": {"type": "array", "items": actor},
        "unseen": strings,
        "unseen_paths": strings,
        "names": {"type": "array", "items": pair},
        "inodes": {"type": "array", "items": pair},
    }
    return {
        "$schema": DIALECT,
        "title": "The first line of trace.jsonl",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def schemas() -> dict[str, dict[str, Any]]:
    return {
        "api_log_line": _of(LogLine),
        "bisection": _of(BisectionResult),
        "campaign": _of(CampaignResult),
        "comparison": _of(Comparison),
        "event": _of(AnyEvent),
        "explanation": _of(ExplainResult),
        "finding": _finding(),
        "pooled": _of(PooledResult),
        "rejudged": _of(Rejudged),
        "replay": _of(ReplayResult),
        "result": _of(ResultDocument),
        "served": _of(ServedResult),
        "shrinking": _of(ShrinkResult),
        "strip": _of(Strip),
        "trace_header": _header(),
        "trace_operation": _operation(),
        "trace_result": _of(TraceResult),
        "tree_outline": _of(TreeOutline),
        "trial": _of(TrialRow),
    }


def text_of(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    for name, value in schemas().items():
        Path(harness.schemas.__file__).with_name(f"{name}.schema.json").write_text(
            text_of(value), encoding="utf-8"
        )
