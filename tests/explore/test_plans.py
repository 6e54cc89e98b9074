from __future__ import annotations

import errno

from harness.core.fault import Errno, FaultPlan, Short
from harness.core.trace import Trace
from harness.core.tree import tree_of
from harness.explore import errno_plans
from harness.explore.plans import FAILURES
from harness.explore.script import Script


def fork() -> Trace:
    script = Script()
    fd = script.open("p/11111111-2222-4333-8444-555555555555.jsonl".replace("p/", ""))
    script.write(fd, b"x" * 5000)
    script.close(fd)
    script.ack("new")
    return script.trace()


def everything() -> Trace:
    script = Script(tree_of({"old": b"o"}))
    script.mkdir("d")
    for number in range(20):
        script.replace("d/state.json", b'{"n":%d}' % number)
    fd = script.open("old")
    script.truncate(fd, 0)
    script.fsync(fd)
    script.close(fd)
    script.link("old", "new")
    script.unlink("old")
    script.ack(1)
    return script.trace()


def faults(plans: list[FaultPlan]) -> list[Short | Errno]:
    return [fault for plan in plans for fault in plan.faults if isinstance(fault, Short | Errno)]


def test_the_first_ten_hold_a_lone_short_write_and_a_full_disk() -> None:
    for trace in (fork(), everything()):
        first = faults(list(errno_plans(trace))[:10])
        assert any(isinstance(f, Short) and not f.then_errno and f.at.bytes > 0 for f in first)
        assert any(isinstance(f, Errno) and f.errno == errno.ENOSPC and f.persistent for f in first)
        assert any(isinstance(f, Errno) and f.errno == errno.ENOSPC and not f.persistent for f in first)


def test_a_short_write_is_planned_first_at_the_largest_write() -> None:
    first = faults(list(errno_plans(fork())))[0]
    assert isinstance(first, Short)
    assert (first.at.operation, first.at.phase, first.at.bytes) == ("write", "torn", 2500)


def test_every_operation_meets_every_error_of_the_table() -> None:
    planned = {
        (f.at.operation, f.at.role, f.at.occurrence, f.errno)
        for f in faults(list(errno_plans(everything())))
        if isinstance(f, Errno)
    }
    occurrences: dict[tuple[str, str], int] = {}
    for kind, role, occurrence, _ in planned:
        occurrences[kind, role] = max(occurrences.get((kind, role), 0), occurrence)
    assert occurrences["rename", "d/state.json"] == 20
    assert occurrences["sync", "d/state.json.tmp"] == 20
    for (kind, role), last in occurrences.items():
        for occurrence in range(1, last + 1):
            for number in FAILURES[kind]:
                assert (kind, role, occurrence, number) in planned


def test_writes_are_cut_at_half_one_byte_and_all_but_one_and_followed_by_a_full_disk() -> None:
    shorts = [f for f in faults(list(errno_plans(fork()))) if isinstance(f, Short)]
    assert {(f.at.bytes, f.then_errno) for f in shorts} == {
        (1, 0),
        (2500, 0),
        (4999, 0),
        (2500, errno.ENOSPC),
    }


def test_plans_are_distinct_single_and_of_their_class() -> None:
    plans = list(errno_plans(everything()))
    assert len(plans) == len(set(plans))
    assert all(len(plan.faults) == 1 for plan in plans)
    assert {plan.fault_class for plan in plans} == {"short", "errno"}


def test_nothing_is_planned_for_acknowledgements_and_closes() -> None:
    assert {f.at.operation for f in faults(list(errno_plans(everything())))} <= set(FAILURES)


def test_a_run_that_writes_nothing_has_no_plans() -> None:
    assert list(errno_plans(Script().trace())) == []


def test_an_open_that_creates_meets_a_full_disk_and_one_that_does_not_is_refused() -> None:
    opens = {
        (f.at.role, f.errno)
        for f in faults(list(errno_plans(everything())))
        if isinstance(f, Errno) and f.at.operation == "open"
    }
    assert ("d/state.json.tmp", errno.ENOSPC) in opens
    assert ("old", errno.ENOSPC) not in opens
    assert ("old", errno.EACCES) in opens
