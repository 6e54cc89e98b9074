"""The names of actors: stable from run to run, whatever thread of a pool the system lets do the work.

A thread is named by its birth (``p0.t2``: the third thread of the first process). Which thread of a pool does a piece
of work is chance, so a pool is one actor, ``p0*``, and what its threads stand before is told apart by the operation,
the role of the path, and the file that is open: the n-th opened for reading (``r``) or for writing (``w``) in that
role. What is done on one open file in order is a *strand*; the strands of a pool take turns as threads do.

Two operations of a pool with one label cannot be told apart, and need not be: whichever comes first is taken.
"""

from __future__ import annotations

from typing import Literal

from harness.core.schedule import strand_of

__all__ = ["Mode", "pool_label", "strand_of", "thread_label"]

Mode = Literal["r", "w"]


def thread_label(process: int, thread: int) -> str:
    """Return the label of a program's thread: ``p0`` for the first of a process, else ``p0.t3``."""
    return f"p{process}.t{thread}" if thread else f"p{process}"


def pool_label(process: int, mode: Mode, occurrence: int, role: str, operation: str) -> str:
    """Return the label of what a pool's thread stands before; ``occurrence`` 0: on no open file that is known."""
    return f"p{process}*{mode}{occurrence}:{role} {operation}"
