"""Gates of held calls: one named pipe each, and the order in which those that wait there are let go.

A tool opens its pipe for reading and reads a line, or all there is; it holds the pipe open until it ends. So the
service sees it come (a pipe without a reader cannot be opened for writing), lets it go (the line, and the end of it),
and sees it end (the pipe has no reader any more), whatever kind of program it is: ``cat`` will do. Held calls go one
after the other, those of one turn in its order: the next one when the one before has ended and ``gap_ms`` have passed,
so that its result is with the client. The service's end is seen by whoever waits, as the end of the pipe: such a
tool fails.

Needs POSIX. Non-goals: what a client makes of the results' order (the next request in the log tells it).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import time
from collections.abc import Callable
from typing import NamedTuple

from harness.core.api_log import GateEvent
from harness.core.api_script import Api
from harness.services.messages_api.answering import Answer, Held
from harness.services.messages_api.shell import gate_path

_POLL_S = 0.004
MOST_OPEN = 512
"""Gates at once; an answer with more waits for nothing: its calls find no gate and fail."""


class _Gate:
    """One held call. ``over`` once it has ended or was given up."""

    def __init__(self, held: Held, path: str) -> None:
        self.held = held
        self.path = path
        self.descriptor = -1
        self.since = time.monotonic()
        """When it was made; once its call has come, when that was."""
        self.let_go = False
        self.asked = False
        self.over = False

    @property
    def waits(self) -> bool:
        """Whether its call has come and was not let go."""
        return self.descriptor >= 0 and not self.let_go and not self.over


class _Group(NamedTuple):
    """The gates of one answer; ``order``: those that are let go, first to last. ``come_s``: how long a call may take
    to come, which a client may start when those before it have ended."""

    gates: tuple[_Gate, ...]
    order: tuple[_Gate, ...]
    come_s: float


class Gates:
    """All gates of a service. ``tell(call, tool_use_id, what)`` hears what happens at them."""

    def __init__(self, directory: str, api: Api, tell: Callable[[str, str, GateEvent], None]) -> None:
        self._directory = directory
        self._gap_s = api.gap_ms / 1000
        self._patience_s = api.patience_ms / 1000
        self._hold_s = api.hold_s
        self._tell = tell
        self._groups: list[_Group] = []
        self._ended_at = 0.0
        self._changed = asyncio.Event()

    def make(self, answer: Answer) -> None:
        """Make the gates of an answer, before it is sent. Raises ``OSError``."""
        if not answer.held or sum(len(group.gates) for group in self._groups) + len(answer.held) > MOST_OPEN:
            return
        gates = []
        for held in answer.held:
            path = gate_path(self._directory, held.tool_use_id)
            with contextlib.suppress(FileNotFoundError):  # of a service that was killed
                os.unlink(path)
            os.mkfifo(path, 0o600)
            gates.append(_Gate(held, path))
        ordered = sorted((gate for gate in gates if gate.held.order >= 0), key=lambda gate: gate.held.order)
        self._groups.append(_Group(tuple(gates), tuple(ordered), self._hold_s * (1 + len(gates))))
        self._changed.set()

    def let_go(self, tool_use_id: str) -> None:
        """Let one call go, whatever its order says; one that has not come yet goes when it comes."""
        for group in self._groups:
            for gate in group.gates:
                gate.asked = gate.asked or gate.held.tool_use_id == tool_use_id

    async def run(self) -> None:
        """Serve the gates until cancelled."""
        while True:
            if not self._groups:
                self._changed.clear()
                await self._changed.wait()
            self._step(time.monotonic())
            await asyncio.sleep(_POLL_S)

    def _step(self, now: float) -> None:
        for group in self._groups:
            for gate in group.gates:
                self._look(gate, group.come_s, now)
            self._let_next_go(group, now)
        for group in [group for group in self._groups if all(gate.over for gate in group.gates)]:
            self._groups.remove(group)

    def _look(self, gate: _Gate, come_s: float, now: float) -> None:
        """See whether a call has come to its gate, has ended, or is too late or waits too long."""
        if gate.over:
            return
        if gate.let_go:
            self._see_end(gate, now)
        elif gate.descriptor < 0:
            gate.descriptor = _open_to_reader(gate.path)
            if gate.descriptor >= 0:
                gate.since = now
                self._say(gate, "waits")
            elif now > gate.since + come_s:
                self._be_over(gate, "given_up", now)
        elif (left := _has_no_reader(gate.descriptor)) or now > gate.since + self._hold_s:
            os.close(gate.descriptor)
            self._be_over(gate, "given_up" if left else "timed_out", now)

    def _see_end(self, gate: _Gate, now: float) -> None:
        """Look whether the call still has its pipe open."""
        probe = _open_to_reader(gate.path)
        if probe < 0:
            self._be_over(gate, "ended", now)
        else:
            os.close(probe)

    def _let_next_go(self, group: _Group, now: float) -> None:
        for gate in group.gates:
            if gate.asked and gate.waits:
                self._open(gate)
        if now - self._ended_at < self._gap_s or any(
            gate.let_go and not gate.over for each in self._groups for gate in each.gates
        ):
            return
        left = [gate for gate in group.order if not gate.over]
        if not left:
            return
        if left[0].waits:
            self._open(left[0])
            return
        waiting = next((gate for gate in left if gate.waits), None)
        if waiting is not None and now - waiting.since > self._patience_s:
            self._open(waiting, "let_go_early")

    def _open(self, gate: _Gate, what: GateEvent = "let_go") -> None:
        gate.let_go = True
        self._say(gate, what)
        with contextlib.suppress(OSError):  # it has gone meanwhile: the next look sees that
            os.write(gate.descriptor, f"did {gate.held.call}\n".encode("ascii"))
        os.close(gate.descriptor)

    def _be_over(self, gate: _Gate, what: GateEvent, now: float) -> None:
        gate.over = True
        self._ended_at = now
        with contextlib.suppress(OSError):
            os.unlink(gate.path)
        self._say(gate, what)

    def _say(self, gate: _Gate, what: GateEvent) -> None:
        self._tell(gate.held.call, gate.held.tool_use_id, what)

    def remove(self) -> None:
        """Remove every pipe that is left, so that no call can wait where nobody listens."""
        for group in self._groups:
            for gate in group.gates:
                with contextlib.suppress(OSError):
                    os.unlink(gate.path)


def _open_to_reader(path: str) -> int:
    """Open a pipe for writing if somebody reads it; -1 if not."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return -1
        raise


def _has_no_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
