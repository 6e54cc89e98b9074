"""The transcript writers talk to a tool service: what they start, when, and what they save of what it says."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.targets import conversations as talk
from tests.targets.plain_run import Bench

pytestmark = pytest.mark.real
WRITERS = ["read_modify_write", "read_modify_write_node", "batched", "batched_node", "durable", "checkpointed"]


class ToolService:
    """Waits for three starts, notes what stood in the transcript then, says its lines, and hangs up."""

    def __init__(self, listener: socket.socket, lines: list[object], ending: bytes) -> None:
        self.started: list[str] = []
        self.seen = b""
        self.transcript: Path | None = None
        self._lines = lines
        self._ending = ending
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as stream:
            self.started = [json.loads(stream.readline())["start"] for _ in range(3)]
            self.seen = self.transcript.read_bytes() if self.transcript else b""
            for line in self._lines:
                connection.sendall(json.dumps(line).encode() + b"\n")
            with contextlib.suppress(BrokenPipeError):  # a target that has seen what is wrong is gone
                connection.sendall(self._ending)
            if self._ending:
                stream.read()  # the target hangs up itself

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(params=["unix", "tcp"])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    if request.param == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener, f"tcp:127.0.0.1:{listener.getsockname()[1]}"
        return
    if os.name == "nt":
        pytest.skip("no Unix sockets here")
    # A socket's path must be short, whatever pytest's directory is.
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/tools")
        listener.listen()
        yield listener, f"unix:{directory}/tools"


def said(tool: str, text: str, is_error: bool = False) -> dict[str, object]:
    return {"tool_id": f"toolu_{tool}_0", "result": text, "is_error": is_error}


@pytest.mark.parametrize("name", WRITERS)
def test_results_are_saved_as_the_service_says_them(
    bench: Callable[..., Bench], listening: tuple[socket.socket, str], name: str
) -> None:
    listener, address = listening
    writer = bench(f"transcript/{name}", **talk.SMALL)
    (path,) = talk.transcripts(writer).values()
    lines = [said("c", "third \u2028 first"), said("a", "went wrong", True), {"do": "escape"}]
    service = ToolService(listener, lines, b'{"do": "exit"}\n')
    service.transcript = path
    result = talk.play(writer, talk.turn("c", "a", "escape"), TORNWRITE_TOOLS=address, TORNWRITE_LIFE="0")
    service.join()
    assert (result.exit_code, result.stderr) == (0, b"")
    assert result.stdout.endswith(b"IDLE\n")
    assert service.started == ["toolu_a_0", "toolu_b_0", "toolu_c_0"]
    if "batched" not in name:  # the others save a call before they make it
        assert b'"id":"toolu_c_0"' in service.seen
    if "read_modify_write" in name:
        return  # two results at once: either may be lost
    found = talk.results(talk.messages(writer))
    assert found["toolu_c_0"]["content"] == "third \u2028 first"
    assert (found["toolu_a_0"]["content"], found["toolu_a_0"]["is_error"]) == ("went wrong", True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_service_that_hangs_up_or_is_at_another_step_is_an_error(
    bench: Callable[..., Bench], listening: tuple[socket.socket, str], name: str
) -> None:
    listener, address = listening
    for lines, reason in (
        ([], "hung up before tool_done"),
        ([{"do": "escape"}], "at another step than tool_done"),
    ):
        writer = bench(f"transcript/{name}", **talk.SMALL)
        service = ToolService(listener, list(lines), b"")
        result = talk.play(writer, talk.turn("a"), TORNWRITE_TOOLS=address)
        service.join()
        assert (result.exit_code, result.stderr) == (
            1,
            f"error: run: the tool service {reason}\n".replace("service at", "service is at").encode(),
        )
