"""Driving a program that streams: what is said to it and sent to it, at which moment, and what is told of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import msgspec
import pytest

from harness.core.run import Isolation, Limits, RunSpec
from harness.core.tree import File
from harness.engines.base import TargetNotStartedError
from harness.engines.headless import Deed, Moment, Session, SessionPlan, run_session, run_sessions
from harness.sandbox.workspace import Workspace, WorkspaceError
from tests.survivors import marked, new_mark

pytestmark = pytest.mark.real

STANDS_IN = """
import json, os, signal, subprocess, sys, time
home = os.environ["HOME"]
os.makedirs(home + "/.claude/projects/-p", exist_ok=True)
log = open(home + "/.claude/projects/-p/s.jsonl", "ab", buffering=0)
def say(**value):
    print(json.dumps(value), flush=True)
def on_int(*_):
    say(type="interrupted")
    sys.exit(7)
if "deaf" not in sys.argv:
    signal.signal(signal.SIGINT, on_int)
if "daemon" in sys.argv:
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)", sys.argv[-1]], start_new_session=True)
say(type="ready", env=sorted(os.environ))
for line in sys.stdin:
    value = json.loads(line)
    log.write(line.encode())
    say(type="heard", bytes=len(line), what=value.get("type"))
    if value.get("type") == "sleep":
        time.sleep(600)
