"""What a project knows already and does not want to hear of again until a date: data, and nothing else."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from harness.core.fault import FaultClass

PLACEHOLDER = "FILL IN"
"""What a generated file holds in place of link and expiry."""
Standing = Literal["new", "known", "expired", "gone", "not measured", "expected"]


class Cause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fingerprint is the digest of."""

    target: str
    variant: str
    invariant: str
    fault_class: FaultClass
    operation: str
    role: str = ""
    phase: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that is no failure until it expires, and the link to where it is tracked.

    ``cause`` says what it is a fingerprint of: without it nobody can say that it is gone.
    """

    fingerprint: str
    link: str
    expires: date
    note: str = ""
    cause: Cause | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of the run, or of the baseline, and how it stands. ``text`` is one line for people."""

    standing: Standing
    fingerprint: str
    text: str
    link: str = ""
    expires: str = ""


class BaselineResult(msgspec.Struct, frozen=True, kw_only=True):
    """A run held against a baseline. ``covered``: the keys of the findings that are no failure because of it."""

    path: str
    today: str
    judged: tuple[Judged, ...] = ()
    covered: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Judged, ...]:
        """What is new, and what has expired."""
        return tuple(item for item in self.judged if item.standing in ("new", "expired"))
