"""When the operations of one run came, as the process that made them tells it.

Moments are in microseconds of the run's clock, which begins where that of a timed kill does: at the arm line, else with
the process; what comes before that is negative.
"""

from __future__ import annotations

import msgspec


class CallTime(msgspec.Struct, frozen=True, kw_only=True):
    """One call on the state directory, or one acknowledgement, and how long it lasted.

    It is the ``occurrence``-th (from 1) ``operation`` on a path of ``role`` by process ``actor``, as in a crash point.
    """

    operation: str
    role: str
    occurrence: int
    actor: str
    begin_us: float
    end_us: float


class TimedCalls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one run in the order in which they began, and when its first process had ended.

    ``said_us`` is when it had last said something on its standard output; ``None`` where it never did.
    """

    calls: tuple[CallTime, ...] = ()
    end_us: float = 0.0
    said_us: float | None = None
    problem: str = ""
    """Why this run tells nothing; empty where it does."""

    def ending(self, tail_us: float | None) -> TimedCalls:
        """Return the run as one that ends so long after its last word: a program that is watched ends more slowly."""
        if self.said_us is None or tail_us is None:
            return self
        return msgspec.structs.replace(self, end_us=self.said_us + tail_us)

    def shifted(self, by_us: float) -> TimedCalls:
        """Return the run as one that started so much later."""
        calls = tuple(
            msgspec.structs.replace(call, begin_us=call.begin_us + by_us, end_us=call.end_us + by_us)
            for call in self.calls
        )
        said_us = None if self.said_us is None else self.said_us + by_us
        return msgspec.structs.replace(self, calls=calls, end_us=self.end_us + by_us, said_us=said_us)