say(type="result")
sys.stdout.write("unfinished")
"""


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    workspace = Workspace(str(tmp_path / "w"))
    return RunSpec(
        argv=(sys.executable, "-S", "-c", STANDS_IN),
        root=workspace.root,
        cwd=workspace.cwd,
        environment={"HOME": workspace.root, "PATH": os.defpath},
        limits=Limits(timeout_s=20.0),
    )


def with_words(spec: RunSpec, *words: str, timeout_s: float = 20.0) -> RunSpec:
    return RunSpec(
        argv=(*spec.argv, *words),
        root=spec.root,
        cwd=spec.cwd,
        environment=spec.environment,
        limits=Limits(timeout_s=timeout_s),
    )


def line(kind: str, **more: object) -> bytes:
    return json.dumps({"type": kind, **more}).encode() + b"\n"


def kinds(session: Session) -> list[str]:
    return [json.loads(text)["type"] for _, text in session.lines if text.startswith(b"{")]


READY = Moment(counted="lines", pattern='"ready"')
HEARD = Moment(counted="lines", pattern='"heard"')
LOGS = ".claude/projects/**/*.jsonl"


def test_nothing_is_said_and_the_program_ends_by_itself(spec: RunSpec) -> None:
    session = run_session(spec)
    assert (session.ending, session.exit_code, session.signal, session.ending_detail) == ("exited", 0, None, "")
    assert kinds(session) == ["ready", "result"]
    assert session.lines[-1][1] == b"unfinished"
    times = [at_us for at_us, _ in session.lines]
    assert times == sorted(times) and 0 < times[-1] < session.wall_ms * 1e3
    assert session.final.names.keys() >= {".claude/projects/-p/s.jsonl"}
    assert session.cpu_ms > 0 and session.survivors == 0
    environment = json.loads(session.lines[0][1])["env"]
    assert set(environment) <= {"HOME", "PATH", "LC_CTYPE", "PWD"}


def test_words_arrive_in_order_whole_and_then_the_end(spec: RunSpec) -> None:
    large = line("user", text="x" * 300_000)  # more than a pipe takes at once
    session = run_session(
        spec, [Deed(at=READY, say=large), Deed(at=HEARD, say=line("control_request"), close=True)]
    )
    assert kinds(session) == ["ready", "heard", "heard", "result"]
    assert [done.index for done in session.done] == [0, 1] and session.done[0].at_us <= session.done[1].at_us
    content = Path(spec.root, ".claude/projects/-p/s.jsonl").read_bytes()
    assert content == large + line("control_request")


def test_a_signal_comes_at_its_record_and_later_by_its_delay(spec: RunSpec) -> None:
    records = Moment(counted="records", count=2, pattern=LOGS, delay_us=50_000)
    say = Deed(say=line("user") + line("sleep"))
    session = run_session(spec, [say, Deed(at=records, signal="SIGKILL")])
    assert (session.ending, session.signal, session.exit_code) == ("signalled", 9, None)
    heard = [at_us for at_us, text in session.lines if b"heard" in text]
    assert len(heard) == 2 and session.done[1].at_us >= 50_000
    assert session.done[1].at_us + 5_000_000 > heard[1]  # nobody waited for a timeout
    again = run_session(
        RunSpec(argv=spec.argv, root=spec.root, cwd=spec.cwd, environment=spec.environment, start=session.final),
        [say, Deed(at=records, signal="SIGKILL")],
    )
    log = again.final.node_at(".claude/projects/-p/s.jsonl")
    assert isinstance(log, File) and log.content.to_bytes().count(b"\n") == 4  # two more than at the start


def test_requests_are_counted_by_the_caller(spec: RunSpec) -> None:
    began = time.monotonic()

    def seen() -> int:
        return 5 + int((time.monotonic() - began) * 10)  # five came before this program

    session = run_session(
        spec,
        [Deed(at=READY, say=line("sleep")), Deed(at=Moment(counted="requests", count=8), signal="SIGINT")],
        counters={"requests": seen},
    )
    assert (session.ending, session.exit_code) == ("exited", 7)
    assert kinds(session)[-1] == "interrupted"
    assert time.monotonic() - began >= 0.8


def test_a_moment_that_does_not_come_leaves_its_deed_undone(spec: RunSpec) -> None:
    never = Moment(counted="requests", count=1)
    session = run_session(spec, [Deed(close=True), Deed(at=never, signal="SIGKILL")], counters={"requests": int})
    assert (session.ending, session.exit_code, len(session.done)) == ("exited", 0, 1)


@pytest.mark.parametrize("victim", ["program", "tree"])
def test_what_outlives_the_program_is_counted_and_ended(spec: RunSpec, victim: str) -> None:
    mark = new_mark()
    deeds = [Deed(at=READY, say=line("sleep")), Deed(at=HEARD, signal="SIGKILL", victim=victim)]  # type: ignore[arg-type]
    session = run_session(with_words(spec, "daemon", mark), deeds, linger_ms=100)
    assert (session.signal, session.survivors) == (9, 1)
    assert not marked(mark)


def test_timeouts_limits_and_what_cannot_start(spec: RunSpec) -> None:
    session = run_session(with_words(spec, timeout_s=0.7), [Deed(say=line("sleep"))])
    assert (session.ending, session.ending_detail) == ("timeout", "did not end within 0.7 s; killed")
    small = RunSpec(
        argv=spec.argv, root=spec.root, cwd=spec.cwd, environment=spec.environment, limits=Limits(output_bytes=10)
    )
    session = run_session(small, [Deed(say=line("sleep"))])
    assert session.ending == "limit" and "more than 10 bytes on standard output" in session.ending_detail
    gone = RunSpec(argv=("/no/such/program",), root=spec.root, cwd=spec.cwd, environment={})
    with pytest.raises(TargetNotStartedError):
        run_session(gone, [Deed(close=True)])


def test_what_needs_isolation_is_not_started_outside_of_a_cell(spec: RunSpec) -> None:
    alone = RunSpec(
        argv=spec.argv, root=spec.root, cwd=spec.cwd, environment=spec.environment, isolation=Isolation()
    )
    with pytest.raises(WorkspaceError, match="full isolation only"):
        run_session(alone)


def test_sessions_run_together_on_one_state(spec: RunSpec) -> None:
    def plan(text: str, after_us: int) -> SessionPlan:
        return SessionPlan(
            spec=spec, deeds=(Deed(at=READY, say=line("user", text=text), close=True),), after_us=after_us
        )

    first, second = run_sessions([plan("one", 0), plan("two", 1000)])
    assert first.exit_code == second.exit_code == 0
    assert kinds(first) == kinds(second) == ["ready", "heard", "result"]
    log = first.final.node_at(".claude/projects/-p/s.jsonl")
    assert isinstance(log, File) and log.content.to_bytes().count(b"\n") == 2
    with pytest.raises(ValueError, match="nothing counts 'request'; counted: start, lines, records, requests"):
        run_session(spec, [Deed(at=Moment(counted="request"))], counters={"requests": int})
    elsewhere = msgspec.structs.replace(spec, root=spec.cwd)
    with pytest.raises(ValueError, match="one state directory"):
        run_sessions([SessionPlan(spec=spec), SessionPlan(spec=elsewhere)])
