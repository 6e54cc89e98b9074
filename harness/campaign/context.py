"""What every phase of a campaign needs, and the cases it works on."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec

from harness.campaign.dialoguing import DialogueOrder
from harness.campaign.executor import Executor
from harness.campaign.ledger import Ledger
from harness.campaign.sharding import Split
from harness.campaign.store import RunStore
from harness.campaign.work import Explored, distinct_states, expectation_for, judge_for
from harness.catalog import LifeRun, Subject
from harness.checks import Expectation, Judge
from harness.core.apply import trees_before
from harness.core.event import AnyEvent, Notice, PhaseStarted, Subscriber, TrialFinished
from harness.core.fault import CrashPoint, FaultClass, FaultPlan
from harness.core.operation import Rename, Truncate, Write
from harness.core.point import at_phase, crash_points
from harness.core.profile import Profile
from harness.core.schedule import Schedule
from harness.core.trace import Trace
from harness.core.verdict import Finding, TrialKind, TrialRow, Verdict, case_file_name
from harness.explore import CrashState, crash_states

_CUTS_KEPT = 64
"""Cuts of one write that are kept for a check, which sees few of them."""
Control = Literal["", "must_hold", "must_violate"]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of one target under the fault classes asked for.

    ``control`` marks a reference writer that tests the harness. ``timed`` counts the timed kills, ``signals`` the
    signals that can be caught, at moments of the same window, ``runs`` the runs without any fault, ``schedules`` those
    whose order of operations is searched by ``policy``; ``lives`` are its
    starts one after the other; a case with a ``dialogue`` holds it ``dialogues`` times, or its first life is recorded
    and ``cuts`` of the states that a crash leaves of it are resumed, and nothing else is done to it. ``errno_max``,
    ``check_max`` and ``sample_max`` bound the injected runs, the states a real check judges, and the states the
    target's own programs are shown; ``checked`` are the states of one profile that a check is shown at least;
    ``confirmations`` are the real runs that each finding gets; ``profiles`` are the file systems on which the power
    goes. ``part`` is the scenario that asks, ``story`` what the variant does, in a sentence.
    """

    subject: Subject
    faults: tuple[FaultClass, ...]
    invariants: frozenset[str] = frozenset()
    control: Control = ""
    timed: int = 0
    signals: int = 0
    runs: int = 0
    schedules: int = 0
    policy: str = ""
    lives: tuple[LifeRun, ...] = ()
    dialogue: DialogueOrder | None = None
    dialogues: int = 0
    cuts: int = 0
    errno_max: int = 200
    check_max: int = 2_000
    sample_max: int = 24
    checked: int = 40
    confirmations: int = 3
    profiles: tuple[Profile, ...] = ()
    part: str = ""
    story: str = ""

    @property
    def id(self) -> str:
        """``target/variant``, with the version where there is one; unique within a campaign."""
        return f"control:{self.subject.label}" if self.control else self.subject.label

    @property
    def file_name(self) -> str:
        """The id as one plain name."""
        return case_file_name(self.id)

    def expected(self, fault_class: FaultClass, profile: str = "") -> Verdict | Literal[""]:
        """Return the verdict that the manifest, or a control's role, states; empty where none does.

        Of a power loss the manifest states it per ``profile``.

        A violation without any fault ("none") is no news of a writer that is known to break under one.
        """
        if self.control:
            return "held" if self.control == "must_hold" else "violated"
        if fault_class == "none" and "none" not in self.subject.expect:
            # The manifest's word, whatever of it this campaign asks for.
            return "violated" if "violated" in self.subject.expect.values() else ""
        return self.subject.expect.get(f"power.{profile}" if fault_class == "power" else fault_class, "")

    def row(
        self, kind: TrialKind, trial_id: str, verdict: Verdict, fault_class: FaultClass = "none", profile: str = ""
    ) -> TrialRow:
        """Return a row of this case with what all its rows share; ``trial_id`` is the whole id."""
        return TrialRow(
            trial_id=trial_id,
            kind="control" if self.control else kind,
            target=self.subject.target,
            variant=self.subject.variant,
            version=self.subject.version,
            seed=self.subject.seed,
            verdict=verdict,
            fault_class=fault_class,
            profile=profile,
            expected=self.expected(fault_class, profile),
        )


def case_id(finding: Finding) -> str:
    """Return the id of the case that a finding belongs to."""
    label = f"{finding.target}/{finding.variant}" + (f"@{finding.version}" if finding.version else "")
    return f"control:{label}" if finding.control else label


