"""A life of a client that was watched operation by operation, and what it looks like cut at any of them.

What its API had heard and what its tools had done is known for each operation, read while the client waited for that
operation to be let go: so much had surely happened by then. Pure data.

Non-goals: which states a crash can leave (:mod:`harness.explore`); carrying a life out.
"""

from __future__ import annotations

import msgspec

from harness.core.api_log import EndLine, LogLine, RequestLine
from harness.core.dialogue import LifeSeen
from harness.core.fault import Phase
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.core.tree import Tree


class RecordedLife(msgspec.Struct, frozen=True, kw_only=True):
    """One life, whole, and its recording.

    ``effects_by`` and ``heard_by`` count, per operation, the effects in the ledger and the lines of ``heard``, the log
    of the API, that were there when it was done.
    """

    seen: LifeSeen
    recording: Recording
    heard: tuple[LogLine, ...] = ()
    effects_by: tuple[int, ...] = ()
    heard_by: tuple[int, ...] = ()
    problem: str = ""

    @property
    def trace(self) -> Trace:
        """The operations. Only a life that was watched has them."""
        if self.recording.trace is None:
            raise ValueError("the life was recorded by an engine that sees no operations")
        return self.recording.trace

    def cut_at(self, tree: Tree, seq: int, phase: Phase, acked: int) -> LifeSeen:
        """Return the life as it would have been, had the client been killed at that moment, with ``tree`` left of it.

        ``acked`` counts the replies that it had printed.
        """
        done = seq if phase == "after" else seq - 1
        heard = self.heard[: self._by(self.heard_by, done)]
        (client,) = self.seen.clients
        return LifeSeen(
            order=msgspec.structs.replace(self.seen.order, exit="sigkill"),
            clients=(
                msgspec.structs.replace(
                    client, exit_code=None, signal=9, struck=True, replies=client.replies[:acked]
                ),
            ),
            requests=tuple(line for line in heard if isinstance(line, RequestLine)),
            ends=tuple(line for line in heard if isinstance(line, EndLine)),
            effects=self.seen.effects[: self._by(self.effects_by, done)],
            tree=tree,
        )

    @staticmethod
    def _by(counts: tuple[int, ...], done: int) -> int:
        return counts[min(done, len(counts) - 1)] if done >= 0 and counts else 0
