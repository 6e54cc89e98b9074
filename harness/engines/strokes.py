"""What is typed, stroke by stroke, and what is waited for between them: pure, with the clock of the caller.

A program that draws its own input takes keys when it likes: a key that comes too early is lost, one that follows Escape
at once is another key, one that follows a text at once is part of a paste. So each stroke says what must be seen before
the next one, and what is done where that is not seen.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from harness.engines.screen import flat

CLEAR, ENTER, ESCAPE, CTRL_C, SHIFT_TAB, UP, DOWN = (
    b"\x15",
    b"\r",
    b"\x1b",
    b"\x03",
    b"\x1b[Z",
    b"\x1b[A",
    b"\x1b[B",
)
_PROBE = "zq"
_ECHO_MS = 4_000
_SETTLE_MS = 120
_ESCAPE_MS = 600
_TAKEN_MS = 2_500


class Stroke(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, and what follows them ``within_ms``: the text ``shows`` is on the screen once more than it was, or
    ``hides`` is not there any more, or the counter ``counted`` has grown; then ``pause_ms`` pass.

    Where it does not come the strokes from ``back`` before this one are typed again, up to ``again`` times; after that
    they have failed.
    """

    keys: bytes = b""
    shows: str = ""
    hides: str = ""
    counted: str = ""
    within_ms: int = 0
    pause_ms: int = 0
    back: int = 0
    again: int = 0


def typed(text: str) -> tuple[Stroke, ...]:
    """Return the strokes that put ``text`` alone into the input line.

    A program that is busy reads keys together that were typed apart, and takes them for one paste, control characters
    and all. So something else is typed first, and it is seen to go when the line is cleared.
    """
    return (
        Stroke(keys=_PROBE.encode(), shows=_PROBE, within_ms=_ECHO_MS, again=4),
        Stroke(keys=CLEAR, hides=_PROBE, within_ms=_ECHO_MS, again=2),
        Stroke(keys=text.encode(), shows=text, within_ms=_ECHO_MS, pause_ms=_SETTLE_MS, back=2, again=2),
    )


def prompt(text: str, counted: str) -> tuple[Stroke, ...]:
    """Return the strokes that say ``text``: Enter is pressed until ``counted`` grows."""
    return (*typed(text), Stroke(keys=ENTER, counted=counted, within_ms=_TAKEN_MS, again=4))


def command(text: str) -> tuple[Stroke, ...]:
    """Return the strokes that give a command, or leave a message, which nobody counts."""
    return (*typed(text), Stroke(keys=ENTER, pause_ms=_SETTLE_MS))


def key(keys: bytes) -> tuple[Stroke, ...]:
    """Return the strokes of one key; after Escape nothing may follow for a while."""
    return (Stroke(keys=keys, pause_ms=_ESCAPE_MS if keys == ESCAPE else _SETTLE_MS),)


class Typing:
    """Strokes under way. ``failed`` says what did not come."""

    def __init__(self, strokes: tuple[Stroke, ...]) -> None:
        self._strokes = strokes
        self._index = 0
        self._tries = [0] * len(strokes)
        self._sent_at = -1.0
        self._seen_at = -1.0
        self._before = 0
        self.failed = ""

    def step(self, now_s: float, text: str, count: Callable[[str], int]) -> tuple[bytes, bool]:
        """Return the keys to type now, and whether all is typed; ``text`` is on the screen, ``count`` counts."""
        while self._index < len(self._strokes) and not self.failed:
            stroke = self._strokes[self._index]
            if self._sent_at < 0:
                self._sent_at, self._before = now_s, _measure(stroke, text, count)
                return stroke.keys, False
            if self._seen_at < 0:
                if not _came(stroke, self._before, text, count):
                    if now_s >= self._sent_at + stroke.within_ms / 1e3:
                        self._repeat(stroke)
                        continue
                    return b"", False
                self._seen_at = now_s
            if now_s < self._seen_at + stroke.pause_ms / 1e3:
                return b"", False
            self._go_to(self._index + 1)
        return b"", not self.failed

    def _go_to(self, index: int) -> None:
        self._index = index
        self._sent_at = self._seen_at = -1.0

    def _repeat(self, stroke: Stroke) -> None:
        self._tries[self._index] += 1
        if self._tries[self._index] <= stroke.again:
            self._go_to(max(0, self._index - stroke.back))
            return
        missed = f"it brought no {stroke.counted}" if stroke.counted else "the screen did not show it"
        self.failed = f"did not take what was typed: {missed}, {stroke.again + 1} times"


def _measure(stroke: Stroke, text: str, count: Callable[[str], int]) -> int:
    if stroke.shows:
        return flat(text).count(flat(stroke.shows))
    return count(stroke.counted) if stroke.counted else 0


def _came(stroke: Stroke, before: int, text: str, count: Callable[[str], int]) -> bool:
    if stroke.hides:
        return flat(stroke.hides) not in flat(text)
    return not (stroke.shows or stroke.counted) or _measure(stroke, text, count) > before
