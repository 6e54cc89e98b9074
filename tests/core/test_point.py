"""Crash points: the same place gets the same name, counted while running or over a stored trace."""

from __future__ import annotations

from harness.core.apply import apply
from harness.core.fault import CrashPoint
from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    Mkdir,
    Open,
    Outside,
    Rename,
    Sync,
    Unlink,
    Write,
)
from harness.core.point import (
    UNNAMED,
    PointCounter,
    at_phase,
    crash_points,
    is_strikeable,
    operation_path,
    path_of_inode,
    process_label,
)
from harness.core.trace import Actor, Trace
from harness.core.tree import EMPTY_TREE, Tree, tree_of


def _trees(start: Tree, operations: tuple[AnyOperation, ...]) -> list[Tree]:
    trees = [start]
    for op in operations:
        trees.append(apply(trees[-1], op))
    return trees


def test_path_of_an_inode() -> None:
    tree = tree_of({"b": b""})
    tree = tree.with_name("a", tree.names["b"])
    assert path_of_inode(tree, tree.names["a"]) == "a"
    assert path_of_inode(tree, 0) == "."
    assert path_of_inode(tree, 99) == UNNAMED


def test_the_path_an_operation_is_about() -> None:
    tree = tree_of({"a": b""})
    ino = tree.names["a"]
    assert operation_path(Write(seq=0, ino=ino, offset=0, data=b"x"), tree) == "a"
    assert operation_path(Rename(seq=0, path="a", to="b"), tree) == "b"
    assert operation_path(Open(seq=0, path=None, ino=9, created=True), tree) == UNNAMED
    assert operation_path(Open(seq=0, path="n", ino=9, created=True), tree) == "n"
    assert operation_path(Link(seq=0, ino=ino, path="l"), tree) == "l"
    assert operation_path(Sync(seq=0, ino=0, scope="file"), tree) == "."
    assert operation_path(Sync(seq=0, ino=-1, scope="all"), tree) == ""
    assert operation_path(Ack(seq=0, id="1"), tree) == ""


def test_occurrences_count_per_kind_role_and_process() -> None:
    counter = PointCounter()
    assert [counter.next("write", f"s-{i}.json", "p0").occurrence for i in (10, 11, 12)] == [1, 2, 3]
    assert counter.next("write", "s-13.json", "p1").occurrence == 1
    assert counter.next("open", "s-13.json", "p0").occurrence == 1
    assert counter.next("write", "t-13.json", "p0").occurrence == 1
    assert counter.next("sync", "", "p0") == CrashPoint(operation="sync", role="", occurrence=1)


def test_threads_of_one_process_share_a_label() -> None:
    actors = (Actor(process=0), Actor(process=0, thread=2), Actor(process=1))
    assert [actor.label for actor in actors] == ["p0", "p0.t2", "p1"]
    assert [process_label(actors, index) for index in (0, 1, 2, 3)] == ["p0", "p0", "p1", "p0"]


def test_phase_is_the_only_thing_that_changes() -> None:
    point = CrashPoint(operation="write", role="a", occurrence=2, actor="p1")
    torn = at_phase(point, "torn", 4096)
    assert (torn.phase, torn.bytes) == ("torn", 4096)
    assert at_phase(torn, "before") == point
    assert str(torn) == "write #2 of a by p1, torn after 4096 bytes"
    assert str(point) == "write #2 of a by p1, before"
    assert str(CrashPoint(operation="sync", role="", occurrence=1, phase="after")) == "sync #1 by p0, after"


def test_points_over_a_trace_skip_what_cannot_be_struck() -> None:
    operations: tuple[AnyOperation, ...] = (
        Mkdir(seq=0, ino=1, path="d"),
        Open(seq=1, path="d/s.1.tmp", ino=2, created=True),
        Write(seq=2, ino=2, offset=0, data=b"x"),
        Close(seq=3, ino=2),
        Rename(seq=4, path="d/s.1.tmp", to="d/s"),
        Ack(seq=5, id="1"),
        Outside(seq=6, path="/elsewhere"),
        Unlink(seq=7, path="d/s"),
        Unlink(seq=8, path="d/s", error=2),
    )
    trace = Trace(root="/r", engine="test", actors=(Actor(process=0),), operations=operations)
    found = list(crash_points(trace, iter(_trees(EMPTY_TREE, operations))))
    assert [None if p is None else (p.operation, p.role, p.occurrence) for p in found] == [
        ("mkdir", "d", 1),
        ("open", "d/s.<n>.tmp", 1),
        ("write", "d/s.<n>.tmp", 1),
        None,
        ("rename", "d/s", 1),
        None,
        None,
        ("unlink", "d/s", 1),
        ("unlink", "d/s", 2),
    ]
    assert [is_strikeable(op) for op in operations] == [p is not None for p in found]
    assert trace.acks == (operations[5],)
