"""What is there before the writer runs, found out in a worker: the files given, or those of a run before.

A check that says what is in a file has nothing to say while there is none yet. Where it rejects an empty directory,
and nobody said what is there before, the writer is run once, undisturbed, and what that leaves is the start: the test
is then about replacing it. The writer's first run is tested where the check accepts an empty directory.
"""

from __future__ import annotations

import re

import msgspec

from harness.campaign.programs import CheckRequest, run_check
from harness.campaign.work import describe, last_words
from harness.core.run import RunSpec
from harness.core.tree import Tree
from harness.sandbox.command import CommandResult, run_command
from harness.sandbox.snapshot import read_tree
from harness.sandbox.workspace import prepare


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """The tree to start with, whether a run of the writer made it, and why nothing can be tested, if so."""

    start: Tree
    primed: bool = False
    problem: str = ""


def rehearse(spec: RunSpec, check: tuple[str, ...], given: bool) -> Rehearsed:
    """Return the start of every run of ``spec``; ``given``: somebody chose the one that it has."""
    before = _ask(spec, check, spec.start)
    if before.exit_code == 0:
        return Rehearsed(start=spec.start)
    if given or before.exit_code != 1:
        of_what = "the files that are there before (start)" if given else "an empty directory"
        return Rehearsed(start=spec.start, problem=f"your check {_did(before)} {of_what}{_why(before)}")
    run = _run(spec)
    if run.exit_code != 0:
        return Rehearsed(start=spec.start, problem=_failed(run))
    tree = read_tree(spec.root).tree
    pattern = re.compile(spec.ack)
    lines = run.stdout.decode("utf-8", "surrogateescape").splitlines()
    after = _ask(spec, check, tree, tuple(match["id"] for line in lines if (match := pattern.match(line))))
    if after.exit_code != 0:
        text = f"your check {_did(after)} what the writer leaves with no fault at all{_why(after)}"
        return Rehearsed(start=spec.start, problem=text)
    return Rehearsed(start=tree, primed=True)


def why_it_fails(spec: RunSpec) -> str:
    """Return how a writer fails with no fault at all, and its last words; an empty string if it does not."""
    run = _run(spec)
    return _failed(run) if run.exit_code != 0 else ""


def _run(spec: RunSpec) -> CommandResult:
    prepare(spec)
    return run_command(spec.argv, cwd=spec.cwd, environment=spec.environment, timeout_s=spec.limits.timeout_s)


def _failed(run: CommandResult) -> str:
    return f"the writer fails with no fault at all: {describe(run)}{_why(run)}"


def _ask(spec: RunSpec, check: tuple[str, ...], tree: Tree, acks: tuple[str, ...] = ()) -> CommandResult:
    (result,) = run_check(CheckRequest(spec=spec, argv=check, states=((tree, acks),)))
    return result


def _did(result: CommandResult) -> str:
    return "rejects" if result.exit_code == 1 else f"gives no answer ({describe(result)}) on"


def _why(result: CommandResult) -> str:
    words = last_words(result.stderr)
    return f": {words}" if words else ""
