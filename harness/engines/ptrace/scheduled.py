"""A run under a schedule: threads are held before their file operations, and one at a time is let through.

A decision is made when nobody else is on the way: every other thread sleeps, and so does whoever feeds the target (its
tools), who says one thing at a time before anybody goes on. A thread that never sleeps is waited for until it has
computed for a while: it only makes a search see less. *Who* goes is the scheduler's word alone: a replay waits for the
actor whose turn it is until :data:`PATIENCE_S` have passed, and then the run is over, with the reason. A call that may
wait for a lock is never held once it has begun.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from harness.core.fault import Kill
from harness.core.operation import AnyOperation, Open
from harness.core.run import RunSpec
from harness.core.schedule import Scheduled, schedule_of
from harness.engines.base import Beside
from harness.engines.calls.call import Call
from harness.engines.ptrace import abi
from harness.engines.ptrace.loop import Supervisor
from harness.engines.ptrace.points import Point, Points
from harness.engines.ptrace.stillness import Eyes, is_asleep, sleeps_for_a_time, waits_for_a_lock
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch
from harness.explore.schedule import Scheduler
from harness.explore.schedule.actors import strand_of
from harness.explore.schedule.schedulers import Replay

PATIENCE_S = 10.0
"""How long a replay waits for the actor whose turn it is, and anybody for a program that waits for itself.

Counted while everybody is at rest: what a busy machine has not let run yet is no reason to give up.
"""
_SPIN_NS = 200_000_000
"""Processor time after which a thread that comes to no operation is taken for one that spins; no load changes it."""
_SETTLING_S = 8.0
"""The longest wait for anybody else, whatever it does."""
_LOOK_S, _LONGEST_LOOK_S = 0.0001, 0.003
"""How long it is until the next look, at first and at last: waiting for tools to start must not cost a processor."""
_WATCH_S = 0.25
_SECCOMP_STATUS = abi.EVENT_SECCOMP << 16 | signal.SIGTRAP << 8 | 0x7F


class _Held(NamedTuple):
    thread: Thread
    point: Point


class LookCall(Call):
    """A call that only looks: it leaves no operation. ``fd``: the descriptor that an open has returned."""

    __slots__ = ("fd",)

    def __init__(self, watch: Watch, thread: Thread) -> None:
        super().__init__(watch, thread, "")
        self.fd = -1

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Note what was returned; nothing has changed."""
        self.fd = returned
        return ()


