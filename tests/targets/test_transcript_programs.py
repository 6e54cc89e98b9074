"""The writers of seeds 000 and 001 run plainly: what they save, what interruptions and torn tails leave of it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.catalog import fill, parse_listing
from tests.targets import conversations as talk
from tests.targets.plain_run import Bench

pytestmark = pytest.mark.real
Make = Callable[..., Bench]
RACING = ["read_modify_write", "read_modify_write_node", "tmp_fsync_rename"]
CARELESS = ["read_modify_write", "read_modify_write_node", "batched", "batched_node", "per_record"]
CAREFUL = ["durable", "checkpointed", "tmp_fsync_rename"]
KEEPING = ["durable", "checkpointed"]
WRITERS = [*CARELESS, *CAREFUL]
posix = pytest.mark.skipif(os.name == "nt", reason="needs signals and RLIMIT_FSIZE")


def start(bench: Make, name: str, seed: int = 1, **numbers: int) -> Bench:
    work = talk.workload(**numbers)
    return bench(
        f"transcript/{name}",
        seed,
        sessions=work.sessions,
        updates=work.updates,
        record_bytes=work.record_bytes,
        tools=work.tools,
    )


@pytest.mark.parametrize("name", WRITERS)
def test_a_plain_run_saves_and_acknowledges_every_record(bench: Make, name: str) -> None:
    writer = start(bench, name)
    before = talk.uuids(writer)
    result = writer.run()
    assert (result.exit_code, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"ARMED\n")
    acks = writer.acks(result)
    assert len(acks) == 2 * 3 * 4
    assert sorted(talk.uuids(writer)) == sorted(before + acks)
    assert len(writer.names()) == 2
    for session, path in talk.transcripts(writer).items():
        assert {record["sessionId"] for record in talk.records(path)} == {session}
        found = [record for record in talk.records(path) if "uuid" in record]
        assert [record["parentUuid"] for record in found] == [None, *(record["uuid"] for record in found[:-1])]


def test_all_writers_save_the_same_and_seeds_differ(bench: Make) -> None:
    def saved(name: str, seed: int = 1) -> list[list[talk.Record]]:
        writer = start(bench, name, seed)
        writer.run()
        return [[r for r in talk.records(p) if "uuid" in r] for p in talk.transcripts(writer).values()]

    states = {name: saved(name) for name in WRITERS}
    assert all(state == states["durable"] for state in states.values())
    assert saved("durable", 2) != states["durable"]


def test_the_workload_sets_the_size_of_the_history_and_its_last_session_is_new(bench: Make) -> None:
    writer = bench("transcript/durable", sessions=2, updates=4, record_bytes=(50_000, 60_000), tools=talk.tools(3))
    (path,) = talk.transcripts(writer).values()
    assert 12 * 50_000 < path.stat().st_size < 16 * 70_000
    assert "\u2028" in path.read_bytes().decode()
    assert not list(talk.faults(talk.messages(writer)))
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert (listing.ids, listing.warned) == ((path.stem,), ())


@pytest.mark.parametrize("name", WRITERS)
def test_sessions_are_listed_read_and_resumed(bench: Make, name: str) -> None:
    writer = start(bench, name)
    writer.run()
    sessions = talk.transcripts(writer)
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert listing == (tuple(sessions), (), 0)
    for session, path in sessions.items():
        read = writer.command(fill(writer.subject.read, id=session))
        assert [json.loads(line) for line in read.stdout.split(b"\n")[:-1]] == talk.records(path)
        sent = json.loads(talk.resume(writer, session).stdout)["messages"]
        assert not list(talk.faults(sent))
        assert sent[-1]["content"][-1] == {"type": "text", "text": "Continue."}
    assert writer.command(fill(writer.subject.read, id="nobody")).exit_code == 1
    missing = talk.resume(writer, "nobody")
    assert (missing.exit_code, json.loads(missing.stdout)) == (1, {"error": "no session nobody"})


@pytest.mark.parametrize("name", WRITERS)
def test_recovery_goes_on_with_every_session_and_can_be_repeated(bench: Make, name: str) -> None:
    writer = start(bench, name)
    writer.run()
    for _ in range(2):
        before = {path: path.read_bytes() for path in talk.transcripts(writer).values()}
        result = writer.command(writer.subject.recover)
        assert (result.exit_code, result.stderr) == (0, b"")
        for (path, data), uuid in zip(before.items(), sorted_acks(writer, result), strict=True):
            assert path.read_bytes().startswith(data)
            assert [r for r in talk.records(path) if "uuid" in r][-1]["uuid"] == uuid
    assert len(set(talk.uuids(writer))) == len(talk.uuids(writer))


def sorted_acks(writer: Bench, result: object) -> list[str]:
    """Return the acknowledgements in the order of the transcripts' names."""
    acks = writer.acks(result)  # type: ignore[arg-type]
    places = {uuid: place for place, uuid in enumerate(talk.uuids(writer))}
    return sorted(acks, key=places.__getitem__)


