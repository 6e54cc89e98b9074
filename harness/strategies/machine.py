"""Any sequence of updates, crashes and recoveries of a real writer, by hypothesis: what one crash does not show.

Between two steps stands a tree, read from disk after the last process was dead; each step runs the writer on it, in a
process of its own, by the engine that the pytest fixture uses. A crash is exact: the update is recorded once where it
stands, one of its operations is drawn, and a new process is killed there.

A check that rejects an empty directory has nothing to say before the first whole update; one that accepts damage proves
nothing, and is refused.

Non-goals: several writers at once; the rates of random kills; losing, in a power cut, what earlier updates left
unsynced (each update begins on a disk that has all that came before).
"""

from __future__ import annotations

import functools
import inspect
import unittest
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.campaign.check import ACCEPTS_DAMAGE, damaged_trees
from harness.campaign.proof import SIGKILL
from harness.catalog.profiles import load_profile
from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.core.tree import EMPTY_TREE, Tree
from harness.explore.power.effects import effects_of
from harness.explore.power.order import order_of
from harness.explore.power.states import Explorer, PowerState
from harness.report.escape import plain
from harness.report.sentence import moment
from harness.strategies.faults import points_of
from harness.testing.checking import Start, usage
from harness.testing.errors import NoEngineError, NotCrashSafeError, NotMeasuredError, UsageError
from harness.testing.program import Program, Writer
from harness.testing.runner import Runner, why_failed

FEW = settings(
    deadline=None,
    max_examples=50,
    stateful_step_count=6,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=list(HealthCheck),
)
"""What a test of a machine costs: some seconds. For more: ``settings(TestJournal.settings, max_examples=200)``."""
End = Literal["graceful", "sigkill", "power"]
ENDS: tuple[End, ...] = get_args(End)
"""How a run ends. All runs are one rule: with one for each, hypothesis would leave some out of most examples."""
UPDATE_WORD = "{update}"
_POWER_STATES = 2_000
"""States of one power cut that one is drawn from, at most: the first in the order of the run."""
_REJECTS = "your check rejects the state"


def _updates(machine: CrashConsistency) -> st.SearchStrategy[Any]:
    return st.none() if machine.updates is None else machine.updates


def _ends(machine: CrashConsistency) -> st.SearchStrategy[End]:
    return st.sampled_from(ENDS if machine.profile else ENDS[:2])


_UPDATE: st.SearchStrategy[Any] = st.runner().flatmap(_updates)
_END: st.SearchStrategy[End] = st.runner().flatmap(_ends)


class _Test:
    """``Journal.TestCase``: a test that opens its runner once for all examples, and closes it."""

    def __get__(self, instance: object, owner: type[CrashConsistency]) -> type[unittest.TestCase]:
        return owner.test_case()


