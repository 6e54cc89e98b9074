"""A trace: the ordered operations of one run and the tree it started from.

Stored whole (:mod:`harness.core.trace_codec`), so any machine can explore it. Replaying it over its start tree
must give the tree that was found on disk (:func:`harness.core.apply.replay`); an engine checks that for every
recording.
"""

from __future__ import annotations

import msgspec

from harness.core.operation import Ack, AnyOperation
from harness.core.tree import EMPTY_TREE, Tree

TRACE_FORMAT_VERSION = 1


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A process or thread of the run. ``process`` and ``thread`` count births: the first of each is 0."""

    process: int
    thread: int = 0
    pid: int = 0
    command: str = ""

    @property
    def label(self) -> str:
        """``p0`` for a process' first thread, ``p0.t3`` for its fourth."""
        return f"p{self.process}" if self.thread == 0 else f"p{self.process}.t{self.thread}"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it was seen.

    ``root`` is the absolute path of the state directory during the run; ``unseen`` says, in sentences, what the
    engine could not see ("stores through a shared mapping of index.db-shm"); ``unseen_paths`` are the paths
    whose content it therefore cannot answer for.
    """

    root: str
    engine: str
    actors: tuple[Actor, ...] = ()
    start: Tree = EMPTY_TREE
    operations: tuple[AnyOperation, ...] = ()
    unseen: tuple[str, ...] = ()
    unseen_paths: tuple[str, ...] = ()

    @property
    def acks(self) -> tuple[Ack, ...]:
        """The acknowledgements, in order."""
        return tuple(op for op in self.operations if type(op) is Ack)