@pytest.mark.parametrize("name", CAREFUL)
def test_an_empty_directory_is_a_beginning(bench: Make, name: str) -> None:
    writer = start(bench, name)
    for path in sorted(writer.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    result = writer.command(writer.subject.recover)
    assert (result.exit_code, len(writer.acks(result)), talk.uuids(writer)) == (0, 1, writer.acks(result))


# -- interruptions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_escape_leaves_open_calls_unless_the_writer_answers_them(bench: Make, name: str) -> None:
    writer = bench(f"transcript/{name}", **talk.SMALL)
    done = [] if name in RACING else ["a"]  # a result that is being saved may be lost there
    result = talk.play(writer, talk.turn(*done, "escape"))
    assert (result.exit_code, result.stderr) == (0, b"")
    sent = talk.messages(writer)
    assert sent[-1]["content"][-2] == {"type": "text", "text": "[Request interrupted by user for tool use]"}
    found = talk.results(sent)
    assert [found[f"toolu_{each}_0"]["is_error"] for each in done] == [False] * len(done)
    if name in CAREFUL:
        assert not list(talk.faults(sent))
        assert found["toolu_b_0"]["is_error"] and found["toolu_c_0"]["is_error"]
    else:
        assert list(talk.faults(sent)) == [f"{len(sent) - 1}: answers {len(done)} of 3 calls"]


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in RACING])
def test_a_message_beside_the_tools_waits_for_them_or_stands_between_results(bench: Make, name: str) -> None:
    writer = bench(f"transcript/{name}", **talk.SMALL)
    talk.play(writer, talk.turn("a", "new_message", "mode_switch", "b", "c"))
    talk.play(writer, talk.turn("c", "b", "a", at=1), TORNWRITE_LIFE="1")
    sent = talk.messages(writer)
    (path,) = talk.transcripts(writer).values()
    assert [r["permissionMode"] for r in talk.records(path) if r["type"] == "permission-mode"] == ["plan"]
    assert sum("beside the tools" in str(message) for message in sent) == 1
    if name in CAREFUL:
        assert not list(talk.faults(sent))
    else:
        assert [fault.partition(": ")[2] for fault in talk.faults(sent)] == ["a result after a text"]


@posix
@pytest.mark.parametrize("name", WRITERS)
def test_ctrl_c_ends_the_program_and_the_next_life_goes_on(bench: Make, name: str) -> None:
    writer = bench(f"transcript/{name}", **talk.SMALL)
    result = talk.play(writer, talk.turn("a", "ctrl_c"))
    assert (result.signal, result.stderr) == (signal.SIGINT, b"")
    if name in CAREFUL:
        assert not list(talk.faults(talk.messages(writer)))
    if name in KEEPING:
        assert set(writer.acks(result)) <= set(talk.uuids(writer))
    again = talk.play(writer, talk.turn("a", "b", "c", at=1), TORNWRITE_LIFE="1")
    assert (again.exit_code, again.stderr) == (0, b"")
    assert again.stdout.endswith(b"IDLE\n")
    if name in KEEPING:
        assert not list(talk.faults(talk.messages(writer)))
    elif name == "per_record":
        assert [fault.partition(": ")[2] for fault in talk.faults(talk.messages(writer))] == [
            "answers 1 of 3 calls"
        ]


