"""The stopwatch: a plain run whose Python and Node processes note when each of their operations begins and ends.

Nothing waits for the engine, and what the notes cost is taken off, so a run takes its time as one that nobody watches.
What an operation does is not told: that is matched with a recording by the names that crash points have.

Non-goals: programs that are neither Python nor Node; a trace.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from harness.core.point import PointCounter
from harness.core.run import Recording, RunSpec
from harness.core.timing import CallTime, TimedCalls
from harness.engines.acks import AckReader
from harness.engines.shim import launch
from harness.engines.shim.places import Root
from harness.engines.timed import Hooks, TimedEngine

_PREFIX = "times:"
_FILE = "times.log"
_MAX_BYTES = 64 << 20
_LENGTH = struct.Struct("<I")

_BY_PATH = {
    "unlink": ("unlink", 2),
    "mkdir": ("mkdir", 2),
    "symlink": ("mknod", 2),
    "mknod": ("mknod", 2),
    "rename": ("rename", 4),
    "link": ("link", 4),
    "truncate": ("truncate", 1),
}
"""Kind of a record → kind of the operation, and where its path stands: a directory, and a name in it."""
_BY_DESCRIPTOR = {"write": ("write", 2), "ftruncate": ("truncate", 1), "allocate": ("truncate", 1)}
_METADATA = {"chmod": "chmod", "utime": "utimens", "attribute": "attribute"}


class Note(NamedTuple):
    """One record, as it stands in the file; moments in nanoseconds, less what watching had cost (``spent``)."""

    pid: int
    spent: int
    began: int
    ended: int
    marks: str
    fields: list[bytes]

    @property
    def kind(self) -> str:
        """The first field."""
        return self.fields[0].decode()


def notes_of(data: bytes) -> Iterator[Note]:
    """Yield the records of a file; one that its process did not finish is left out."""
    place = 0
    while place + _LENGTH.size <= len(data):
        (size,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if place + size > len(data):
            return
        pid, spent, began, ended, marks, *fields = data[place : place + size].split(b"\0")
        yield Note(int(pid), int(spent), int(began), int(ended), marks.decode(), fields)
        place += size


class _Process:
    """What is known of one process: its number, and the names of its descriptors."""

    def __init__(self, number: int, names: dict[int, str]) -> None:
        self.label = f"p{number}"
        self.names = names


class Reader:
    """From records to the calls on one state directory."""

    def __init__(self, spec: RunSpec, main_pid: int) -> None:
        self._root = Root(spec.root)
        self._acks = AckReader(spec.ack, spec.arm, spec.arm_times)
        self._main_pid = main_pid
        self._processes: dict[int, _Process] = {}
        self._born: dict[bytes, _Process] = {}
        self._numbers = 0

    def calls(self, notes: list[Note]) -> list[CallTime]:
        """Return the calls in the order in which they began, in nanoseconds of the system's clock."""
        waits = _pool_waits(notes)
        found: list[tuple[float, float, str, str, str]] = []
        for note in notes:
            process = self._process(note)
            for kind, name in self._operations(note, process):
                path = None if kind == "ack" else self._root.relative(name)
                if kind == "ack" or path is not None:
                    wait = waits(note)
                    found.append((note.began + wait, note.ended - wait, kind, path or "", process.label))
        counter = PointCounter()
        out = []
        for began, ended, kind, path, label in sorted(found, key=lambda item: item[0]):
            point = counter.next(kind, path, label)
            out.append(
                CallTime(
                    operation=point.operation,
                    role=point.role,
                    occurrence=point.occurrence,
                    actor=point.actor,
                    begin_us=began,
                    end_us=ended,
                )
            )
        return out

    def _process(self, note: Note) -> _Process:
        fields = note.fields
        if note.kind == "hello" and fields[1] in self._born:
            self._processes[note.pid] = self._born[fields[1]]
        if note.pid not in self._processes:
            self._processes[note.pid] = _Process(0 if note.pid == self._main_pid else self._next(), {})
        process = self._processes[note.pid]
        if note.kind == "born":
            self._born[fields[1]] = _Process(self._next(), dict(process.names))
        return process

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def _operations(self, note: Note, process: _Process) -> Iterator[tuple[str, str | None]]:
        """Yield (kind, absolute path) of what a record stands for; acknowledgements have no path."""
        kind, fields = note.kind, note.fields
        if kind == "output":
            if "f" not in note.marks:
                for _ in self._acks.feed(b"\0".join(fields[2:])):
                    yield "ack", None
        elif kind == "open":
            path = _joined(fields, 2)
            if "f" not in note.marks and len(fields) > 5:
                process.names[int(fields[5])] = path
            yield "open", path
        elif kind == "dup":
            if int(fields[1]) in process.names:
                process.names[int(fields[2])] = process.names[int(fields[1])]
        elif kind in _BY_DESCRIPTOR:
            name, at = _BY_DESCRIPTOR[kind]
            yield name, process.names.get(int(fields[at]))
        elif kind in _BY_PATH:
            name, at = _BY_PATH[kind]
            yield name, _joined(fields, at)
            if kind == "rename":
                old, new = _joined(fields, 2), _joined(fields, 4)
                process.names.update({fd: new for fd, path in process.names.items() if path == old})
        elif kind in _METADATA:
            by_descriptor = fields[2] == b"fd"
            yield _METADATA[kind], process.names.get(int(fields[3])) if by_descriptor else _joined(fields, 3)


