"""Replaying what was seen gives the tree on disk, for every way we know in which a program changes files.

Blind spots are a closed list: stores through a shared writable mapping. Nothing else may be excused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from harness.core.apply import replay
from harness.core.operation import Close
from harness.core.run import Recording
from harness.core.tree import differences
from harness.sandbox.environment import real_node, real_python

Run = Callable[..., Recording]

HERE = os.path.dirname(__file__)
BLIND_SPOTS = {
    ("python", "shared_mapping"): ("mapped",),
    ("python", "sqlite_wal"): ("base.db-shm",),
}
"""The closed list: idiom → the paths whose content the engine does not answer for."""

UNSUPPORTED = 77


def names_in(file: str, pattern: str) -> list[str]:
    with open(os.path.join(HERE, file), encoding="utf-8") as stream:
        return re.findall(pattern, stream.read(), re.MULTILINE)


PYTHON = [
    (program, name)
    for program in ("python_idioms.py", "process_idioms.py")
    for name in names_in(program, r"^def (\w+)\(\):")
    if name != "elsewhere"
]
NODE = names_in("node_idioms.cjs", r"^  (?:async )?(\w+)\(\) \{")
STATIC = names_in("idioms.c", r'\{"(\w+)", \w+\}')

EXPECTED_KINDS = {
    "append_text": {"open", "write", "close"},
    "replace_file": {"open", "write", "sync", "rename", "close"},
    "hard_links": {"link", "rename", "unlink"},
    "splice_from_pipe": {"write"},
    "vmsplice_chain": {"write"},
    "send_file": {"write"},
    "copy_range": {"write"},
    "linux_aio": {"write"},
    "rename_in": {"link", "mkdir", "mknod", "write"},
    "rename_out": {"unlink", "link"},
    "into_from_outside": {"open", "write", "mkdir", "rename"},
    "out_through_symlink": {"outside", "write"},
    "holes": {"truncate", "write"},
    "times": {"utimens"},
    "modes": {"chmod", "mkdir"},
    "attributes": {"attribute"},
    "special_files": {"mknod"},
    "shared_mapping": {"map", "truncate"},
    "locks": {"lock"},
    "waiting_lock": {"lock"},
    "exit_in_flight": {"open"},
    "directory_times": {"utimens", "mkdir", "rename"},
    "tmpfile_proc_link": {"open", "write", "link"},
}


def check(recording: Recording, runtime: str, name: str) -> None:
    if recording.exit_code == UNSUPPORTED:
        pytest.skip(f"{name}: not supported by this file system or user")
    assert recording.ending == "exited" and recording.exit_code == 0, recording.stderr_tail.decode()
    assert recording.differences == ()
    assert recording.trace is not None
    blind = BLIND_SPOTS.get((runtime, name), ())
    assert recording.trace.unseen_paths == blind
    assert recording.trace.unseen == tuple(f"stores through a shared mapping of {path}" for path in blind)
    kinds = {op.kind for op in recording.trace.operations}
    assert kinds >= EXPECTED_KINDS.get(name, {"open", "write"})
    assert [op.seq for op in recording.trace.operations] == list(range(len(recording.trace.operations)))


def test_there_are_enough_idioms_and_few_blind_spots() -> None:
    assert len(PYTHON) + len(NODE) + len(STATIC) >= 40
    assert len(BLIND_SPOTS) <= 2


@pytest.mark.real
@pytest.mark.parametrize(("program", "name"), PYTHON)
def test_python(run: Run, program: str, name: str) -> None:
    check(run(real_python(), "-ISE", os.path.join(HERE, program), name, "{dir}"), "python", name)


@pytest.mark.real
@pytest.mark.parametrize("name", NODE)
def test_node(run: Run, name: str) -> None:
    node = real_node()
    if node is None:
        pytest.skip("no node")
    check(run(node, os.path.join(HERE, "node_idioms.cjs"), name, "{dir}"), "node", name)


@pytest.mark.real
@pytest.mark.parametrize("name", STATIC)
def test_static_binary(run: Run, static_binary: str, name: str) -> None:
    check(run(static_binary, name, "{dir}"), "static", name)


@pytest.mark.real
def test_a_missing_operation_is_noticed(run: Run) -> None:
    recording = run(real_python(), "-ISE", os.path.join(HERE, "python_idioms.py"), "replace_file", "{dir}")
    assert recording.trace is not None
    operations = recording.trace.operations
    blind = [op for op in operations if not isinstance(op, Close) and op.kind in ("write", "rename")]
    for missing in blind[-2:]:
        rest = [op for op in operations if op is not missing]
        assert differences(replay(recording.trace.start, rest), recording.final)


@pytest.mark.real
@pytest.mark.parametrize("io_uring", ["0", "1"])
def test_a_runtime_that_asks_for_io_uring_is_seen(run: Run, io_uring: str) -> None:
    node = real_node()
    if node is None:
        pytest.skip("no node")
    recording = run(
        "/usr/bin/env",
        f"UV_USE_IO_URING={io_uring}",
        node,
        os.path.join(HERE, "node_idioms.cjs"),
        "promises",
        "{dir}",
    )
    check(recording, "node", "promises")
