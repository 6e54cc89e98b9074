"""``tornwrite trace``: the annotated list of a program's file operations. Needs no check and judges nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from harness.cli.options import ALLOW_COMMAND, TIMEOUT_MAX_S, Number, command_words
from harness.cli.output import json_option, print_line
from harness.core.apply import apply
from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    MakeNode,
    Map,
    Open,
    Outside,
    Rename,
    SetMode,
    SetTimes,
    Sync,
    Truncate,
    Write,
)
from harness.core.point import operation_path
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.report.escape import plain
from harness.report.json_document import result_document

EXIT_INCONCLUSIVE, EXIT_BROKEN = 3, 4
_DIFFERENCES_SHOWN = 10
_LAST_WORDS = 5
"""Lines of a failing program's standard error that are shown."""


def details(op: AnyOperation) -> str:
    """Return what a line says of an operation beyond its kind and path."""
    if isinstance(op, Open):
        words = [
            word for word, on in (("create", op.created), ("truncate", op.truncated), ("append", op.append)) if on
        ]
        return " ".join(words)
    if isinstance(op, Write):
        short = f" of {len(op.requested)}" if op.requested else ""
        return f"{len(op.data)} bytes{short} at {op.offset}"
    if isinstance(op, Truncate):
        return f"to {op.size} bytes"
    if isinstance(op, Rename):
        return ("exchange with " if op.exchange else "from ") + op.path
    if isinstance(op, Link | MakeNode):
        return f"mode {op.mode:o}"
    if isinstance(op, SetMode):
        return f"to {op.mode:o}"
    if isinstance(op, SetTimes):
        return "to now" if op.mtime_ns is None else f"to {op.mtime_ns} ns"
    if isinstance(op, Sync):
        return op.scope
    if isinstance(op, Close):
        return "" if op.writers_left == 0 else f"{op.writers_left} descriptors still open"
    if isinstance(op, Map):
        return op.what
    if isinstance(op, Ack):
        return op.id
    return "not seen further" if isinstance(op, Outside) else ""


def lines(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield one row per operation: who, what, when, on what, with which result."""
    tree = trace.start
    for op in trace.operations:
        actor = trace.actors[op.actor].label if op.actor < len(trace.actors) else "p0"
        failed = os.strerror(op.error) if op.error else ""
        yield {
            "seq": op.seq,
            "at_ms": round(op.at_ns / 1e6, 3),
            "actor": actor,
            "kind": op.kind,
            "path": operation_path(op, tree),
            "detail": details(op),
            "syscall": op.syscall,
            "failed": failed,
        }
        tree = apply(tree, op)


def _print(trace: Trace) -> None:
    for row in lines(trace):
        failed = f"  failed: {row['failed']}" if row["failed"] else ""
        mark = "<<" if row["kind"] == "ack" else "  "
        text = f"{row['seq']:5} {row['at_ms']:10.3f} ms  {row['actor']:7} {mark}{row['kind']:9} "
        print_line(text + plain(f"{row['path']}  {row['detail']}".strip()) + failed)
    for sentence in trace.unseen:
        print_line(f"not seen: {plain(sentence)}")


@click.command("trace", context_settings=ALLOW_COMMAND)
@click.option("--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Pass a variable to the program.")
@click.option("--ack", default=None, metavar="REGEX", help="Pattern of acknowledgement lines; needs a group id.")
@click.option(
    "--timeout", default=30.0, type=Number(0.1, TIMEOUT_MAX_S, fraction=True), show_default=True, help="Seconds."
)
@json_option
@command_words
def command(env: tuple[str, ...], ack: str | None, timeout: float, as_json: bool, words: tuple[str, ...]) -> int:
    """List every file operation of a program below {dir}: who, what, when, and which acknowledgement came where.

    \b
    Example: tornwrite trace -- python save.py {dir}
    """
    from harness.campaign.executor import Call, Executor
    from harness.campaign.plan import require_engine
    from harness.campaign.probe import Probe, ack_pattern, environment_of, probe_subject
    from harness.campaign.scratch import scratch_workspace
    from harness.campaign.work import run_once
    from harness.core.run import DEFAULT_ACK

    probe = Probe(
        command=words,
        environment=environment_of(env),
        ack=ack_pattern(ack) if ack else DEFAULT_ACK,
        timeout_s=timeout,
    )
    require_engine()
    with scratch_workspace() as workspace:
        subject = probe_subject(probe, workspace)
        with Executor(1, workspace.base) as executor:
            (outcome,) = executor.run([Call(run_once, ("ptrace", subject.spec))])
            recording: Recording = outcome.result()
    assert recording.trace is not None
    code = EXIT_BROKEN if recording.differences else (0 if recording.ending == "exited" else EXIT_INCONCLUSIVE)
    if as_json:
        result = {
            "operations": list(lines(recording.trace)),
            "unseen": recording.trace.unseen,
            "exit_code": recording.exit_code,
            "signal": recording.signal,
            "verified": not recording.differences,
            "differences": recording.differences,
        }
        print_line(result_document("trace", code, msgspec.to_builtins(result), _problems(recording)))
        return code
    _print(recording.trace)
    _print_end(recording)
    return code


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
    if not recording.differences and recording.trace is not None:
        print_line(f"verified: replaying the {len(recording.trace.operations)} operations gives the tree on disk")
    if recording.exit_code:
        print_line(f"the program ended with exit code {recording.exit_code}")
    if recording.exit_code or recording.ending != "exited":
        for line in recording.stderr_tail.decode("utf-8", "replace").splitlines()[-_LAST_WORDS:]:
            print_line(f"it said: {plain(line, 200)}")