def _joined(fields: list[bytes], at: int) -> str:
    return os.path.normpath(os.path.join(os.fsdecode(fields[at]), os.fsdecode(fields[at + 1])))


def _pool_waits(notes: list[Note]) -> Callable[[Note], float]:
    """Return what tells how long an operation waits for the thread pool, and as long again for the program to hear.

    The shortest of a kind waited least; a close does next to nothing, so what that takes is waiting alone.
    """
    least: dict[str, int] = {}
    for note in notes:
        if "a" in note.marks:
            taken = note.ended - note.began
            least[note.kind] = min(taken, least.get(note.kind, taken))
    waiting = least.get("close", min(least.values(), default=0))

    def wait(note: Note) -> float:
        if "a" not in note.marks:
            return 0.0
        return (note.ended - note.began - max(0, least[note.kind] - waiting)) / 2

    return wait


@contextlib.contextmanager
def _notebook(directory: str) -> Iterator[tuple[int, str]]:
    """Make what the notes go into: memory, where the system has such files; a disk is slow at times of its own."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("times")
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
    else:
        path = os.path.join(directory, _FILE)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield descriptor, path
    finally:
        os.close(descriptor)
        if not path.startswith("/proc/"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def timed_calls(spec: RunSpec) -> TimedCalls:
    """Run a target once with the stopwatch in it, by the clock of timed kills."""
    begun_ns = 0

    def begin() -> None:
        nonlocal begun_ns
        begun_ns = time.monotonic_ns()

    with _notebook(os.path.dirname(spec.root)) as (descriptor, path):
        environment = launch.environment(spec.environment, _PREFIX + path, launch.NODE_TIMES)
        watched = msgspec.structs.replace(spec, argv=launch.booted(spec.argv), environment=environment)
        recording = TimedEngine(Hooks(at_clock=begin)).run(watched)
        with open(descriptor, "rb", closefd=False) as stream:
            stream.seek(0)
            data = stream.read(_MAX_BYTES)
    return read_calls(spec, recording, data, begun_ns)


def read_calls(spec: RunSpec, recording: Recording, data: bytes, begun_ns: int) -> TimedCalls:
    """Return the calls of a run from the records that its processes left; its clock began at ``begun_ns``."""
    notes = list(notes_of(data))
    own = [note for note in notes if note.pid == recording.pid]
    if not own:
        program = os.path.basename(spec.argv[0]) if spec.argv else "?"
        return TimedCalls(problem=f"Python and Node programs tell their times, {program} does not")
    if not begun_ns or not (recording.ending == "exited" or recording.ended_as_told):
        return TimedCalls(problem="a plain run did not come to its end")
    begun = begun_ns - max(note.spent for note in own if note.began + note.spent <= begun_ns)
    calls = tuple(
        msgspec.structs.replace(call, begin_us=(call.begin_us - begun) / 1000, end_us=(call.end_us - begun) / 1000)
        for call in Reader(spec, recording.pid).calls(notes)
    )
    said = max((note.ended for note in notes if note.kind == "output"), default=None)
    if said is None or recording.tail_us is None:
        return TimedCalls(calls=calls, end_us=recording.wall_ms * 1000 - own[-1].spent / 1000)
    said_us = (said - begun) / 1000
    return TimedCalls(calls=calls, end_us=said_us + recording.tail_us, said_us=said_us)
