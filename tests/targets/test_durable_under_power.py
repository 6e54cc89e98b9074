"""The correct writers hold over what a power loss leaves, at every crash point, under every profile.

``--evidence`` explores three workloads of each writer under all profiles; else one, under the two weakest. Run with
``-s`` for the table: states per writer and profile, crash points, and where the sets of one were sampled. A database is
judged by its own check, a program, on every distinct state. What is expected to be lost is shown as well: a rollback
journal with synchronous=FULL, and a writer that skips only the sync of the directory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import pytest

from harness.campaign.programs import CheckRequest, run_check
from harness.catalog import NotAvailableError, install, load_target
from harness.catalog.profiles import list_profiles, load_profile
from harness.checks import Expectation, Judge
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.engines import engine
from harness.explore.power.exploration import PowerExploration, explore_power
from tests.targets.plain_run import Bench
from tests.targets.test_durable_exhaustively import DOCUMENTS, WRITERS, Make, recorded

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
LEAST_WRITERS, LEAST_WORKLOADS = 8, 3
DURABLE = {name: work for name, work in WRITERS.items() if name != "transcript/tmp_fsync_rename"}
"""Those that keep their word also when the power goes: the other one never syncs its directory."""
PER_CHECK = 200
"""States that one call to a check's worker judges."""


_answers: dict[Bench, dict[tuple[int, int], int | None]] = {}
"""Per writer, what its check said of a state: profiles share most of theirs."""


class Held(NamedTuple):
    """One writer under one workload and profile: what was judged, and what was wrong."""

    states: int
    points: int
    sampled: str
    alarms: tuple[str, ...]


def alarms(found: PowerExploration) -> Iterator[str]:
    for group in found.groups:
        if group.severity == "violation":
            lost = ", ".join(f"{loss.part} of {loss.at}" for loss in group.fault.losses)
            what = f"{group.invariant} {group.damage} after operation {group.seq}: {group.violation.message}"
            yield f"{what}; lost: {lost}"


def sampled(found: PowerExploration) -> str:
    if found.exhaustive:
        return ""
    part = found.coverage
    kinds = ("single loss", "single survival", "pair")
    said = (f"{part[kind].explored:,}/{part[kind].possible:,} {kind}" for kind in kinds if kind in part)
    return "sampled at some points: " + ", ".join(said)


def judged(writer: Bench, trace: Trace, acks: tuple[str, ...], profile: Profile) -> Held:
    """Judge every distinct state of a recorded run under one profile."""
    if writer.subject.check:
        return _by_check(writer, trace, acks, profile)
    bindings = writer.subject.bindings
    judge = Judge(bindings, Expectation.from_trace(trace, bindings)).judge
    found = explore_power(trace, profile, judge)
    return Held(found.distinct, found.points, sampled(found), tuple(alarms(found)))


def _by_check(writer: Bench, trace: Trace, acks: tuple[str, ...], profile: Profile) -> Held:
    states: list[tuple[Tree, tuple[str, ...]]] = []

    def note(tree: Tree, acked: int, fault_class: str) -> tuple[()]:
        states.append((tree, acks[:acked]))
        return ()

    found = explore_power(trace, profile, note)
    wrong = tuple(_refused(writer, states))
    return Held(found.distinct, found.points, sampled(found), wrong)


def _refused(writer: Bench, states: Sequence[tuple[Tree, tuple[str, ...]]]) -> Iterator[str]:
    """Ask the check of every state that no other profile has shown it yet."""
    known = _answers.setdefault(writer, {})
    fresh = [(tree, acked) for tree, acked in states if (tree.key, len(acked)) not in known]
    for begin in range(0, len(fresh), PER_CHECK):
        shown = tuple(fresh[begin : begin + PER_CHECK])
        request = CheckRequest(spec=writer.subject.spec, argv=writer.subject.check, states=shown)
        for (tree, acked), result in zip(shown, run_check(request), strict=True):
            known[tree.key, len(acked)] = result.exit_code
    for tree, acked in states:
        if known[tree.key, len(acked)] != 0:
            yield f"check: exit code {known[tree.key, len(acked)]} with {len(acked)} acknowledged"


@pytest.mark.timeout(3000)
def test_every_correct_writer_holds_under_every_profile(bench: Make, evidence: bool) -> None:
    with contextlib.suppress(NotAvailableError):
        if evidence:
            install(load_target("correct"))
    profiles = [load_profile(name) for name in (list_profiles() if evidence else ("posix", "btrfs"))]
    rows: dict[tuple[str, str], list[Held]] = {}
    missing: list[str] = []
    for name, workloads in DURABLE.items():
        for seed, work in enumerate(workloads if evidence else workloads[:1], 1):
            try:
                writer = bench(name, seed, **work)
            except pytest.skip.Exception as reason:
                missing.append(f"{name}: {reason}")
                break
            if writer.subject.check and not evidence:
                missing.append(f"{name}: judged by a program; --evidence runs it")
                break
            run = recorded(writer)
            assert run.trace is not None
            for profile in profiles:
                rows.setdefault((name, profile.name), []).append(judged(writer, run.trace, run.acks, profile))
    print_table(rows, missing)
    found = {name: each.alarms for name, mine in rows.items() for each in mine if each.alarms}
    assert found == {}
    assert len({name for name, _ in rows}) >= (LEAST_WRITERS if evidence else LEAST_WRITERS - 2)
    if evidence:
        assert all(len(mine) >= LEAST_WORKLOADS for mine in rows.values())


def print_table(rows: dict[tuple[str, str], list[Held]], missing: list[str]) -> None:
    print(f"\n{'writer':<30} {'profile':<40} {'states':>9} {'points':>7} {'alarms':>6}")
    for (name, profile), mine in rows.items():
        states, points = sum(each.states for each in mine), sum(each.points for each in mine)
        wrong = sum(len(each.alarms) for each in mine)
        print(f"{name:<30} {profile:<40} {states:>9,} {points:>7,} {wrong:>6}")
        for each in mine:
            if each.sampled:
                print(f"    {each.sampled}")
    print(f"together: {sum(each.states for mine in rows.values() for each in mine):,} distinct states")
    for line in missing:
        print(f"not available: {line}")


def test_the_writer_that_skips_only_the_directory_is_caught(bench: Make) -> None:
    writer = bench("reference/no_dir_fsync", 1, **DOCUMENTS[0])
    run = recorded(writer)
    assert run.trace is not None
    for name in list_profiles():
        held = judged(writer, run.trace, run.acks, load_profile(name))
        assert held.alarms, name


def test_a_rollback_journal_without_the_sync_of_its_removal_is_caught(bench: Make) -> None:
    """synchronous=FULL: the journal's name may come back, and undoes a commit that was acknowledged."""
    writer = bench("correct/sqlite_journal", 1, **DOCUMENTS[1])
    argv = tuple("delete:FULL" if word == "delete:EXTRA" else word for word in writer.subject.spec.argv)
    assert argv != writer.subject.spec.argv
    spec = msgspec.structs.replace(writer.subject.spec, argv=argv)
    writer.subject = msgspec.structs.replace(writer.subject, spec=spec)
    run = recorded(writer)
    assert run.trace is not None
    held = judged(writer, run.trace, run.acks, load_profile("posix"))
    lost = [alarm for alarm in held.alarms if "exit code 1" in alarm]
    assert lost, "no acknowledged row was lost"
    print(f"\n{len(lost)} of {held.states} states of synchronous=FULL under posix lose an acknowledged row")
