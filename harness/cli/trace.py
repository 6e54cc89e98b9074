"""``tornwrite trace``: the annotated list of a program's file operations, and from when on each is durable.

Needs no check and judges nothing, unless ``--audit`` or ``--advise`` ask for it: then the states that kills and power
losses allow are judged by what the trace itself says of its files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from harness.cli.options import (
    ALLOW_COMMAND,
    TIMEOUT_MAX_S,
    Number,
    chosen_engine,
    command_words,
    engine_option,
    profile_option,
)
from harness.cli.output import json_option, print_folded, print_line
from harness.core.advice import Advice, Audit
from harness.core.apply import apply
from harness.core.point import operation_path
from harness.core.profile import Profile
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.explore.power.durability import durable_after
from harness.report.advice import advice_sentences, audit_sentences, durable_sentence
from harness.report.escape import plain
from harness.report.json_document import result_document
from harness.report.operation import operation_detail
from harness.report.trace_document import TraceResult, TraceRow

if TYPE_CHECKING:
    from harness.campaign.executor import Executor

EXIT_INCONCLUSIVE, EXIT_BROKEN = 3, 4
_DIFFERENCES_SHOWN = 10
_MARGIN = " " * 28
_LAST_WORDS = 5
"""Lines of a failing program's standard error that are shown."""


def rows(trace: Trace, profiles: Sequence[Profile] = ()) -> Iterator[TraceRow]:
    """Yield one row per operation: who, what, when, on what, with which result, and from when on it is durable."""
    durable = {profile.name: durable_after(trace, profile) for profile in profiles}
    tree = trace.start
    for index, op in enumerate(trace.operations):
        after = {name: found[index] for name, found in durable.items()}
        yield TraceRow(
            seq=op.seq,
            at_ms=round(op.at_ns / 1e6, 3),
            actor=trace.actors[op.actor].label if op.actor < len(trace.actors) else "p0",
            kind=op.kind,
            path=operation_path(op, tree),
            detail=operation_detail(op),
            syscall=op.syscall,
            failed=os.strerror(op.error) if op.error else "",
            durable_after={name: number for name, number in after.items() if number is not None},
        )
        tree = apply(tree, op)


def _unseen(trace: Trace) -> tuple[str, ...]:
    """Return what the list does not show, in sentences."""
    from harness.campaign.record import limits_of

    return (*limits_of(trace), *trace.unseen)


def _print(trace: Trace, profiles: Sequence[Profile]) -> None:
    for row in rows(trace, profiles):
        failed = f"  failed: {row.failed}" if row.failed else ""
        mark = "<<" if row.kind == "ack" else "  "
        text = f"{row.seq:5} {row.at_ms:10.3f} ms  {row.actor:7} {mark}{row.kind:9} "
        print_line(text + plain(f"{row.path}  {row.detail}".strip()) + failed)
        durable = durable_sentence(row.durable_after, row.seq, row.kind)
        if durable:
            print_folded(_MARGIN, plain(durable))
    for sentence in _unseen(trace):
        print_line(f"not seen: {plain(sentence)}")


def _print_answers(answers: Answers) -> None:
    if answers.audit is not None:
        print_line("barriers, each left out and the states explored again:")
        for sentence in audit_sentences(answers.audit, plain):
            print_folded("  - ", sentence)
    if answers.advice is not None:
        print_line("advice:")
        for sentence in advice_sentences(answers.advice, plain):
            print_folded("  - ", sentence)


class Answers(NamedTuple):
    """What was asked for beyond the list; ``None`` where it was not, or the recording cannot be built upon."""

    audit: Audit | None = None
    advice: Advice | None = None


