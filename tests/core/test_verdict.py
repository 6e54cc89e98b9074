"""Fault classes, verdict order and fingerprints."""

from __future__ import annotations

import itertools

import pytest

from harness.core.fault import NO_FAULTS, CrashPoint, Errno, Fault, FaultPlan, Kill, Short, Timed
from harness.core.verdict import fingerprint_of, worst

_AT = CrashPoint(operation="write", role="a", occurrence=1)


@pytest.mark.parametrize(
    ("fault", "fault_class"),
    [
        (Kill(at=_AT), "kill"),
        (Timed(delay_us=5), "kill"),
        (Timed(delay_us=5, signal="SIGTERM"), "signal"),
        (Short(at=_AT), "short"),
        (Short(at=_AT, kill=True), "short"),
        (Errno(at=_AT, errno=28), "errno"),
    ],
)
def test_the_class_a_plan_is_judged_under(fault: Fault, fault_class: str) -> None:
    assert FaultPlan(faults=(fault,)).fault_class == fault_class


def test_no_faults() -> None:
    assert NO_FAULTS.fault_class == "none"


def test_worst_wins_and_nothing_is_inconclusive() -> None:
    order = ["held", "inconclusive", "violated", "broken"]
    for length in (1, 2, 3):
        for some in itertools.product(order, repeat=length):
            assert worst(some) == max(some, key=order.index)
    assert worst([]) == "inconclusive"


_CAUSE = {
    "target": "t",
    "variant": "v",
    "invariant": "B1",
    "fault_class": "kill",
    "operation": "write",
    "role": "s.json",
    "phase": "torn",
}


def test_fingerprint_is_stable_and_every_part_counts() -> None:
    assert fingerprint_of(**_CAUSE) == "4c918be57644aad0f545d770fb456dc1"
    for part in _CAUSE:
        assert fingerprint_of(**{**_CAUSE, part: "other"}) != fingerprint_of(**_CAUSE)
    assert fingerprint_of(**{**_CAUSE, "target": "t\udcff"}) != fingerprint_of(**_CAUSE)


def test_parts_do_not_run_into_each_other() -> None:
    left = fingerprint_of(**{**_CAUSE, "target": "ab", "variant": "c"})
    assert left != fingerprint_of(**{**_CAUSE, "target": "a", "variant": "bc"})
