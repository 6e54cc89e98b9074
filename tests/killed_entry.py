"""A kill that leaves the entry of a registry empty, as what a token names: what is shrunk in several tests."""

from __future__ import annotations

import msgspec

from harness.campaign.token import ReplayRecord
from harness.catalog import Workload
from harness.core.fault import CrashPoint, FaultPlan, Kill


def entry_opened(occurrence: int) -> FaultPlan:
    """Return a kill after so many opens of the entry."""
    role = "claude-code-sessions/<uuid>/<uuid>/local_<uuid>.json"
    return FaultPlan(
        faults=(Kill(at=CrashPoint(operation="open", role=role, occurrence=occurrence, phase="after")),)
    )


def killed_entry(sessions: int, updates: int) -> ReplayRecord:
    """Return what is named by a kill at the last update of so many."""
    plan = entry_opened(updates)
    (fault,) = plan.faults
    assert isinstance(fault, Kill)
    return ReplayRecord(
        target="registry",
        variant="in_place",
        workload=msgspec.to_builtins(Workload(sessions=sessions, updates=updates)),
        plan=plan,
        fault_class="kill",
        invariant="M1",
        role=fault.at.role,
        damage="empty",
    )
