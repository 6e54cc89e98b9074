"""``explain`` is right about files that the engines made: the true cause is among those that could, a wrong one is not.

Recordings of shipped writers under ptrace give the states of a kill and of a short write; errno plans and races are
real runs; the damages of :mod:`harness.core.damage` are done to what a run left. A writer's own older damage, a lost
update say, is not what a kill did: writers that race are asked about races alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import pytest

from harness.campaign.work import run_once
from harness.catalog.profiles import load_profile
from harness.catalog.steps import Tools
from harness.checks.explain import Cause, Explanation, explain
from harness.core.apply import trees_before
from harness.core.content import Content
from harness.core.damage import damaged
from harness.core.fault import FaultPlan, Kill
from harness.core.operation import Write
from harness.core.point import at_phase, crash_points
from harness.core.run import Recording
from harness.core.schedule import Search
from harness.core.tree import File, Tree, tree_of
from harness.engines import engine
from harness.engines.block import observe, record_on_disk
from harness.explore import crash_states, errno_plans
from harness.explore.power.effects import effects_of
from harness.explore.power.order import order_of
from harness.explore.power.states import Explorer
from harness.explore.script import Script
from harness.explore.states import StateClass
from tests.block.conftest import require
from tests.targets.plain_run import Bench

ptrace = pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available())
pytestmark = pytest.mark.real
EVIDENCE = bool(os.environ.get("TORNWRITE_EVIDENCE"))
Make = Callable[..., Bench]
ENTRIES: dict[str, Any] = {"sessions": 2, "updates": 3, "record_bytes": (60, 9000)}
TALK: dict[str, Any] = {
    "sessions": 1,
    "updates": 2,
    "record_bytes": (20, 9000),
    "tools": Tools(parallel=3, duration_ms=(1, 6), result_bytes=(20, 6000)),
}
RACE: dict[str, Any] = {
    "sessions": 1,
    "updates": 2,
    "record_bytes": (20_000, 60_000),
    "tools": Tools(parallel=8, duration_ms=(1, 2), result_bytes=(20, 200)),
}
WRITERS: list[tuple[str, dict[str, Any]]] = [
    ("reference/buggy", ENTRIES),
    ("registry/in_place", ENTRIES),
    ("registry/seed002_fix", ENTRIES),
    ("sessions_index/cached_snapshot", ENTRIES),
    ("correct/append_log", ENTRIES),
    ("transcript/per_record", TALK),
    ("transcript/batched", TALK),
]
CAUSE_OF: dict[StateClass, Cause] = {"kill": "kill", "short": "disk_full"}
CUTS_PER_WRITE = 60
TELLS_LITTLE = frozenset({"open_turn/begun", "headless"})
"""Patterns that every crash can make by way of some ordinary writer: only "no crash" is unlikely."""
ERRNO_RUNS, DRAWS = 24, 6
POWER_STATES, POWER_CUTS = 1500, 200


def _selector(item: object) -> str:
    return item if isinstance(item, str) else ""


class Told(NamedTuple):
    """A damaged file and what is said of it."""

    path: str
    found: Explanation

    @property
    def answers(self) -> dict[str, str]:
        return {answer.cause: answer.answer for answer in self.found.causes}

    @property
    def shape(self) -> str:
        """What the file shows, without its ids: what a message of a failing test needs."""
        seen = ", ".join(f"{item.pattern} ({item.what})" for item in self.found.seen)
        return f"{self.path}: {seen}: {self.answers}"


def contents(trees: Iterable[Tree]) -> Iterator[tuple[str, Content]]:
    """Yield each different file of trees, with its path."""
    seen: set[tuple[str, bytes]] = set()
    for tree in trees:
        for path, ino in tree.names.items():
            node = tree.nodes[ino]
            if isinstance(node, File) and (path, node.content.digest) not in seen:
                seen.add((path, node.content.digest))
                yield path, node.content


def damaged_files(trees: Iterable[Tree]) -> list[Told]:
    told = [Told(path, explain(content.to_bytes(), path)) for path, content in contents(trees)]
    return [each for each in told if each.found.state == "damaged"]


def assert_right(told: list[Told], cause: Cause, *, least: int) -> None:
    """The true cause could, another could not, or (:data:`TELLS_LITTLE`) is at least unlikely."""
    assert len(told) >= least
    for each in told:
        assert each.answers[cause] == "could", each.shape
        if not {item.pattern for item in each.found.seen} <= TELLS_LITTLE:
            assert "could not" in each.answers.values(), each.shape
        assert set(each.answers.values()) != {"could"}, each.shape


def recorded(bench: Make, selector: str, work: dict[str, Any]) -> Recording:
    return run_once("ptrace", bench(selector, **work).subject.spec)


@ptrace
@pytest.mark.parametrize(("selector", "work"), WRITERS, ids=[selector for selector, _ in WRITERS])
def test_states_of_kills_and_short_writes(bench: Make, selector: str, work: dict[str, Any]) -> None:
    recording = recorded(bench, selector, work)
    assert recording.trace is not None
    assert damaged_files([recording.final]) == [], "this writer must leave no damage of its own"
    for fault_class, cause in CAUSE_OF.items():
        states = crash_states(recording.trace, fault_class, CUTS_PER_WRITE)
        assert_right(damaged_files(state.tree for state in states), cause, least=5)


@ptrace
def test_files_of_a_process_that_was_killed(bench: Make) -> None:
    """Read from disk after the death of the real writer."""
    made = bench("registry/in_place", **ENTRIES)
    null = run_once("ptrace", made.subject.spec)
    assert null.trace is not None
    points = crash_points(null.trace, trees_before(null.trace))
    writes = [
        point
        for op, point in zip(null.trace.operations, points, strict=False)
        if isinstance(op, Write) and point is not None and point.role.endswith(".json") and len(op.data) > 4096
    ]
    plans = [FaultPlan(faults=(Kill(at=at_phase(point, "torn", 4096)),)) for point in writes[:2]]
    plans += [FaultPlan(faults=(Kill(at=at_phase(point, "before")),)) for point in writes[:2]]
    told = []
    for plan in plans:
        run = run_once("ptrace", made.subject.spec, plan)
        assert run.ending == "killed" or run.signal == 9
        told += damaged_files([run.final])
    assert {item.pattern for each in told for item in each.found.seen} == {"cut/page", "empty"}
    assert_right(told, "kill", least=4)


@ptrace
@pytest.mark.parametrize(("selector", "work"), [WRITERS[0], WRITERS[1], WRITERS[5]], ids=_selector)
def test_runs_with_a_full_disk(bench: Make, selector: str, work: dict[str, Any]) -> None:
    made = bench(selector, **work)
    null = run_once("ptrace", made.subject.spec)
    assert null.trace is not None
    runs = [run_once("ptrace", made.subject.spec, plan) for plan in islice(errno_plans(null.trace), ERRNO_RUNS)]
    assert_right(damaged_files(run.final for run in runs), "disk_full", least=3)


@ptrace
@pytest.mark.parametrize("selector", ["transcript/read_modify_write", "transcript/tmp_fsync_rename"])
def test_writers_that_race(bench: Make, selector: str) -> None:
    made = bench(selector, **RACE)
    plans = [FaultPlan(schedule=Search(policy="random", seed=seed)) for seed in range(DRAWS)]
    told = damaged_files(run_once("ptrace", made.subject.spec, plan).final for plan in plans)
    assert_right(told, "concurrency", least=1)
    assert any(each.answers["kill"] == "could not" for each in told)


@ptrace
def test_damage_done_to_what_a_run_left(bench: Make) -> None:
    recording = recorded(bench, "registry/in_place", ENTRIES)
    paths = [path for path, ino in recording.final.names.items() if isinstance(recording.final.nodes[ino], File)]
    kinds: Counter[str] = Counter()
    for path in paths:
        node = recording.final.node_at(path)
        assert isinstance(node, File)
        for damage in ("nul", "empty", "torn"):
            told = damaged_files([tree_of({path: _bytes(damaged(recording.final, path, damage), path)})])
            assert_right(told, "disk_full" if damage == "torn" else "power", least=1)
            kinds[damage] += len(told)
    assert min(kinds.values()) >= 3


def _bytes(tree: Tree, path: str) -> bytes:
    node = tree.node_at(path)
    assert isinstance(node, File)
    return node.content.to_bytes()


DOCUMENT = b'{"title":"a title","turns":[' + b",".join(b'{"n":%d,"text":"words"}' % n for n in range(900)) + b"]}"
OLDER = b'{"turns":[' + b",".join(b'{"n":%d}' % n for n in range(3000)) + b'],"title":"another"}'
RECORDS = [b'{"id":"r%d","text":"%s"}\n' % (n, b"word " * (n % 7 + 9)) for n in range(1, 30)]

LOG = b"".join(RECORDS * 4)


def holed(size: int) -> bytes:
    data = DOCUMENT[:size]
    return _bytes(damaged(tree_of({"a.json": data}), "a.json", "holed"), "a.json")


POWER = {
    "all NUL": (bytes(20_000), "kill", "nul_all/exact"),
    "empty": (b"", "concurrency", "empty"),
    "the tail of the last page": (DOCUMENT[:2500] + bytes(4096 - 2500), "kill", "nul_tail"),
    "pages that never came": (DOCUMENT[:8192] + bytes(len(DOCUMENT) - 8192), "disk_full", "nul_tail"),
    "new pages, then old ones": (DOCUMENT[:8192] + OLDER[8192:], "program", "mixed/page"),
    "old pages, then new ones": (OLDER[:4096] + DOCUMENT[4096:], "program", "mixed/page"),
    "half NUL": (holed(16_384), "kill", "nul_hole/page"),
    "a shorter size": (DOCUMENT[:4096], "program", "cut/page"),
    "a record's block": (
        LOG[:512] + bytes(3584) + LOG[4096:],
        "kill",
        "nul_hole/page",
    ),
}
"""What a power loss was seen to leave (facts of the block recorder), made here by hand."""


@pytest.mark.parametrize("name", POWER)
def test_states_of_a_power_loss(name: str) -> None:
    data, wrong, pattern = POWER[name]
    (told,) = damaged_files([tree_of({"a.jsonl" if "record" in name else "a.json": data})])
    assert pattern in {item.pattern for item in told.found.seen}, told.shape
    assert (told.answers["power"], told.answers[wrong]) == ("could", "could not"), told.shape


@ptrace
@pytest.mark.parametrize("profile", ["ext4", "xfs", "btrfs", "ntfs"] if EVIDENCE else ["ext4"])
@pytest.mark.parametrize(("selector", "work"), [WRITERS[1], WRITERS[2], WRITERS[4], WRITERS[5]], ids=_selector)
def test_states_that_a_file_system_allows(bench: Make, selector: str, work: dict[str, Any], profile: str) -> None:
    """What the model of a power loss makes of a real recording, under the profile of each file system."""
    recording = recorded(bench, selector, work)
    assert recording.trace is not None
    switches = load_profile(profile)
    explorer = Explorer(order_of(effects_of(recording.trace, switches), switches))
    assert_right(damaged_files(state.tree for state in islice(explorer.states(), POWER_STATES)), "power", least=3)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_disks_after_a_power_cut(bench: Make, filesystem: str) -> None:
    """What a real file system showed when the disk of a real writer was cut and mounted again."""
    require(filesystem)
    told = []
    for selector in ("registry/in_place", "registry/seed002_fix"):
        spec = bench(selector, **ENTRIES).subject.spec
        seen = observe(record_on_disk(spec, filesystem, "", "each"), POWER_CUTS)
        told += damaged_files(state.tree for state in seen if state.tree is not None)
    assert_right(told, "power", least=3)


# Two writers, and a writer that overwrites, step by step.


def two_appenders_in_pieces(script: Script) -> None:
    first, second = script.open("a.jsonl", append=True), script.open("a.jsonl", append=True, actor=1)
    for n in range(0, 8, 2):
        script.write(first, RECORDS[n][:20])
        script.write(second, RECORDS[n + 1], actor=1)
        script.write(first, RECORDS[n][20:])


def two_at_their_own_offsets(script: Script) -> None:
    first, second = script.open("a.jsonl"), script.open("a.jsonl", actor=1)
    for n in range(6):
        script.write(first, RECORDS[n])
        script.write(second, RECORDS[n + 7], actor=1)


def one_truncates_and_the_other_goes_on(script: Script) -> None:
    first = script.open("a.jsonl")
    for n in range(6):
        script.write(first, RECORDS[n])
    script.open("a.jsonl", truncate=True, actor=1)
    script.write(first, RECORDS[6])


def two_documents_over_each_other(script: Script) -> None:
    first = script.open("a.json", truncate=True)
    second = script.open("a.json", truncate=True, actor=1)
    script.write(first, OLDER)
    script.write(second, DOCUMENT[:-1] + b"  }", actor=1)


def newline_apart(script: Script) -> None:
    first, second = script.open("a.jsonl", append=True), script.open("a.jsonl", append=True, actor=1)
    script.write(first, RECORDS[0][:-1])
    script.write(second, RECORDS[1][:-1], actor=1)
    script.write(first, b"\n")
    script.write(second, b"\n", actor=1)


@pytest.mark.parametrize(
    ("play", "wrong"),
    [
        (two_appenders_in_pieces, "kill"),
        (two_at_their_own_offsets, ""),
        (one_truncates_and_the_other_goes_on, "kill"),
        (two_documents_over_each_other, "disk_full"),
        (newline_apart, "kill"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_two_writers(play: Callable[[Script], None], wrong: str) -> None:
    script = Script(actors=2)
    play(script)
    (told,) = damaged_files([script.tree])
    assert told.answers["concurrency"] == "could", told.shape
    assert not wrong or told.answers[wrong] == "could not", told.shape
    assert set(told.answers.values()) != {"could"}


def test_a_kill_between_overwriting_and_truncating() -> None:
    script = Script(tree_of({"a.json": OLDER}))
    descriptor = script.open("a.json")
    script.write(descriptor, DOCUMENT)
    script.truncate(descriptor, len(DOCUMENT))
    told = damaged_files(state.tree for state in crash_states(script.trace(), "kill"))
    assert {"mixed/page", "old_tail"} <= {item.pattern for each in told for item in each.found.seen}
    assert_right(told, "kill", least=5)


def test_a_restart_that_heals_nothing() -> None:
    """Killed within a record, then started again: the next record is glued to the stub."""
    script = Script(tree_of({"a.jsonl": RECORDS[0] * 50}))
    descriptor = script.open("a.jsonl", append=True)
    script.write(descriptor, b'{"id":"big","text":"%s"}\n' % (b"word " * 4000))
    torn = [state.tree for state in crash_states(script.trace(), "kill") if state.phase == "torn"]
    told = []
    for tree in torn:
        again = Script(tree)
        descriptor = again.open("a.jsonl", append=True)
        again.write(descriptor, RECORDS[1])
        again.write(descriptor, RECORDS[2])
        told += damaged_files([again.tree])
    assert {item.pattern for each in told for item in each.found.seen} == {"glued/page"}
    assert_right(told, "kill", least=4)


def test_an_old_version_is_sound() -> None:
    old = damaged(tree_of({"a.json": DOCUMENT}), "a.json", "stale", tree_of({"a.json": OLDER}))
    assert _bytes(old, "a.json") == OLDER
    assert damaged_files([old]) == []
