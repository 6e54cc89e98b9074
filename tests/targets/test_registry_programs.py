"""The registry writers run plainly, and what lister, resume and recovery make of an entry that cannot be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import fill, load_target, parse_listing
from harness.catalog.workload import Workload, workload_json
from tests.targets.plain_run import Bench

pytestmark = pytest.mark.real
Make = Callable[..., Bench]
TARGET = Path(load_target("registry").directory)
WRITERS = ["registry/in_place", "registry/in_place_node", "registry/seed002_fix", "registry/durable"]
SILENT, DURABLE = "registry/in_place", "registry/durable"
ENTRY_BYTES = 144_258


def entry_paths(root: Path) -> list[Path]:
    return sorted(root.glob("claude-code-sessions/*/*/local_*.json"))


def by_title_source(root: Path, source: str) -> Path:
    return next(path for path in entry_paths(root) if json.loads(path.read_bytes())["titleSource"] == source)


def say(writer: Bench, command: str, name: str) -> list[dict[str, Any]] | None:
    """Return the lines of ``read`` or ``resume``; None if it fails."""
    argv = fill(writer.subject.read, id=name)
    result = writer.command(tuple(command if item == "read" else item for item in argv))
    return [json.loads(line) for line in result.stdout.splitlines()] if result.exit_code == 0 else None


def messages_of(lines: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    assert lines is not None
    return next(line["messages"] for line in lines if "messages" in line)


def state(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_every_update_is_acknowledged_and_every_entry_keeps_its_size(bench: Make, name: str) -> None:
    writer = bench(name, sessions=3, updates=8)
    before = [path.read_bytes() for path in entry_paths(writer.root)]
    result = writer.run()
    assert (result.exit_code, result.stderr) == (0, b"")
    acks = writer.acks(result)
    lines = b"".join(path.read_bytes() for path in writer.root.rglob("*.jsonl")).split(b"\n")[:-1]
    assert len(acks) == len(set(acks)) == 8
    assert set(acks) <= {json.loads(line).get("uuid") for line in lines}
    after = [path.read_bytes() for path in entry_paths(writer.root)]
    assert {len(data) for data in (*before, *after)} == {ENTRY_BYTES}
    assert all(old[:1000] != new[:1000] for old, new in zip(before, after, strict=True))
    assert not [name for name in writer.names() if "tmp" in name or "bak" in name]
    again = writer.command(writer.subject.recover)
    assert (again.exit_code, len(writer.acks(again))) == (0, 1)


def test_python_and_node_and_every_grade_leave_the_same_bytes(bench: Make) -> None:
    states = []
    for name, seed in [*((name, 1) for name in WRITERS), (WRITERS[0], 2)]:
        writer = bench(name, seed=seed, sessions=2, updates=9)
        writer.run()
        states.append(state(writer.root))
    assert states[0] == states[1] == states[2] == states[3] != states[4]


def test_archived_sessions_are_shown_on_demand(bench: Make) -> None:
    writer = bench(DURABLE, sessions=3, updates=1)
    argv = writer.subject.list_command
    shown = parse_listing(writer.command(argv).stdout)
    without = parse_listing(writer.command(tuple(item for item in argv if item != "--include-archived")).stdout)
    assert (len(shown.ids), len(without.ids), shown.warned, without.warned) == (6, 4, (), ())


def test_the_large_transcript_has_the_size_of_the_seed(tmp_path: Path) -> None:
    workload = tmp_path / "workload.json"
    workload.write_bytes(workload_json(Workload(sessions=1), 1))
    root = tmp_path / "state"
    command = [sys.executable, "-BEsS", str(TARGET / "setup.py"), str(root), str(workload), "--large"]
    subprocess.run(command, check=True, timeout=60)
    (path,) = root.rglob("*.jsonl")
    data = path.read_bytes()
    assert (len(data), data[-2:]) == (38_518_504, b"}\n")
    assert all(json.loads(line)["sessionId"] == path.stem for line in data.split(b"\n")[:-1])


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nul": lambda data: bytes(len(data)),
    "empty": lambda data: b"",
    "torn": lambda data: data[:4096],
    "other": lambda data: b"[1, 2]",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_in_place_a_damaged_entry_hides_an_intact_session(bench: Make, damage: str) -> None:
    """Seed 002: no lister, no resume by either id, no warning; the transcript is all there."""
    writer = bench(SILENT, sessions=3, updates=6)
    writer.run()
    path = entry_paths(writer.root)[0]
    entry = json.loads(path.read_bytes())
    transcripts = {name: data for name, data in state(writer.root).items() if name.endswith(".jsonl")}
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert (len(listing.ids), listing.warned) == (4, ())
    for name in (path.stem, entry["cliSessionId"]):
        assert name not in listing.ids
        assert say(writer, "resume", name) is None
        assert say(writer, "read", name) is None
    assert writer.command(writer.subject.recover).exit_code == 0
    after = state(writer.root)
    assert all(after[name].startswith(data) for name, data in transcripts.items())
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("source", ["user", "auto"])
def test_durable_finds_the_session_with_a_warning_and_rebuilds_its_entry(
    bench: Make, damage: str, source: str
) -> None:
    writer = bench(DURABLE, sessions=3, updates=1)
    path = by_title_source(writer.root, source)
    entry = json.loads(path.read_bytes())
    cli = entry["cliSessionId"]
    whole = messages_of(say(writer, "resume", path.stem))
    assert len(whole) == 4
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert (len(listing.ids), set(listing.warned)) == (5, {path.name, cli})
    assert cli in listing.ids
    for name in (path.stem, cli):
        lines = say(writer, "resume", name)
        assert messages_of(lines) == whole
        assert lines is not None and any("warning" in line for line in lines)
    result = writer.command(writer.subject.recover)
    assert result.exit_code == 0, result.stderr
    said = [json.loads(line) for line in result.stdout.splitlines() if line.startswith(b"{")]
    assert said == [{"lost": key, "id": path.stem} for key in ("pin", "completedTurns", "archived")]
    backup = path.with_name(path.name + ".corrupted-bak")
    assert backup.read_bytes() == damaged
    rebuilt = json.loads(path.read_bytes())
    kept = (
        "sessionId",
        "cliSessionId",
        "cwd",
        "originCwd",
        "worktreeName",
        "branch",
        "sourceBranch",
        "titleSource",
    )
    assert {key: rebuilt[key] for key in kept} == {key: entry[key] for key in kept}
    if path != entry_paths(writer.root)[0]:  # that one has had its next update, which may be a title
        assert rebuilt["title"] == entry["title"]
        assert not {"isPinned", "completedTurns", "isArchived"} & set(rebuilt)
    assert parse_listing(writer.command(writer.subject.list_command).stdout).warned == ()
    names = writer.names()
    again = writer.command(writer.subject.recover).stdout  # until it is set again: the first start may have died
    assert b'{"lost":"pin"' in again
    assert b"completedTurns" not in again or path != entry_paths(writer.root)[0]
    assert writer.names() == names


def test_several_damaged_entries_are_told_apart_by_their_leases(bench: Make) -> None:
    writer = bench(DURABLE, sessions=3, updates=1)
    entries = {path: json.loads(path.read_bytes()) for path in entry_paths(writer.root)}
    for path in entries:
        path.write_bytes(bytes(ENTRY_BYTES))
    assert writer.command(writer.subject.recover).exit_code == 0
    for path, entry in entries.items():
        assert json.loads(path.read_bytes())["cliSessionId"] == entry["cliSessionId"]


def test_what_cannot_be_told_is_left_alone_and_said(bench: Make) -> None:
    """Two entries of nothing but NUL and no leases: no guess, and both sessions are still reached."""
    writer = bench(DURABLE, sessions=3, updates=1)
    paths = entry_paths(writer.root)[:2]
    names = {json.loads(path.read_bytes())["cliSessionId"] for path in paths}
    next(writer.root.rglob("git-worktrees.json")).write_bytes(b"")
    for path in paths:
        path.write_bytes(bytes(100))
    result = writer.command(writer.subject.recover)
    assert result.stdout.count(b"no transcript can be told for it") == 2
    assert [path.read_bytes() for path in paths] == [bytes(100)] * 2
    assert names <= set(parse_listing(writer.command(writer.subject.list_command).stdout).ids)


def test_the_published_recovery_works_and_takes_what_it_cannot_know_from_another_session(bench: Make) -> None:
    writer = bench(SILENT, sessions=2, updates=1)
    pinned, lost = sorted(entry_paths(writer.root), key=lambda path: not json.loads(path.read_bytes())["isPinned"])
    entry, template = json.loads(lost.read_bytes()), json.loads(pinned.read_bytes())
    assert (entry["isPinned"], template["isPinned"]) == (False, True)
    damaged = bytes(ENTRY_BYTES)
    lost.write_bytes(damaged)
    keys = ("cliSessionId", "cwd", "originCwd", "title", "createdAt", "lastActivityAt")
    command = [sys.executable, str(TARGET / "manual_recovery.py"), str(lost.parent), pinned.stem, lost.stem]
    subprocess.run(command + [str(entry[key]) for key in keys], check=True, timeout=30)
    made = json.loads(lost.read_bytes())
    assert {key: made[key] for key in keys} == {key: entry[key] for key in keys}
    assert lost.with_suffix(".json.corrupted-bak").read_bytes() == damaged
    assert lost.stem in parse_listing(writer.command(writer.subject.list_command).stdout).ids
    assert len(messages_of(say(writer, "resume", lost.stem))) == 4
    # The seed says that the pin cannot be recovered; its script sets it, to that of the template.
    assert made["isPinned"] is True


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("name", WRITERS)
def test_an_entry_that_does_not_fit_is_reported_and_only_in_place_it_is_torn(bench: Make, name: str) -> None:
    writer = bench(name, sessions=1, updates=2)
    (path,) = entry_paths(writer.root)
    before = path.read_bytes()
    result = writer.run_limited(65_536)
    assert (result.exit_code, writer.acks(result)) == (1, [])
    assert b"error: run: " in result.stderr
    assert len(path.read_bytes()) == (65_536 if "in_place" in name else len(before))
    assert ("in_place" in name) != (path.read_bytes() == before)


def test_a_torn_transcript_is_healed_before_it_grows(bench: Make) -> None:
    for name in (SILENT, DURABLE):
        writer = bench(name, sessions=1, updates=1)
        (path,) = writer.root.rglob("*.jsonl")
        whole = path.read_bytes()
        path.write_bytes(whole + b'{"parentUuid": "x')
        (added,) = writer.acks(writer.command(writer.subject.recover))
        data = path.read_bytes()
        assert data.startswith(whole)
        records = [json.loads(line) for line in data.split(b"\n")[:-1]]
        assert added in {record.get("uuid") for record in records}


def test_two_durable_instances_at_work_at_once_lose_no_update(bench: Make) -> None:
    writer = bench(DURABLE, sessions=2, updates=20)
    spec = writer.subject.spec
    running = [
        subprocess.Popen(spec.argv, cwd=spec.cwd, env=dict(spec.environment), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    acks = [line for process in running for line in process.communicate(timeout=60)[0].splitlines()]
    assert len({line for line in acks if line.startswith(b"ACK ")}) == 40
    turns = [json.loads(path.read_bytes())["completedTurns"] for path in entry_paths(writer.root)]
    assert sum(turns) == 2 * 2 + 40
    assert not [name for name in writer.names() if "tmp" in name or "bak" in name]
