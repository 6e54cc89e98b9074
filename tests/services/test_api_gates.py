"""Gated tools: real shells and the MCP server at their gates, in the order that the script says."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.core.api_log import GateLine, RequestLine, decode_lines
from harness.core.api_script import MCP_TOOLS, Api, ApiScript, Call, Turn, named
from harness.services.mcp_config import mcp_config
from harness.services.messages_api.serving import (
    ApiServiceError,
    MessagesService,
    ToolPlaces,
    prepare_tools,
    serving,
)
from harness.services.messages_api.shell import LISTED
from tests.survivors import survivors

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="gates are named pipes")

GATE, EFFECT = MCP_TOOLS


class Bench:
    """A service, its tools' places, and what its log has said so far."""

    def __init__(self, service: MessagesService, places: ToolPlaces) -> None:
        self.service = service
        self.places = places
        self.gates: list[GateLine] = []
        self.words: dict[str, str] = {}

    def ask(self) -> dict[str, dict[str, Any]]:
        """Take a turn; return its calls' blocks by their words."""
        connection = http.client.HTTPConnection(self.service.url.removeprefix("http://"), timeout=20)
        body = {"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "Bash"}]}
        connection.request("POST", "/v1/messages", json.dumps(body))
        blocks = json.loads(connection.getresponse().read())["content"]
        connection.close()
        self.look()
        return {self.words[block["id"]]: block for block in blocks if block["type"] == "tool_use"}

    def look(self) -> list[tuple[str, str]]:
        """Return what has happened at the gates, as (word, what)."""
        for line in self.service.new_lines():
            if isinstance(line, GateLine):
                self.gates.append(line)
            elif isinstance(line, RequestLine):
                self.words |= {call.tool_use_id: call.call for call in line.calls}
        return [(line.call, line.what) for line in self.gates]

    def wait_for(self, *events: tuple[str, str]) -> list[tuple[str, str]]:
        """Wait until all of ``events`` have happened; return all that has."""
        limit = time.monotonic() + 20
        while not set(events) <= set(found := self.look()):
            assert time.monotonic() < limit, found
            time.sleep(0.005)
        return found

    def ledger(self) -> list[str]:
        """Return the words of the effects that were left, in order."""
        return [self.words[line] for line in Path(self.places.ledger).read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with contextlib.ExitStack() as stack:

        def start(*turns: Turn, **api: Any) -> Bench:
            places = prepare_tools(str(tmp_path / "tools"))
            script = ApiScript(turn=named(turns), api=Api(**{"patience_ms": 60_000, **api}))
            service = stack.enter_context(serving(script, str(tmp_path / "log.jsonl"), tools=places))
            return Bench(service, places)

        yield start


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(block: dict[str, Any]) -> subprocess.Popen[str]:
        popen = subprocess.Popen(
            ["/bin/sh", "-c", block["input"]["command"]],
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
        )
        started.append(popen)
        return popen

    yield run
    for popen in started:
        with contextlib.suppress(OSError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        if popen.stdout is not None:
            popen.stdout.close()


def bash(word: str, **fields: Any) -> Call:
    return Call(tool="Bash", id=word, **fields)


def waiting(*words: str) -> tuple[Call, ...]:
    return tuple(bash(word, hold="after_effect") for word in words)


def test_shells_end_in_the_order_of_the_script_whatever_order_they_come_in(
    bench: Callable[..., Bench], shell: Callable[..., subprocess.Popen[str]]
) -> None:
    it = bench(Turn(call=waiting("a", "b", "c"), finish=("c", "a", "b")))
    blocks = it.ask()
    shells = {word: shell(blocks[word]) for word in "bac"}
    found = it.wait_for(("a", "ended"), ("b", "ended"), ("c", "ended"))
    assert [each for each in found if each[1] != "waits"] == [
        (word, what) for word in "cab" for what in ("let_go", "ended")
    ]
    assert [shells[word].communicate()[0] for word in "abc"] == ["did a\n", "did b\n", "did c\n"]
    assert sum(isinstance(line, GateLine) for line in it.service.lines()) == 9  # all of them, told before or not
    ended = {line.call: line.at_ms for line in it.gates if line.what == "ended"}
    let_go = {line.call: line.at_ms for line in it.gates if line.what == "let_go"}
    assert let_go["a"] - ended["c"] >= 29
    assert os.listdir(it.places.gates) == []


def test_effects_are_left_before_or_after_the_wait(
    bench: Callable[..., Bench], shell: Callable[..., subprocess.Popen[str]]
) -> None:
    calls = (
        bash("early", effect=True, hold="after_effect", result_bytes=7),
        bash("late", effect=True, hold="before_effect"),
        bash("now", effect=True),
    )
    it = bench(Turn(call=calls, finish=()))
    blocks = it.ask()
    assert shell(blocks["now"]).wait() == 0
    early, _ = shell(blocks["early"]), shell(blocks["late"])
    it.wait_for(("early", "waits"), ("late", "waits"))
    assert it.ledger() == ["now", "early"]
    time.sleep(0.1)
    assert early.poll() is None  # left out of finish: nobody lets it go but the caller
    for word in ("late", "early"):
        it.service.let_go(blocks[word]["id"])
        it.wait_for((word, "ended"))
    assert it.ledger() == ["now", "early", "late"]
    assert early.communicate()[0] == "xxxxxxx"


def test_one_that_waits_for_what_never_comes_is_let_go_early_and_that_is_said(
    bench: Callable[..., Bench], shell: Callable[..., subprocess.Popen[str]]
) -> None:
    it = bench(Turn(call=waiting("a", "b"), finish=("b", "a")), patience_ms=150)
    blocks = it.ask()
    assert shell(blocks["a"]).wait() == 0
    assert shell(blocks["b"]).wait() == 0
    found = it.wait_for(("b", "ended"))
    assert [what for word, what in found if word == "a"] == ["waits", "let_go_early", "ended"]
    assert [what for word, what in found if word == "b"] == ["waits", "let_go", "ended"]


def test_the_next_call_waits_for_the_end_of_the_one_before_however_long_that_takes(
    bench: Callable[..., Bench], shell: Callable[..., subprocess.Popen[str]]
) -> None:
    slow = bash("a", hold="after_effect", input={"command": "sleep 0.4"})
    it = bench(Turn(call=(slow, *waiting("b"))), patience_ms=50)
    blocks = it.ask()
    shell(blocks["a"])
    it.wait_for(("a", "waits"))
    shell(blocks["b"])
    found = it.wait_for(("b", "ended"))
    assert [each for each in found if each[1] != "waits"] == [
        (word, what) for word in "ab" for what in ("let_go", "ended")
    ]


def test_calls_of_two_answers_go_one_after_the_other_too(
    bench: Callable[..., Bench], shell: Callable[..., subprocess.Popen[str]]
) -> None:
    it = bench(Turn(call=waiting("a")), Turn(call=waiting("b")), gap_ms=200)
    blocks = it.ask() | it.ask()
    for word in "ab":
        shell(blocks[word])
    it.wait_for(("a", "ended"), ("b", "ended"))
    (_, first), (_, second) = sorted((line.what, line.at_ms) for line in it.gates if line.what == "let_go")
    assert second - first >= 200


def test_a_call_that_is_killed_gives_up_and_the_next_goes_on(
    bench: Callable[..., Bench], shell: Callable[..., subprocess.Popen[str]]
) -> None:
    it = bench(Turn(call=waiting("a", "b"), finish=()), Turn(call=waiting("c")))
    blocks = it.ask()
    first = shell(blocks["a"])
    it.wait_for(("a", "waits"))
    os.killpg(first.pid, signal.SIGKILL)
    it.wait_for(("a", "given_up"))
    assert shell(it.ask()["c"]).wait() == 0  # another turn is not kept up by what stays open in the first


def test_a_call_is_held_no_longer_than_its_time(
    bench: Callable[..., Bench], shell: Callable[..., subprocess.Popen[str]]
) -> None:
    it = bench(Turn(call=(bash("a", effect=True, hold="before_effect"),), finish=()), hold_s=0.2)
    assert shell(it.ask()["a"]).wait() == 1
    assert it.ledger() == []
    it.wait_for(("a", "timed_out"))


def test_a_call_that_never_comes_gives_its_gate_up(bench: Callable[..., Bench]) -> None:
    it = bench(Turn(call=waiting("a")), hold_s=0.1)
    it.ask()
    assert len(os.listdir(it.places.gates)) == 1
    assert it.wait_for(("a", "given_up")) == [("a", "given_up")]
    assert os.listdir(it.places.gates) == []


def test_gates_that_a_killed_service_left_are_not_in_the_way_and_what_cannot_be_made_is_said(
    tmp_path: Path,
) -> None:
    places = prepare_tools(str(tmp_path))
    script = ApiScript(turn=named((Turn(call=waiting("a")),)))
    for leave in (True, False):
        with serving(script, str(tmp_path / "log.jsonl"), tools=places) as service:
            Bench(service, places).ask()
            if leave:
                os.kill(service.pid, signal.SIGKILL)
        assert len(os.listdir(places.gates)) == leave
    os.rmdir(places.gates)
    with serving(script, str(tmp_path / "log.jsonl"), tools=places) as service:
        it = Bench(service, places)
        with pytest.raises(KeyError, match="content"):
            it.ask()
        lines = decode_lines(Path(service.log).read_bytes())[0]
        assert [line.status for line in lines if isinstance(line, RequestLine)] == [200, 200, 500]


def test_the_end_of_the_service_lets_nobody_through_and_leaves_no_gate(tmp_path: Path) -> None:
    places = prepare_tools(str(tmp_path))
    script = ApiScript(turn=named((Turn(call=(bash("a", effect=True, hold="before_effect"), *waiting("b"))),)))
    with serving(script, str(tmp_path / "log.jsonl"), tools=places) as service:
        it = Bench(service, places)
        command = it.ask()["a"]["input"]["command"]
        # The script lets "a" go at once where it comes, so it comes while nobody is there to do that.
        os.kill(service.pid, signal.SIGSTOP)
        popen = subprocess.Popen(["/bin/sh", "-c", command])
        time.sleep(0.1)
        os.kill(service.pid, signal.SIGCONT)
        assert popen.wait() == 0
    assert os.listdir(places.gates) == []
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["/bin/sh", "-c", command], check=True, stderr=subprocess.DEVNULL)


def test_a_script_with_gates_needs_a_place_for_them(tmp_path: Path) -> None:
    script = ApiScript(turn=named((Turn(call=waiting("a")),)))
    with pytest.raises(ApiServiceError, match="no place"), serving(script, str(tmp_path / "log")):
        pass


def _connect(places: ToolPlaces) -> Any:
    mcp = pytest.importorskip("mcp")
    config = json.loads(mcp_config(places))["mcpServers"]["tornwrite"]
    parameters = mcp.StdioServerParameters(command=config["command"], args=config["args"], env=config["env"])
    return mcp.Client(parameters, read_timeout_seconds=30)


def test_mcp_tools_run_side_by_side_and_end_in_the_order_of_the_script(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    anyio = pytest.importorskip("anyio")
    calls = (
        Call(tool=GATE, id="g", hold="after_effect"),
        Call(tool=EFFECT, id="e", effect=True, hold="before_effect"),
        Call(tool=EFFECT, id="f", effect=True, hold="after_effect", result_bytes=70_000),
        Call(tool=EFFECT, id="n", effect=True),
    )
    it = bench(Turn(call=calls, finish=("f", "g", "e")), patience_ms=60_000)
    blocks = it.ask()
    ended: list[str] = []
    said: dict[str, str] = {}

    async def drive() -> None:
        async with _connect(it.places) as client:
            listed = (await client.list_tools()).tools
            assert any(name.startswith(LISTED) for name in os.listdir(it.places.gates))
            assert {tool.name: tool.annotations.read_only_hint for tool in listed} == {
                "gate": True,
                "effect": True,
            }

            async def call(word: str) -> None:
                block = blocks[word]
                answer = await client.call_tool(block["name"].rpartition("__")[2], block["input"])
                assert not answer.is_error
                ended.append(word)
                said[word] = answer.content[0].text

            async with anyio.create_task_group() as group:
                for word in blocks:
                    group.start_soon(call, word)
            wrong = await client.call_tool("gate", {"id": "toolu_other", "hold": "after_effect"})
            assert wrong.is_error and "no gate" in wrong.content[0].text
            for arguments in ({}, {"id": "../x"}, {"id": "a", "hold": "odd"}, {"id": "a", "result_bytes": -1}):
                assert (await client.call_tool("effect", arguments)).is_error

    anyio.run(drive)
    assert [word for word in ended if word != "n"] == ["f", "g", "e"]  # nobody holds "n"
    assert "n" in ended
    assert said["f"] == "x" * 70_000
    assert sorted(it.ledger()[:2]) == ["f", "n"] and it.ledger()[2:] == ["e"]
    assert survivors(it.places.ledger, 10) == set()


def test_an_mcp_call_whose_service_is_gone_fails(tmp_path: Path) -> None:
    anyio = pytest.importorskip("anyio")
    places = prepare_tools(str(tmp_path))
    script = ApiScript(turn=named((Turn(call=(Call(tool=GATE, id="g", hold="after_effect"),), finish=()),)))

    async def drive() -> None:
        with serving(script, str(tmp_path / "log.jsonl"), tools=places) as service:
            it = Bench(service, places)
            block = it.ask()["g"]
            async with _connect(places) as client, anyio.create_task_group() as group:
                answers: list[Any] = []

                async def call() -> None:
                    answers.append(await client.call_tool("gate", block["input"]))

                group.start_soon(call)
                while ("g", "waits") not in it.look():
                    await anyio.sleep(0.01)
                os.kill(service.pid, signal.SIGKILL)
                with anyio.fail_after(20):
                    while not answers:
                        await anyio.sleep(0.01)
                assert answers[0].is_error
                assert "gone" in answers[0].content[0].text

    anyio.run(drive)


def test_the_mcp_server_ends_with_its_input(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    config = json.loads(mcp_config(ToolPlaces(str(tmp_path / "l"), str(tmp_path))))["mcpServers"]["tornwrite"]
    command = [config["command"], *config["args"]]
    done = subprocess.run(
        command,
        env={**os.environ, **config["env"]},
        input=b"not json\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert sys.executable == config["command"]
