"""W5: a rename refused with EXDEV, EPERM or EBUSY is made good or surfaced, and the old file is intact."""

from __future__ import annotations

import errno

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, LOG, record

from harness.checks import judge_outcome
from harness.core.operation import Rename
from harness.core.run import Delivered, Recording, RunSpec
from harness.core.tree import tree_of
from harness.explore import errno_plans
from harness.explore.script import Script

SPEC = RunSpec(argv=("writer",), root="/state", cwd="/cwd", environment={})
BOTH = (LOG, DOCUMENT)
OLD, NEW = b'{"v": 1}', b'{"v": 2}'
START = {"state.json": OLD, "log.jsonl": record(1)}


def replaced(path: str = "state.json", data: bytes = NEW) -> Script:
    script = Script(tree_of(START))
    script.replace(path, data)
    script.ack(1)
    return script


def recording(script: Script, **more: object) -> Recording:
    values = {
        "spec": SPEC,
        "engine": "script",
        "final": script.tree,
        "ending": "exited",
        "trace": script.trace(),
        "exit_code": 0,
        "acks": tuple(ack.id for ack in script.trace().acks),
    }
    return Recording(**{**values, **more})  # type: ignore[arg-type]


def refused(error: int, files: dict[str, bytes], script: Script | None = None, **more: object) -> list[str]:
    """What W5 says of a run whose rename was refused and that left ``files``."""
    null = script or replaced()
    trace = null.trace()
    operations = tuple(
        msgspec.structs.replace(op, error=error) if isinstance(op, Rename) else op for op in trace.operations
    )
    rename = next(op for op in operations if isinstance(op, Rename))
    run = recording(
        null,
        trace=msgspec.structs.replace(trace, operations=operations),
        final=tree_of(files),
        delivered=(Delivered(fault="errno", seq=rename.seq, pid=1, operation=rename),),
        **more,
    )
    return [v.damage for v in judge_outcome(recording(null), run, BOTH, ("W5",))]


ERRORS = pytest.mark.parametrize("error", [errno.EXDEV, errno.EPERM, errno.EBUSY])


@ERRORS
def test_w5_made_good_by_a_retry_or_a_fallback(error: int) -> None:
    assert refused(error, {**START, "state.json": NEW}) == []
    assert refused(error, {**START, "state.json": NEW, "state.json.tmp": NEW}) == []


@ERRORS
def test_w5_surfaced_with_the_old_file_intact(error: int) -> None:
    assert refused(error, START, exit_code=1) == []
    assert refused(error, {**START, "state.json": b'{"v": 3}'}, exit_code=1) == []  # it went on to a later version


@ERRORS
def test_w5_swallowed(error: int) -> None:
    assert refused(error, START) == ["silent"]


@pytest.mark.parametrize(
    ("now", "damage"), [(b"", "empty"), (NEW[:4], "torn"), (b"\0" * 8, "torn"), (None, "missing")]
)
def test_w5_a_fallback_that_costs_the_old_file(now: bytes | None, damage: str) -> None:
    files = {"log.jsonl": record(1)} if now is None else {**START, "state.json": now}
    assert refused(errno.EXDEV, files, exit_code=1) == [damage]
    assert refused(errno.EXDEV, files) == ["silent", damage]


def test_w5_a_record_file_may_only_grow() -> None:
    null = replaced("log.jsonl", record(1) + record(2))
    grown = {**START, "log.jsonl": record(1) + record(3)}
    assert refused(errno.EBUSY, grown, null, exit_code=1) == []
    assert refused(errno.EBUSY, {**START, "log.jsonl": record(3)}, null, exit_code=1) == ["lost"]


def test_w5_a_name_that_was_not_there_has_nothing_to_lose() -> None:
    null = replaced("fresh.json", b"{}")
    assert refused(errno.EPERM, START, null, exit_code=1) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
def test_w5_other_errors_are_w8s(error: int) -> None:
    assert refused(error, START) == []


def test_each_of_them_is_planned_at_every_rename() -> None:
    planned = {
        (fault.at.operation, fault.errno)  # type: ignore[union-attr]
        for plan in errno_plans(replaced().trace())
        for fault in plan.faults
        if fault.at.operation == "rename"  # type: ignore[union-attr]
    }
    wanted = {errno.EXDEV, errno.EPERM, errno.EBUSY, errno.EACCES, errno.ENOSPC}
    assert planned == {("rename", each) for each in wanted}


@given(st.sampled_from([errno.EXDEV, errno.EPERM, errno.EBUSY]), st.integers(0, len(NEW)))
def test_w5_a_reported_refusal_holds_exactly_with_the_old_or_the_new_document(error: int, cut: int) -> None:
    found = refused(error, {**START, "state.json": NEW[:cut]}, exit_code=1)
    assert bool(found) == (cut < len(NEW))
