"""The drivers of the published packages keep the protocol, and the package's own code is what saves."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.targets.plain_run import Bench

Make = Callable[..., Bench]
pytestmark = pytest.mark.real
SERVER_MEMORY = "published/server_memory@2026.8.31"
STRANDS = "published/strands_messages@1.62.0"
NEW_SESSION = "published/strands_new_session@1.62.0"
MESSAGES = "session_importer/agents/agent_default/messages"


def graph(writer: Bench) -> dict[str, list[str]]:
    """Return the observations of the graph by the name of the entity, in the order of the file."""
    lines = (writer.root / "memory.jsonl").read_text().split("\n")
    return {entity["name"]: entity["observations"] for entity in map(json.loads, lines)}


def test_the_graph_grows_and_shrinks_and_a_start_adds_one_entity(bench: Make) -> None:
    writer = bench(SERVER_MEMORY, updates=4)
    result = writer.run()
    assert (result.exit_code, result.stdout) == (0, b"ARMED\nACK 1\nACK 2\nACK 3\nACK 4\n")
    assert writer.names() == {"memory.jsonl"}
    assert {name: len(texts) for name, texts in graph(writer).items()} == {"note 2": 2}
    for number in (1, 2):
        assert writer.acks(writer.command(writer.subject.recover)) == [f"after crash {number}"]
    assert list(graph(writer)) == ["note 2", "after crash 1", "after crash 2"]


def test_a_graph_that_cannot_be_read_is_an_error(bench: Make) -> None:
    writer = bench(SERVER_MEMORY, updates=1)
    (writer.root / "memory.jsonl").write_bytes(bytes(2749))
    result = writer.command(writer.subject.recover)
    assert (result.exit_code, writer.acks(result)) == (1, [])
    assert b"error: recover: " in result.stderr


def test_an_emptied_graph_is_taken_for_one_that_was_always_empty(bench: Make) -> None:
    writer = bench(SERVER_MEMORY, updates=1)
    (writer.root / "memory.jsonl").write_bytes(b"")
    assert writer.acks(writer.command(writer.subject.recover)) == ["after crash 1"]


def test_each_message_is_a_file_and_a_start_adds_one(bench: Make) -> None:
    writer = bench(STRANDS, updates=3)
    result = writer.run()
    assert (result.exit_code, result.stderr) == (0, b"")
    assert writer.acks(result) == ["2", "3", "4"]
    assert writer.acks(writer.command(writer.subject.recover)) == ["5"]
    kept = {name for name in writer.names() if name.startswith(MESSAGES)}
    assert kept == {f"{MESSAGES}/message_{number}.json" for number in range(6)}
    assert writer.names() - kept == {
        "session_importer/session.json",
        "session_importer/agents/agent_default/agent.json",
    }


def test_each_new_session_is_a_directory_and_a_start_adds_one(bench: Make) -> None:
    writer = bench(NEW_SESSION, updates=2)
    result = writer.run()
    assert (result.exit_code, result.stderr) == (0, b"")
    assert writer.acks(result) == ["chat-0", "chat-1"]
    assert writer.acks(writer.command(writer.subject.recover)) == ["chat-2"]
    assert len(writer.names()) == 3 * 3


def test_messages_repeat_from_run_to_run(bench: Make) -> None:
    """Nothing of a run on a session that is there depends on the time: its trees are compared byte for byte."""
    writers = [bench(STRANDS, updates=3), bench(STRANDS, updates=3)]
    for writer in writers:
        assert writer.run().exit_code == 0
    first, second = ((writer.root / MESSAGES / "message_4.json").read_bytes() for writer in writers)
    assert first == second


def test_an_emptied_message_keeps_the_session_from_being_opened(bench: Make) -> None:
    writer = bench(STRANDS, updates=2)
    assert writer.run().exit_code == 0
    (writer.root / MESSAGES / "message_1.json").write_bytes(b"")
    result = writer.command(writer.subject.recover)
    assert (result.exit_code, writer.acks(result)) == (1, [])
    assert b"Invalid JSON in file" in result.stderr


def test_a_session_that_was_not_finished_can_never_be_opened(bench: Make) -> None:
    """The fact behind ``kill = violated``: its directory is there and session.json is not."""
    writer = bench(NEW_SESSION, updates=1)
    (writer.root / "session_chat-0").mkdir()
    for _ in range(2):
        result = writer.command(writer.subject.recover)
        assert result.exit_code == 1
        assert b"already exists" in result.stderr
