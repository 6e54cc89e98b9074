"""What a sequence of lives did to the indexes of sessions, as plain data: per life, per kind of end, and in the end.

Times and spans are in milliseconds. An entry is *behind* by the time from its ``modified`` to the newest record of
its transcript; it is *current* if it is not behind and counts all messages.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class LifeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one life did to the indexes. ``measured`` is false of a life that was not lived.

    ``writes_alive`` and ``writes_at_end``: indexes that it changed while it ran, and because of its end. Of the
    ``written`` sessions, whose transcripts it wrote, so many entries are ``current``, ``missing`` and ``stale`` in
    what it left, the last by up to ``behind_ms``. ``lost``: sessions of any life whose entry was there before or
    during this one and is gone; ``rolled_back_ms``: the furthest that the ``modified`` of an entry went back.
    """

    exit: str
    now_ms: int
    instances: int = 1
    measured: bool = True
    writes_alive: int = 0
    writes_at_end: int = 0
    written: int = 0
    current: int = 0
    missing: int = 0
    stale: int = 0
    behind_ms: int = 0
    lost: tuple[str, ...] = ()
    rolled_back_ms: int = 0


class EntryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One session: what the index says beside what its transcript says; -1 where the index has no entry."""

    session: str
    index: str
    messages: int
    newest_ms: int
    count: int = -1
    modified_ms: int = -1

    @property
    def found(self) -> bool:
        """Whether the index has an entry of this session."""
        return self.modified_ms >= 0

    @property
    def behind_ms(self) -> int:
        """How far the entry is behind its transcript; 0 where there is none."""
        return max(0, self.newest_ms - self.modified_ms) if self.found else 0

    @property
    def is_current(self) -> bool:
        """Whether the entry says what the transcript says."""
        return self.found and not self.behind_ms and self.count == self.messages


class EndFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All lives that ended in one way, summed up; spans are the longest. ``measured`` of ``lives`` were lived."""

    exit: str
    several: bool
    lives: int
    measured: int
    writes_alive: int
    writes_at_end: int
    written: int
    current: int
    missing: int
    stale: int
    behind_ms: int
    lost: int
    rolled_back_ms: int


class IndexFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A whole sequence. ``entries`` and ``lag_ms`` (by index: newest transcript after newest entry) are of its end."""

    lives: tuple[LifeFigures, ...] = ()
    entries: tuple[EntryFigures, ...] = ()
    lag_ms: Mapping[str, int] = {}

    @property
    def ends(self) -> tuple[EndFigures, ...]:
        """The lives by the kind of their end, in the order in which the kinds first came."""
        grouped: dict[tuple[str, bool], list[LifeFigures]] = {}
        for life in self.lives:
            grouped.setdefault((life.exit, life.instances > 1), []).append(life)
        return tuple(_sum(name, several, lives) for (name, several), lives in grouped.items())


def _sum(name: str, several: bool, lives: list[LifeFigures]) -> EndFigures:
    return EndFigures(
        exit=name,
        several=several,
        lives=len(lives),
        measured=sum(life.measured for life in lives),
        writes_alive=sum(life.writes_alive for life in lives),
        writes_at_end=sum(life.writes_at_end for life in lives),
        written=sum(life.written for life in lives),
        current=sum(life.current for life in lives),
        missing=sum(life.missing for life in lives),
        stale=sum(life.stale for life in lives),
        behind_ms=max(life.behind_ms for life in lives),
        lost=sum(len(life.lost) for life in lives),
        rolled_back_ms=max(life.rolled_back_ms for life in lives),
    )