@posix
@pytest.mark.parametrize("name", ["batched", "batched_node"])
def test_a_batch_is_acknowledged_before_it_is_written(bench: Make, name: str) -> None:
    lost = 0
    for _ in range(3):  # a machine that stands still for 100 ms writes the batch after all
        writer = bench(f"transcript/{name}", **talk.SMALL)
        result = talk.play(writer, talk.turn("a", "ctrl_c"))
        lost += len(set(writer.acks(result)) - set(talk.uuids(writer)))
    assert lost


@posix
@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_an_idle_program_by_that_signal(bench: Make, name: str, number: int) -> None:
    writer = start(bench, name)
    spec = writer.subject.spec
    environment = talk.environment_of(writer, TORNWRITE_LIFE="0")
    with subprocess.Popen(
        spec.argv, cwd=spec.cwd, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = list(iter(process.stdout.readline, b"IDLE\n"))
        process.send_signal(number)
        assert process.wait(10) == -number
        assert process.stdout.read() == b""
    acks = [line.decode().split()[1] for line in lines if line.startswith(b"ACK ")]
    assert len(acks) == 24
    assert set(acks) <= set(talk.uuids(writer))


@pytest.mark.parametrize("name", RACING)
def test_tools_that_are_done_together_lose_results(bench: Make, name: str) -> None:
    """Nothing is slowed down: some of ten sessions with eight tools at once lose a result."""
    lost = 0
    for seed in range(10):
        writer = start(bench, name, seed, sessions=1, updates=1, parallel=8)
        before = talk.transcripts(writer)
        result = writer.run()
        (path,) = before.values()
        lines = path.read_bytes().split(b"\n")
        lost += sum(not any(uuid.encode() in line for line in lines) for uuid in writer.acks(result))
        if lost:
            return
    pytest.fail("no session lost a result")


# -- damage, errors ------------------------------------------------------------------------------------------------


def torn(writer: Bench) -> Path:
    """Tear the record after the last, and leave two of three calls open before it."""
    talk.play(writer, talk.turn("b"))
    (path,) = talk.transcripts(writer).values()
    with open(path, "ab") as stream:
        stream.write('{"parentUuid":null,"type":"user","text":"a\u2028b'.encode())
    return path


def test_durable_heals_the_tail_and_answers_open_calls_with_errors(bench: Make) -> None:
    writer = bench("transcript/durable", **talk.SMALL)
    path = torn(writer)
    whole = path.read_bytes().rpartition(b"\n")[0] + b"\n"
    promised = talk.messages(writer)
    result = writer.command(writer.subject.recover)
    assert result.exit_code == 0, result.stderr
    assert path.read_bytes().startswith(whole)
    assert len(talk.records(path)) == whole.count(b"\n") + 3
    found = talk.results(talk.messages(writer))
    assert found == talk.results(promised)
    assert not list(talk.faults(promised)) and not list(talk.faults(talk.messages(writer)))
    assert {name: block["is_error"] for name, block in found.items() if name.endswith("_0")} == {
        "toolu_a_0": True,
        "toolu_b_0": False,
        "toolu_c_0": True,
    }
    assert "not known" in found["toolu_a_0"]["content"]


def test_checkpointed_rolls_a_turn_back_and_keeps_what_it_took_away(bench: Make) -> None:
    writer = bench("transcript/checkpointed", **talk.SMALL)
    (history,) = (path.read_bytes() for path in talk.transcripts(writer).values())
    for count in range(1, 3):
        path = torn(writer)
        data = path.read_bytes()
        start = data.rindex(b'"type":"checkpoint"')
        cut = data[data.index(b"\n", start) + 1 :]
        sent = talk.messages(writer)
        assert not list(talk.faults(sent)) and not set(talk.results(sent)) & {"toolu_b_0"}
        writer.command(writer.subject.recover)
        kept = [item.read_bytes() for item in path.parent.iterdir() if "rolled-back" in item.name]
        assert len(kept) == count and cut in kept
        assert path.read_bytes().startswith(history)
        assert not list(talk.faults(talk.messages(writer)))


def test_checkpointed_moves_a_session_away_that_never_had_a_turn(bench: Make) -> None:
    writer = bench("transcript/checkpointed", **talk.SMALL)
    path = torn(writer)
    first = path.read_bytes().split(b"\n")[0] + b"\n"
    path.write_bytes(first)
    assert len(talk.messages(writer)) == 1
    result = writer.command(writer.subject.recover)
    assert talk.uuids(writer) == writer.acks(result)
    assert [item.read_bytes() for item in path.parent.iterdir() if "rolled-back" in item.name] == [first]


def test_per_record_glues_its_next_record_to_a_torn_tail(bench: Make) -> None:
    writer = bench("transcript/per_record", **talk.SMALL)
    path = torn(writer)
    (acked,) = writer.acks(writer.command(writer.subject.recover))
    *_, last, end = path.read_bytes().split(b"\n")
    assert acked.encode() in last and last.startswith(b'{"parentUuid":null,') and end == b""
    with pytest.raises(ValueError, match=r"Expecting|Invalid|Unterminated|Extra"):
        json.loads(last)


@pytest.mark.parametrize("name", ["durable", "batched"])
def test_an_empty_or_torn_transcript_is_named(bench: Make, name: str) -> None:
    writer = start(bench, name, sessions=3)
    writer.run()
    sessions = talk.transcripts(writer)
    empty, tail, good = sessions
    sessions[empty].write_bytes(b"")
    with open(sessions[tail], "ab") as stream:
        stream.write(b'{"type":"us')
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert (listing.ids, listing.warned) == ((tail, good), (empty, tail))
    refused = talk.resume(writer, empty)
    assert (refused.exit_code, "error" in json.loads(refused.stdout)) == (1, True)


@posix
@pytest.mark.parametrize("extra", [0, 1, 100, 5000])
def test_durable_reports_a_transcript_that_may_not_grow_and_does_not_tear_it(bench: Make, extra: int) -> None:
    writer = start(bench, "durable", sessions=1)
    (path,) = talk.transcripts(writer).values()
    before = talk.uuids(writer)
    result = writer.run_limited(path.stat().st_size + extra)
    assert (result.exit_code, result.stderr) == (1, b"error: run: File too large\n")
    assert talk.uuids(writer) == before + writer.acks(result)


@posix
def test_durable_leaves_no_session_behind_that_it_could_not_begin(bench: Make) -> None:
    writer = start(bench, "durable", sessions=1)
    (path,) = talk.transcripts(writer).values()
    path.unlink()
    result = writer.run_limited(10)
    assert (result.exit_code, writer.acks(result), talk.transcripts(writer)) == (1, [], {})


@posix
def test_per_record_drops_what_it_cannot_write_and_goes_on(bench: Make) -> None:
    writer = start(bench, "per_record", sessions=1)
    (path,) = talk.transcripts(writer).values()
    before = talk.uuids(writer)
    result = writer.run_limited(path.stat().st_size)
    assert (result.exit_code, writer.acks(result)) == (0, [])
    assert result.stderr.count(b"record dropped: File too large") == 12
    assert talk.uuids(writer) == before


# -- seed 000's example ---------------------------------------------------------------------------------------------


def test_the_example_as_published_saves_nothing(bench: Make) -> None:
    writer = start(bench, "seed000_example")
    before = {path: path.read_bytes() for path in talk.transcripts(writer).values()}
    result = writer.run()
    assert (result.exit_code, result.stderr) == (1, b"error: run: I/O operation on closed file\n")
    assert writer.acks(result) == []
    assert {path: path.read_bytes() for path in talk.transcripts(writer).values()} == before
    assert [name for name in writer.names() if name.endswith(".jsonl.tmp")]


def test_the_example_with_its_fsync_moved_makes_an_array_of_the_records(bench: Make) -> None:
    writer = start(bench, "seed000_example_moved")
    before = talk.uuids(writer)
    result = writer.run()
    assert (result.exit_code, result.stderr) == (0, b"")
    arrays = [json.loads(path.read_bytes()) for path in talk.transcripts(writer).values()]
    found = [record["uuid"] for record in itertools.chain(*arrays)]
    assert sorted(found) == sorted(before + writer.acks(result))
    for session in talk.transcripts(writer):
        assert talk.resume(writer, session).exit_code == 1
