"""The published Claude Code CLI itself, in a cell, against the scripted API: what the later campaigns rest on.

Needs a package registry and minutes: with ``--evidence`` only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from harness.catalog import (
    NotAvailableError,
    Subject,
    at_api,
    compile_subject,
    install,
    interrupt_line,
    load_target,
    select,
    user_line,
)
from harness.core.api_log import RequestLine
from harness.core.api_script import MCP_TOOLS, Api, ApiScript, Call, Turn, named
from harness.core.fault import NO_FAULTS
from harness.core.run import Isolation, Recording
from harness.core.tree import File, Tree
from harness.engines import engine
from harness.engines.headless import Deed, Moment, Session, SessionPlan, run_session, run_sessions
from harness.sandbox.cell import BASE, in_cell, isolation_available
from harness.sandbox.workspace import Workspace
from harness.services.mcp_config import mcp_config
from harness.services.messages_api.serving import MessagesService, ToolPlaces, prepare_tools, serving

pytestmark = [pytest.mark.real, pytest.mark.download, pytest.mark.timeout(600)]

VERSIONS = ("1.0.43", "2.1.91", "2.1.329")
TRANSCRIPTS = ".claude/projects/**/*.jsonl"
SESSION = "0a1b2c3d-0000-4000-8000-000000000001"
THREE = tuple(Call(tool="Bash", effect=True) for _ in range(3))
STUCK = Turn(
    text="now", call=tuple(Call(tool="Bash", effect=True, hold="after_effect") for _ in range(3)), finish=()
)


@pytest.fixture(params=VERSIONS)
def subject(request: pytest.FixtureRequest, tmp_path: Path, evidence: bool) -> Subject:
    if not evidence:
        pytest.skip("installs hundreds of megabytes: with --evidence only")
    if reason := isolation_available():
        pytest.skip(reason)
    try:
        install(load_target("claude_code"), request.param)
    except NotAvailableError as error:
        pytest.skip(str(error))
    chosen = select([f"claude_code@{request.param}"])[0]
    made = compile_subject(chosen.target, chosen.variant, Workspace(str(tmp_path / "workspace")))
    if made.not_available:
        pytest.skip(made.not_available)
    return made


class Stage:
    """What a conversation has in the cell: its program, its API, and what was seen of both."""

    def __init__(self, subject: Subject, service: MessagesService) -> None:
        assert subject.headless is not None
        self.words = subject.headless
        self.spec = at_api(subject.spec, service.url)
        self._service = service

    def requests(self) -> list[RequestLine]:
        """Return the requests of conversations so far."""
        lines = self._service.lines()
        return [line for line in lines if isinstance(line, RequestLine) and line.kind == "main"]

    def say(self, deeds: Iterable[Deed] = (), start: Tree | None = None, **words: Any) -> Session:
        """Run one session on ``start``."""
        spec = msgspec.structs.replace(self.spec, argv=self.words.argv(self.spec.argv, **words))
        if start is not None:
            spec = msgspec.structs.replace(spec, start=start)
        return run_session(spec, tuple(deeds), counters={"waiting": lambda: self._service.at_gates("waits")})


def on_stage(place: Path, subject: Subject, play: Callable[[Stage], Any], *turns: Turn) -> tuple[Any, bytes]:
    """Run ``play`` in a cell with an API that has these turns; return what it gives, and the ledger."""

    def inside() -> tuple[Any, bytes]:
        script = ApiScript(turn=named(turns), api=Api(unique_ids=not subject.version.startswith("1.")))
        tools = prepare_tools(BASE)
        with serving(script, f"{BASE}/log", tools=tools, cwd=subject.spec.cwd) as service:
            return play(Stage(subject, service)), Path(tools.ledger).read_bytes()

    seen = in_cell(subject.spec, Workspace(str(place / "workspace")).base, inside, timeout_s=240)
    assert seen.network.packets_elsewhere == 0 and seen.network.loopback_packets > 20
    value: tuple[Any, bytes] = seen.value
    return value


def transcripts(tree: Tree) -> dict[str, list[dict[str, Any]]]:
    """Return the records of each transcript by its session."""
    found = {}
    for path, file in tree.files():
        if path.startswith(".claude/projects/") and path.endswith(".jsonl"):
            records = [json.loads(line) for line in file.content.to_bytes().splitlines()]
            found[os.path.basename(path).removesuffix(".jsonl")] = records
    return found


def blocks(records: Iterable[dict[str, Any]], kind: str) -> Iterator[str]:
    for record in records:
        content = (record.get("message") or {}).get("content")
        for block in content if isinstance(content, list) else ():
            if block.get("type") == kind:
                yield block.get("tool_use_id") or block.get("id")


def result_of(session: Session) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(session.lines[-1][1])
    return value


class Played(NamedTuple):
    first: Session
    again: Session
    requests: list[RequestLine]


def test_three_tools_at_once_complete_and_the_session_resumes(tmp_path: Path, subject: Subject) -> None:
    def play(stage: Stage) -> Played:
        first = stage.say(prompt="do three things")
        again = stage.say(start=first.final, prompt="again", resume=result_of(first)["session_id"])
        return Played(first, again, stage.requests())

    before = set(os.listdir("/tmp"))
    played, ledger = on_stage(
        tmp_path, subject, play, Turn(text="now", call=THREE), Turn(text="done"), Turn(text="well")
    )
    assert (played.first.exit_code, played.again.exit_code) == (0, 0)
    assert (played.first.survivors, played.again.survivors) == (0, 0)
    assert result_of(played.first)["result"] == "done" and result_of(played.again)["result"] == "well"
    session = result_of(played.first)["session_id"]
    assert f".claude/projects/-tmp-tornwrite-cwd/{session}.jsonl" in played.first.final.names
    records = transcripts(played.first.final)[session]
    called = ledger.decode().split()
    assert len(called) == 3
    assert sorted(blocks(records, "tool_use")) == sorted(blocks(records, "tool_result")) == sorted(called)
    resumed = played.requests[-1]
    assert sorted({block.id for block in resumed.blocks if block.type == "tool_result"}) == sorted(called)
    settings = played.first.final.node_at(".claude.json")
    assert isinstance(settings, File) and json.loads(settings.content.to_bytes())
    left = {name for name in set(os.listdir("/tmp")) - before if "claude" in name}
    assert not left  # 2.1.91 makes /tmp/claude-0, whatever TMPDIR says


def test_a_kill_leaves_calls_without_results_and_an_interrupt_answers_them(
    tmp_path: Path, subject: Subject
) -> None:
    def play(stage: Stage) -> tuple[Session, Session]:
        seen = Moment(counted="waiting", delay_us=300_000)
        killed = stage.say([Deed(at=seen, signal="SIGKILL", victim="tree")], prompt="do")
        stop = Deed(at=seen, say=interrupt_line("stop"))
        over = Deed(at=Moment(counted="lines", pattern='"type":"result"'), close=True)
        return killed, stage.say([Deed(say=user_line("do")), stop, over])

    (killed, stopped), ledger = on_stage(tmp_path, subject, play, STUCK, STUCK)
    assert (killed.signal, len(killed.done)) == (9, 1)
    assert len(ledger.splitlines()) >= 2  # of each at least one: 2.1.329 runs them one after the other
    (records,) = transcripts(killed.final).values()
    assert set(blocks(records, "tool_result")) < set(blocks(records, "tool_use"))
    if subject.version.startswith("1."):
        assert b"Expected message type 'user', got 'control_request'" in stopped.stderr_tail
        return
    assert any(b"control_response" in line for _, line in stopped.lines)
    (records,) = transcripts(stopped.final).values()
    assert sorted(blocks(records, "tool_result")) == sorted(blocks(records, "tool_use"))


def test_gated_tools_of_an_mcp_server_finish_in_the_order_of_the_script(tmp_path: Path, subject: Subject) -> None:
    calls = tuple(Call(tool=MCP_TOOLS[1], id=word, effect=True, hold="before_effect") for word in "abc")
    told = Path(BASE, "mcp.json")

    def play(stage: Stage) -> Session:
        told.write_text(mcp_config(ToolPlaces(f"{BASE}/ledger", f"{BASE}/gates")))
        return stage.say(prompt="do", tools=MCP_TOOLS, mcp=str(told))

    # The CLI does not wait for its servers for ever; a loaded machine may be slow to start one.
    before = Turn(call=(Call(tool="Bash", input={"command": "sleep 5"}),))
    turns = (before, Turn(call=calls, finish=("c", "a", "b")), Turn(text="done"))
    session, ledger = on_stage(tmp_path, subject, play, *turns)
    assert session.exit_code == 0 and result_of(session)["result"] == "done"
    (records,) = transcripts(session.final).values()
    called = list(blocks(records, "tool_use"))
    assert sorted(blocks(records, "tool_result")) == sorted(called)
    assert sorted(called[1:]) == sorted(ledger.decode().split()) and len(called) == 4


def test_two_resumes_at_once_and_the_trace_of_a_session(tmp_path: Path, subject: Subject) -> None:
    def play(stage: Stage) -> tuple[Session, tuple[Session, ...], Recording]:
        options = {"session": SESSION} if stage.words.offers("session") else {}
        first = stage.say(prompt="begin", **options)
        session = options.get("session") or result_of(first)["session_id"]
        argv = stage.words.argv(stage.spec.argv, prompt="go on", resume=session)
        spec = msgspec.structs.replace(stage.spec, argv=argv, start=first.final)
        both = run_sessions([SessionPlan(spec=spec), SessionPlan(spec=spec, after_us=50_000)])
        return first, both, engine("ptrace").run(spec, NO_FAULTS)

    if reason := engine("ptrace").available():
        pytest.skip(reason)
    (first, both, recording), _ = on_stage(tmp_path, subject, play, Turn(text="begun"))
    assert [session.exit_code for session in (first, *both)] == [0, 0, 0]
    if not subject.version.startswith("1."):
        assert SESSION in transcripts(first.final)
        assert len(transcripts(both[0].final)[SESSION]) > len(transcripts(first.final)[SESSION])
    assert (recording.ending, recording.exit_code, recording.differences) == ("exited", 0, ())
    assert recording.trace is not None and len(recording.trace.operations) > 10
    assert isinstance(recording.spec.isolation, Isolation)
