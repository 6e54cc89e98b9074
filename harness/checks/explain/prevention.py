"""What would have prevented the damage: one line per cause that could have made it, by the shape of the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.checks.explain.explanation import Cause, Shape

_REPLACE = (
    "Write a temporary file in the same directory and rename it over the old one: a reader sees old or new, whole."
)
_APPEND = (
    "Append each record with its newline in one write(); on start cut an unfinished last line off (copy it first)."
)
_ROWS: Mapping[tuple[Cause, bool], str] = {
    ("kill", False): _REPLACE,
    ("signal", False): _REPLACE,
    ("kill", True): _APPEND,
    ("signal", True): _APPEND,
    ("disk_full", False): (
        "Go on with a short write, look at every result (close and fsync too), and rename only what is whole."
    ),
    ("disk_full", True): "Go on with a short write; where it fails, cut back to the last newline, and report it.",
    ("concurrency", False): "Hold one lock from reading to renaming; give each writer a temporary of its own.",
    (
        "concurrency",
        True,
    ): "Open with O_APPEND, one write() per record, one writer at a time; rewrite only under a lock.",
    ("power", False): (
        "fsync(temporary) before the rename, fsync(directory) after it (macOS: F_FULLFSYNC; Windows: FlushFileBuffers)."
    ),
    ("power", True): "fsync(file) before a record counts as saved, fsync(directory) after the file is made.",
    ("program", False): "Write with a serializer, truncate what was longer, flush and close before the exit.",
    ("program", True): "Write each record with a serializer, once, to the file of its session.",
}
_CLOSE_CALLS = "Answer calls that a turn left open (an is_error result) before the session goes on."
_OPEN = frozenset({"open_turn", "result_missing"})
_DATABASE = "Keep SQLite's journal and synchronous=FULL; copy with the backup API, never the file alone."


def prevention(causes: Iterable[Cause], shape: Shape, patterns: Iterable[str]) -> tuple[str, ...]:
    """Return one line per remedy, for the causes that could have made the damage."""
    if shape == "sqlite":
        return (_DATABASE,)
    lines = [_ROWS[cause, shape == "records"] for cause in causes]
    if any(pattern.partition("/")[0] in _OPEN for pattern in patterns):
        lines.append(_CLOSE_CALLS)
    return tuple(dict.fromkeys(lines))
