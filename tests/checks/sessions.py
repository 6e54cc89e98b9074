"""Shorthand: transcripts, registry entries and indexes as bytes, and scripted runs that write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from harness.checks import FileBinding
from harness.explore.script import Script

TRANSCRIPTS = FileBinding("projects/*/*.jsonl", "transcript", id_key="uuid")
INDEX = FileBinding("projects/*/sessions-index.json", "index")
ENTRIES = FileBinding("registry/local_*.json", "registry")
LEASES = FileBinding("registry/git-worktrees.json", "lease")
ALL = (TRANSCRIPTS, INDEX, LEASES, ENTRIES)

HOUR = 3_600_000
T0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(**values: Any) -> bytes:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def prompt(number: int = 0, at: int = T0, text: str = "hi") -> bytes:
    return line(
        type="user",
        uuid=f"u{number}",
        parentUuid=None,
        sessionId="s",
        timestamp=iso(at),
        message={"role": "user", "content": text},
    )


def title(text: str) -> bytes:
    return line(type="custom-title", customTitle=text, sessionId="s")


def entry(cli: str = "a", **more: Any) -> bytes:
    return json.dumps({"sessionId": "local_a", "cliSessionId": cli, **more}).encode()


def leased(**holders: str | None) -> bytes:
    rows = {name: {"name": name, "path": f"/w/{name}", "leasedBy": by} for name, by in holders.items()}
    return json.dumps({"worktrees": rows}).encode()


def row(name: str, modified: int = T0, count: int = 1, **more: Any) -> dict[str, Any]:
    return {"sessionId": name, "modified": iso(modified), "messageCount": count, "isSidechain": False, **more}


def index(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1, "entries": list(rows), "originalPath": "/w"}).encode()


def written(*steps: tuple[str, bytes] | str, start: Script | None = None) -> Script:
    """Replace files one after the other; a lone text is an acknowledgement of that id."""
    script = start or Script()
    for directory in ("projects", "projects/p", "registry"):
        if directory not in script.tree.names:
            script.mkdir(directory)
    for step in steps:
        if isinstance(step, str):
            script.ack(step)
        else:
            script.replace(*step)
    return script
