"""The block engine without root, inside User-Mode Linux."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.engines.base import TargetNotStartedError
from harness.engines.block import vm
from harness.engines.block.vm import kernel_release, record_in_vm, why_no_vm, why_not_in_vm
from harness.sandbox.workspace import Workspace
from tests.block.conftest import pattern_spec
from tests.block.test_block_recording import of
from tests.survivors import marked, new_mark, survivors

pytestmark = pytest.mark.real


def require_vm() -> None:
    reason = why_no_vm("ext4")
    if reason:
        pytest.skip(f"no virtual machine: {reason}")


def test_a_correct_writer_keeps_its_word_there_too(workspace: Workspace) -> None:
    require_vm()
    recorded, states = record_in_vm(pattern_spec("replace_dirsync", workspace), "ext4", commit="each", limit=40)
    assert len(states) == 40
    assert not recorded.recording.differences and recorded.recording.acks == ("1",)
    assert {of(state.tree) for state in states} == {"old", "new"}
    assert {of(state.tree) for state in states if state.acked_latest} == {"new"}


def test_an_error_inside_comes_out(workspace: Workspace) -> None:
    require_vm()
    spec = pattern_spec("replace", workspace)
    with pytest.raises(TargetNotStartedError, match="/nonexistent/python3"):
        record_in_vm(
            type(spec)(argv=("/nonexistent/python3",), root=spec.root, cwd=spec.cwd, environment={}), "ext4"
        )


CALLER = """
import sys
from harness.engines.block.vm import record_in_vm
from harness.core.run import RunSpec
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace
workspace = Workspace(sys.argv[1])
code = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(1000)"
record_in_vm(RunSpec(
    argv=(real_python(), "-ISE", "-c", code, sys.argv[2]),
    root=workspace.root, cwd=workspace.cwd, environment=workspace.environment(),
), "ext4")
"""


def test_a_sigkill_of_the_caller_ends_the_machine(tmp_path: Path) -> None:
    require_vm()
    mark = new_mark()
    place = tmp_path / mark  # the machine has its directory there, and so the mark on its command line
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(place / "workspace"), str(place / "started"), mark],
        env={**os.environ, "TMPDIR": str(place)},
        start_new_session=True,
    )
    try:
        while not (place / "started").exists():
            assert process.poll() is None
        assert len(marked(mark)) >= 3
    finally:
        process.kill()
        process.wait()
    assert survivors(mark, 30) == set()


def test_why_not_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vm, "kernel_release", lambda: "")
    why_no_vm.cache_clear()
    assert "user-mode-linux" in why_no_vm("ext4")
    monkeypatch.setattr(vm, "kernel_release", lambda: "6.1.0-none")
    why_no_vm.cache_clear()
    assert why_no_vm("ext4") == "user-mode Linux 6.1.0-none has no module loop.ko"
    why_no_vm.cache_clear()
    monkeypatch.setattr(vm, "_needs_filter", lambda release: True)
    assert why_not_in_vm("/usr/bin/python3.12") == ""
    assert "only Python runs in it, not node" in why_not_in_vm("/usr/bin/node")
    monkeypatch.setattr(vm, "_needs_filter", lambda release: False)
    assert why_not_in_vm("/usr/bin/node") == ""


def test_a_missing_program_has_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert kernel_release() == ""
