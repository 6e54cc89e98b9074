"""The published SDK: installed for real, run, listed and read; and the facts of seed 004 without any engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.catalog import NotAvailableError, fill, install, load_target, parse_listing
from harness.catalog.workload import Workload, workload_json
from tests.targets.plain_run import Bench

Make = Callable[..., Bench]
pytestmark = pytest.mark.real
TARGET = Path(load_target("fork_session").directory)
PINNED = ["fork_session/sdk@0.1.72", "fork_session/sdk@0.2.186", "fork_session/seed004_fix"]
download = pytest.mark.download


@pytest.fixture(scope="module")
def installed() -> None:
    for version in ("0.1.72", "0.2.186"):
        try:
            install(load_target("fork_session"), version)
        except NotAvailableError as error:
            pytest.skip(str(error))


def build_source(directory: Path, seed: int) -> bytes:
    workload = directory.with_suffix(".json")
    workload.write_bytes(workload_json(Workload(updates=40, record_bytes=(600, 12_000)), seed))
    command = ["python3", "-BEsS", str(TARGET / "source_session.py"), str(directory), str(workload)]
    subprocess.run(command, check=True, timeout=30)
    (path,) = directory.rglob("*.jsonl")
    return path.read_bytes()


def test_the_source_session_is_realistic_and_repeats(tmp_path: Path) -> None:
    data = build_source(tmp_path / "a", 1)
    assert data == build_source(tmp_path / "b", 1) != build_source(tmp_path / "c", 2)
    assert 200_000 < len(data) < 350_000
    records = [json.loads(line) for line in data.split(b"\n")[:-1]]
    chain = [record for record in records if "uuid" in record]
    assert len(chain) == 40
    assert [record["parentUuid"] for record in chain[1:]] == [record["uuid"] for record in chain[:-1]]
    used = {
        block["id"] for r in chain for block in r["message"]["content"] if type(block) is dict and "id" in block
    }
    answered = {
        block["tool_use_id"]
        for record in chain
        for block in record["message"]["content"]
        if type(block) is dict and "tool_use_id" in block
    }
    assert used == answered
    assert "\u2028" not in data.decode()


def transcripts(bench: Bench) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in bench.root.rglob("*.jsonl")}


@download
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", PINNED)
def test_a_fork_is_made_listed_and_read(bench: Make, name: str) -> None:
    writer = bench(name, updates=12, record_bytes=(200, 3000))
    (source,) = transcripts(writer)
    result = writer.run()
    assert (result.exit_code, result.stdout[:6]) == (0, b"ARMED\n")
    (fork,) = writer.acks(result)
    assert set(transcripts(writer)) == {source, fork}
    assert len(writer.names()) == 2
    listing = parse_listing(writer.command(writer.subject.list_command).stdout)
    assert set(listing.ids) == {source, fork}
    for session in (source, fork):
        assert len(writer.command(fill(writer.subject.read, id=session)).stdout.splitlines()) == 12
    before = transcripts(writer)
    assert writer.acks(writer.command(writer.subject.recover)) == [source]
    after = transcripts(writer)
    assert after[fork] == before[fork]
    assert json.loads(after[source].removeprefix(before[source]))["customTitle"] == "Recovered"


@download
@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("name", PINNED)
def test_a_short_write_returns_success_with_half_a_session(bench: Make, name: str) -> None:
    """The fact behind ``short = violated``: half the messages, acknowledged, listed. The seed's fix keeps it."""
    writer = bench(name, updates=40, record_bytes=(600, 12_000))
    result = writer.run_limited(128 << 10)
    assert result.exit_code == 0
    (fork,) = writer.acks(result)
    assert len(transcripts(writer)[fork]) == 128 << 10
    assert fork in parse_listing(writer.command(writer.subject.list_command).stdout).ids
    assert len(writer.command(fill(writer.subject.read, id=fork)).stdout.splitlines()) < 40


@download
@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_the_fix_is_the_published_one_and_nothing_else() -> None:
    """The SDK still has the lines that the seed quotes, once; else the variant would test something else."""
    namespace: dict[str, str] = {}
    source = (TARGET / "fork.py").read_text(encoding="utf-8")
    exec(source[source.index("PUBLISHED =") : source.index("def say")], namespace)
    (site,) = {installed.directory for installed in install(load_target("fork_session"), "0.1.72")}
    sdk = Path(site, "claude_agent_sdk", "_internal", "session_mutations.py").read_text(encoding="utf-8")
    assert sdk.count(namespace["PUBLISHED"]) == 1
    kept = [line for line in namespace["PUBLISHED"].splitlines() if "os.open" not in line]
    assert set(kept) < set(namespace["PROPOSED"].splitlines())


VERSIONS = ("0.1.72", "0.2.186")


@download
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["rename_session", "tag_session"])
def test_a_title_or_tag_is_one_record_more(bench: Make, name: str, version: str) -> None:
    writer = bench(f"fork_session/{name}@{version}", updates=12, record_bytes=(200, 3000))
    ((session, before),) = transcripts(writer).items()
    result = writer.run()
    assert (result.exit_code, writer.acks(result)) == (0, [session])
    added = transcripts(writer)[session].removeprefix(before)
    record = json.loads(added)
    assert (added[-1:], record["sessionId"]) == (b"\n", session)
    assert record["type"] == ("tag" if name == "tag_session" else "custom-title")


@download
@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["rename_session", "tag_session"])
def test_a_short_title_or_tag_returns_success_and_the_next_one_is_glued_to_it(
    bench: Make, name: str, version: str
) -> None:
    writer = bench(f"fork_session/{name}@{version}", updates=12, record_bytes=(200, 3000))
    ((session, before),) = transcripts(writer).items()
    result = writer.run_limited(len(before) + 20)
    assert (result.exit_code, writer.acks(result)) == (0, [session])
    assert len(transcripts(writer)[session]) == len(before) + 20
    assert writer.command(writer.subject.recover).exit_code == 0
    last = transcripts(writer)[session].split(b"\n")[-2]
    assert b"Recovered" in last
    with pytest.raises(ValueError, match=r"delimiter|Expecting|Extra|Unterminated"):
        json.loads(last)


@download
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_deleted_session_is_gone_with_its_sub_agents(bench: Make, version: str) -> None:
    writer = bench(f"fork_session/delete_session@{version}", updates=12, record_bytes=(200, 3000))
    assert len(writer.names()) == 2
    result = writer.run()
    assert (result.exit_code, len(writer.acks(result))) == (0, 1)
    assert writer.names() == set()
