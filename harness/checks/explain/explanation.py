"""What an explanation is: what is seen in a file, and which causes could have made it. Structs, and no rule."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from harness.core.fault import FaultClass

Cause = Literal["kill", "signal", "disk_full", "concurrency", "power", "program"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
Answer = Literal["could", "unlikely", "could not"]
Shape = Literal["records", "document", "sqlite", "text", "binary", "unknown"]
State = Literal["sound", "damaged", "not judged"]

CLASSES_OF: dict[Cause, tuple[FaultClass, ...]] = {
    "kill": ("kill",),
    "signal": ("signal",),
    "disk_full": ("short", "errno"),
    "concurrency": ("concurrency",),
    "power": ("power",),
    "program": ("none",),
}
"""The fault classes of the glossary that a cause stands for."""


class CauseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one cause could have made what is seen, and why. ``file_systems``: where (power loss)."""

    cause: Cause
    answer: Answer
    why: str
    fault_classes: tuple[FaultClass, ...] = ()
    file_systems: tuple[str, ...] = ()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a file.

    ``pattern`` names the row of :data:`harness.checks.explain.rules.RULES`. ``what`` is a sentence of ids, sizes and
    offsets. ``offset`` and ``size``: the bytes it is about; ``size`` 0 where it is a place between two bytes. ``line``
    counts from 1, 0 where it is not about a line. ``times``: how often the file shows it; the first one is told.
    """

    pattern: str
    what: str
    offset: int = 0
    size: int = 0
    line: int = 0
    ids: tuple[str, ...] = ()
    times: int = 1
    causes: tuple[CauseAnswer, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file.

    ``causes`` are answers for the file as a whole: a cause could have made it only if it could have made everything
    that is seen. Where none could, ``several`` is true: more than one thing happened, and each cause is given the best
    answer it has for any of them. ``digest`` is the SHA-256 of the bytes in hex.
    """

    name: str
    size: int
    digest: str
    shape: Shape
    state: State
    summary: str
    seen: tuple[Seen, ...] = ()
    causes: tuple[CauseAnswer, ...] = ()
    several: bool = False
    prevention: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
