"""Is a writer crash-safe? One call, for a test: record, explore, let the check judge, confirm, say what to change.

The campaign is that of ``tornwrite probe``, controls included, made brief: it has to fit into a test suite. Nothing
of it stays behind, unless ``keep`` names a directory for its report.

Non-goals: several writers at once; anything that needs a terminal.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from harness.campaign.advising import advice_for
from harness.campaign.executor import Call, Executor
from harness.campaign.plan import NoEngineError as NoEngineHere
from harness.campaign.plan import Options, Plan, choose_engine, plan_probe
from harness.campaign.probe import Probe, probe_subject
from harness.campaign.replay import replay
from harness.campaign.run import run_campaign, worker_count
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import RunStore
from harness.campaign.token import ReplayRecord, probe_digest
from harness.campaign.work import Judged
from harness.catalog import ManifestError, Subject
from harness.catalog.profiles import DEFAULT_PROFILES, load_profiles
from harness.catalog.schema import suggestion
from harness.checks import infer_bindings
from harness.checks.binding import TornTail
from harness.core.advice import Advice
from harness.core.event import AnyEvent
from harness.core.fault import FaultClass
from harness.core.tree import EMPTY_TREE, Tree
from harness.report.escape import plain
from harness.report.failure import failure, not_measured, replay_failure, what_held
from harness.report.sentence import reasons
from harness.report.view import Collector, RunView
from harness.sandbox.environment import ProgramNotFoundError
from harness.sandbox.snapshot import read_tree
from harness.sandbox.workspace import Workspace
from harness.testing.errors import NoEngineError, NotCrashSafeError, NotMeasuredError, OtherTestError, UsageError
from harness.testing.program import Program, Writer, program_of
from harness.testing.rehearsal import Rehearsed, rehearse, why_it_fails

FAULTS: tuple[FaultClass, ...] = ("kill", "short", "errno", "power")
DEFAULT_FAULTS: tuple[FaultClass, ...] = ("kill", "power")
"""What is meant by a crash; a full disk (``short``, ``errno``) is another question and takes longer."""
DEFAULT_BUDGET_S = 20.0
_ADVICE_STATES = 20_000
_ADVICE_SECONDS = 2.0
_REPLAYS = 3
_MOST_WORKERS = 4
_NEVER_S = 3600.0
"""Rows need not survive a crash of the machine: the test would be run again."""

Start = Mapping[str, str | bytes] | str | os.PathLike[str]


class Held(NamedTuple):
    """What a writer that holds was tried under: distinct crash states, and the same in a sentence."""

    states: int
    text: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A call, as :func:`check_writer` was given it, checked."""

    writer: Program
    check: Program | None
    start: Tree
    given: bool
    options: Options
    timeout_s: float
    environment: Mapping[str, str]
    torn_tail: TornTail
    label: str
    replays: str

    @property
    def name(self) -> str:
        """What people call the writer."""
        return self.writer.name or self.probe().name

    @property
    def digest(self) -> str:
        """What a token remembers of the call: who writes and who judges, not how; a fix keeps the token."""
        check = self.check.identity if self.check else ""
        return probe_digest(("test", self.label, self.writer.identity), self.torn_tail, check)

    def probe(self, start: Tree | None = None) -> Probe:
        """Return the call as a probe that starts with ``start``."""
        return Probe(
            command=self.writer.command,
            check=self.check.command if self.check else (),
            torn_tail=self.torn_tail,
            environment=self.environment,
            start=self.start if start is None else start,
            timeout_s=self.timeout_s,
        )

    def subject(self, start: Tree, workspace: Workspace) -> Subject:
        """Return what is run, under the writer's own name."""
        subject = probe_subject(self.probe(start), workspace, self.options.seed or 1)
        return msgspec.structs.replace(subject, variant=re.sub(r"[^A-Za-z0-9._-]+", "_", self.name).strip("._-"))