@click.command("trace", context_settings=ALLOW_COMMAND)
@click.option("--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Pass a variable to the program.")
@click.option("--ack", default=None, metavar="REGEX", help="Pattern of acknowledgement lines; needs a group id.")
@click.option(
    "--timeout", default=30.0, type=Number(0.1, TIMEOUT_MAX_S, fraction=True), show_default=True, help="Seconds."
)
@engine_option
@profile_option
@click.option("--audit", is_flag=True, help="Say of each sync and rename what it holds up.")
@click.option(
    "--advise", is_flag=True, help="Say what to change so that no kill and no power loss damages anything."
)
@click.option(
    "--seed", default=1, type=Number(0, (1 << 63) - 1), help="Seed of what is sampled by --audit, --advise."
)
@json_option
@command_words
def command(
    env: tuple[str, ...],
    ack: str | None,
    timeout: float,
    engine_name: str | None,
    profiles: tuple[str, ...] | None,
    audit: bool,
    advise: bool,
    seed: int,
    as_json: bool,
    words: tuple[str, ...],
) -> int:
    """List every file operation of a program below {dir}: who, what, when, and from when on it survives a power loss.

    "durable after 12": once operation 12 has returned. A line with << is an acknowledgement.

    \b
    Example: tornwrite trace -- python save.py {dir}
             tornwrite trace --advise --profile all -- python save.py {dir}
    """
    from harness.campaign.executor import Call, Executor
    from harness.campaign.probe import Probe, ack_pattern, environment_of, probe_subject
    from harness.campaign.scratch import scratch_workspace
    from harness.campaign.work import run_once
    from harness.catalog.profiles import DEFAULT_PROFILES, load_profiles
    from harness.core.run import DEFAULT_ACK

    probe = Probe(
        command=words,
        environment=environment_of(env),
        ack=ack_pattern(ack) if ack else DEFAULT_ACK,
        timeout_s=timeout,
    )
    chosen = load_profiles(profiles or DEFAULT_PROFILES)
    engine_name = chosen_engine(engine_name)
    with scratch_workspace() as workspace:
        subject = probe_subject(probe, workspace)
        with Executor(1, workspace.base) as executor:
            (outcome,) = executor.run([Call(run_once, (engine_name, subject.spec))])
            recording: Recording = outcome.result()
            answers = Answers()
            if not _problems(recording):
                answers = _answers(executor, recording, chosen, seed, audit=audit, advise=advise)
    assert recording.trace is not None
    code = EXIT_BROKEN if recording.differences else (0 if recording.ending == "exited" else EXIT_INCONCLUSIVE)
    if as_json:
        result = TraceResult(
            operations=tuple(rows(recording.trace, chosen)),
            unseen=_unseen(recording.trace),
            exit_code=recording.exit_code,
            signal=recording.signal,
            verified=not recording.differences,
            differences=recording.differences,
            profiles=tuple(profile.name for profile in chosen),
            audit=answers.audit,
            advice=answers.advice,
            advice_text=tuple(advice_sentences(answers.advice, str)) if answers.advice else (),
            audit_text=tuple(audit_sentences(answers.audit, str)) if answers.audit else (),
        )
        print_line(result_document("trace", code, result, _problems(recording)))
        return code
    _print(recording.trace, chosen)
    _print_end(recording)
    if (audit or advise) and _problems(recording):
        print_line("no audit and no advice: the run cannot be built upon")
    _print_answers(answers)
    return code


def _answers(
    executor: Executor, recording: Recording, profiles: Sequence[Profile], seed: int, *, audit: bool, advise: bool
) -> Answers:
    """Ask workers for the audit and the advice, side by side."""
    from harness.campaign.advising import advice_for, audit_for
    from harness.campaign.executor import Call
    from harness.campaign.work import Judged
    from harness.checks import infer_bindings

    trace = recording.trace
    if trace is None:
        return Answers()
    bindings = infer_bindings(trace)
    judged = Judged(bindings=bindings, inferred=True, masked=False, invariants=frozenset())
    arguments = (trace, judged, tuple(profiles), seed)
    calls = [Call(audit_for, arguments, "audit", needs_workspace=False)] if audit else []
    calls += [Call(advice_for, arguments, "advice", needs_workspace=False)] if advise else []
    return Answers(**{outcome.key: outcome.result() for outcome in executor.run(calls)})


def _problems(recording: Recording) -> tuple[str, ...]:
    """Return, one line each, why the list is not that of a whole run that can be trusted."""
    if recording.differences:
        return tuple(
            f"replaying the trace does not give the tree on disk: {line}" for line in recording.differences
        )
    if recording.ending != "exited":
        return (f"the program did not end by itself: {recording.ending_detail or _death(recording)}",)
    return ()


def _death(recording: Recording) -> str:
    return f"it died of signal {recording.signal}" if recording.signal is not None else recording.ending


def _print_end(recording: Recording) -> None:
    for line in _problems(recording)[:_DIFFERENCES_SHOWN]:
        print_line(plain(line))
    if not recording.differences and recording.trace is not None and recording.ending != "limit":
        print_line(f"verified: replaying the {len(recording.trace.operations)} operations gives the tree on disk")
    if recording.exit_code:
        print_line(f"the program ended with exit code {recording.exit_code}")
    if recording.exit_code or recording.ending != "exited":
        for line in recording.stderr_tail.decode("utf-8", "replace").splitlines()[-_LAST_WORDS:]:
            print_line(f"it said: {plain(line, 200)}")
