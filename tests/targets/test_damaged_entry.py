"""Seed 002: after a registry entry is damaged, what lister, resume and recovery make of the session behind it.

The entry of a pinned session with a title of its user is torn, or left empty, by a real kill of the program that
rewrites in place; or filled with NUL, or cut in the middle, which no kill does. The same tree is shown to the real
programs of ``in_place`` and of ``durable``, and judged by the invariants that their campaigns use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.catalog import fill, found_session, parse_listing, parse_losses
from harness.checks import Expectation, Judge, LossReport, judge_listing, judge_recovery
from harness.core.apply import trees_before
from harness.core.fault import FaultPlan, Kill
from harness.core.operation import Write
from harness.core.point import at_phase, crash_points, operation_path
from harness.core.run import Recording
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.engines import engine
from harness.sandbox.command import CommandResult
from harness.sandbox.materialise import write_tree
from harness.sandbox.snapshot import read_tree
from tests.targets.plain_run import Bench

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
Make = Callable[..., Bench]
IN_PLACE, DURABLE = "registry/in_place", "registry/durable"
WORK = {"sessions": 2, "updates": 2, "record_bytes": (60, 3000)}
"""One update of each session; that of the pinned one archives it, so the pin and the title are owed at any moment."""
PAGE = 4096
BY_HAND: dict[str, Callable[[bytes], bytes]] = {
    "nul": lambda data: bytes(len(data)),
    "cut": lambda data: data[: len(data) // 2],
}
DAMAGES = ("torn", "empty", *BY_HAND)
OWED = ("B1", "B2", "B3", "B4", "B5", "B6")
"""The invariants of a transcript: it is intact where all hold."""


class Damaged(NamedTuple):
    """A tree with one bad entry: its path, the document that stood there, and the acknowledgements before."""

    tree: Tree
    path: str
    entry: dict[str, Any]
    acked: int

    @property
    def session(self) -> str:
        return Path(self.path).stem

    @property
    def transcript(self) -> str:
        return str(self.entry["cliSessionId"])


def record(writer: Bench, plan: FaultPlan | None = None) -> Recording:
    spec = writer.subject.spec
    return engine("ptrace").run(spec, plan) if plan else engine("ptrace").run(spec)


def entry_at(tree: Tree, path: str) -> dict[str, Any]:
    (content,) = (file.content for name, file in tree.files() if name == path)
    found: dict[str, Any] = json.loads(content.to_bytes())
    return found


def rewrites(null: Recording) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """Yield where the entry of a pinned session is rewritten, its path, and what it was."""
    assert null.trace is not None
    trace, start = null.trace, null.spec.start
    points = crash_points(trace, trees_before(trace))
    for op, tree, point in zip(trace.operations, trees_before(trace), points, strict=True):
        path = operation_path(op, tree)
        if isinstance(op, Write) and point is not None and Path(path).name.startswith("local_"):
            old = entry_at(start, path)
            if old["isPinned"] and old["titleSource"] == "user":
                yield point, path, old


def damaged(bench: Make, damage: str) -> Damaged:
    """Return the tree that a kill of ``in_place`` leaves, or what it leaves unharmed with the entry spoilt by hand."""
    writer = bench(IN_PLACE, **WORK)
    null = record(writer)
    point, path, old = next(rewrites(null))
    if damage in BY_HAND:
        place = writer.root / path
        entry = json.loads(place.read_bytes())
        place.write_bytes(BY_HAND[damage](place.read_bytes()))
        return Damaged(read_tree(str(writer.root)).tree, path, entry, len(null.acks))
    strike = at_phase(point, "torn", 3 * PAGE) if damage == "torn" else point
    run = record(writer, FaultPlan(faults=(Kill(at=strike),)))
    assert (run.ending, run.signal) == ("signalled", 9)
    assert (writer.root / path).stat().st_size == (3 * PAGE if damage == "torn" else 0)
    return Damaged(run.final, path, old, len(run.acks))


class Asked(NamedTuple):
    """What the programs of a writer say of a damaged tree, and what the invariants say of that."""

    listed: tuple[tuple[str, ...], tuple[str, ...]]
    shown: tuple[str, ...]
    resumed: dict[str, bool]
    warned_on_resume: bool
    recovery: CommandResult
    losses: list[LossReport]
    after: Tree
    violations: tuple[Violation, ...]

    @property
    def rows(self) -> set[str]:
        return {item.invariant for item in self.violations}


def ask(writer: Bench, state: Damaged) -> Asked:
    """Show the tree to the lister (with and without archived sessions), to resume by both ids, to recovery twice."""
    null = record(writer)
    assert null.trace is not None
    bindings = writer.subject.bindings
    expectation = Expectation.from_trace(null.trace, bindings)
    write_tree(state.tree, str(writer.root))
    every = writer.subject.list_command
    listing = parse_listing(writer.command(every).stdout)
    shown = parse_listing(writer.command(tuple(word for word in every if word != "--include-archived")).stdout)
    answers = {
        name: writer.command(fill(writer.subject.resume, id=name)) for name in (state.session, state.transcript)
    }
    resumed = {name: said.exit_code == 0 and found_session(said.stdout) for name, said in answers.items()}
    assert read_tree(str(writer.root)).tree.key == state.tree.key  # nobody has touched it so far
    first = writer.command(writer.subject.recover)
    after = read_tree(str(writer.root)).tree
    second = writer.command(writer.subject.recover)
    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    losses = [LossReport(field, name) for field, name in parse_losses(first.stdout)]
    found = judge_listing(
        state.tree,
        bindings,
        listing.ids,
        listing.warned,
        resumed=resumed,
        acked=state.acked,
        expectation=expectation,
    )
    found += judge_recovery(
        state.tree,
        after,
        expectation,
        state.acked,
        appended_id=writer.acks(first)[-1],
        again=read_tree(str(writer.root)).tree,
        lost=losses,
    )
    found += Judge(bindings, expectation, OWED).judge(state.tree, state.acked, "kill")
    warned = all(b'"warning"' in said.stdout for said in answers.values())
    return Asked(
        (listing.ids, listing.warned),
        shown.ids,
        resumed,
        warned,
        first,
        losses,
        after,
        tuple(dict.fromkeys(found)),
    )


def intact(before: Tree, after: Tree) -> bool:
    """Whether every transcript is there, byte by byte, with no more than records added."""
    new = {path: file.content.to_bytes() for path, file in after.files()}
    old = {path: file.content.to_bytes() for path, file in before.files() if path.endswith(".jsonl")}
    return bool(old) and all(new[path].startswith(data) for path, data in old.items())


@pytest.mark.parametrize("damage", DAMAGES)
def test_in_place_neither_lister_nor_resume_finds_the_session(bench: Make, damage: str) -> None:
    state = damaged(bench, damage)
    said = ask(bench(IN_PLACE, **WORK), state)
    ids, warned = said.listed
    assert not {state.session, state.transcript} & {*ids, *said.shown}
    assert (warned, said.resumed) == ((), {state.session: False, state.transcript: False})
    assert intact(state.tree, said.after)
    assert said.rows == {"M4", "M9", "M10"}
    gone = {item.ids[0] for item in said.violations if item.invariant == "M9"}
    assert gone == ({"pin", "title", "archived"} if damage in BY_HAND else {"pin", "title"})
    assert said.losses == []
    (hidden,) = [item for item in said.violations if item.invariant == "M10"]
    assert hidden.ids == (state.transcript,)
    assert hidden.message == (
        "the transcript is intact, and no lister shows it and no warning names it, and resume by id does not find it"
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_durable_finds_it_with_a_warning_and_says_what_is_lost(bench: Make, damage: str) -> None:
    state = damaged(bench, damage)
    writer = bench(DURABLE, **WORK)
    said = ask(writer, state)
    ids, warned = said.listed
    assert state.transcript in ids and state.transcript in said.shown
    assert {Path(state.path).name, state.transcript} <= set(warned)
    assert said.resumed == {state.session: True, state.transcript: True} and said.warned_on_resume
    assert intact(state.tree, said.after)
    assert said.violations == ()
    assert said.losses == [LossReport(field, state.session) for field in ("pin", "completedTurns", "archived")]
    rebuilt = entry_at(said.after, state.path)
    assert (rebuilt["title"], rebuilt["titleSource"]) == (last_title(state), "user")
    kept = [file.content for path, file in said.after.files() if path == state.path + ".corrupted-bak"]
    (bad,) = (file.content for path, file in state.tree.files() if path == state.path)
    assert kept == [bad]
    again = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert state.session in again.ids and again.warned == ()


def last_title(state: Damaged) -> str:
    """Return the title that the transcript was given last; the entry may have been about to get it."""
    (data,) = (file.content.to_bytes() for path, file in state.tree.files() if Path(path).stem == state.transcript)
    records = [json.loads(line) for line in data.split(b"\n")[:-1]]
    return str([record["customTitle"] for record in records if "customTitle" in record][-1])
