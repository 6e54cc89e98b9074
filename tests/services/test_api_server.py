"""The scripted Messages API over real HTTP: what clients send, how answers end, and what is left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.api_log import EndLine, LogLine, RequestLine, StartLine, decode_lines, encode_line
from harness.core.api_script import Api, ApiScript, Call, Fault, Turn, named
from harness.schemas import schema
from harness.services.messages_api.answering import Player
from harness.services.messages_api.log import Log, LogError
from harness.services.messages_api.serving import ApiServiceError, MessagesService, serving
from tests.report.json_schema_check import problems
from tests.survivors import marked, survivors

pytest.importorskip("uvicorn")
app = pytest.importorskip("harness.services.messages_api.app")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the service is for POSIX")

ASKED: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
TWO = ApiScript(turn=named((Turn(text="one"), Turn(text="two", call=(Call(tool="Read", input={"x": 1}),)))))


class Client:
    """A client of the service; one connection per request unless it is kept."""

    def __init__(self, service: MessagesService) -> None:
        self.address = service.url.removeprefix("http://")

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read(), {k.lower(): v for k, v in response.getheaders()}
        finally:
            connection.close()

    def ask(
        self, messages: Any = ASKED, *, stream: bool = False, tools: bool = True
    ) -> tuple[int, bytes, dict[str, str]]:
        body = {"model": "m", "messages": messages, "stream": stream, "tools": [{"name": "Bash"}] if tools else []}
        return self.request("POST", "/v1/messages?beta=true", json.dumps(body).encode())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, MessagesService]]:
    """A service whose script has one turn: for what takes none."""
    path = str(tmp_path_factory.mktemp("api") / "log.jsonl")
    with serving(ApiScript(turn=(Turn(text="one"),)), path) as service:
        yield Client(service), service


@contextlib.contextmanager
def served(tmp_path: Path, script: ApiScript, **options: Any) -> Iterator[tuple[Client, MessagesService]]:
    with serving(script, str(tmp_path / "log.jsonl"), **options) as service:
        yield Client(service), service


def lines_of(service: MessagesService, ends: int) -> list[LogLine]:
    """Return the new lines of the log, once so many answers have ended."""
    found: list[LogLine] = []
    limit = time.monotonic() + 20
    while sum(isinstance(line, EndLine) for line in found) < ends:
        assert time.monotonic() < limit, found
        found += service.new_lines()
        time.sleep(0.01)
    return found


def requests_in(lines: list[LogLine]) -> list[RequestLine]:
    return [line for line in lines if isinstance(line, RequestLine)]


def test_turns_come_as_objects_and_as_streams_then_the_closing_text(tmp_path: Path) -> None:
    with served(tmp_path, TWO) as (client, service):
        status, body, headers = client.ask()
        assert (status, json.loads(body)["content"]) == (200, [{"type": "text", "text": "one"}])
        assert headers["request-id"] == "req_000001"
        status, body, headers = client.ask(stream=True)
        assert headers["content-type"].startswith("text/event-stream")
        assert body.count(b"event: content_block_start") == 2
        assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
        assert TWO.api.closing.encode() in client.ask()[1]
        lines = lines_of(service, 3)
    assert isinstance(lines[0], StartLine)
    assert [(line.n, line.kind, line.turn, line.closing, line.stream) for line in requests_in(lines)] == [
        (1, "main", 1, False, False),
        (2, "main", 2, False, True),
        (3, "main", 0, True, False),
    ]
    assert [line.ended for line in lines if isinstance(line, EndLine)] == ["complete"] * 3
    assert b'"hi"' not in Path(service.log).read_bytes()


def test_everything_else_that_clients_ask_takes_no_turn(shared: tuple[Client, MessagesService]) -> None:
    client, service = shared
    service.new_lines()
    assert client.request("HEAD", "/")[:2] == (200, b"")
    assert client.request("GET", "/v1/models")[0] == 404
    assert client.request("PUT", "/v1/messages", b"x")[0] == 404
    assert json.loads(client.request("POST", "/v1/messages/count_tokens", b"{}")[1]) == {"input_tokens": 100}
    assert client.ask(tools=False)[0] == 200
    lines = requests_in(lines_of(service, 5))
    assert [line.kind for line in lines] == ["other"] * 4 + ["side"]
    assert all(line.turn == 0 and not line.closing for line in lines)


USE = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
PAIR = [{"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}]


def test_what_the_validator_refuses_gets_the_apis_own_text_and_no_retry(
    shared: tuple[Client, MessagesService],
) -> None:
    client, service = shared
    service.new_lines()
    status, body, headers = client.ask([*ASKED, PAIR[0], {"role": "user", "content": "and?"}], stream=True)
    message = (
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1. Each `tool_use` "
        "block must have a corresponding `tool_result` block in the next message."
    )
    assert status == 400
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
    }
    assert headers["x-should-retry"] == "false"
    (line,) = requests_in(lines_of(service, 1))
    assert (line.kind, line.error, line.turn, line.status) == ("refused", message, 0, 400)
    assert [block.type for block in line.blocks] == ["text", "tool_use", "text"]


def test_repeated_pairs_are_refused_unless_the_script_allows_them(tmp_path: Path) -> None:
    repeated = [*ASKED, *PAIR, *PAIR]
    for unique, expected in ((True, 400), (False, 200)):
        with served(tmp_path, ApiScript(api=Api(unique_ids=unique))) as (client, _):
            assert client.ask(repeated)[0] == expected


def test_messages_of_role_system_are_tolerated(shared: tuple[Client, MessagesService]) -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "reminder"}]}
    assert shared[0].ask([system, *ASKED, PAIR[0], system, PAIR[1]], tools=False)[0] == 200


GARBAGE = [b"", b"[", b"\xff\xfe", b"5", b"{}", b'{"messages": []}', b'{"messages": [5]}', b"[" * 100_000]
GARBAGE += [b'{"messages": [{"role": "robot"}]}', b'{"messages": [{"role": "user"}]}', b'{"messages": {"a": 1}}']
GARBAGE += [b'{"messages": [{"role": "user", "content": "\\ud800"}]}']


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_a_400(shared: tuple[Client, MessagesService], body: bytes) -> None:
    status, answer, _ = shared[0].request("POST", "/v1/messages", body)
    assert status == 400
    assert json.loads(answer)["error"]["type"] == "invalid_request_error"


ODD = [
    {"messages": [{"role": "user", "content": [5, None, {"type": ["x"]}, {"type": "tool_result"}]}]},
    {"messages": [{"role": "user", "content": 7}], "tools": 5, "stream": "yes", "model": {}},
    {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": 5}]}], "tools": [None, {}]},
]


@pytest.mark.parametrize("body", ODD)
def test_odd_shapes_are_answered(shared: tuple[Client, MessagesService], body: Any) -> None:
    assert shared[0].request("POST", "/v1/messages", json.dumps(body).encode())[0] in (200, 400)


def test_a_body_over_the_limit_is_refused_before_it_is_read(shared: tuple[Client, MessagesService]) -> None:
    client, service = shared
    service.new_lines()
    connection = socket.create_connection(client.address.split(":"), timeout=20)  # type: ignore[arg-type]
    with connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(40):
                connection.sendall(b"x" * (1 << 20))
        assert connection.recv(12) == b"HTTP/1.1 413"
    assert requests_in(lines_of(service, 1))[0].status == 413


def test_what_is_no_http_harms_nobody(shared: tuple[Client, MessagesService]) -> None:
    client, _ = shared
    host, port = client.address.split(":")
    for data in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\n", b"x" * 100_000):
        with socket.create_connection((host, int(port)), timeout=20) as connection, contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(100)
    assert client.request("HEAD", "/")[0] == 200


def test_a_dropped_connection_ends_without_the_end_of_the_answer(tmp_path: Path) -> None:
    faults = (Fault(kind="drop", after_blocks=1, inside=True), Fault(kind="drop"))
    script = ApiScript(turn=named((Turn(text="hello", call=(Call(tool="Read"),), fault=faults),)))
    with served(tmp_path, script) as (client, service):
        for stream in (True, False):
            with pytest.raises(http.client.IncompleteRead) as cut:
                client.ask(stream=stream)
            assert cut.value.partial
            assert b"message_stop" not in cut.value.partial
        assert client.ask(stream=True)[1].endswith(b"}\n\n")
        lines = lines_of(service, 3)
    assert [line.ended for line in lines if isinstance(line, EndLine)] == ["dropped", "dropped", "complete"]
    assert [(line.turn, line.attempt, line.fault) for line in requests_in(lines)] == [
        (1, 1, "drop"),
        (1, 2, "drop"),
        (1, 3, ""),
    ]


def test_errors_in_and_before_a_stream(tmp_path: Path) -> None:
    faults = (
        Fault(kind="error_event", times=2),
        Fault(kind="status", status=529),
        Fault(kind="status", status=429, retry=False),
    )
    with served(tmp_path, ApiScript(turn=(Turn(text="hello", fault=faults),))) as (client, service):
        status, body, _ = client.ask(stream=True)
        assert status == 200
        assert body.endswith(
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
        )
        assert client.ask()[0] == 529
        status, _, headers = client.ask(stream=True)
        assert (status, "x-should-retry" in headers) == (529, False)
        status, _, headers = client.ask(stream=True)
        assert (status, headers["x-should-retry"]) == (429, "false")
        assert client.ask()[0] == 200
        lines = lines_of(service, 5)
    assert [line.status for line in requests_in(lines)] == [200, 529, 529, 429, 200]


def test_delays_and_stalls_are_waited(tmp_path: Path) -> None:
    turn = Turn(text="hello", delay_ms=120, fault=(Fault(kind="stall", ms=150),))
    with served(tmp_path, ApiScript(turn=(turn,))) as (client, _):
        begun = time.monotonic()
        assert client.ask(stream=True)[1].endswith(b"}\n\n")
        assert time.monotonic() - begun >= 0.27


def test_a_client_that_goes_away_is_in_the_log_and_takes_its_turn_along(tmp_path: Path) -> None:
    turn = Turn(text="hello", pause_ms=100)
    with served(tmp_path, ApiScript(turn=(turn, Turn(text="next")))) as (client, service):
        host, port = client.address.split(":")
        body = json.dumps({"messages": ASKED, "stream": True, "tools": [{"name": "Bash"}]}).encode()
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert connection.recv(12) == b"HTTP/1.1 200"
        (end,) = [line for line in lines_of(service, 1) if isinstance(line, EndLine)]
        assert end.ended == "client_gone"
        assert b"next" in client.ask()[1]


class Slow:
    """An ASGI client that takes nothing, or says nothing."""

    def __init__(self, body: bytes, takes: int) -> None:
        self.body = [body] if body else []
        self.takes = takes
        self.got: list[Any] = []

    async def receive(self) -> Any:
        if not self.body:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": self.body.pop(), "more_body": False}

    async def send(self, message: Any) -> None:
        self.got.append(message)
        if len(self.got) > self.takes:
            await asyncio.sleep(60)


def _meet(tmp_path: Path, client: Slow, content: bool = False) -> list[LogLine]:
    path = str(tmp_path / "log.jsonl")
    api = app.MessagesApi(TWO, Player(TWO, {}), log := Log(path), None, content)
    scope: Any = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": []}
    with contextlib.suppress(app.DroppedError):
        asyncio.run(api(scope, client.receive, client.send))
    log.close()
    return list(decode_lines(Path(path).read_bytes())[0])


def test_clients_that_say_nothing_or_take_nothing_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "BODY_S", 0.05)
    monkeypatch.setattr(app, "SEND_S", 0.05)
    (line, end) = _meet(tmp_path, silent := Slow(b"", 9))
    assert isinstance(line, RequestLine) and isinstance(end, EndLine)
    assert (line.status, silent.got[0]["status"]) == (408, 408)
    body = json.dumps({"messages": ASKED, "stream": True, "tools": [{"name": "Bash"}]}).encode()
    *_, end = _meet(tmp_path, Slow(body, 2))
    assert isinstance(end, EndLine)
    assert (end.ended, end.sent > 0) == ("too_slow", True)


HARD = ["\ud800", "a", "", 1 << 70, float("nan")]
anything = st.recursive(
    st.one_of(st.sampled_from(HARD), st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "id", "name", "tool_use_id", "input"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=10,
)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "tool_result", "image"])},
    optional=dict.fromkeys(("text", "id", "tool_use_id", "name", "input", "content"), anything),
)
bodies = st.fixed_dictionaries(
    {
        "messages": st.one_of(
            anything,
            st.lists(
                st.fixed_dictionaries(
                    {
                        "role": st.sampled_from(["user", "assistant", "system"]),
                        "content": st.one_of(anything, st.lists(blocks)),
                    }
                ),
                max_size=3,
            ),
        )
    },
    optional={"model": anything, "stream": anything, "tools": st.one_of(anything, st.just([{"name": "Bash"}]))},
)


def _is_answered_and_logged(body: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        client = Slow(json.dumps(body).encode(), 99)
        line, end = _meet(Path(directory), client, content=True)
        assert isinstance(line, RequestLine) and isinstance(end, EndLine)
        assert client.got[0]["status"] == line.status
        assert line.status in (200, 400)
        assert not client.got[-1]["more_body"]
        shape = schema("api_log_line")
        for said in (line, end):
            assert list(problems(json.loads(encode_line(said)), shape, shape)) == []


@given(st.one_of(bodies, anything))
def test_any_json_gets_an_answer_and_two_whole_lines_in_the_log(body: Any) -> None:
    _is_answered_and_logged(body)


@pytest.mark.parametrize("value", HARD)
def test_what_no_log_can_hold_is_logged_in_another_form(value: Any) -> None:
    for kind in ("text", "tool_use", "tool_result"):
        for name in ("text", "id", "tool_use_id", "name", "input", "content", "type"):
            block = {"type": kind, "id": "a", "tool_use_id": "a", name: value}
            _is_answered_and_logged({"messages": [{"role": "user", "content": [block]}], "model": value})


def test_half_a_surrogate_pair_gets_the_apis_text_and_its_request_is_kept(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a\ud800"}]}]}
    line, _ = _meet(tmp_path, Slow(json.dumps(body).encode(), 99), content=True)
    assert isinstance(line, RequestLine)
    assert "no low surrogate in string" in line.error
    assert line.content == [{"role": "user", "content": [{"type": "text", "text": "a?"}]}]
    assert line.blocks[0].bytes == 4


def test_nested_deeper_than_it_can_be_looked_at_is_refused(tmp_path: Path) -> None:
    for depth in (200, 900, 100_000):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        body = b'{"messages":[{"role":"user","content":[{"type":"tool_use","id":"a","input":' + deep + b"}]}]}"
        line, _ = _meet(tmp_path, Slow(body, 99), content=True)[-2:]
        assert isinstance(line, RequestLine)
        assert line.status == 400


def test_more_requests_than_it_takes_are_refused_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MOST_REQUESTS", 0)
    (line, _) = _meet(tmp_path, Slow(b"x", 9))
    assert isinstance(line, RequestLine)
    assert (line.status, line.kind, line.error) == (503, "refused", "more than 0 requests")


def test_a_client_that_goes_away_while_it_asks_is_in_the_log(shared: tuple[Client, MessagesService]) -> None:
    client, service = shared
    service.new_lines()
    host, port = client.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        time.sleep(0.05)
    line, end = lines_of(service, 1)
    assert isinstance(line, RequestLine) and isinstance(end, EndLine)
    assert (line.status, line.kind, line.turn, end.ended) == (0, "refused", 0, "client_gone")


def test_requests_at_once_get_a_turn_each(tmp_path: Path) -> None:
    script = ApiScript(turn=tuple(Turn(text=f"t{n}", delay_ms=500) for n in range(4)))
    with served(tmp_path, script) as (client, service):
        connections = [http.client.HTTPConnection(client.address, timeout=20) for _ in range(4)]
        body = json.dumps({"messages": ASKED, "tools": [{"name": "Bash"}]})
        for connection in connections:
            connection.request("POST", "/v1/messages", body)
        texts = {json.loads(each.getresponse().read())["content"][0]["text"] for each in connections}
        assert texts == {"t0", "t1", "t2", "t3"}
        lines = lines_of(service, 4)
        assert isinstance(lines[4], RequestLine)  # all were there before the first was answered
        for connection in connections:
            connection.close()


def test_content_is_in_the_log_only_where_it_was_asked_for(tmp_path: Path) -> None:
    with served(tmp_path, TWO, content=True) as (client, service):
        client.ask()
        assert requests_in(lines_of(service, 1))[0].content == ASKED


def test_a_log_is_gone_on_with_and_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    for count in (1, 2):
        with served(tmp_path, TWO) as (client, service):
            client.ask()
            lines_of(service, 1)
        path = tmp_path / "log.jsonl"
        lines, size = decode_lines(path.read_bytes())
        assert sum(isinstance(line, StartLine) for line in lines) == count
        assert size == path.stat().st_size
        path.write_bytes(path.read_bytes() + b'{"line":"request","n"')


def test_a_full_log_ends_the_answers(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), most_bytes=50)
    line = EndLine(n=1, at_ms=0.0, ended="complete", sent=0)
    for _ in range(2):
        with pytest.raises(LogError, match="larger than 50 bytes"):
            log.append(line)
    assert (tmp_path / "log").read_bytes() == b""


def test_a_log_that_cannot_be_written_and_a_port_that_is_taken_are_said(tmp_path: Path) -> None:
    with pytest.raises(ApiServiceError, match="Is a directory"), serving(TWO, str(tmp_path)):
        pass
    with (
        served(tmp_path, TWO) as (client, _),
        pytest.raises(ApiServiceError, match=r"port \d+: Address already in use"),
        serving(TWO, str(tmp_path / "other"), port=int(client.address.split(":")[1])),
    ):
        pass


def test_a_service_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('this is no msgspec')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = "did not start: ImportError: this is no msgspec"
    with pytest.raises(ApiServiceError, match=said), serving(TWO, str(tmp_path / "log")):
        pass
    assert survivors(str(tmp_path), 5.0) == set()


def test_it_serves_a_socket_that_somebody_else_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with served(tmp_path, TWO, listener=listener) as (client, service):
            assert service.url == f"http://127.0.0.1:{port}"
            assert client.ask()[0] == 200


def test_its_time_is_bounded_and_it_leaves_no_process(tmp_path: Path) -> None:
    with served(tmp_path, TWO, timeout_s=1.5) as (_, service):
        assert marked(str(tmp_path)) == {service.pid}
        assert survivors(str(tmp_path), 10) == set()
        end = time.monotonic() + 10  # its memory is gone before its parent can be told
        while service.running and time.monotonic() < end:
            time.sleep(0.01)
        assert not service.running


def test_a_service_whose_caller_is_killed_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom harness.core.api_script import ApiScript\n"
        "from harness.services.messages_api.serving import serving\n"
        "with serving(ApiScript(), sys.argv[1]) as service:\n    print(service.url, flush=True)\n    time.sleep(60)\n"
    )
    path = str(tmp_path / "log.jsonl")
    parent = subprocess.Popen(
        [sys.executable, "-c", script, path], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    address = parent.stdout.readline().decode().strip().removeprefix("http://").split(":")
    alive = marked(str(tmp_path))
    assert len(alive) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert survivors(str(tmp_path), 5.0, alive) == set()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[0], int(address[1])), timeout=5)
