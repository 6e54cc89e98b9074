"""The correct writers run plainly, recover, and their checks can say no."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable

import pytest

from harness.catalog import NotAvailableError, fill, install, load_target
from tests.targets.plain_run import Bench

Make = Callable[..., Bench]
WRITERS = [
    "correct/sqlite_wal",
    "correct/sqlite_journal",
    "correct/append_log",
    pytest.param("correct/atomicwrites", marks=pytest.mark.download),
    "correct/node_document",
]
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def installed() -> None:
    """Put atomicwrites into the cache; its case skips itself where that fails."""
    with contextlib.suppress(NotAvailableError):
        install(load_target("correct"))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.usefixtures("installed")
def test_a_plain_run_acknowledges_every_update_and_recovery_adds_one(bench: Make, name: str) -> None:
    writer = bench(name, updates=5)
    result = writer.run()
    assert (result.exit_code, result.stderr) == (0, b"")
    assert writer.acks(result) == ["1", "2", "3", "4", "5"]
    again = writer.command(writer.subject.recover)
    assert (again.exit_code, writer.acks(again)) == (0, ["6"])
    (left,) = writer.names()
    assert left in ("store.db", "log.jsonl", "document.json")


@pytest.mark.parametrize("name", ["correct/sqlite_wal", "correct/sqlite_journal"])
def test_the_check_accepts_what_is_whole_and_refuses_what_is_damaged(bench: Make, name: str) -> None:
    writer = bench(name, updates=5)

    def verdict(acked: int) -> int | None:
        return writer.command(fill(writer.subject.check, acked=str(acked))).exit_code

    assert verdict(0) == 0
    assert verdict(1) == 1
    writer.run()
    assert (verdict(0), verdict(5), verdict(6)) == (0, 0, 1)
    database = writer.root / "store.db"
    whole = database.read_bytes()
    for damaged in (b"", bytes(len(whole)), whole[: len(whole) // 2]):
        database.write_bytes(damaged)
        assert verdict(5) == 1
    database.write_bytes(whole)
    connection = sqlite3.connect(database)
    connection.execute("UPDATE entry SET value = 'other' WHERE id = 3")
    connection.commit()
    connection.close()
    assert verdict(5) == 1


def test_the_log_is_healed_before_it_grows(bench: Make) -> None:
    writer = bench("correct/append_log", updates=3)
    writer.run()
    with open(writer.root / "log.jsonl", "ab") as stream:
        stream.write(b'{"number": 4, "va')
    assert writer.acks(writer.command(writer.subject.recover)) == ["4"]
    lines = (writer.root / "log.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["number"] for line in lines[:-1]] == [1, 2, 3, 4]