def check_writer(
    writer: Writer,
    holds: Writer | None = None,
    *,
    start: Start | None = None,
    faults: Iterable[str] = DEFAULT_FAULTS,
    profiles: Iterable[str] | None = None,
    budget: float = DEFAULT_BUDGET_S,
    seed: int = 1,
    timeout: float = 10.0,
    env: Mapping[str, str] | None = None,
    torn_tail: TornTail = "violation",
    jobs: int = 0,
    keep: str | os.PathLike[str] | None = None,
    label: str = "",
    replays: str = "",
    token: ReplayRecord | None = None,
) -> Held:
    """Kill ``writer`` everywhere, take the power away, and let ``holds`` judge what is left.

    ``writer``: a callable ``(dir)`` or ``(dir, ack)``, run in a child process with the state directory as a
    ``pathlib.Path``, or a command, a list of words with ``{dir}``. It calls ``ack(id)`` when something is saved.
    ``holds``: a callable ``(dir)`` or ``(dir, acked)`` that raises or returns False for a bad state, or a command
    (exit code 0 or 1); none: files are judged by what the undisturbed run did to them.

    ``start``: the files that are there before, as a mapping of path to content, or a directory to copy. ``faults``:
    of :data:`FAULTS`. ``profiles``: file systems on which the power goes. ``budget``: seconds for what is optional.
    ``timeout``: seconds for one run. ``env``: what the writer's environment has besides PATH, HOME, TMPDIR and LANG.
    ``keep``: a directory for the report of a writer that does not hold. ``label`` and ``replays``: whose call it is,
    and the command that replays a token, its place marked by ``{token}``. ``token``: replay this one instead.

    Raises :class:`NotCrashSafeError`, :class:`NotMeasuredError` or :class:`UsageError`.
    """
    try:
        engine, _ = choose_engine()
    except NoEngineHere as error:
        raise NoEngineError(str(error)) from None
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="tornwrite-test-"))
        asked = Asked(
            writer=program_of(writer, "writer", scratch),
            check=None if holds is None else program_of(holds, "check", scratch),
            start=start_of(start, scratch),
            given=start is not None,
            options=_options(
                _words(faults), None if profiles is None else _words(profiles), budget, timeout, seed, jobs, engine
            ),
            timeout_s=timeout,
            environment=dict(env or {}),
            torn_tail=torn_tail,
            label=label,
            replays=replays,
        )
        if asked.check is not None:
            stack.enter_context(asked.check.at_hand())
        stack.enter_context(usage())
        if token is not None and token.digest != asked.digest:
            raise OtherTestError(f"the token is not of {asked.name} in this test")
        rehearsed = _rehearsed(asked)
        if token is not None:
            return _replay(asked, rehearsed, token)
        return _campaign(asked, rehearsed, os.fspath(keep) if keep is not None else scratch, keep is not None)


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Say what was asked for wrongly as everything else of this package does."""
    try:
        yield
    except (ManifestError, ProgramNotFoundError) as error:
        raise UsageError(str(error)) from None


def _words(names: Iterable[str]) -> tuple[str, ...]:
    """Return names given one by one, or in one text with commas between."""
    return tuple(word.strip() for word in names.split(",")) if isinstance(names, str) else tuple(names)


def _options(
    faults: Iterable[str],
    profiles: Iterable[str] | None,
    budget: float,
    timeout: float,
    seed: int,
    jobs: int,
    engine: str,
) -> Options:
    faults = _words(faults)
    if not faults:
        raise UsageError(f"no faults; valid: {', '.join(FAULTS)}")
    for name in faults:
        if name not in FAULTS:
            raise UsageError(f"no fault {name!r}{suggestion(str(name), FAULTS)}; valid: {', '.join(FAULTS)}")
    for what, seconds in (("budget", budget), ("timeout", timeout)):
        if not 0 < seconds < math.inf:
            raise UsageError(f"{what}: {seconds!r} is not a number of seconds")
    names = None if profiles is None else _words(profiles)
    with usage():
        load_profiles(names or ())
    return Options(
        seed=seed,
        faults=tuple(name for name in FAULTS if name in faults),
        profiles=names,
        budget_s=float(budget),
        jobs=jobs or min(_MOST_WORKERS, worker_count(0)),
        content=True,
        confirm_power=False,
        engine=engine,
    )


def start_of(start: Start | None, scratch: str) -> Tree:
    """Return the tree that ``start`` means; ``scratch`` is a directory to make it in. Raises :class:`UsageError`."""
    if start is None:
        return EMPTY_TREE
    if not isinstance(start, Mapping):
        if not os.path.isdir(start):
            raise UsageError(f"start: no directory {os.fspath(start)!r}")
        return read_tree(os.fspath(start)).tree
    root = os.path.join(scratch, "start")
    os.mkdir(root)
    for name, content in start.items():
        path = os.path.normpath(os.path.join(root, name))
        if not path.startswith(root + os.sep):
            raise UsageError(f"start: {name!r} is not a path inside the state directory")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_tree(root).tree


def _rehearsed(asked: Asked) -> Rehearsed:
    """Return the tree that every run starts with. Raises :class:`NotMeasuredError` where none makes sense."""
    if asked.check is None:
        return Rehearsed(start=asked.start)
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        subject = asked.subject(asked.start, workspace)
        (outcome,) = executor.run([Call(rehearse, (subject.spec, subject.check, asked.given))])
    rehearsed: Rehearsed = outcome.result()
    if rehearsed.problem:
        raise NotMeasuredError(not_measured(asked.name, (plain(rehearsed.problem),)))
    return rehearsed


def _campaign(asked: Asked, rehearsed: Rehearsed, directory: str, keep: bool) -> Held:
    collector = Collector()

    def make_plan(workspace: Workspace) -> Plan:
        plan = plan_probe(asked.probe(rehearsed.start), asked.options, workspace, brief=True)
        case = msgspec.structs.replace(plan.cases[0], subject=asked.subject(rehearsed.start, workspace))
        return msgspec.structs.replace(
            plan, name=f"test {asked.name}", cases=(case,), digest=asked.digest, replay=""
        )

    with RunStore.create(os.path.join(directory, "tornwrite"), sync_interval_s=_NEVER_S) as store:

        def emit(event: AnyEvent) -> None:
            store.keep(event)
            collector(event)

        finished = run_campaign(
            make_plan, store, asked.options, emit, asked.label or f"check_writer({asked.name})"
        )
        view = collector.view()
        if finished.verdict == "held":
            return Held(view.states[1], what_held(view))
        report = ""
        if keep:
            from harness.report.files import report_files  # noqa: PLC0415 -- templates are slow to import

            for path, data in report_files(view, content=True).items():
                store.write_artifact(path, data)
            report = store.path("report.md")
        if finished.verdict != "violated":
            raise NotMeasuredError(not_measured(asked.name, _reasons(asked, rehearsed, view), report))
        advice = _advice(asked, view, store)
        raise NotCrashSafeError(
            failure(view, asked.name, advice=advice, replays=asked.replays, report=report, primed=rehearsed.primed)
        )


def _reasons(asked: Asked, rehearsed: Rehearsed, view: RunView) -> tuple[str, ...]:
    """Return why nothing can be said; of a writer that fails by itself, with what it printed."""
    told = tuple(dict.fromkeys(reasons(view, plain)))
    if asked.check is None and view.cases[0].null_verdict == "inconclusive":
        with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
            spec = asked.subject(rehearsed.start, workspace).spec
            (outcome,) = executor.run([Call(why_it_fails, (spec,))])
        return (plain(outcome.value),) if outcome.value else told
    return told


def _advice(asked: Asked, view: RunView, store: RunStore) -> Advice | None:
    """Return what would repair the writer, by the rules for its files: a check cannot be asked so often."""
    case = view.cases[0]
    if case.advice is not None and case.advice.steps:
        return case.advice
    names = [name for name in store.traces() if not name.startswith("control")]
    if not names:
        return None
    trace = store.read_trace(names[0])
    judged = Judged(
        bindings=infer_bindings(trace, asked.torn_tail), inferred=True, masked=False, invariants=frozenset()
    )
    faults = asked.options.faults or ()
    profiles = load_profiles(asked.options.profiles or DEFAULT_PROFILES) if "power" in faults else ()
    return advice_for(trace, judged, profiles, asked.options.seed or 1, _ADVICE_STATES, _ADVICE_SECONDS)


def _replay(asked: Asked, rehearsed: Rehearsed, token: ReplayRecord) -> Held:
    with scratch_workspace() as workspace, Executor(asked.options.jobs, workspace.base) as executor:
        found = replay(executor, asked.subject(rehearsed.start, workspace), token, _REPLAYS, asked.options.engine)
    if found.answer == "REPRODUCED":
        raise NotCrashSafeError(replay_failure(asked.name, found.text, found.finding))
    if found.answer == "CHANGED":
        raise NotMeasuredError(not_measured(asked.name, (plain(found.text),)))
    return Held(0, plain(found.text))