class CrashConsistency(RuleBasedStateMachine):
    """The state machine: derive from it, say what ``writer`` and ``check`` are, and let a runner find ``TestCase``."""

    writer: ClassVar[Writer]
    """One update, as ``tornwrite.check`` takes it: a callable ``(dir)`` or ``(dir, ack)``, a command with ``{dir}``."""
    updates: ClassVar[st.SearchStrategy[Any] | None] = None
    """What is updated: a value is drawn for each, and given to the writer as ``update=``, in a command ``{update}``."""
    recovery: ClassVar[Writer | None] = None
    """What has to run after a crash before anything else. None: the next update recovers, or the check does."""
    profile: ClassVar[str] = ""
    """The file system on which the power may go during an update; empty: it does not."""
    start: ClassVar[Start | None] = None
    """The files that are there before, as a mapping of path to content, or a directory to copy."""
    env: ClassVar[Mapping[str, str]] = {}
    timeout: ClassVar[float] = 10.0
    """Seconds for one run."""

    TestCase = cast("Any", _Test())
    _shared: ClassVar[Runner | None] = None
    _check_is_tried: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        cls = type(self)
        if not callable(getattr(cls, "writer", None)) and not isinstance(getattr(cls, "writer", None), Sequence):
            raise UsageError(
                f"{cls.__name__} has no writer: a callable (dir) or (dir, ack), or a command with {{dir}}"
            )
        self._own = None if cls._shared is not None else cls.opened().__enter__()
        self._runner: Runner = cls._shared or cast("Runner", self._own)
        self._steps: list[str] = []
        self._crashed = self._to_recover = False
        self._updated = 0
        self.acknowledged: list[str] = []
        """The ids acknowledged so far, in order."""
        self.pending: list[Any] = []
        """The updates begun since the last acknowledgement: each may be there, or not."""
        try:
            self._tree = self._runner.tree_of(cls.start)
            self._mute = bool(self._judged(self._tree)) if cls.start is None else False
            if cls.start is not None and (why := self._judged(self._tree)):
                raise NotMeasuredError(f"your check rejects the files that are there before (start): {why}")
        except BaseException:
            self.teardown()
            raise

    def check(self, directory: Path, acknowledged: list[str]) -> object:
        """Raise, return False or say what is wrong with a state: a copy, which may be changed."""
        raise UsageError(f"{type(self).__name__} has no check(self, directory, acknowledged)")

    # -- steps ------------------------------------------------------------------------------------------------------

    @rule(end=_END, update=_UPDATE, data=st.data())
    def run(self, end: End, update: Any, data: st.DataObject | None = None) -> None:
        """Run what is due, an update or the recovery from a crash, to one of its ends."""
        __tracebackhide__ = True
        recovering = self._to_recover
        name = "recovery" if recovering else "update" if update is None else f"update {update!r}"
        program = self._recovery() if recovering else self._writer(update)
        whole = self._runner.run(program, self._tree)
        self._fail_if(why_failed(whole), name)
        if not recovering:
            self.pending.append(update)
        if end == "graceful" or data is None or whole.trace is None or not whole.trace.operations:
            self._ended(name, whole)
        elif end == "sigkill":
            # From the end: whether the file is new changes the number of points before, not behind.
            points = st.sampled_from(points_of(whole.trace)[::-1])
            self._kill(program, data.draw(points, label="killed at"), name)
        else:
            self._cut_power(whole.trace, data, name)

    @precondition(lambda self: not self._to_recover)
    @invariant()
    def state_holds(self) -> None:
        """Let the check judge what is on disk."""
        __tracebackhide__ = True
        if self._mute:
            return
        why = self._judged(self._tree)
        if why:
            raise NotCrashSafeError(self._told(f"{_REJECTS}: {why}")) from self._cause
        self._try_the_check()

    def teardown(self) -> None:
        """Remove what this example used."""
        if self._own is not None:
            self._own.__exit__()

    # -- running ----------------------------------------------------------------------------------------------------

    def _writer(self, update: Any) -> Program:
        cls = type(self)
        given: Any = cls.writer
        if callable(given):
            if next(iter(inspect.signature(given).parameters), "") == "self":
                raise UsageError(
                    f"{cls.__name__}.writer runs in a process of its own, without self: a staticmethod"
                )
            given = given if cls.updates is None else functools.partial(given, update=update)
        elif not isinstance(given, str | bytes):
            given = [str(word).replace(UPDATE_WORD, str(update)) for word in given]
        return self._runner.program(given, "writer")

    def _recovery(self) -> Program:
        return self._runner.program(cast("Writer", type(self).recovery), "recovery")

    def _kill(self, program: Program, point: CrashPoint, name: str) -> None:
        struck = self._runner.run(program, self._tree, FaultPlan(faults=(Kill(at=point),)))
        if struck.delivered and struck.signal == SIGKILL:
            self._crash(f"{name}, killed {moment(point, plain)}", struck.final, struck.acks)
            return
        note(f"{name}: another run of it did not come to {point}")
        self._fail_if(why_failed(struck), name)
        self._ended(f"{name}, which ended before its kill", struck)

    def _cut_power(self, trace: Trace, data: st.DataObject, name: str) -> None:
        with usage():
            profile = load_profile(type(self).profile)
        distinct: dict[tuple[int, int], PowerState] = {}
        for state in islice(Explorer(order_of(effects_of(trace, profile), profile)).states(), _POWER_STATES):
            distinct.setdefault((state.tree.key, state.acked), state)
        drawn = data.draw(st.integers(0, len(distinct) - 1), label="state after the power cut")
        left = list(distinct.values())[drawn]
        acks = tuple(ack.id for ack in trace.acks[: left.acked])
        self._crash(f"{name}, the power cut on {profile.name} after {left.seq + 1} operations", left.tree, acks)

    def _ended(self, name: str, whole: Recording) -> None:
        self._updated += not self._to_recover
        self._to_recover = self._mute = False
        self._done(name, whole.final, whole.acks)

    def _crash(self, name: str, tree: Tree, acks: Sequence[str]) -> None:
        self._crashed = True
        self._to_recover = type(self).recovery is not None
        self._done(name, tree, acks)

    def _done(self, name: str, tree: Tree, acks: Sequence[str]) -> None:
        self._tree = tree
        self.acknowledged += acks
        if acks:
            self.pending.clear()
        self._steps.append(name + (f"; acknowledged {', '.join(acks)}" if acks else ""))

    # -- judging ----------------------------------------------------------------------------------------------------

    def _fail_if(self, why: str, name: str) -> None:
        __tracebackhide__ = True
        if not why:
            return
        if not self._crashed:
            raise NotMeasuredError(f"the {name} fails with no fault at all: {plain(why)}")
        self._steps.append(name)
        raise NotCrashSafeError(self._told(f"it fails: {plain(why)}"))

    def _judged(self, tree: Tree) -> str:
        """Return why the check rejects a state; an empty string if it does not."""
        __tracebackhide__ = True
        self._cause: Exception | None = None
        try:
            answer = self.check(self._runner.show(tree), list(self.acknowledged))
        except (HypothesisException, UsageError):
            raise
        except Exception as error:
            self._cause = error
            text = " ".join(str(error).split())
            return f"{type(error).__name__}: {text}" if text else type(error).__name__
        if type(answer).__name__ in ("bool", "bool_"):
            return "" if answer else "it returned False"
        said = [answer] if isinstance(answer, str) else answer if isinstance(answer, list | tuple) else []
        return "; ".join(filter(None, map(str, said)))

    def _try_the_check(self) -> None:
        """Show the check damage once, after an update that nothing disturbed."""
        cls = type(self)
        if cls._check_is_tried or self._crashed or not self._updated or self._tree.key == EMPTY_TREE.key:
            return
        if not any(self._judged(tree) for tree in damaged_trees(self._tree)):
            raise NotMeasuredError(f"{ACCEPTS_DAMAGE}: not measured is not held")
        cls._check_is_tried = True

    def _told(self, problem: str) -> str:
        lines = [
            f"{type(self).__name__} does not hold" + ("" if self._crashed else ", with no fault at all") + "."
        ]
        lines += [f"  {number}. {plain(step)}" for number, step in enumerate(self._steps, 1)]
        return "\n".join([*lines, f"  {plain(problem)}"])

    # -- the test ---------------------------------------------------------------------------------------------------

    @classmethod
    def opened(cls) -> Runner:
        """Return what runs the writer, not yet entered."""
        return Runner(timeout=cls.timeout, env=cls.env)

    @classmethod
    @lru_cache
    def test_case(cls) -> type[unittest.TestCase]:
        """Return ``TestCase``, hypothesis's own with :data:`FEW` examples."""

        machine, base = cls, super().TestCase

        class Test(base):  # type: ignore[misc, valid-type]
            settings = FEW

            @classmethod
            def setUpClass(cls) -> None:
                try:
                    machine._shared = machine.opened().__enter__()
                except NoEngineError as error:
                    raise unittest.SkipTest(f"tornwrite: {error}") from None
                cls.addClassCleanup(machine._close)

            @functools.wraps(base.runTest)
            def runTest(self) -> None:  # noqa: N802 -- unittest's name
                self.settings = settings(self.settings, deadline=None)  # processes take the time that they take
                super().runTest()
                if not machine._check_is_tried:
                    raise NotMeasuredError(
                        f"no update of {machine.__name__} left a file: not measured is not held"
                    )

        Test.__name__, Test.__qualname__ = f"{cls.__name__}.TestCase", f"{cls.__qualname__}.TestCase"
        return Test

    @classmethod
    def _close(cls) -> None:
        runner, cls._shared = cls._shared, None
        if runner is not None:
            runner.__exit__()
