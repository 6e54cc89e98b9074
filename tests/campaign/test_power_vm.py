"""Power losses tried in a virtual machine: what cannot be done there is said, and what can shows the loss."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from harness.campaign.power_cuts import CutRequest, cut_power
from harness.campaign.work import Judged
from harness.core.fault import CrashPoint, Errno, FaultPlan
from harness.core.run import ToolPlan
from harness.engines.block.vm import why_no_vm
from harness.sandbox.workspace import Workspace
from tests.block.conftest import pattern_spec


def request(tmp_path: Path) -> CutRequest:
    return CutRequest(
        spec=pattern_spec("replace", Workspace(str(tmp_path / "w"))),
        judged=Judged(bindings=(), inferred=False, masked=False, invariants=frozenset()),
        findings=(),
        filesystem="ext4",
        options="",
        commit="end",
        plan=FaultPlan(),
        cuts=10,
        seed=1,
        vm=True,
    )


def test_a_failing_fsync_is_not_made_there(tmp_path: Path) -> None:
    fault = Errno(at=CrashPoint(operation="sync", role="f", occurrence=1), errno=5)
    asked = msgspec.structs.replace(request(tmp_path), plan=FaultPlan(faults=(fault,)))
    assert "not made in a virtual machine" in cut_power(asked).problem


def test_tools_are_not_reached_from_there(tmp_path: Path) -> None:
    asked = request(tmp_path)
    spec = msgspec.structs.replace(asked.spec, tools=ToolPlan())
    assert "cannot be reached" in cut_power(msgspec.structs.replace(asked, spec=spec)).problem


@pytest.mark.real
def test_cuts_are_judged_there(tmp_path: Path) -> None:
    reason = why_no_vm("ext4")
    if reason:
        pytest.skip(f"no virtual machine: {reason}")
    found = cut_power(request(tmp_path))
    assert found.problem == ""
    assert found.cuts > 3
    assert found.kernel != ".".join(os.uname().release.split(".")[:2])
