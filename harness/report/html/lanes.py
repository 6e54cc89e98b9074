"""The operations around a fault in one lane per actor: what was done, where the run was struck, what never happened.

Pure: finding and recording → rows. A long run is cut to the neighbourhood of the fault; what is left out is counted.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable
from typing import NamedTuple

from harness.core.fault import Damaged, Errno, Fault, Kill, Loss, PowerLoss, Short, Signal, Timed
from harness.core.role import path_role
from harness.core.verdict import Finding
from harness.report.html.evidence import Recorded, Step
from harness.report.html.text import show
from harness.report.sentence import plan_of

BEFORE, AFTER = 9, 5
LOST_SHOWN = 6
LANES_SHOWN = 8
_WITHOUT_PLACE = 16
"""Operations that are shown where no operation is struck."""


class Mark(NamedTuple):
    """Where the fault strikes: an index into the steps (``None``: at no operation, or after all), and what it does.

    ``before``: the fault comes before the operation. ``goes_on``: the program runs on. ``lost``: what of which
    operation did not reach the disk.
    """

    at: int | None
    text: str
    before: bool = False
    torn: bool = False
    goes_on: bool = False
    lost: dict[int, str] = {}  # noqa: RUF012 — never changed


class Row(NamedTuple):
    """A row: an operation (``step``), the fault (``fault``), or operations left out (``gap`` of them)."""

    step: Step | None = None
    lanes: tuple[str, ...] = ()
    state: str = ""
    lost: str = ""
    fault: str = ""
    gap: int = 0


class Lanes(NamedTuple):
    """The rows, the actors of their lanes, and the number of operations of the whole run."""

    rows: tuple[Row, ...]
    actors: tuple[str, ...]
    labels: dict[int, str]
    total: int
    unseen: tuple[str, ...] = ()


def mark_of(finding: Finding, recorded: Recorded) -> Mark:
    """Return where and how the fault of a finding strikes the recorded run."""
    plan = plan_of(finding)
    faults = plan.faults
    if faults and plan.schedule is not None:
        return Mark(
            None, "the fault strikes in another order of these operations: its token has both", goes_on=True
        )
    last = faults[-1] if faults else None
    if isinstance(last, PowerLoss):
        return _power(finding, last, faults[:-1], recorded)
    for fault in faults:
        mark = _struck(fault, recorded)
        if mark is not None:
            return mark
    if finding.crash_point is not None and finding.fault_class in ("kill", "short"):
        point = finding.crash_point
        verb = "killed" if finding.fault_class == "kill" else "cut short"
        return Mark(recorded.index_of(point), f"{verb} here", point.phase == "before", point.phase == "torn")
    if finding.fault_class == "concurrency":
        return Mark(None, "no fault: these met by chance", goes_on=True)
    if finding.fault_class != "none":
        return Mark(None, f"{finding.fault_class}: at no operation of the recorded run", goes_on=True)
    return Mark(None, "no fault: the undisturbed run does this", goes_on=True)


def _struck(fault: Fault, recorded: Recorded) -> Mark | None:
    if isinstance(fault, Damaged):
        return Mark(None, f"the run is over; {show(fault.path)} is damaged ({fault.damage}) before the next start")
    if isinstance(fault, Timed):
        return Mark(None, f"{show(fault.signal)} comes at a random moment of the run")
    if isinstance(fault, PowerLoss):
        return None
    at, phase = recorded.index_of(fault.at), fault.at.phase
    if isinstance(fault, Kill):
        text = f"killed here, {fault.at.bytes:,} bytes into this write" if phase == "torn" else "killed here"
        return Mark(at, text, phase == "before", phase == "torn")
    if isinstance(fault, Signal):
        return Mark(at, f"{show(fault.signal)} comes here", goes_on=True)
    if isinstance(fault, Short):
        text = f"this write accepts {fault.at.bytes:,} bytes and no more"
        return Mark(at, text + (", and the process is killed" if fault.kill else ""), False, True, not fault.kill)
    name = errno.errorcode.get(fault.errno, f"error {fault.errno}")
    text = f"fails here with {name}" + (", and so does all after it that needs space" if fault.persistent else "")
    return Mark(at, text, goes_on=True)


def _power(finding: Finding, fault: PowerLoss, before: Iterable[Fault], recorded: Recorded) -> Mark:
    seq = finding.evidence.get("operation_seq")
    at = recorded.index_of(fault.at) if fault.at is not None else len(recorded.steps) - 1
    if isinstance(seq, int) and 0 <= seq < len(recorded.steps):
        at = seq
    lost: dict[int, str] = {}
    for loss in fault.losses:
        index = recorded.index_of(loss.at)
        if index is not None:
            lost[index] = f"{lost[index]}, {_lost(loss)}" if index in lost else f"lost: {_lost(loss)}"
    failed = next((each for each in before if isinstance(each, Errno)), None)
    text = "the power goes here" if failed is None else "its fsync fails, and the power goes later"
    if failed is not None:
        at = recorded.index_of(failed.at)
    at = None if at is not None and at < 0 else at
    return Mark(at, text, lost=lost, before=fault.at is not None and fault.at.phase == "before" and seq is None)


def _lost(loss: Loss) -> str:
    if loss.part == "data":
        return f"data {loss.start:,}–{loss.end:,}"
    if loss.part == "size":
        return f"size up to {loss.end:,}"
    return f"truncation to {loss.end:,}" if loss.part == "truncation" else "the name"


def lanes_of(finding: Finding, recorded: Recorded, mark: Mark) -> Lanes:
    """Return the neighbourhood of the fault."""
    steps = recorded.steps
    shown = sorted(_shown(finding, recorded, mark))
    numbers = list(dict.fromkeys(steps[index].actor for index in shown))[:LANES_SHOWN]
    rows: list[Row] = []
    follows = 0
    exact = any(step.path == finding.path for step in steps)
    for index in shown:
        if index > follows:
            rows.append(Row(gap=index - follows))
        follows = index + 1
        step, struck = steps[index], mark.at == index
        here = [Row(fault=mark.text)] if struck else []
        never = mark.at is not None and not mark.goes_on and (index > mark.at or (struck and mark.before))
        state = "never" if never else "torn" if struck and mark.torn else "struck" if struck else ""
        if not state and step.path and _is_about(step.path, finding, exact):
            state = "focus"
        lane = min(numbers.index(step.actor), LANES_SHOWN - 1) if step.actor in numbers else LANES_SHOWN - 1
        lanes = tuple("on" if number == lane else "" for number in range(len(numbers)))
        row = Row(step=step, lanes=lanes, state=state, lost=mark.lost.get(index, ""))
        rows += [*here, row] if mark.before else [row, *here]
    if len(steps) > follows:
        rows.append(Row(gap=len(steps) - follows))
    if mark.at is None:
        rows.append(Row(fault=mark.text))
    actors = recorded.trace.actors
    labels = {
        number: actors[number].label if number < len(actors) else "p0" for number in {s.actor for s in steps}
    }
    return Lanes(tuple(rows), tuple(_actor(recorded, number) for number in numbers), labels, len(steps))


def _is_about(path: str, finding: Finding, exact: bool) -> bool:
    return path == finding.path if exact else path_role(path) == finding.role


def _actor(recorded: Recorded, number: int) -> str:
    actors = recorded.trace.actors
    if number >= len(actors):
        return "p0"
    words = actors[number].command.split()
    return f"{actors[number].label} {words[0].rpartition('/')[2]}" if words else actors[number].label


def _shown(finding: Finding, recorded: Recorded, mark: Mark) -> set[int]:
    total = len(recorded.steps)
    if mark.at is not None:
        shown = set(range(max(0, mark.at - BEFORE), min(total, mark.at + AFTER + 1)))
        for index in sorted(mark.lost)[:LOST_SHOWN]:
            shown |= {max(0, index - 1), index}
        return shown
    about = [
        index for index, step in enumerate(recorded.steps) if step.path and path_role(step.path) == finding.role
    ]
    meets = [
        second
        for first, second in itertools.pairwise(about)
        if recorded.steps[first].actor != recorded.steps[second].actor
    ]
    middle = meets[0] if meets else about[-1] if about else total - 1
    return set(range(max(0, middle - _WITHOUT_PLACE // 2), min(total, middle + _WITHOUT_PLACE // 2 + 1)))
