"""The reference writers run plainly, and what the durable one's recovery makes of damaged states."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import fill, parse_listing
from tests.targets.plain_run import Bench

pytestmark = pytest.mark.real
GRADES = ["reference/durable", "reference/no_dir_fsync", "reference/buggy"]
Make = Callable[..., Bench]


def records(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


@pytest.mark.parametrize("grade", GRADES)
def test_a_plain_run_stores_and_acknowledges_every_update(bench: Make, grade: str) -> None:
    writer = bench(grade, sessions=3, updates=9)
    result = writer.run()
    assert (result.exit_code, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"ARMED\n")
    assert writer.acks(result) == [f"u{number}" for number in range(1, 10)]
    assert [record["id"] for record in records(writer.root / "log.jsonl")] == writer.acks(result)
    assert json.loads((writer.root / "state.json").read_bytes())["last"] == "u9"
    assert writer.names() == {"log.jsonl", "state.json", *(f"sessions/s{number}.json" for number in range(3))}


def test_all_grades_store_the_same_and_seeds_differ(bench: Make) -> None:
    states = []
    for grade, seed in [*((grade, 1) for grade in GRADES), (GRADES[0], 1), (GRADES[0], 2)]:
        writer = bench(grade, seed=seed)
        writer.run()
        states.append({name: (writer.root / name).read_bytes() for name in writer.names()})
    assert states[0] == states[1] == states[2] == states[3] != states[4]


def test_contents_would_show_a_tear(bench: Make) -> None:
    """Records cross pages, sizes shrink and grow, early bytes change, and a raw U+2028 is among them."""
    writer = bench("reference/durable", updates=16)
    writer.run()
    data = (writer.root / "log.jsonl").read_bytes()
    sizes = [len(line) for line in data.split(b"\n")[:-1]]
    assert max(sizes) > 4096
    assert any(after < before for before, after in itertools.pairwise(sizes))
    assert any(after > before for before, after in itertools.pairwise(sizes))
    assert len({line[:12] for line in data.split(b"\n")[:-1]}) > 12
    assert "\u2028" in data.decode()


@pytest.mark.parametrize("grade", GRADES)
def test_sessions_are_listed_and_read(bench: Make, grade: str) -> None:
    writer = bench(grade, sessions=2, updates=4)
    writer.run()
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert listing == (("s0", "s1"), (), 0)
    read = writer.command(fill(writer.subject.read, id="s1"))
    assert json.loads(read.stdout) == json.loads((writer.root / "sessions" / "s1.json").read_bytes())
    assert writer.command(fill(writer.subject.read, id="s9")).exit_code == 1


def torn_log(root: Path) -> None:
    with open(root / "log.jsonl", "ab") as stream:
        stream.write(b'{"n":1,"id":"u99","te')


def empty_state(root: Path) -> None:
    (root / "state.json").write_bytes(b"")


def nul_session(root: Path) -> None:
    (root / "sessions" / "s1.json").write_bytes(bytes(100))


def litter(root: Path) -> None:
    (root / ".state.json.1-1.tmp").write_bytes(b"{")
    (root / "sessions" / ".s0.json.1-2.tmp").write_bytes(b"")


def nothing_yet(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("damage", [torn_log, empty_state, nul_session, litter, nothing_yet])
def test_recovery_heals_and_goes_on(bench: Make, damage: Callable[[Path], None]) -> None:
    writer = bench("reference/durable", sessions=3, updates=6)
    writer.run()
    whole = {name: (writer.root / name).read_bytes() for name in writer.names()}
    damage(writer.root)
    damaged = {name: (writer.root / name).read_bytes() for name in writer.names()}
    result = writer.command(writer.subject.recover)
    assert result.exit_code == 0, result.stderr
    (added,) = writer.acks(result)
    found = records(writer.root / "log.jsonl")
    assert found[-1]["id"] == added
    if damage is not nothing_yet:
        assert [record["id"] for record in found[:-1]] == [f"u{number}" for number in range(1, 7)]
    assert not [name for name in writer.names() if name.endswith(".tmp")]
    assert json.loads((writer.root / "state.json").read_bytes())["last"] == added
    kept = {(writer.root / name).read_bytes() for name in writer.names()}
    for name, data in damaged.items():
        if data != whole.get(name) and not name.endswith(".tmp") and name != "log.jsonl":
            assert data in kept, f"recovery destroyed the only copy of {name}"


def test_recovery_never_overwrites_a_backup_and_can_be_repeated(bench: Make) -> None:
    writer = bench("reference/durable", sessions=2, updates=4)
    writer.run()
    for number in range(3):
        (writer.root / "sessions" / "s0.json").write_bytes(b"broken %d" % number)
        assert writer.command(writer.subject.recover).exit_code == 0
    backups = sorted(name for name in writer.names() if "corrupted-bak" in name)
    assert [(writer.root / name).read_bytes() for name in backups] == [b"broken 0", b"broken 1", b"broken 2"]
    assert parse_listing(writer.command(writer.subject.list_command).stdout).ids == ("s1",)
    before = writer.names()
    assert writer.command(writer.subject.recover).exit_code == 0
    assert writer.names() == before


def test_one_bad_entry_is_named_and_hides_no_other(bench: Make) -> None:
    writer = bench("reference/durable", sessions=3, updates=6)
    writer.run()
    nul_session(writer.root)
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert (listing.ids, listing.warned) == (("s0", "s2"), ("s1",))


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [1, 100, 5000, 20_000])
def test_a_log_that_may_not_grow_is_reported_and_not_torn(bench: Make, limit: int) -> None:
    writer = bench("reference/durable", sessions=2, updates=12)
    result = writer.run_limited(limit)
    assert (result.exit_code, result.stderr) == (1, b"error: run: File too large\n")
    if (writer.root / "log.jsonl").stat().st_size:
        ids = [record["id"] for record in records(writer.root / "log.jsonl")]
        assert writer.acks(result) == ids[: len(writer.acks(result))]
        assert len(ids) - len(writer.acks(result)) <= 1


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
def test_a_document_that_does_not_fit_is_reported_and_leaves_the_old_one_alone(bench: Make) -> None:
    writer = bench("reference/durable", sessions=1, updates=1, record_bytes=(20_000, 90_000))
    assert writer.run().exit_code == 0
    log, session = ((writer.root / name).stat().st_size for name in ("log.jsonl", "sessions/s0.json"))
    assert session > log
    nothing_yet(writer.root)
    result = writer.run_limited(log)
    assert (result.exit_code, result.stderr, writer.acks(result)) == (1, b"error: run: File too large\n", [])
    assert writer.names() == {"log.jsonl"}


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
def test_the_buggy_writer_says_all_is_well_when_nothing_fits(bench: Make) -> None:
    writer = bench("reference/buggy", sessions=2, updates=12)
    result = writer.run_limited(2048)
    assert result.exit_code == 0
    assert len(writer.acks(result)) == 12
    assert (writer.root / "log.jsonl").stat().st_size == 2048
