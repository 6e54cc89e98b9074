"""Each switch of a profile, by what it allows and what it forbids: one writer, one question."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
import pytest

from harness.catalog.profiles import load_profile
from harness.core.operation import Open, Sync
from harness.core.profile import Profile
from harness.core.trace import Actor, Trace
from harness.core.tree import Tree, tree_of
from harness.explore.power.effects import effects_of
from harness.explore.power.membership import Membership
from harness.explore.power.order import order_of
from harness.explore.power.states import Explorer
from harness.explore.script import Script

OLD, NEW = b"o" * 6000, b"n" * 9000
PAGE = 4096
PLAIN = Profile(name="plain", title="plain", source="test", dir_ops_ordered="name")


def with_switches(**switches: Any) -> Profile:
    return msgspec.structs.replace(PLAIN, **switches)


def allowed(trace: Trace, profile: Profile, files: dict[str, bytes], after: int | None = None) -> bool:
    """Whether the power may leave just these files, once ``after`` operations were done (all of them: ``None``)."""
    end = len(trace.operations)
    low = end if after is None else after
    return Membership(order_of(effects_of(trace, profile), profile)).find(tree_of(files), low, end) is not None


def script(**files: bytes) -> Script:
    return Script(tree_of(files))


def replaced() -> Trace:
    run = script(f=OLD)
    run.put("t", NEW)
    run.rename("t", "f")
    return run.trace()


@pytest.mark.parametrize(
    ("rule", "empty", "nuls"), [("nothing", True, True), ("size", False, True), ("data", False, False)]
)
def test_rename_over_flushes(rule: str, empty: bool, nuls: bool) -> None:
    profile = with_switches(rename_over_flushes=rule)
    assert allowed(replaced(), profile, {"f": b""}) is empty
    assert allowed(replaced(), profile, {"f": bytes(9000)}) is nuls
    assert allowed(replaced(), profile, {"f": NEW})


@pytest.mark.parametrize(("rule", "empty"), [("nothing", True), ("size", False), ("data", False)])
def test_new_name_flushes(rule: str, empty: bool) -> None:
    run = script()
    run.put("t", NEW)
    run.rename("t", "f")
    assert allowed(run.trace(), with_switches(new_name_flushes=rule), {"f": b""}) is empty


@pytest.mark.parametrize(("rule", "empty"), [("nothing", True), ("size", False)])
def test_truncate_replace_flushes(rule: str, empty: bool) -> None:
    """What comes after the close of a replaced file comes after its new size."""
    run = script(f=OLD)
    run.put("f", NEW)
    run.mkdir("d")
    profile = with_switches(truncate_replace_flushes=rule)
    membership = Membership(order_of(effects_of(run.trace(), profile), profile))
    made = tree_of({"f": b"", "d/x": b""}).without_name("d/x")
    assert (membership.find(made, 4, 4) is not None) is empty
    assert allowed(run.trace(), profile, {"f": b""}), "the truncation alone is always possible"


@pytest.mark.parametrize(("rule", "nuls"), [("write", False), ("new_blocks", False), ("never", True)])
def test_data_before_size_of_new_blocks(rule: str, nuls: bool) -> None:
    run = script(f=OLD)
    run.put("f", NEW)
    assert allowed(run.trace(), with_switches(data_before_size=rule), {"f": bytes(9000)}) is nuls


@pytest.mark.parametrize(("rule", "nuls"), [("write", False), ("new_blocks", True), ("never", True)])
def test_data_before_size_in_a_block_that_is_there(rule: str, nuls: bool) -> None:
    run = script(f=OLD)
    fd = run.open("f", append=True)
    run.write(fd, b"x" * 100)
    assert allowed(run.trace(), with_switches(data_before_size=rule), {"f": OLD + bytes(100)}) is nuls


@pytest.mark.parametrize(("rule", "own"), [("zeros", False), ("own", True), ("any", True)])
def test_unwritten_reads(rule: str, own: bool) -> None:
    run = script(f=OLD, g=b"g" * PAGE)
    run.put("f", NEW[:PAGE])
    profile = with_switches(unwritten_reads=rule)
    assert allowed(run.trace(), profile, {"f": OLD[:PAGE], "g": b"g" * PAGE}) is own
    assert allowed(run.trace(), profile, {"f": b"g" * PAGE, "g": b"g" * PAGE}) is (rule == "any")
    explored = {state.tree.key for state in Explorer(order_of(effects_of(run.trace(), profile), profile)).states()}
    assert (tree_of({"f": OLD[:PAGE], "g": b"g" * PAGE}).key in explored) is own


@pytest.mark.parametrize("rule", [False, True])
def test_truncate_flushes(rule: bool) -> None:
    run = script(f=OLD)
    fd = run.open("f")
    run.write(fd, NEW)
    run.truncate(fd, len(NEW))
    profile = with_switches(truncate_flushes=rule, data_before_size="write")
    assert allowed(run.trace(), profile, {"f": OLD + bytes(3000)}) is not rule


@pytest.mark.parametrize(
    ("rule", "without"), [("none", (True, True)), ("name", (True, False)), ("dir", (False, False))]
)
def test_dir_ops_ordered(rule: str, without: tuple[bool, bool]) -> None:
    """A later name without an earlier one of its directory; one that takes a name over without the change before."""
    run = script(a=b"a")
    run.put("b", b"")
    run.put("c", b"")
    profile = with_switches(dir_ops_ordered=rule)
    assert allowed(run.trace(), profile, {"a": b"a", "c": b""}) is without[0]
    run = script(a=b"a", b=b"b")
    run.rename("a", "x")
    run.rename("b", "a")
    assert allowed(run.trace(), profile, {"a": b"b"}) is without[1]


@pytest.mark.parametrize(("rule", "both"), [("atomic", False), ("target_first", True)])
def test_rename_across_dirs(rule: str, both: bool) -> None:
    run = Script(tree_of({"a/x": b"x", "b/y": b"y"}))
    run.rename("a/x", "b/x")
    profile = with_switches(rename_across_dirs=rule)
    membership = Membership(order_of(effects_of(run.trace(), profile), profile))
    start = run.start
    doubled = start.with_name("b/x", start.names["a/x"])
    assert (membership.find(doubled, 1, 1) is not None) is both
    run = script(f=b"x")
    run.rename("f", "g")
    assert not allowed(run.trace(), profile, {"f": b"x", "g": b"x"}), "within a directory it is atomic"


@pytest.mark.parametrize(
    ("scope", "rule", "lost"),
    [("file", True, False), ("file", False, True), ("data", True, False), ("range", True, True)],
)
def test_fsync_of_a_new_file_and_its_name(scope: str, rule: bool, lost: bool) -> None:
    run = script()
    fd = run.open("g")
    run.write(fd, NEW)
    trace = _with(run.trace(), Sync(seq=2, ino=run.tree.names["g"], scope=scope))
    profile = with_switches(fsync_file_persists_its_name=rule)
    assert allowed(trace, profile, {}) is lost
    assert allowed(trace, profile, {"g": NEW})
    assert allowed(trace, profile, {"g": b""}) is (scope == "range")


def test_fdatasync_of_a_renamed_file_leaves_the_rename() -> None:
    run = script(f=OLD)
    run.rename("f", "g")
    profile = with_switches(fsync_file_persists_its_name=True)
    for scope, lost in (("file", False), ("data", True)):
        trace = _with(run.trace(), Sync(seq=1, ino=run.tree.names["g"], scope=scope))
        assert allowed(trace, profile, {"f": OLD}) is lost


@pytest.mark.parametrize("rule", [True, False])
def test_fsync_of_a_directory(rule: bool) -> None:
    run = script(f=OLD)
    run.rename("f", "g")
    run.sync_directory()
    assert allowed(run.trace(), with_switches(fsync_dir=rule), {"f": OLD}) is not rule


@pytest.mark.parametrize("rule", [True, False])
def test_sync_of_everything(rule: bool) -> None:
    run = script(f=OLD)
    run.put("f", NEW)
    run.sync_everything()
    assert allowed(run.trace(), with_switches(sync_waits=rule), {"f": OLD}) is not rule


@pytest.mark.parametrize(("flags", "lost"), [(0o4010001, False), (0o10001, False), (1, True)])
def test_a_synchronous_descriptor(flags: int, lost: bool) -> None:
    run = script(f=OLD)
    fd = run.open("f", append=True)
    run.write(fd, b"x" * 10)
    trace = run.trace()
    opened = trace.operations[0]
    assert isinstance(opened, Open)
    changed = (msgspec.structs.replace(opened, flags=flags), *trace.operations[1:])
    assert allowed(msgspec.structs.replace(trace, operations=changed), PLAIN, {"f": OLD}) is lost


def _with(trace: Trace, *more: Sync) -> Trace:
    return msgspec.structs.replace(trace, operations=(*trace.operations, *more))


def failed(then: str) -> tuple[Trace, Tree]:
    """Write, an fsync that fails, maybe another write to the same block, and an fsync that succeeds."""
    run = script(f=OLD)
    fd = run.open("f")
    ino = run.tree.names["f"]
    run.write(fd, b"1" * 50, at=0)
    operations = list(run.trace().operations)
    operations.append(Sync(seq=len(operations), ino=ino, scope="file", error=errno.EIO))
    later = Script(run.tree)
    if then == "write":
        again = later.open("f")
        later.write(again, b"2" * 50, at=100)
    for op in later.trace().operations:
        operations.append(msgspec.structs.replace(op, seq=len(operations)))
    operations.append(Sync(seq=len(operations), ino=ino, scope="file"))
    return msgspec.structs.replace(run.trace(), operations=tuple(operations)), later.tree


@pytest.mark.parametrize("rule", ["clean", "revert"])
def test_a_failed_fsync_is_not_made_good_by_the_next(rule: str) -> None:
    trace, _ = failed("nothing")
    assert allowed(trace, with_switches(failed_fsync=rule), {"f": OLD})


def test_after_a_failed_fsync_a_later_write_carries_the_block_or_not() -> None:
    trace, _ = failed("write")
    only_second = OLD[:100] + b"2" * 50 + OLD[150:]
    assert allowed(trace, with_switches(failed_fsync="revert"), {"f": only_second})
    assert not allowed(trace, with_switches(failed_fsync="clean"), {"f": only_second})


@pytest.mark.parametrize(("ordered", "apart"), [(True, False), (False, True)])
def test_block_writes_ordered(ordered: bool, apart: bool) -> None:
    run = script(f=OLD)
    fd = run.open("f")
    run.write(fd, b"1" * 50, at=0)
    run.write(fd, b"2" * 50, at=100)
    only_second = OLD[:100] + b"2" * 50 + OLD[150:]
    assert allowed(run.trace(), with_switches(block_writes_ordered=ordered), {"f": only_second}) is apart


@pytest.mark.parametrize(("size", "cut"), [(512, True), (4096, False)])
def test_block_bytes(size: int, cut: bool) -> None:
    run = script(f=b"")
    fd = run.open("f", append=True)
    run.write(fd, b"x" * 2000)
    assert allowed(run.trace(), with_switches(block_bytes=size), {"f": b"x" * 1024}) is cut


def test_a_log_of_names_forgets_a_name_that_is_lost() -> None:
    """The name of a file that was fsynced and then renamed away: what was there before it may come back."""
    run = Script(tree_of({"f": OLD, "e/x": b"x"}))
    run.unlink("f")
    fd = run.open("f")
    run.write(fd, NEW)
    run.fsync(fd)
    run.rename("f", "e/g")
    run.sync_directory("e")
    log = with_switches(dir_ops_ordered="none", fsync_file_persists_its_name=True)
    journal = with_switches(fsync_file_persists_its_name=True)
    assert allowed(run.trace(), log, {"f": OLD, "e/x": b"x", "e/g": NEW})
    assert not allowed(run.trace(), journal, {"f": OLD, "e/x": b"x", "e/g": NEW})


@pytest.mark.parametrize("name", ["posix", "ext4", "xfs", "btrfs"])
@pytest.mark.parametrize("process", [0, 1])
@pytest.mark.parametrize(("also_plain", "durable"), [(False, True), (True, False)])
def test_a_synchronous_descriptor_of_another_thread_or_process(
    name: str, process: int, also_plain: bool, durable: bool
) -> None:
    """Threads share descriptors and children inherit them; where the file was also opened plainly nobody knows."""
    run = Script(tree_of({"f": OLD}), actors=2)
    fd = run.open("f")
    if also_plain:
        run.open("f")
    run.write(fd, NEW[:PAGE], actor=1)
    trace = run.trace()
    opened = msgspec.structs.replace(trace.operations[0], flags=0o4010000)
    actors = (Actor(process=0), Actor(process=process, thread=1 - process))
    trace = msgspec.structs.replace(trace, operations=(opened, *trace.operations[1:]), actors=actors)
    assert allowed(trace, load_profile(name), {"f": OLD}) is not (durable or not process)


@pytest.mark.parametrize("rule", [False, True])
def test_fsync_persists_parents(rule: bool) -> None:
    """A name in a directory that nobody synced is lost with it, until the directory above is synced."""
    run = script(f=OLD)
    run.mkdir("d")
    run.replace("d/g", NEW)
    run.sync_directory("d")
    profile = with_switches(fsync_persists_parents=rule)
    assert allowed(run.trace(), profile, {"f": OLD}) is not rule
    run.sync_directory()
    assert not allowed(run.trace(), profile, {"f": OLD})
    assert allowed(run.trace(), profile, {"f": OLD, "d/g": NEW})