def interleaves(trace: Trace) -> bool:
    """Whether several threads or processes change the state: a run that nobody watches may order them otherwise."""
    changing = (op for op in trace.operations if isinstance(op, Write | Truncate | Rename) and not op.error)
    return len({op.actor for op in changing}) > 1


class Measured:
    """A case and its null recording, judged and explored; and what judges its further states, made once."""

    def __init__(self, case: Case, explored: Explored) -> None:
        self.case = case
        self.explored = explored
        self.orders: dict[Schedule, Measured] = {}
        """The same case as recorded in another order of operations, whose crash states were explored too."""

    def under(self, plan: FaultPlan) -> Measured:
        """Return what judges a run under ``plan``: of a fault within an order the recording of that order."""
        order = plan.schedule
        return self.orders.get(order, self) if plan.faults and isinstance(order, Schedule) else self

    @property
    def trace(self) -> Trace:
        """The operations of the null run. Only a case that was recorded with them is measured."""
        trace = self.explored.recording.trace
        if trace is None:
            raise ValueError(f"{self.case.id} was recorded by an engine that sees no operations")
        return trace

    @cached_property
    def expectation(self) -> Expectation:
        """What states of this case owe."""
        return expectation_for(self.explored.recording, self.explored.judged)

    @cached_property
    def judge(self) -> Judge:
        """The judge of states of this case; fit for any sequence of trees."""
        return judge_for(self.expectation, self.explored.judged)

    @cached_property
    def killed(self) -> list[CrashState]:
        """The distinct states that a kill can leave, in the order of the run."""
        return distinct_states(crash_states(self.trace, "kill"))

    @cached_property
    def cut(self) -> list[CrashState]:
        """The distinct states that a write cut short can leave; of very long writes a sample."""
        return distinct_states(crash_states(self.trace, "short", _CUTS_KEPT))

    @cached_property
    def interleaves(self) -> bool:
        """Whether several threads or processes change the state: a run that nobody watches may order them otherwise."""
        return interleaves(self.trace)

    @cached_property
    def _points(self) -> list[CrashPoint | None]:
        return list(crash_points(self.trace, trees_before(self.trace)))

    def has_point(self, point: CrashPoint) -> bool:
        """Whether the null run passes this crash point, whatever the phase."""
        return any(at_phase(known, "before") == at_phase(point, "before") for known in self._points if known)

    def place_of(self, state: CrashState) -> CrashPoint | None:
        """Return where to strike a run to get ``state``, or ``None`` at the end of the undisturbed run."""
        if not self._points:
            return None
        point = self._points[state.seq]
        if point is not None:
            return at_phase(point, state.phase, state.bytes)
        return next((later for later in self._points[state.seq + 1 :] if later is not None), None)


class Context(NamedTuple):
    """The effects of a campaign, handed from phase to phase.

    ``deadline`` is a ``time.monotonic()`` value: phases whose size is a choice (timed kills, errno plans, states
    shown to real programs) stop there; recording, exploring and confirming do not.
    """

    store: RunStore
    executor: Executor
    emit: Subscriber
    engine: str
    seed: int
    deadline: float
    done: dict[str, TrialRow]
    ledger: Ledger
    split: Split
    cut: dict[tuple[str, FaultClass, str], int]
    """Planned work that the budget left undone, by case id, class and profile (empty: whatever the profile)."""

    def expired(self) -> bool:
        """Whether the budget of this campaign is used up."""
        return time.monotonic() >= self.deadline

    def notice(self, text: str, case: Case | None = None) -> None:
        """Tell every subscriber something that a reader must know."""
        self.emit(Notice(text=text, target=case.id if case else ""))

    def publish(self, event: AnyEvent) -> None:
        """Send an event to every subscriber."""
        self.emit(event)

    def leave_out(self, case: Case, fault_class: FaultClass, number: int = 1, profile: str = "") -> None:
        """Note that so much of a class was planned and will not be done: nobody may take it for measured."""
        key = (case.id, fault_class, profile)
        self.cut[key] = self.cut.get(key, 0) + number

    def phase(self, name: str, case: Case, trials: int = 0) -> None:
        """Tell every subscriber that a phase of a case begins."""
        self.emit(
            PhaseStarted(phase=name, target=case.subject.target, variant=case.subject.variant, trials=trials)
        )

    def record(self, row: TrialRow) -> None:
        """Keep a trial's row, once: a row that an earlier, interrupted run already kept stays as it is."""
        if row.trial_id not in self.done:
            self.store.append_row(row)
            self.done[row.trial_id] = row
        self.emit(TrialFinished(row=self.done[row.trial_id]))
