"""Single runs of a test's writer, one after the other, each from a tree that the caller has: whole, or under a fault.

One worker for all of them, as a campaign has, and of a Python writer one fork server: a run of it costs a fork and what
the writer does. A run that was made before is remembered: who asks twice means to go on from there. Nothing a run
started outlives it but that server, which ends with the runner.

Non-goals: judging what a run leaves.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from harness.campaign.executor import Call, Executor
from harness.campaign.plan import NoEngineError as NoEngineHere
from harness.campaign.plan import choose_engine
from harness.campaign.probe import Probe, probe_subject
from harness.campaign.scratch import scratch_workspace
from harness.campaign.work import last_words, run_once
from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec
from harness.core.tree import Tree
from harness.engines import engine as engine_named
from harness.engines.shim.launch import is_python
from harness.sandbox.materialise import write_tree
from harness.testing.checking import Start, start_of, usage
from harness.testing.errors import NoEngineError, NotMeasuredError
from harness.testing.program import Program, Writer, program_of

_SPARE_S = 60.0
"""What a call may take beyond the time of its run: the first of a command starts a server."""
_KEPT = 512
"""Recordings that are remembered, at most."""


def why_failed(recording: Recording) -> str:
    """Return how a run did not end as it should, with its last words; an empty string where it did."""
    if recording.ended_as_told:
        return ""
    words = last_words(recording.stderr_tail)
    if recording.ending == "timeout":
        how = "it does not end in time"
    else:
        how = f"signal {recording.signal}" if recording.signal else f"exit code {recording.exit_code}"
    return f"{how}: {words}" if words else how


class Runner:
    """Makes such runs; a context manager. ``timeout``: seconds for one run, ``env``: what the writer is given."""

    def __init__(self, *, timeout: float = 10.0, env: Mapping[str, str] | None = None) -> None:
        self._timeout_s = timeout
        self._environment = dict(env or {})
        self._stack = contextlib.ExitStack()
        self._made: dict[tuple[int, tuple[str, ...], bytes, FaultPlan], Recording] = {}
        self._forks = True

    def __enter__(self) -> Self:
        try:
            self._engine, _ = choose_engine()
        except NoEngineHere as error:
            raise NoEngineError(str(error)) from None
        with contextlib.ExitStack() as stack:
            self._scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="tornwrite-test-"))
            self._workspace = stack.enter_context(scratch_workspace())
            self._executor = stack.enter_context(Executor(1, self._workspace.base))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def tree_of(self, start: Start | None) -> Tree:
        """Return the tree that a test begins with. Raises :class:`UsageError`."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            return start_of(start, directory)

    def program(self, given: Writer, what: str) -> Program:
        """Return a writer as a command; it is good until the next one is asked for. Raises :class:`UsageError`."""
        return program_of(given, what, self._scratch)

    def show(self, tree: Tree) -> Path:
        """Put a tree where the writer finds it, for somebody to look at; what they change changes nothing."""
        write_tree(tree, self._workspace.root)
        return Path(self._workspace.root)

    def run(self, program: Program, start: Tree, plan: FaultPlan = NO_FAULTS) -> Recording:
        """Return a run from ``start``: made now, unless the same was made from the same files before.

        Raises :class:`NotMeasuredError` where what happened was not seen.
        """
        key = (start.key, program.command, _payload(program), plan)
        if key in self._made:
            return self._made[key]
        with usage():
            probe = Probe(
                command=program.command, start=start, environment=self._environment, timeout_s=self._timeout_s
            )
            spec = probe_subject(probe, self._workspace).spec
        forks = self._forks and is_python(spec.argv[0]) and not engine_named("forked").available()
        recording = self._call("forked" if forks else self._engine, spec, plan)
        if forks and self._engine == "ptrace" and (recording.ending == "limit" or recording.differences):
            self._forks = False  # it does what the shim cannot see
            recording = self._call(self._engine, spec, plan)
        if recording.ending == "limit":
            raise NotMeasuredError(f"a run was not seen to its end: {recording.ending_detail}")
        if recording.differences:
            raise NotMeasuredError(f"a recording does not verify: {'; '.join(recording.differences[:3])}")
        if len(self._made) < _KEPT:
            self._made[key] = recording
        return recording

    def _call(self, engine: str, spec: RunSpec, plan: FaultPlan) -> Recording:
        call = Call(run_once, (engine, spec, plan), timeout_s=self._timeout_s + _SPARE_S)
        (outcome,) = self._executor.run([call])
        recording: Recording = outcome.result()
        return recording


def _payload(program: Program) -> bytes:
    """Return what a packed callable is in its file; nothing of a command."""
    if not program.name:
        return b""
    with open(program.command[3], "rb") as stream:
        return stream.read()
