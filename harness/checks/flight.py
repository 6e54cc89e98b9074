"""What of a tree is in flight: an update that nobody acknowledged is never owed, in a document or across files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.checks.expectation import Expectation
from harness.checks.versions import Version
from harness.core.fault import FaultClass

QUIET: frozenset[FaultClass] = frozenset({"none", "concurrency"})
"""Classes whose trees are what programs left that ended by themselves: nothing is in flight there."""


class Held(NamedTuple):
    """What a path held at the last acknowledgement, and at the next one (or the end of the run)."""

    now: Version
    later: Version

    @property
    def stays(self) -> bool:
        """Whether the file was there and is there still one acknowledgement later: neither is in flight."""
        return self.now is not None and self.later is not None


def held_at(expectation: Expectation, path: str, acked: int) -> Held | None:
    """Return what ``path`` held around acknowledgement number ``acked``; ``None`` where that cannot be told.

    That is a name the undisturbed run never had, or a role that several files of it play.
    """
    history = expectation.histories.get(path)
    if history is None and expectation.masked:
        key = expectation.key_of(path)
        same = [other for name, other in expectation.histories.items() if expectation.key_of(name) == key]
        history = same[0] if len(same) == 1 else None
    if history is None:
        return None
    at = min(acked, len(history.at_ack) - 1)
    return Held(history.at_ack[at], history.at_ack[at + 1] if at + 1 < len(history.at_ack) else history.last)


def position(acked: int, acked_ids: Sequence[str] | None) -> int:
    """Return how many acknowledgements order can be read from: none where some were withheld."""
    return acked if acked_ids is None else 0


def stem(path: str) -> str:
    """Return a file's name without its last extension."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def is_agent(path: str) -> bool:
    """Whether a transcript is a sub-agent's: it belongs to another session by design."""
    return stem(path).startswith("agent-") or "/subagents/" in path
