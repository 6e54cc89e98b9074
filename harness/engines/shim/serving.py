"""The engine's side of the conversation: one operation of the whole run at a time, in one total order.

What every line has said is taken in before a request is answered, so nothing is recorded after what it caused. Between
a request's answer and its result nobody else is answered; a lock that may wait is the exception.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable

from harness.core.fault import Errno, Kill, Short, Signal
from harness.core.operation import AnyOperation
from harness.core.run import Delivered
from harness.engines.calls.call import Call
from harness.engines.inject import Decision, PointFault
from harness.engines.record import LimitReachedError
from harness.engines.shim.decode import DECODERS, OutputCall
from harness.engines.shim.doors import Frame, Line
from harness.engines.shim.watch import Acting, Held, Process, Watch

_IGNORE, _GO, _HOLD, _RELEASE, _DIE = b"i", b"g", b"h", b"r", b"k"


class Connection:
    """A line, and whose it is once that was said."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.process: Process | None = None
        self.first_thread = 0
        self.late: dict[int, Call] = {}
        """Calls that may wait, by thread, until they tell of their end."""
        self.over = False


class Server:
    """Answers the processes of one run."""

    def __init__(self, watch: Watch, main_pid: int, output: tuple[int, int], deadline: float) -> None:
        self.watch = watch
        self.delivered: list[Delivered] = []
        self.held: set[int] = set()
        """Processes that wait for their end: they were told to die while the engine had them."""
        self.kill: Callable[[Kill, int], object] = lambda kill, pid: None
        """Carries out a kill: of everything, or of one process."""
        self.pump: Callable[[], object] = lambda: None
        """Empties the target's output while one of its processes writes to it."""
        self.hello: Callable[[], object] = lambda: None
        self.dying = False
        self.processes: dict[int, Process] = {}
        """By pid: those that have said hello, dead ones too."""
        self.started: dict[int, str] = {}
        """Programs that were started and have not said hello, by their number."""
        self.blind: dict[str, None] = {}
        """Blind spots that were met."""
        self._main_pid = main_pid
        self._output = output
        self._deadline = deadline
        self._born = 1
        self._connections: list[Connection] = []
        self._unborn: dict[int, Process] = {}
        self._requests: deque[tuple[Connection, Frame]] = deque()
        self._notes: dict[bytes, Callable[[Connection, Frame], None]] = {
            b"close": self._close,
            b"dup": self._dup,
            b"append": self._append,
            b"late": self._late,
            b"exec": self._exec,
            b"unborn": self._forget_unborn,
            b"blind": self._blind,
        }

    # -- taking in ------------------------------------------------------------------------------------------------

    def absorb(self, connection: Connection) -> None:
        """Take in what a line has said: notes at once, a request when its turn comes."""
        connection.line.pull()
        self._sort(connection)

    def _sort(self, connection: Connection) -> None:
        """Act on the notes that have arrived; put a request at the end of the queue."""
        line = connection.line
        while (frame := line.take()) is not None:
            note = self._notes.get(frame.fields[0])
            if note is None:
                self._requests.append((connection, frame))
            elif connection.process is not None:
                note(connection, frame)
        if line.ended and not connection.over:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        connection.over = True
        process = connection.process
        if process is None:
            return
        process.lines -= 1
        if not process.lines and not process.replaced and not self.dying:
            self.watch.close(process.thread(0), "exit", sorted(process.fds))

    @property
    def waiting(self) -> bool:
        """Whether a request waits for its answer."""
        return bool(self._requests)

    @property
    def living(self) -> bool:
        """Whether a process that has said hello still has its line."""
        return any(process.lines for process in self.processes.values())

    def serve(self) -> None:
        """Answer the oldest request, and see it through. Raises :class:`LimitReachedError`."""
        connection, frame = self._requests.popleft()
        kind = frame.fields[0]
        if self.dying:
            return
        if kind == b"hello":
            self._hello(connection, frame)
        elif connection.process is None:
            raise LimitReachedError("sent something to the engine that is not of the shim")
        elif kind == b"look":
            connection.line.answer(self._look(connection.process, frame))
        elif kind == b"born":
            connection.line.answer(b"g%d" % self._bear(connection.process, frame))
        else:
            self._operate(connection, frame)
        self._sort(connection)  # what it said next may have come in together with a result

    # -- processes ------------------------------------------------------------------------------------------------

    def _hello(self, connection: Connection, frame: Frame) -> None:
        pid, birth = frame.number(1), frame.fields[2]
        known = self.processes.get(pid)
        if birth and int(birth) in self._unborn:
            process = self._unborn.pop(int(birth))
            self.started.pop(process.born, None)
        elif known is not None and (known.lines or known.replaced):
            process = known
            if process.replaced:
                process.actors.clear()  # a new program is a new actor, of the same process
                process.connected = 0
        else:
            process = Process(0 if pid == self._main_pid else self._next_born(), 0, {})
        connection.first_thread, process.connected = process.connected, process.connected + 1
        process.pid, process.command, process.replaced = pid, os.fsdecode(frame.fields[3]), False
        process.lines += 1
        self.processes[pid] = connection.process = process
        self._connections.append(connection)
        if sum(1 for each in self.processes.values() if each.lines) > self.watch.spec.limits.processes:
            raise LimitReachedError(f"had more than {self.watch.spec.limits.processes} processes at once")
        self.hello()
        connection.line.answer(b"o%d" % process.born)

    def _next_born(self) -> int:
        number = self._born
        self._born += 1
        return number

    def _bear(self, parent: Process, frame: Frame) -> int:
        """Give a process that is about to be born its number."""
        number = self._next_born()
        forked = frame.fields[1] == b"fork"
        self._unborn[number] = Process(number, 0, self.watch.copy(parent) if forked else {})
        if not forked:
            self.started[number] = os.fsdecode(frame.fields[2])
        return number

    def _forget_unborn(self, connection: Connection, frame: Frame) -> None:
        process = self._unborn.pop(frame.number(1), None)
        for fd in list(process.fds) if process is not None else ():
            assert process is not None
            self.watch.drop(process, fd)

    def _exec(self, connection: Connection, frame: Frame) -> None:
        process = connection.process
        assert process is not None
        process.replaced = True
        self.started[process.born] = os.fsdecode(frame.fields[1])
        self.watch.close(process.thread(0), "execve", sorted(map(int, frame.fields[2:])))

    # -- descriptors ------------------------------------------------------------------------------------------------

    def _look(self, process: Process, frame: Frame) -> bytes:
        """Return what an inherited descriptor is: ``w`` of a file here, ``s`` standard output, ``i`` neither."""
        fd, key, writable, append = (
            frame.number(1),
            (frame.number(2), frame.number(3)),
            *map(int, frame.fields[5:7]),
        )
        if key == self._output or (fd == 1 and sys.platform != "linux" and not any(key)):
            return b"s"
        ino = self.watch.inodes.get(key)
        if ino is None:
            return b"i"
        self.watch.hold(process, fd, Held(ino, bool(writable), bool(append)))
        return b"w"

    def _acting(self, connection: Connection, frame: Frame) -> Acting:
        assert connection.process is not None
        return connection.process.thread(connection.first_thread + frame.number(1))

    def _close(self, connection: Connection, frame: Frame) -> None:
        syscall = frame.fields[2].decode()
        self.watch.close(self._acting(connection, frame), syscall, map(int, frame.fields[3:]))

    def _dup(self, connection: Connection, frame: Frame) -> None:
        thread, source, fd = self._acting(connection, frame), frame.number(2), frame.number(3)
        self.watch.close(thread, "dup2", (fd,))
        if source in thread.process.fds:
            self.watch.hold(thread.process, fd, thread.process.fds[source])

    def _append(self, connection: Connection, frame: Frame) -> None:
        process, fd = self._acting(connection, frame).process, frame.number(2)
        if fd in process.fds:
            process.fds[fd] = process.fds[fd]._replace(append=bool(frame.number(3)))

    def _blind(self, connection: Connection, frame: Frame) -> None:
        what, path = frame.fields[1].decode(), os.fsdecode(frame.fields[2])
        if not path:
            self.blind[f"what {what} writes"] = None
            return
        inside = self.watch.root.relative(os.path.realpath(path))
        if inside is not None:
            self.blind[f"what {what} writes to {inside}"] = None
            self.watch.not_seen(f"what {what} writes to {inside}")
            self.watch.unseen_paths.update(inside + suffix for suffix in ("", "-journal", "-wal", "-shm"))

    # -- operations ------------------------------------------------------------------------------------------------

    def _operate(self, connection: Connection, frame: Frame) -> None:
        decoder = DECODERS.get(frame.fields[0])
        if decoder is None:
            raise LimitReachedError("sent something to the engine that is not of the shim")
        thread = self._acting(connection, frame)
        call = decoder(self.watch, thread, frame)
        line, injector = connection.line, self.watch.injector
        if call is None:
            line.answer(_IGNORE)
            return
        decision = self._decide(call) if injector.active else None
        if decision is not None and decision.cut < 0:
            self._strike_before(connection, call, decision)
            return
        if not call.exclusive:
            connection.late[thread.number] = call
            line.answer(_GO)
            return
        hold = decision is not None or injector.strikes_after
        line.answer(b"c%d" % decision.cut if decision is not None else (_HOLD if hold else _GO))
        result = self._result(connection, call)
        if result is None:
            if line.ended and not connection.over:
                self.watch.not_seen(f"the outcome of a {call.syscall} whose process ended while it ran")
                self._end(connection)
            return
        self._hear_siblings(connection)
        returned = self._finish(call, result)
        if hold and not self._struck_after(connection, call, returned, decision):
            line.answer(_RELEASE)

    def _hear_siblings(self, connection: Connection) -> None:
        """Take in the closes of other threads first: the number of a descriptor may be one that they gave up."""
        process = connection.process
        if process is not None and process.lines > 1:
            for other in self._connections:
                if other is not connection and other.process is process and not other.over:
                    self.absorb(other)

    def _decide(self, call: Call) -> Decision | None:
        op = call.predict()
        if op is None:
            return None
        cuttable = call.cut() if call.exclusive else None
        return self.watch.injector.at_entry(op, call.thread.process.born, call.needs_space(), cuttable or 0)

    def _result(self, connection: Connection, call: Call) -> Frame | None:
        line = connection.line
        if not isinstance(call, OutputCall):
            return line.wait(self._deadline)
        while (frame := line.take()) is None and not line.ended and not self.dying:
            self.pump()  # the pipe may be full
            line.pull()
        return frame

    def _finish(self, call: Call, result: Frame) -> int:
        """Record what a call did and return its return value, as a system call's."""
        if result.fields[0] == b"fail":
            returned = -max(result.number(1), 1)
        else:
            call.facts = facts = tuple(map(int, result.fields[1:]))
            returned = facts[0] if facts and call.cut() is not None else 0
        self._last = list(call.finish(returned))
        self.watch.record(self._last)
        return returned

    def _late(self, connection: Connection, frame: Frame) -> None:
        """A call that may wait is over."""
        call = connection.late.pop(connection.first_thread + frame.number(1), None)
        if call is not None:
            self.watch.record(call.finish(-frame.number(2)))

    # -- faults ------------------------------------------------------------------------------------------------------

    def _strike_before(self, connection: Connection, call: Call, decision: Decision) -> None:
        """Kill before the call runs, or make it fail without running."""
        if decision.errno:
            operations = call.finish(-decision.errno)
            self.watch.record(operations)
            if decision.fault is not None:
                self._prove(decision.fault, call, operations[0] if operations else None, -decision.errno)
            connection.line.answer(b"e%d" % decision.errno)
            return
        assert isinstance(decision.fault, Kill)
        self._prove(decision.fault, call, call.predict(), None)
        connection.line.answer(_DIE)
        self._carry_out(decision.fault, call)

    def _struck_after(self, connection: Connection, call: Call, returned: int, decision: Decision | None) -> bool:
        """Carry out what strikes now that the call is done; return whether its process is not to go on."""
        last = self._last
        if decision is not None and returned == decision.cut:
            fault = decision.fault
            assert isinstance(fault, Kill | Short)
            self._prove(fault, call, last[0], returned)
            if isinstance(fault, Kill) or fault.kill:
                self._carry_out(fault if isinstance(fault, Kill) else Kill(at=fault.at), call)
                return True
            return False
        struck = self.watch.injector.struck_after
        if struck is None:
            return False
        self.watch.injector.struck_after = None
        self._prove(struck, call, last[-1] if last else None, returned)
        if isinstance(struck, Signal):  # its handler runs when the operation is over: before anything else it does
            os.kill(call.thread.process.pid, signal.Signals[struck.signal])
            return False
        self._carry_out(struck, call)
        return True

    def _prove(self, fault: PointFault, call: Call, op: AnyOperation | None, returned: int | None) -> None:
        self.delivered.append(self.watch.struck(fault, call.thread.process.pid, op, returned))

    def _carry_out(self, kill: Kill, call: Call) -> None:
        process = call.thread.process
        self.held.add(process.pid)
        if kill.victim == "tree" or not kill.grace_ms:
            self.dying = True
        self.kill(kill, process.pid)


def refuse_on_windows(faults: tuple[object, ...]) -> str:
    """Return why a plan cannot be carried out on Windows, or ""."""
    if os.name == "nt" and any(isinstance(fault, Signal) for fault in faults):
        return "a signal that can be caught cannot be sent on Windows; SIGKILL (TerminateProcess) can"
    if os.name == "nt" and any(isinstance(fault, Errno) and fault.errno <= 0 for fault in faults):
        return "an errno is a positive number"
    return ""
