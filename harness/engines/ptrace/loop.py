"""The wait loop: every stop of every traced thread, in one total order.

One exclusive operation is in flight at a time: the loop waits for its exit stop before it looks at any other
thread. That is what makes the order total and a kill exact. While a thread ends others (exit, exec, SIGKILL),
new operations wait in a queue, so that none is cut.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from harness.core.fault import Kill, Short, Signal
from harness.core.operation import AnyOperation
from harness.core.run import Delivered, RunSpec
from harness.engines.base import LINGER_S
from harness.engines.calls.call import Call
from harness.engines.inject import Decision, Injector, PointFault
from harness.engines.ptrace import abi
from harness.engines.ptrace.decode import DECODERS
from harness.engines.ptrace.decode.lifecycle import EndingCall
from harness.engines.ptrace.decode.tables import after_exec, after_exit
from harness.engines.ptrace.descriptors import DescriptorTable
from harness.engines.ptrace.minder import Bound, Minder
from harness.engines.ptrace.shorten import Shortened
from harness.engines.ptrace.tracee import Process, Thread, is_fatal
from harness.engines.ptrace.watch import Watch
from harness.engines.record import LimitReachedError

_PATIENCE_S = 0.1
"""How long a kill from outside waits for the operation in flight."""

_SYSCALL_STATUS = abi.SYSCALL_STOP << 8 | 0x7F
_MOST_THREADS = 16
"""Threads allowed per allowed process."""

_GROUP_STOPS = frozenset((signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))
_LAST_LOOKS = 20
_LOOK_S = 0.001


class Supervisor:
    """Traces one run from its first stop to the death of its last process."""

    def __init__(self, watch: Watch, pid: int, spec: RunSpec) -> None:
        self.watch = watch
        self.pid = pid
        self.spec = spec
        self.minder: Minder
        self.delivered: list[Delivered] = []
        self.main_status: int | None = None
        self.statuses: dict[int, int] = {}
        """How each process ended, by its id."""
        self.outlived = 0
        self.lock = threading.Lock()
        self._injector: Injector = watch.injector
        self._registers = abi.Registers()
        first = Process(pid, 0, DescriptorTable())
        self._processes: dict[int, Process] = {pid: first}
        self._born = 1
        self._threads: dict[int, Thread] = {pid: Thread(pid, first, 0)}
        self._unborn: dict[int, int] = {}
        self._arrived: deque[tuple[int, int]] = deque()
        """Stops and deaths that the kernel told of and nobody has looked at, oldest first."""
        self._deferred: deque[tuple[int, int]] = deque()
        """Stops that wait until :attr:`_ending` is over."""
        self._ending = 0
        """The thread whose call, or signal, is ending others right now; 0 for none."""
        self._loose: dict[int, Call] = {}
        self._dying = False
        self._cut = False
        """Whether a thread was ended from outside, perhaps in the middle of a birth."""

    def run(self) -> None:
        """Wait and dispatch until no traced process is left.

        Stops are served in the order they arrive. The kernel would name the youngest thread first, so one that
        stops all the time would starve the others, and a program that spins until another thread acts would hang.

        A child of the caller that is not of the run (a resource tracker, say) must not keep the wait alive: with
        nothing traced any more, it goes on only for as long as a process could still be being born: where all ended by
        themselves, each in its last thread, none can.
        """
        looked = 0
        while True:
            block = self._processes and not self._arrived
            try:
                tid, status = self._next_stop(bool(block))
            except ChildProcessError:
                if not self._arrived:
                    return
                tid = status = 0
            if tid:
                self._arrived.append((tid, status))
                if len(self._threads) > 1:
                    continue  # whoever else waits has come before the next stop of this one
            elif not self._arrived:
                looked += 1
                if looked == _LAST_LOOKS or not (self._cut or self._unborn):
                    if not self._forsake_unborn():
                        return
                    looked = 0
                time.sleep(_LOOK_S)
                continue
            while self._arrived:
                self._serve(*self._arrived.popleft())

    def _next_stop(self, block: bool) -> tuple[int, int]:
        """Return the next stop or death that the kernel tells of; (0, 0) where there is none and nobody waits."""
        return os.waitpid(-1, abi.WALL | (0 if block else os.WNOHANG))

    def _serve(self, tid: int, status: int) -> None:
        """Dispatch one stop, and those that waited for an ending that it has brought about."""
        with self.lock:
            try:
                self._dispatch(tid, status)
                while self._deferred and not self._ending and not self._dying:
                    self._dispatch(*self._deferred.popleft())
            except LimitReachedError as error:
                self.minder.end_now("limit", str(error))
                self._kill_all()

    def _forsake_unborn(self) -> bool:
        """With no process left that could name them, kill those whose birth was never told; whether there were any."""
        forsaken = tuple(self._unborn)
        self._unborn.clear()
        for tid in forsaken:
            _quietly(os.kill, tid)
        return bool(forsaken)

    # -- ending ---------------------------------------------------------------------------------------------

    def kill_everything(self) -> None:
        """Kill every process of the run, between operations where that is possible. For other threads."""
        between = self.lock.acquire(timeout=_PATIENCE_S)
        try:
            self._kill_all()
        finally:
            if between:
                self.lock.release()

    def end(self) -> None:
        """Leave nothing behind, whatever happened: kill and reap what is left."""
        with self.lock:
            if self._processes or self._unborn:
                self._kill_all()
        self.run()

    def _kill_all(self) -> None:
        self._dying = True
        self._ending = 0
        if self.main_status is None:
            _quietly(os.killpg, self.pid)
        for tid in (*self._processes, *self._unborn):
            _quietly(os.kill, tid)

    def _kill_process(self, process: Process) -> None:
        """Kill one process; its threads' pending stops are void."""
        if self._ending in process.threads:
            self._ending = 0
        self._void_stops(process.threads)
        _quietly(os.kill, process.pid)

    def _void_stops(self, tids: Collection[int]) -> None:
        """Drop the waiting stops of threads that are dead: dispatched later, they would look like new threads."""
        if any(tid in tids for tid, _ in self._deferred):
            self._deferred = deque(item for item in self._deferred if item[0] not in tids)
        if any(tid in tids for tid, _ in self._arrived):
            self._arrived = deque(
                (tid, status) for tid, status in self._arrived if tid not in tids or not os.WIFSTOPPED(status)
            )

    # -- stops ----------------------------------------------------------------------------------------------

    def _dispatch(self, tid: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._gone(tid, status)
            return
        thread = self._threads.get(tid)
        if self._dying:
            _quietly(os.kill, tid)
            return
        if thread is None:
            self._unborn[tid] = status  # its parent's event names it, and is still to come
            return
        try:
            self._stopped(tid, thread, status)
        except ProcessLookupError:
            return  # killed while stopped: its end is reported next
        except (FileNotFoundError, PermissionError) as error:
            # /proc lost the thread, or hides it (a program its user may not read); the verification will tell.
            self.watch.not_seen(f"the outcome of an operation by process {thread.process.pid} ({error.strerror})")
            abi.ptrace(abi.PTRACE_CONT, tid)

    def _stopped(self, tid: int, thread: Thread, status: int) -> None:
        event = status >> 16
        number = status >> 8 & 0xFF
        if event == abi.EVENT_SECCOMP:
            if self._ending:
                self._deferred.append((tid, status))
            else:
                self._enter(tid, thread)
        elif number == abi.SYSCALL_STOP:
            self._leave_late(tid)
        elif event in (abi.EVENT_FORK, abi.EVENT_VFORK, abi.EVENT_CLONE):
            self._birth(tid, thread)
        elif event == abi.EVENT_EXEC:
            self._exec(tid)
        elif event == abi.EVENT_STOP:
            abi.ptrace(abi.PTRACE_LISTEN if number in _GROUP_STOPS else abi.PTRACE_CONT, tid)
        elif event:
            abi.ptrace(abi.PTRACE_CONT, tid)
        elif self._ending:
            self._deferred.append((tid, status))
        else:
            if len(thread.process.threads) > 1 and is_fatal(tid, number):
                self._ending = tid
            abi.ptrace(abi.PTRACE_CONT, tid, 0, number)

    def _enter(self, tid: int, thread: Thread) -> None:
        registers = self._registers.read(tid)
        found = DECODERS.get(registers[15])
        if found is None:
            abi.ptrace(abi.PTRACE_CONT, tid)
            return
        name, decoder = found
        arguments = (registers[14], registers[13], registers[12], registers[7], registers[9], registers[8])
        call = decoder(self.watch, thread, name, arguments)
        if call is None:
            abi.ptrace(abi.PTRACE_CONT, tid)
            return
        shortened = None
        if self._injector.active:
            decision = self._decide(call)
            if decision is not None and decision.cut < 0:
                self._strike_before(tid, call, decision)
                return
            if decision is not None:
                shortened = Shortened.apply(call, self._registers, decision)
        if call.exclusive:
            self._run_to_exit(tid, call, shortened)
            return
        abi.ptrace(abi.PTRACE_SYSCALL, tid)
        self._loose[tid] = call
        if isinstance(call, EndingCall):
            self._ending = tid
            self._cut |= len(call.thread.process.threads) > 1

    def _run_to_exit(self, tid: int, call: Call, shortened: Shortened | None = None) -> None:
        """Let a call run, and nobody else's operation until it is over."""
        abi.ptrace(abi.PTRACE_SYSCALL, tid)
        while True:
            _, status = os.waitpid(tid, abi.WALL)
            if status == _SYSCALL_STATUS:
                self._leave(tid, call, shortened)
                return
            if not os.WIFSTOPPED(status):
                self.watch.not_seen(f"the outcome of a {call.syscall} whose thread was killed while it ran")
                self._gone(tid, status)
                return
            self._dispatch(tid, status)

    def _decide(self, call: Call) -> Decision | None:
        op = call.predict()
        if op is None:
            return None
        cut = call.cut()
        cuttable = cut.length if cut is not None and call.exclusive else 0
        return self._injector.at_entry(op, call.thread.process.index, call.needs_space(), cuttable)

    def _leave_late(self, tid: int) -> None:
        """The exit of a call that was not exclusive."""
        if self._ending == tid:
            self._ending = 0
        call = self._loose.pop(tid, None)
        if call is None:
            abi.ptrace(abi.PTRACE_CONT, tid)
        else:
            self._leave(tid, call, None)

    def _leave(self, tid: int, call: Call, shortened: Shortened | None) -> None:
        if shortened is None:
            returned = abi.return_value(tid)
        else:
            returned = abi.signed(self._registers.read(tid)[abi.RAX])
            shortened.restore(self._registers)
        if -returned in abi.RESTARTS:
            abi.ptrace(abi.PTRACE_CONT, tid)
            return
        operations = call.finish(returned)
        self.watch.record(operations)
        if self._injector.active and self._strike_after(call, operations, returned, shortened):
            return
        abi.ptrace(abi.PTRACE_CONT, tid)

    # -- faults ---------------------------------------------------------------------------------------------

    def _strike_before(self, tid: int, call: Call, decision: Decision) -> None:
        """Kill before the call runs, or make it fail without running."""
        if decision.errno:
            self._registers.write(tid, {abi.ORIG_RAX: -1, abi.RAX: -decision.errno})
            operations = call.finish(-decision.errno)
            self.watch.record(operations)
            if decision.fault is not None:
                self._prove(decision.fault, call, operations[0] if operations else None, -decision.errno)
            abi.ptrace(abi.PTRACE_CONT, tid)
            return
        assert isinstance(decision.fault, Kill)
        self._prove(decision.fault, call, call.predict(), None)
        self._carry_out(decision.fault, call)

    def _strike_after(
        self, call: Call, operations: Sequence[AnyOperation], returned: int, shortened: Shortened | None
    ) -> bool:
        """Carry out what strikes at this exit stop; return whether the thread is not to be resumed."""
        if shortened is not None and returned == shortened.length:
            fault = shortened.fault
            self._prove(fault, call, operations[0], returned)
            if isinstance(fault, Kill) or (isinstance(fault, Short) and fault.kill):
                self._carry_out(fault if isinstance(fault, Kill) else Kill(at=fault.at), call)
                return True
            return False
        struck = self._injector.struck_after
        if struck is None:
            return False
        self._injector.struck_after = None
        self._prove(struck, call, operations[-1] if operations else None, returned)
        if isinstance(struck, Signal):  # the kernel delivers it before the thread's next instruction of its own
            os.kill(call.thread.process.pid, signal.Signals[struck.signal])
            return False
        self._carry_out(struck, call)
        return True

    def _prove(self, fault: PointFault, call: Call, op: AnyOperation | None, returned: int | None) -> None:
        self.delivered.append(self.watch.struck(fault, call.thread.process.pid, op, returned))

    def _carry_out(self, kill: Kill, call: Call) -> None:
        if kill.victim == "tree" or not kill.grace_ms:
            self._kill_all()
            return
        self._kill_process(call.thread.process)
        self.minder.bound(Bound(time.monotonic() + kill.grace_ms / 1000, None, ""))

    # -- births and deaths ----------------------------------------------------------------------------------

    def _birth(self, tid: int, parent: Thread) -> None:
        child = abi.event_message(tid)
        registers = self._registers.read(tid)
        flags = 0
        if registers[abi.ORIG_RAX] == abi.SYSCALLS["clone"]:
            flags = registers[abi.RDI]
        elif registers[abi.ORIG_RAX] == abi.SYSCALLS["clone3"]:
            flags = int.from_bytes(parent.process.read(registers[abi.RDI], 8), "little")
        process = parent.process
        if flags & abi.CLONE_THREAD:
            process.threads.add(child)
            self._threads[child] = Thread(child, process, process.threads_born)
            process.threads_born += 1
            if len(self._threads) > _MOST_THREADS * self.spec.limits.processes:
                raise LimitReachedError(
                    f"had more than {_MOST_THREADS * self.spec.limits.processes} threads at once"
                )
        else:
            descriptors = self.watch.descriptors
            own = descriptors.share if flags & abi.CLONE_FILES else descriptors.copy
            born = Process(child, self._born, own(process.descriptors))
            self._born += 1
            self._processes[child] = born
            self._threads[child] = Thread(child, born, 0)
            if len(self._processes) > self.spec.limits.processes:
                raise LimitReachedError(f"had more than {self.spec.limits.processes} processes at once")
        abi.ptrace(abi.PTRACE_CONT, tid)
        if child in self._unborn:
            self._dispatch(child, self._unborn.pop(child))

    def _exec(self, tid: int) -> None:
        thread = self._threads[tid]
        process = thread.process
        if self._ending in (tid, abi.event_message(tid)):
            self._ending = 0
        dead = process.threads - {tid}
        self._void_stops(dead)
        for other in dead:
            self._threads.pop(other, None)
            self._loose.pop(other, None)
        process.threads = {tid}
        process.mappings.clear()
        process.forget_memory()
        thread.number = 0
        thread.actor = -1  # a new program is a new actor, of the same process
        after_exec(self.watch, thread)
        abi.ptrace(abi.PTRACE_CONT, tid)

    def _gone(self, tid: int, status: int) -> None:
        self._unborn.pop(tid, None)
        self._loose.pop(tid, None)
        self._void_stops((tid,))
        self._cut |= os.WIFSIGNALED(status)
        thread = self._threads.pop(tid, None)
        if self._ending == tid:
            self._ending = 0
        if thread is None:
            return
        process = thread.process
        process.threads.discard(tid)
        if process.threads:
            return
        self._processes.pop(process.pid, None)
        self.statuses[process.pid] = status
        if not self._dying:
            after_exit(self.watch, thread)
        process.forget_memory()
        if process.pid == self.pid:
            self.main_status = status
            if self._processes and not self._dying:
                self.outlived = len(self._processes)
                self.minder.bound(Bound(time.monotonic() + LINGER_S, None, ""))


def _quietly(kill: Callable[[int, int], None], pid: int) -> None:
    try:
        kill(pid, signal.SIGKILL)
    except OSError:
        return
