"""What a program shows on its terminal: an emulated screen that any bytes may come to.

Whatever a program prints, feeding it costs a bounded time per byte, keeps a bounded state and raises nothing; what the
emulation does not understand, it leaves out. Non-goals: colours, and what has scrolled off.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Callable
from typing import Any

try:
    import pyte as _pyte
except ImportError:  # it comes with the extra
    pyte: Any = None
else:
    pyte = _pyte

ROWS, COLUMNS = 40, 120
EXTRA = "cli"
_MOST_SAVED = 8
_MOST_ANSWERED = 4096


class TerminalNotAvailableError(Exception):
    """What emulates a terminal is not installed; the line says what to do."""


def why_unavailable() -> str:
    """Return why no program can be driven in a terminal here, or an empty string."""
    if os.name == "nt":
        return "driving a program in a terminal needs POSIX"
    return (
        "" if pyte is not None else f"driving a program in a terminal needs pyte: pip install 'tornwrite[{EXTRA}]'"
    )


class Screen:
    """A screen. ``answer`` hears what a terminal answers to a program that asks it something."""

    def __init__(self, answer: Callable[[bytes], None], rows: int = ROWS, columns: int = COLUMNS) -> None:
        if reason := why_unavailable():
            raise TerminalNotAvailableError(f"not available: {reason}")
        self._screen = pyte.Screen(columns, rows)
        self._screen.write_process_input = self._answers
        self._stream = pyte.ByteStream(_Tolerant(self._screen))
        self._answer = answer
        self._left = _MOST_ANSWERED
        self._text: str | None = ""

    def _answers(self, said: str) -> None:
        data = said.encode("ascii", "ignore")[: self._left]
        self._left -= len(data)
        self._answer(data)

    def feed(self, data: bytes) -> None:
        """Show what the program has printed."""
        self._text = None
        with contextlib.suppress(Exception):  # the parser starts anew after what it did not understand
            self._stream.feed(data)

    @property
    def text(self) -> str:
        """What stands on the screen, line by line."""
        if self._text is None:
            self._text = "\n".join(line.rstrip() for line in self._screen.display)
        return self._text


class _Tolerant:
    """The screen as its parser sees it: what it cannot do is not done, and nothing in it grows without end."""

    def __init__(self, screen: Any) -> None:
        self._screen = screen

    def __getattr__(self, name: str) -> Callable[..., None]:
        done = getattr(self._screen, name)

        def call(*args: Any, **keywords: Any) -> None:
            with contextlib.suppress(Exception):
                done(*args, **keywords)

        return call

    def draw(self, text: str) -> None:
        """Show text, without the marks that would be heaped on one character."""
        if not text.isascii():
            text = "".join(each for each in text if not unicodedata.combining(each))
        with contextlib.suppress(Exception):
            self._screen.draw(text)

    def save_cursor(self) -> None:
        """Remember where the cursor is, not for ever."""
        del self._screen.savepoints[:-_MOST_SAVED]
        self._screen.save_cursor()


def flat(text: str) -> str:
    """Return a text with every run of white space as one space: as it can be looked for, however it was wrapped."""
    return " ".join(text.split())
