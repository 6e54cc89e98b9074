"""What single calls are recorded as: fields that replaying the trace does not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from harness.core.content import content_of
from harness.core.operation import (
    Close,
    Link,
    Lock,
    Map,
    Mkdir,
    Open,
    Operation,
    Outside,
    Rename,
    SetAttribute,
    SetMode,
    SetTimes,
    Sync,
    Truncate,
    Unlink,
    Write,
)
from harness.core.run import Recording
from harness.core.tree import Directory, File, Tree, build_tree
from harness.sandbox.environment import real_python

Run = Callable[..., Recording]
Kind = TypeVar("Kind", bound=Operation)

pytestmark = pytest.mark.real

PRELUDE = "import fcntl, mmap, os, sys, threading\nd = sys.argv[1]\nos.chdir(d)\n"
START: Tree = build_tree(
    {"old": 7, "dir": 3, "dir/twin": 7}, {7: File(content_of(b"0123456789"), 0o640), 3: Directory()}
)


@pytest.fixture
def record(traced: Run) -> Callable[[str], Recording]:
    def run(program: str, **options: Any) -> Recording:
        recording = traced(real_python(), "-ISE", "-c", PRELUDE + program, "{dir}", tree=START, **options)
        assert recording.exit_code == 0 and recording.differences == (), recording.stderr_tail.decode()
        return recording

    return run


def of_kind(recording: Recording, kind: type[Kind]) -> list[Kind]:
    assert recording.trace is not None
    return [op for op in recording.trace.operations if type(op) is kind]


def test_files_of_the_starting_tree_keep_their_numbers(record: Callable[[str], Recording]) -> None:
    run = record("fd = os.open('dir/twin', os.O_WRONLY)\nos.write(fd, b'AB')\nos.open('new', 65)\n")
    opened, made = of_kind(run, Open)
    assert (opened.ino, opened.path, opened.mode, opened.created, opened.truncated) == (
        7,
        "dir/twin",
        0o640,
        False,
        False,
    )
    assert made.created and made.ino > 7
    assert of_kind(run, Write)[0].ino == 7


def test_what_an_open_did_is_not_what_its_flags_asked(record: Callable[[str], Recording]) -> None:
    program = """
os.umask(0o077)
for path, flags in (("a", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), ("a", os.O_CREAT | os.O_TRUNC | os.O_RDWR),
                    ("a", os.O_CREAT | os.O_APPEND | os.O_WRONLY), ("b", os.O_CREAT), ("old", os.O_TRUNC)):
    os.open(path, flags, 0o666)
