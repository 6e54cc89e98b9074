"""A session of a client under the engine that sees every file operation, as a life of a dialogue.

What it is told while it runs is said from a thread, at moments that are counted in what its API and its tools see.
Non-goals: several instances at once; a terminal; moments that are counted in what it prints.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from harness.core.api_log import decode_lines
from harness.core.dialogue import LifeSeen
from harness.core.fault import FaultPlan
from harness.core.recorded_life import RecordedLife
from harness.core.run import Recording, RunSpec
from harness.engines.headless import Deed, Done, Session
from harness.engines.ptrace.engine import PtraceEngine

REPLY = r'"type":\s*"(?P<id>result)"'
"""The line with which a client prints what it says at last: that places the reply among its operations."""


_LOOK_S = 0.005


class Words(NamedTuple):
    """What a client is told while it runs: the deeds that say something, and what their moments are counted in."""

    deeds: Sequence[Deed]
    counters: Mapping[str, Callable[[], int]]


class Watched:
    """One session that is watched: an observer of its operations, and what the API and the ledger held at each."""

    def __init__(self, ledger: str, log: str) -> None:
        self._ledger, self._log = ledger, log
        self._sizes: list[tuple[int, int]] = []
        self._begun = (0, 0)
        self.recording: Recording | None = None

    def prepared(self) -> None:
        """Note what was there before."""
        self._begun = self._look()

    def recorded(self, count: int) -> None:
        """Note what is there now that ``count`` operations are done."""
        self._sizes += [self._look()] * (count - len(self._sizes))

    def _look(self) -> tuple[int, int]:
        return os.stat(self._ledger).st_size, os.stat(self._log).st_size

    def run(self, spec: RunSpec, plan: FaultPlan, words: Words | None = None) -> Session:
        """Run the session under ``plan`` and return it as any other; with ``words`` that is its standard input."""
        spec = msgspec.structs.replace(spec, ack=REPLY)
        with _spoken(words) as stdin:
            self.recording = recording = PtraceEngine().run(spec, plan, observer=self, stdin=stdin)
        detail = recording.ending_detail
        if recording.differences:
            detail = "was not recorded faithfully: " + "; ".join(recording.differences[:2])
        missed = not recording.delivered and bool(plan.faults) and recording.ending == "exited"
        if missed:
            detail = f"ended before {getattr(plan.faults[0], 'at', '')}"
        return Session(
            ending="limit" if recording.differences or missed else recording.ending,
            final=recording.final,
            exit_code=recording.exit_code,
            signal=recording.signal,
            lines=tuple((0, line) for line in recording.stdout_tail.split(b"\n") if line),
            stderr_tail=recording.stderr_tail,
            done=tuple(Done(index=index, at_us=each.at_us) for index, each in enumerate(recording.delivered)),
            ending_detail=detail,
            wall_ms=recording.wall_ms,
            cpu_ms=recording.cpu_ms,
        )

    def life(self, seen: LifeSeen, problem: str = "") -> RecordedLife:
        """Return the life that this session was, with what had happened by each of its operations."""
        assert self.recording is not None
        ledger, log = self._read(self._ledger, self._begun[0]), self._read(self._log, self._begun[1])
        heard, _ = decode_lines(log)
        return RecordedLife(
            seen=seen,
            recording=self.recording,
            heard=heard,
            effects_by=tuple(ledger[: size - self._begun[0]].count(b"\n") for size, _ in self._sizes),
            heard_by=tuple(log[: size - self._begun[1]].count(b"\n") for _, size in self._sizes),
            problem=problem,
        )

    @staticmethod
    def _read(path: str, begin: int) -> bytes:
        with open(path, "rb") as stream:
            stream.seek(begin)
            return stream.read()


@contextlib.contextmanager
def _spoken(words: Words | None) -> Iterator[int]:
    """Say from a thread what there is to say, and give the descriptor where it is read; -1 without anything."""
    if words is None:
        yield -1
        return
    reading, writing = os.pipe()
    over = threading.Event()
    speaker = threading.Thread(target=_speak, args=(words, writing, over))
    speaker.start()
    try:
        yield reading
    finally:
        over.set()
        speaker.join()
        os.close(reading)


def _speak(words: Words, descriptor: int, over: threading.Event) -> None:
    """Do the deeds one after the other, each at its moment, until the run is ``over``; then the input ends."""
    began_at = {name: count() for name, count in words.counters.items()}
    with open(descriptor, "wb", buffering=0) as stream, contextlib.suppress(BrokenPipeError):
        for deed in words.deeds:
            counted = words.counters.get(deed.at.counted)
            while counted is not None and counted() - began_at[deed.at.counted] < deed.at.count:
                if over.wait(_LOOK_S):
                    return
            if over.wait(deed.at.delay_us / 1e6):
                return
            stream.write(deed.say)
            if deed.close:
                return
        over.wait()
