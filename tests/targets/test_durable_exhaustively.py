"""The correct writers hold over all their process-crash states: every kill and every cut of every write, none sampled.

``--evidence`` explores three workloads of each writer in full and needs 50,000 distinct states; else the states of a
kill of one workload are. Run with ``-s`` for the table of states per writer. A database is judged by its own check, a
program, on the states of a kill.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from harness.campaign.programs import CheckRequest, run_check
from harness.campaign.work import distinct_states, run_once
from harness.catalog import NotAvailableError, install, load_target
from harness.catalog.steps import Tools
from harness.checks import Expectation, Judge
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.engines import engine
from harness.explore import Exploration, crash_states, explore
from harness.explore.states import CUTS_PER_RUN
from tests.targets.plain_run import Bench

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
Make = Callable[..., Bench]
Work = dict[str, Any]
LEAST_STATES, LEAST_WRITERS, LEAST_WORKLOADS = 50_000, 8, 3


def talk(parallel: int, **more: Any) -> Work:
    tools = Tools(parallel=parallel, duration_ms=(1, 6), result_bytes=(20, 6000))
    return {"sessions": 1, "updates": 2, "record_bytes": (20, 300), "tools": tools, **more}


CONVERSATIONS = (
    talk(3),
    talk(2, sessions=2, record_bytes=(200, 9000)),
    talk(2, updates=4, interrupt=("new_message", "mode_switch", "escape", "ctrl_c")),
)
ALONE = (
    talk(1),
    talk(1, sessions=2, record_bytes=(200, 5000)),
    talk(1, updates=3, interrupt=("escape", "ctrl_c")),
)
"""One tool at a time, and nobody who speaks while it runs: several at once lose results without any fault."""
ENTRIES = (
    {"sessions": 1, "updates": 2, "record_bytes": (60, 300)},
    {"sessions": 2, "updates": 2, "record_bytes": (60, 3000)},
    {"sessions": 3, "updates": 2, "record_bytes": (3000, 12_000)},
)
INDEXES = (
    {"sessions": 2, "updates": 6, "record_bytes": (60, 1500)},
    {"sessions": 3, "updates": 9, "record_bytes": (60, 300)},
    {"sessions": 1, "updates": 5, "record_bytes": (2000, 9000)},
)
DOCUMENTS = (
    {"sessions": 2, "updates": 4, "record_bytes": (40, 5000)},
    {"sessions": 1, "updates": 8, "record_bytes": (10, 60)},
    {"sessions": 3, "updates": 5, "record_bytes": (4000, 9000)},
)
WRITERS: dict[str, tuple[Work, ...]] = {
    "transcript/durable": CONVERSATIONS,
    "transcript/checkpointed": CONVERSATIONS,
    "transcript/tmp_fsync_rename": ALONE,
    "registry/durable": ENTRIES,
    "sessions_index/durable": INDEXES,
    "reference/durable": DOCUMENTS,
    "correct/append_log": DOCUMENTS,
    "correct/node_document": DOCUMENTS,
    "correct/atomicwrites": DOCUMENTS,
    "correct/sqlite_wal": DOCUMENTS,
    "correct/sqlite_journal": DOCUMENTS,
}
LEASES: Work = {"sessions": 2, "updates": 6, "record_bytes": (60, 3000)}
"""Six registry entries have too many cuts to look at each; this one is for the states of a kill alone."""


class Counted(NamedTuple):
    """Distinct states of one writer under one workload that were judged, and what was wrong with them."""

    kill: int
    short: int
    alarms: tuple[str, ...]


def recorded(writer: Bench) -> Recording:
    run = run_once("ptrace", writer.subject.spec)
    assert run.ended_as_told and not run.differences and run.trace is not None and run.trace.acks
    return run


def alarms(found: Exploration) -> Iterator[str]:
    for group in found.groups:
        if group.severity == "violation":
            yield f"{group.invariant} {group.damage} at {group.point}: {group.violation.message}"


def counted(writer: Bench, *, short: bool) -> Counted:
    """Judge every distinct state of a run of this writer."""
    run = recorded(writer)
    assert run.trace is not None
    if writer.subject.check:
        return _by_check(writer, run.trace, run.acks)
    bindings = writer.subject.bindings
    judge = Judge(bindings, Expectation.from_trace(run.trace, bindings)).judge
    kill = explore(run.trace, "kill", judge)
    cut = explore(run.trace, "short", judge, CUTS_PER_RUN) if short else None
    assert not kill.sampled and (cut is None or not cut.sampled), "some cuts were left out"
    found = [*alarms(kill), *(alarms(cut) if cut is not None else ())]
    return Counted(kill.distinct, cut.distinct if cut is not None else 0, tuple(found))


def _by_check(writer: Bench, trace: Trace, acks: tuple[str, ...]) -> Counted:
    states = distinct_states(crash_states(trace, "kill"))
    shown = tuple((state.tree, acks[: state.acked]) for state in states)
    results = run_check(CheckRequest(spec=writer.subject.spec, argv=writer.subject.check, states=shown))
    wrong = tuple(f"check: exit code {result.exit_code}" for result in results if result.exit_code != 0)
    return Counted(len(states), 0, wrong)


@pytest.mark.timeout(3000)  # two minutes of one processor, and of what a busy machine leaves of it
def test_every_state_of_every_correct_writer_holds(bench: Make, evidence: bool) -> None:
    with contextlib.suppress(NotAvailableError):
        if evidence:
            install(load_target("correct"))
    rows: dict[str, list[Counted]] = {}
    missing: list[str] = []
    for name, workloads in WRITERS.items():
        for seed, work in enumerate(workloads if evidence else workloads[:1], 1):
            try:
                writer = bench(name, seed, **work)
            except pytest.skip.Exception as reason:
                missing.append(f"{name}: {reason}")
                break
            rows.setdefault(name, []).append(counted(writer, short=evidence))
    if evidence:
        rows["registry/durable"].append(counted(bench("registry/durable", **LEASES), short=False))
    print_table(rows, missing)
    assert {name: each.alarms for name, mine in rows.items() for each in mine if each.alarms} == {}
    assert len(rows) >= LEAST_WRITERS
    if evidence:
        assert all(len(mine) >= LEAST_WORKLOADS for mine in rows.values())
        assert sum(each.kill + each.short for mine in rows.values() for each in mine) >= LEAST_STATES


def print_table(rows: dict[str, list[Counted]], missing: list[str]) -> None:
    print(f"\n{'writer':<30} {'workloads':>9} {'kill':>9} {'short':>9} {'alarms':>6}")
    together = [each for mine in rows.values() for each in mine]
    for name, counts in [*rows.items(), ("together", together)]:
        kill, short = sum(each.kill for each in counts), sum(each.short for each in counts)
        wrong = sum(len(each.alarms) for each in counts)
        print(f"{name:<30} {len(counts):>9} {kill:>9,} {short:>9,} {wrong:>6}")
    for line in missing:
        print(f"not available: {line}")
