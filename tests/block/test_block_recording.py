"""Real writers on real file systems, cut off by a power failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.content import content_of
from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.operation import Rename, Sync, Write
from harness.core.run import RunSpec
from harness.core.tree import File, Tree
from harness.engines.base import EngineError, TargetNotStartedError
from harness.engines.block import FILESYSTEMS, BlockOptionError, DiskRecording, cuts_of, observe, record_on_disk
from harness.engines.block.cuts import epochs_of
from harness.engines.block.disk import Slow
from harness.engines.block.disk_log import DiskWrite
from harness.engines.block.image import Image
from harness.sandbox.workspace import Workspace
from tests.block import pattern
from tests.block.conftest import loops_left, pattern_spec, require

pytestmark = pytest.mark.real

Recorded = Callable[..., DiskRecording]


def of(tree: Tree | None, path: str = "f") -> str:
    """Return in one word what became of a file."""
    assert tree is not None
    node = tree.node_at(path)
    if not isinstance(node, File):
        return "missing"
    data = node.content.to_bytes()
    named = {pattern.OLD: "old", pattern.NEW: "new", b"": "empty"}
    return named.get(data) or ("NUL" if not data.strip(b"\0") else "other")


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
@pytest.mark.parametrize("commit", ["end", "each"])
def test_a_correct_writer_keeps_what_it_acknowledged(recorded: Recorded, filesystem: str, commit: str) -> None:
    states = list(observe(recorded("replace_dirsync", filesystem, commit)))
    assert {of(state.tree) for state in states} == {"old", "new"}
    assert {of(state.tree) for state in states if state.acked_latest} == {"new"}
    assert not any(state.unmountable for state in states)


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_the_first_cut_is_the_start_and_the_last_is_the_end(recorded: Recorded, filesystem: str) -> None:
    done = recorded("replace_fsync", filesystem)
    assert done.recording.trace is not None
    total = len(done.recording.trace.operations)
    cuts = cuts_of(done.log, done.recording.trace.operations)
    states = {state.cut: state for state in observe(done)}
    assert list(states) == list(cuts)
    assert states[cuts[0]].tree is not None and states[cuts[0]].tree.key == done.recording.spec.start.key
    assert (states[cuts[0]].low, states[cuts[0]].acked) == (0, 0)
    whole = next(
        cut for cut in reversed(cuts) if cut.kept == epochs_of(done.log)[-1].writes and cut.shape == "prefix"
    )
    assert states[whole].tree is not None and states[whole].tree.key == done.recording.final.key
    assert (whole.low, whole.high, whole.acked) == (total, total, 1)


def test_a_file_emptied_in_place_is_seen_empty(recorded: Recorded) -> None:
    states = list(observe(recorded("in_place", "ext4", "each")))
    empty = [state for state in states if of(state.tree) == "empty"]
    assert empty and min(state.low for state in empty) == 1, "the open that emptied it, committed"
    assert {"old", "new"} <= {of(state.tree) for state in states}


def test_a_rename_can_be_lost_after_the_acknowledgement(recorded: Recorded) -> None:
    states = list(observe(recorded("replace_fsync", "ext4")))
    assert "old" in {of(state.tree) for state in states if state.acked}


def test_data_slower_than_the_journal_is_seen_as_nuls(recorded: Recorded) -> None:
    """auto_da_alloc starts the writing of the data before the rename, and waits for nothing."""
    done = recorded("replace", "ext4", "each", slow=Slow(20_480, 40))
    assert "NUL" in {of(state.tree) for state in observe(done)}


def test_a_torn_write_leaves_the_page_that_it_reached(recorded: Recorded) -> None:
    """An overwrite that got half way is new pages before old ones."""
    done = recorded("overwrite_truncate", "ext4", "end")
    contents = set()
    for state in observe(done, tears=4):
        if state.cut.torn and state.tree is not None:
            node = state.tree.node_at("f")
            assert isinstance(node, File)
            contents.add(node.content.to_bytes())
    mixed = [
        data for data in contents if data[:4096] == pattern.NEW[:4096] and data[8192:10000] == pattern.OLD[8192:]
    ]
    assert mixed


@pytest.mark.parametrize("name", pattern.PATTERNS)
def test_every_pattern_is_recorded_whole(recorded: Recorded, name: str) -> None:
    done = recorded(name, "ext4", "each")
    assert len(done.recording.acks) == pattern.EXPECTED_ACKS[name]
    states = list(observe(done, limit=25, seed=3))
    assert len(states) == min(25, len(states))
    assert all(state.tree is not None for state in states)
    assert all(state.low <= state.high and state.acked <= state.acked_latest for state in states)


def test_the_trace_is_that_of_the_run_and_the_place_stays_what_it_was(
    recorded: Recorded, workspace: Workspace
) -> None:
    with open(os.path.join(workspace.root, "before"), "x", encoding="ascii"):
        pass
    trace = recorded("replace_dirsync", "ext4").recording.trace
    assert trace is not None and trace.root == workspace.root
    assert [type(op) for op in trace.operations if type(op) in (Write, Sync, Rename)] == [
        Write,
        Sync,
        Rename,
        Sync,
    ]
    assert os.listdir(workspace.root) == ["before"], "the disk was shown there, and is gone"
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        assert workspace.root not in stream.read()
    assert not loops_left(os.getpid(), 10)


def test_the_same_recording_gives_the_same_states(recorded: Recorded) -> None:
    done = recorded("replace", "ext4", "each")
    first = [(state.cut, state.tree and state.tree.key) for state in observe(done, 30, 5)]
    assert first == [(state.cut, state.tree and state.tree.key) for state in observe(done, 30, 5)]
    assert len(first) == 30


def test_a_disk_that_holds_next_to_nothing_cannot_be_mounted(recorded: Recorded) -> None:
    done = recorded("replace", "ext4")
    spoilt = DiskRecording(
        filesystem="ext4",
        options="",
        commit="end",
        recording=done.recording,
        base=Image(done.base.size, {}),
        log=done.log,
    )
    states = list(observe(spoilt, limit=3))
    assert [state.tree for state in states] == [None] * 3
    assert all(state.unmountable.startswith(("cannot be mounted: ", "cannot be read: ")) for state in states)


def test_what_cannot_be_started_is_said(workspace: Workspace) -> None:
    require("ext4")
    spec = RunSpec(
        argv=("/nonexistent/writer",), root=workspace.root, cwd=workspace.cwd, environment=workspace.environment()
    )
    with pytest.raises(TargetNotStartedError, match="/nonexistent/writer"):
        record_on_disk(spec, "ext4")
    assert not loops_left(os.getpid(), 10)


def test_options_that_the_file_system_refuses_are_said(workspace: Workspace) -> None:
    require("ext4")
    with pytest.raises(EngineError, match="data"):
        record_on_disk(pattern_spec("replace", workspace), "ext4", "data=nonsense")
    with pytest.raises(BlockOptionError, match="did you mean ext4"):
        record_on_disk(pattern_spec("replace", workspace), "ext3")
    with pytest.raises(BlockOptionError, match="not NAME"):
        record_on_disk(pattern_spec("replace", workspace), "ext4", "=1")


def test_large_contents_come_back_whole(recorded: Recorded) -> None:
    done = recorded("append_pages", "ext4", "end")
    last = list(observe(done))[-1]
    assert sum(len(event.data) for event in done.log if isinstance(event, DiskWrite)) > pattern.NEW_BYTES
    assert last.tree is not None
    assert content_of(pattern.OLD + pattern.NEW).digest in {file.content.digest for _, file in last.tree.files()}


def test_a_writer_that_is_killed_leaves_what_it_had_done(workspace: Workspace) -> None:
    require("ext4")
    at = CrashPoint(operation="rename", role="f", occurrence=1, phase="after")
    plan = FaultPlan(faults=(Kill(at=at),))
    done = record_on_disk(pattern_spec("replace", workspace), "ext4", commit="each", plan=plan)
    assert done.recording.signal == signal.SIGKILL and len(done.recording.delivered) == 1
    states = list(observe(done))
    assert max(state.high for state in states) == 4
    assert {of(state.tree) for state in states} >= {"old", "new"}
    assert {state.acked_latest for state in states} == {0}


IN_A_WORKER = """
import os, sys
from harness.sandbox.namespace import bind_private
base, canonical = sys.argv[1:]
bind_private(base, canonical)
from harness.engines.block import observe, record_on_disk
from harness.sandbox.workspace import Workspace
from tests.block.conftest import pattern_spec
done = record_on_disk(pattern_spec("replace_dirsync", Workspace(canonical)), "ext4")
assert done.recording.trace.root == os.path.join(canonical, "state")
print(len(list(observe(done))), done.recording.differences)
"""


def test_a_worker_records_at_the_path_that_all_workers_share(tmp_path: Path) -> None:
    require("ext4")
    base, canonical = tmp_path / "base", tmp_path / "canonical"
    Workspace(str(base))
    canonical.mkdir()
    command = [sys.executable, "-c", IN_A_WORKER, str(base), str(canonical)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    count, differences = done.stdout.split()
    assert int(count) > 10 and differences == "()"
    assert os.listdir(canonical) == []


def test_a_disk_that_fails_says_why(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    require("ext4")

    def refuse(*_: object) -> bytes:
        raise MemoryError("no room for the log")

    monkeypatch.setattr("harness.engines.block.fuse_protocol.write_answer", refuse)
    with pytest.raises(EngineError, match=r"\(MemoryError: no room for the log\)"):
        record_on_disk(pattern_spec("replace", workspace), "ext4")
    assert not loops_left(os.getpid(), 10)
