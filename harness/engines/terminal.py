"""Drives one session of a program in a terminal, and says what came of it: as :mod:`harness.engines.headless`, but with
keys in place of lines.

A deed can be a list of strokes (:mod:`harness.engines.strokes`), and a moment can be that the program is ready for
keys, that something stands on the screen, or that so many of the texts that are watched for have been seen there; no
deed sees the ``end``, so that a key which waits for it is typed until the program is gone. What the screen shows is
looked at and told of by those texts only; the screen itself is no evidence.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from harness.engines.base import TargetNotStartedError
from harness.engines.headless import Deed, Moment, Run, Session, SessionPlan, run_sessions
from harness.engines.screen import COLUMNS, ROWS, Screen, flat
from harness.engines.strokes import Stroke, Typing
from harness.sandbox.child import Child, ChildNotStartedError
from harness.sandbox.limits import child_setup
from harness.sandbox.terminal import OnTerminal, start_on_terminal

_QUIET_S = 0.25
_RAW_S = 5.0


class TerminalDeed(Deed, frozen=True, kw_only=True):
    """A deed with ``strokes``: it is done when the last of them is, and the session ends where they fail."""

    strokes: tuple[Stroke, ...] = ()


class TerminalPlan(SessionPlan, frozen=True, kw_only=True):
    """A session in a terminal; ``watched`` are texts to look for on its screen."""

    watched: tuple[str, ...] = ()


class TerminalSession(Session, frozen=True, kw_only=True):
    """A session as it went. ``shown``: which of the texts were seen on the screen, and when first; ``screen``: what it
    showed in the end, for whoever looks for the reason of a failure; never kept."""

    shown: tuple[tuple[int, str], ...] = ()
    screen: str = ""


def run_in_terminals(plans: Sequence[TerminalPlan], *, linger_ms: int = 0) -> tuple[TerminalSession, ...]:
    """Run sessions in terminals of their own, as :func:`harness.engines.headless.run_sessions` runs them without.

    Raises also :class:`TerminalNotAvailableError`.
    """
    sessions = run_sessions(plans, linger_ms=linger_ms, run_of=_TerminalRun)
    return tuple(each for each in sessions if isinstance(each, TerminalSession))


class _TerminalRun(Run):
    counted = ("start", "ready", "screen", "shown", "end", "records")
    look_s = 3e-3

    def __init__(self, plan: SessionPlan) -> None:
        assert isinstance(plan, TerminalPlan)
        self._screen = Screen(self._type)
        self._wanted = {text: flat(text) for text in plan.watched}
        self._shown: list[tuple[int, str]] = []
        self._typing: Typing | None = None
        self._raw_since = -1.0
        self._spoke_at = -1.0
        self._dirty = False
        super().__init__(plan)

    def _start(self) -> Child:
        spec = self.spec
        try:
            started = start_on_terminal(
                spec.argv,
                cwd=spec.cwd,
                environment=spec.environment,
                setup=child_setup(processes=spec.limits.processes),
                rows=ROWS,
                columns=COLUMNS,
            )
        except ChildNotStartedError as error:
            raise TargetNotStartedError(str(error)) from error
        self._terminal: OnTerminal = started
        return Child(
            spec.argv,
            cwd=spec.cwd,
            environment=spec.environment,
            setup=None,
            on_output=self._on_output,
            started=started,
        )

    def _on_output(self, stream: int, data: bytes) -> None:
        self.last_us = self._now_us()
        self._bytes += len(data)
        if self._bytes > self.spec.limits.output_bytes:
            return  # the next look ends the run
        self._spoke_at = time.monotonic()
        self._screen.feed(data)
        self._look_for_texts()

    def _look_for_texts(self) -> None:
        if not self._wanted:
            return
        text = flat(self._screen.text)
        for name, wanted in list(self._wanted.items()):
            if wanted in text:
                del self._wanted[name]
                self._shown.append((self.last_us, name))

    def _count(self, moment: Moment) -> int:
        if moment.counted == "ready":
            return moment.count if self._ready() else 0
        if moment.counted == "screen":
            return moment.count if re.search(moment.pattern, self._screen.text) else 0
        if moment.counted == "shown":
            return len(self._shown)
        if moment.counted == "end":
            return 0
        return super()._count(moment)

    def _ready(self) -> bool:
        """Whether the program reads keys: it has the terminal to itself, and has drawn all it wants to for now."""
        now = time.monotonic()
        if not self._terminal.raw or self._spoke_at < 0:
            self._raw_since = -1.0
            return False
        if self._raw_since < 0:
            self._raw_since = now
        quiet = now - max(self._spoke_at, self._raw_since) >= _QUIET_S
        return quiet or now - self._raw_since >= _RAW_S

    def _do(self, deed: Deed) -> bool:
        strokes = deed.strokes if isinstance(deed, TerminalDeed) else ()
        if strokes:
            self._typing = self._typing or Typing(strokes)
            keys, all_typed = self._typing.step(time.monotonic(), self._screen.text, self._counter)
            self._type(keys)
            if self._typing.failed:
                self.timed_out = True
                self.stopped = self._typing.failed
            if not all_typed:
                return False
            self._typing = None
        return super()._do(deed)

    def _counter(self, name: str) -> int:
        return self._count(Moment(counted=name))

    def _type(self, keys: bytes) -> None:
        self._pending += keys

    def _speak(self) -> None:
        try:
            while self._pending:
                del self._pending[: self._terminal.write(self._pending)]
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()

    def session(self, final: object, detail: str, survivors: int, cpu_ms: float) -> TerminalSession:
        """Return how it went."""
        seen = super().session(final, detail, survivors, cpu_ms)  # type: ignore[arg-type]
        fields = {name: getattr(seen, name) for name in seen.__struct_fields__}
        return TerminalSession(**fields, shown=tuple(self._shown), screen=self._screen.text)