class ScheduledSupervisor(Supervisor):
    """Traces one run, whose operations go in the order of a scheduler."""

    def __init__(
        self, watch: Watch, pid: int, spec: RunSpec, scheduler: Scheduler, beside: Beside | None = None
    ) -> None:
        super().__init__(watch, pid, spec)
        self._beside = beside
        self._scheduler = scheduler
        self._points = Points(watch)
        self._held: dict[int, _Held] = {}
        """Who stands before an operation, in the order of arrival."""
        self._granted = 0
        self._decisions: list[str] = []
        self._offered: list[tuple[str, ...]] = []
        self._done: list[int] = []
        self._problem = ""
        self._slept = False
        """Whether somebody was in a timed sleep when others were decided between."""
        self._killed = False
        """Whether a fault has ended the run: then nothing of its schedule was to come."""
        self._moved = self._decided = time.monotonic()
        self._used: dict[int, int] = {}
        """Processor time of the threads that did not sleep, when they were first seen since anything moved."""
        self._eyes = Eyes()
        self._seen: dict[int, int] = {}
        """What the last look saw, if everybody was at rest."""
        self._over = threading.Event()

    def run(self) -> None:
        """Trace the run to its end, with somebody who looks whether it goes on."""
        guard = threading.Thread(target=self._guard, name="schedule", daemon=True)
        guard.start()
        try:
            super().run()
        finally:
            self._over.set()
            guard.join()
            self._eyes.close()

    def scheduled(self) -> Scheduled:
        """Return the decisions that were made."""
        problem, made = self._problem, len(self._decisions)
        if not problem and not self._killed and isinstance(self._scheduler, Replay) and self._scheduler.left:
            problem = f"the run ended after {made} of {made + self._scheduler.left} decisions"
        schedule, offered = schedule_of(self._decisions), tuple(self._offered)
        done = tuple(self._done)
        return Scheduled(schedule=schedule, offered=offered, done=done, problem=problem, slept=self._slept)

    # -- holding --------------------------------------------------------------------------------------------

    def _enter(self, tid: int, thread: Thread) -> None:
        if tid == self._granted:
            self._let_through(tid, self._held.pop(tid))
            return
        point = self._points.of(thread, self._registers.read(tid))
        if point is None:
            super()._enter(tid, thread)
        else:
            self._held[tid] = _Held(thread, point)

    def _let_through(self, tid: int, held: _Held) -> None:
        """Run the operation to its exit; one that may wait, or ends somebody, only to its beginning."""
        thread, point = held
        if point.looks and point.operation != "open" and self._scheduler.patient:
            # Nobody goes on before this thread has come to rest, and what it is told is its own business.
            abi.ptrace(abi.PTRACE_CONT, tid)
            return
        if point.looks:
            call = LookCall(self.watch, thread)
            self._run_to_exit(tid, call)
            if point.operation == "open" and call.fd >= 0:
                self._points.opened(thread, point, call.fd)
            return
        before = len(self.watch.operations)
        super()._enter(tid, thread)
        for op in self.watch.operations[before:]:
            if type(op) is Open and not op.error and op.actor == thread.actor:
                self._points.opened(thread, point, op.fd)

    def _gone(self, tid: int, status: int) -> None:
        self._held.pop(tid, None)
        super()._gone(tid, status)

    def _exec(self, tid: int) -> None:
        super()._exec(tid)
        for gone in [each for each in self._held if each not in self._threads]:
            del self._held[gone]
        self._points.replaced(self._threads[tid].process)

    def _carry_out(self, kill: Kill, call: Call) -> None:
        super()._carry_out(kill, call)
        self._killed = self._killed or self._dying

    # -- deciding -------------------------------------------------------------------------------------------

    def _next_stop(self, block: bool) -> tuple[int, int]:
        pause = _LOOK_S
        while block and (self._held or self._is_fed()) and not self._dying:
            found = super()._next_stop(False)
            if found[0]:
                self._move()
                return found
            if self._attend():
                pause = _LOOK_S
            else:
                time.sleep(pause)
                pause = min(pause * 1.3, _LONGEST_LOOK_S)
        return super()._next_stop(block)

    def _attend(self) -> bool:
        """Make a decision, if it is time for one and the scheduler has one to make."""
        if self._ending or not self._settled() or not self._held:
            return False
        waiting = self._waiting()
        if self._scheduler.over():
            tid, held = next(iter(self._held.items()))
            who = self._points.label(held.thread, held.point)
            self._give_up(f"{who} comes to a {held.point} after the last of {len(self._decisions)} decisions")
            return False
        offered = self._offer(waiting)
        chosen = self._scheduler.choose(offered)
        if not chosen:
            return False
        self._slept = self._slept or self._somebody_sleeps()
        self._decisions.append(chosen)
        self._offered.append(tuple(sorted(offered, key=strand_of)))  # in which order they came is chance
        self._done.append(len(self.watch.operations))
        tid = self._granted = waiting[chosen]
        try:
            self._serve(tid, _SECCOMP_STATUS)
        finally:
            self._granted = 0
        self._move()
        self._decided = self._moved
        return True

    def _move(self) -> None:
        """Note that something has happened: who was waited for is waited for anew."""
        self._moved = time.monotonic()
        self._used.clear()

    def _offer(self, waiting: dict[str, int]) -> tuple[str, ...]:
        """Return between whom to decide: nobody has a choice where a line is to be said first.

        The same set for a decision that is drawn and for one that is made again: a search compares them.
        """
        said = [label for label, tid in waiting.items() if self._held[tid].point.operation == "say"]
        first = min(said, default="") if self._scheduler.says_first else ""  # not who came first: that is chance
        return (first,) if first and self._scheduler.due() in ("", first) else tuple(waiting)

    def _is_fed(self) -> bool:
        return self._beside is not None and self._beside.pid > 0

    def _waiting(self) -> dict[str, int]:
        """Return who waits, by label in the order of arrival; of one label the thread that came first."""
        waiting: dict[str, int] = {}
        for tid, held in self._held.items():
            waiting.setdefault(self._points.label(held.thread, held.point), tid)
        return waiting

    def _settled(self) -> bool:
        """Whether nobody else is on the way to an operation, as far as that can be seen in bounded time."""
        if not self._scheduler.patient:
            return True
        if len(self._threads) == len(self._held) and not self._unborn:
            return True
        if time.monotonic() - self._moved < _SETTLING_S and not self._nobody_is_on_the_way(self._eyes):
            return False
        if self._beside is not None and self._is_fed() and self._beside.ready():
            self._beside.go()
            self._move()
            return False
        return True

    def _somebody_sleeps(self) -> bool:
        """Whether a thread that is not held waits for a time to pass: a search sees none of what it could have met."""
        if not self._scheduler.patient:
            return False
        return any(sleeps_for_a_time(tid) for tid in self._threads if tid not in self._held)

    def _nobody_is_on_the_way(self, eyes: Eyes) -> bool:
        """Whether all who are not held sleep or spin, at one moment: none of them has run between two looks.

        A look may be the second of one pair and the first of the next: who was seen before slept all the while.
        """
        if self._unborn:
            return False
        before, now = self._seen, self._look(eyes)
        if now is not None and not now.items() <= before.items():
            before, now = now, self._look(eyes)
        if now is not None:
            # A kernel that does not count proves nothing of long ago.
            self._seen = now if all(now.values()) else {}
        return now is not None and now.items() <= before.items()

    def _look(self, eyes: Eyes) -> dict[int, int] | None:
        """Return how often each has run who is not held, if all of them sleep or spin.

        The first thread of a process may be dead while others of it live.
        """
        seen = {}
        for tid, thread in self._threads.items():
            if tid in self._held:
                continue
            letter, process = eyes.state(tid), thread.process
            if letter == "R" and self._spins(eyes, tid):
                continue
            left_behind = letter == "Z" and tid == process.pid and len(process.threads) > 1
            if not (is_asleep(letter) or left_behind):
                return None
            seen[tid] = eyes.times_run(tid)
        if self._beside is None or not self._is_fed():
            return seen
        beside = eyes.look_beside(self._beside.pid)
        return None if beside is None else seen | beside

    def _spins(self, eyes: Eyes, tid: int) -> bool:
        used = eyes.used_ns(tid)
        return used - self._used.setdefault(tid, used) > _SPIN_NS

    # -- when it does not go on -----------------------------------------------------------------------------

    def _guard(self) -> None:
        """The body of a thread that ends a run whose next actor does not come."""
        rested, eyes = time.monotonic(), Eyes()
        while not self._over.wait(_WATCH_S):
            with self.lock:
                resting = not self._dying and self._nobody_is_on_the_way(eyes)
                rested = max(rested, self._decided) if resting else time.monotonic()
                waited_enough = time.monotonic() - rested >= PATIENCE_S
                problem = self._why_stuck() if waited_enough else ""
            if problem:
                self._give_up(problem)
        eyes.close()

    def _why_stuck(self) -> str:
        due, waiting = self._scheduler.due(), self._waiting()
        held = ", ".join(f"{label} before its {self._held[tid].point}" for label, tid in waiting.items())
        asleep = {tid: waits_for_a_lock(tid) for tid in self._threads if tid not in self._held}
        in_locks = ", ".join(f"{self._name(tid)} in {call}" for tid, call in asleep.items() if call)
        if due and due not in waiting:
            mine = [call for tid, call in asleep.items() if self._name(tid) == due]
            deadlock = "a deadlock of the schedule: " if any(mine) and held else ""
            text = f"{deadlock}{due}, whose turn it is, did not come within {PATIENCE_S:g} s"
            text += f"; it waits in {mine[0]}" if any(mine) else ""
            return text + (f"; held: {held}" if held else "")
        if not due and not held and asleep and all(asleep.values()):
            return f"a deadlock: for {PATIENCE_S:g} s all threads have waited for each other: {in_locks}"
        return ""

    def _name(self, tid: int) -> str:
        thread = self._threads[tid]
        return self._points.label(thread, Point("")) if thread.number else f"p{thread.process.index}"

    def _give_up(self, problem: str) -> None:
        self._problem = problem
        self.minder.end_now("limit", f"schedule: {problem}")
        self.kill_everything()