try: os.open("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
except FileExistsError: pass
"""
    opens = of_kind(record(program), Open)
    assert [op.created for op in opens] == [True, False, False, True, False, False]
    assert [op.truncated for op in opens] == [False, True, False, False, True, False]
    assert [op.append for op in opens] == [False, False, True, False, False, False]
    assert [op.error for op in opens] == [0, 0, 0, 0, 0, 17]
    assert opens[0].mode == 0o600 and opens[0].ino == opens[1].ino == opens[2].ino


def test_closes_count_the_writers_that_are_left(record: Callable[[str], Recording]) -> None:
    program = """
a = os.open("f", os.O_CREAT | os.O_WRONLY)
b = os.open("f", os.O_RDWR)
r = os.open("f", os.O_RDONLY)
c = os.dup(a)
os.close(r)
os.close(a)
pid = os.fork()
if pid == 0:
    os.close(b)
    os._exit(0)
os.waitpid(pid, 0)
os.dup2(b, c)
os.close(c)
os.close(b)
"""
    closes = of_kind(record(program), Close)
    assert [op.writers_left for op in closes] == [2, 3, 2, 1, 1, 0]
    assert [op.syscall for op in closes] == ["close", "close", "exit", "dup2", "close", "close"]


def test_exec_closes_what_is_marked(record: Callable[[str], Recording]) -> None:
    program = """
kept = os.open("kept", os.O_CREAT | os.O_WRONLY)
os.set_inheritable(kept, True)
os.open("gone", os.O_CREAT | os.O_WRONLY)
os.execv("/bin/sh", ["sh", "-c", f"echo x >&{kept}"])
"""
    closes = of_kind(record(program), Close)
    assert [op.syscall for op in closes if op.syscall in ("execve", "exit")] == ["execve", "exit"]
    assert of_kind(record(program), Write)[-1].data == b"x\n"


def test_barriers_say_what_they_cover(record: Callable[[str], Recording]) -> None:
    program = """
fd = os.open("old", os.O_RDWR)
os.fsync(fd); os.fdatasync(fd)
for path in (".", "dir"): os.fsync(os.open(path, os.O_RDONLY))
os.sync()
"""
    assert [(op.ino, op.scope) for op in of_kind(record(program), Sync)] == [
        (7, "file"),
        (7, "data"),
        (0, "file"),
        (3, "file"),
        (-1, "all"),
    ]


def test_times_are_exact(record: Callable[[str], Recording]) -> None:
    run = record("os.utime('old', ns=(1, 1_700_000_000_123_456_789)); os.utime('dir'); os.chmod('old', 0o4600)")
    assert [(op.ino, op.mtime_ns) for op in of_kind(run, SetTimes)] == [(7, 1_700_000_000_123_456_789), (3, None)]
    assert [(op.ino, op.mode) for op in of_kind(run, SetMode)] == [(7, 0o4600)]
    node = run.final.node_at("old")
    assert isinstance(node, File) and node.mtime_ns == 1_700_000_000_123_456_789


def test_failures_are_kept_and_change_nothing(record: Callable[[str], Recording]) -> None:
    program = """
def attempt(call, *args):
    try: call(*args)
    except OSError: pass
attempt(os.mkdir, "dir"); attempt(os.rmdir, "dir"); attempt(os.unlink, "no"); attempt(os.rename, "no", "x")
attempt(os.link, "old", "dir/twin"); attempt(os.ftruncate, os.open("old", os.O_WRONLY), -1)
attempt(os.chmod, "old/x", 0)
"""
    run = record(program)
    kinds = (Mkdir, Unlink, Rename, Link, Truncate)
    assert run.trace is not None
    failed = [(op.kind, op.error) for op in run.trace.operations if isinstance(op, kinds)]
    assert failed == [("mkdir", 17), ("unlink", 39), ("unlink", 2), ("rename", 2), ("link", 17), ("truncate", 22)]


def test_locks_maps_and_attributes_are_named(record: Callable[[str], Recording]) -> None:
    program = """
fd = os.open("old", os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB) if False else fcntl.lockf(fd, fcntl.LOCK_EX)
with mmap.mmap(fd, 10) as area: area.flush()
os.chown(fd, -1, -1)
"""
    run = record(program)
    assert [op.what for op in of_kind(run, Lock)] == ["LOCK_EX|LOCK_NB", "F_SETLKW F_WRLCK"]
    assert [(op.ino, op.what) for op in of_kind(run, Map)] == [(7, "MAP_SHARED"), (7, "msync")]
    assert [op.what for op in of_kind(run, SetAttribute)] == ["owner"]
    assert run.trace is not None and run.trace.unseen_paths == ("dir/twin", "old")


def test_a_mapping_is_named_without_verification_too(record: Callable[[str], Recording]) -> None:
    run = record("mmap.mmap(os.open('old', os.O_RDWR), 10)", verify=False)  # type: ignore[call-arg]
    assert run.trace is not None and run.trace.unseen_paths == ("old",) and run.verify_ms == 0.0


def test_a_torn_vector_says_what_was_asked(record: Callable[[str], Recording]) -> None:
    run = record("fd = os.open('f', 65)\nos.writev(fd, [b'one', b'two'])\nos.pwrite(fd, b'', 5)")
    whole, empty = of_kind(run, Write)
    assert (whole.data, whole.requested, whole.offset) == (b"onetwo", b"", 0)
    assert whole.intended == b"onetwo" and empty.data == b"" and empty.offset == 5


def test_writes_outside_are_mentioned_once(record: Callable[[str], Recording]) -> None:
    program = """
for _ in range(3):
    with open(f"{d}/../home/log", "a") as stream: stream.write("x")
open("/dev/null", "w").write("x")
os.symlink(f"{d}/../home/through", "link")
open("link", "w").write("x")
"""
    paths = [op.path.rsplit("/", 1)[1] for op in of_kind(record(program), Outside)]
    assert paths == ["log", "through"]


def test_an_inode_number_used_again_is_another_file(record: Callable[[str], Recording]) -> None:
    program = """
for _ in range(20):
    with open("f", "w") as stream: stream.write("inside")
    os.unlink("f")
    with open(f"{d}/../home/g", "w") as stream: stream.write("outside")
    os.unlink(f"{d}/../home/g")
"""
    run = record(program)
    assert len(of_kind(run, Write)) == 20
    assert len({op.ino for op in of_kind(run, Open)}) == 20


def test_actors_are_processes_and_threads_in_order_of_birth(record: Callable[[str], Recording]) -> None:
    program = """
open("main", "w").close()
thread = threading.Thread(target=lambda: open("thread", "w").close())
thread.start(); thread.join()
for name in ("first", "second"):
    if os.fork() == 0:
        open(name, "w").close()
        os._exit(0)
    os.wait()
os.mkdir("last")
"""
    run = record(program)
    assert run.trace is not None
    labels = {op.path: run.trace.actors[op.actor].label for op in of_kind(run, Open)}
    assert labels == {"main": "p0", "thread": "p0.t1", "first": "p1", "second": "p2"}
    assert run.trace.actors[0].pid == run.pid
    last = of_kind(run, Mkdir)[0]
    assert run.trace.actors[last.actor].label == "p0"
