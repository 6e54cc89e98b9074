"""The index keepers through lives, by hand: what each way to keep ``sessions-index.json`` leaves of it.

A life is one start of the real program with ``TORNWRITE_NOW`` set, ended by a signal or gracefully. No engine.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyfakefs.fake_filesystem import FakeFilesystem

from harness.catalog import Workload, load_scenario, load_target
from harness.catalog.lives import life_data
from harness.catalog.steps import Step
from harness.catalog.workload import workload_json

pytestmark = pytest.mark.real
TARGET = Path(load_target("sessions_index").directory)
KEEPERS = ["cached_snapshot", "seed003_rebuild_24h", "seed003_merge", "durable"]
DAY_MS = 86_400_000
SIGNALS = {"sighup": 1, "sigint": 2, "sigkill": 9, "sigterm": 15, "power": 9}
"""To the program a power loss is a kill; what the disk loses beside is another question."""

sys.path.insert(0, str(TARGET))
try:
    import index as index_module
    import measure_rebuild as measure_module
    import transcript as transcript_module
finally:
    sys.path.remove(str(TARGET))


Lives = tuple[dict[str, Any], ...]


class Machine:
    """A state directory that one keeper's program is started on, life after life."""

    def __init__(self, base: Path, keeper: str, workload: Workload, lives: Lives = ()) -> None:
        self.root, self.base, self.keeper, self.workload = base / "state", base, keeper, workload
        self.lives = lives
        base.mkdir(parents=True, exist_ok=True)
        self.command("setup.py", str(self.root), self.described())

    def described(self, *steps: str) -> str:
        """Write the workload file and return its path."""
        steps_of = tuple(Step(at=at, do="update", session=name) for at, name in enumerate(steps))
        path = self.base / f"workload-{'-'.join(steps)}.json"
        path.write_bytes(workload_json(msgspec.structs.replace(self.workload, steps=steps_of), 1, self.lives))
        return str(path)

    def command(self, program: str, *arguments: str, **environment: str) -> bytes:
        command = [sys.executable, "-BEsS", str(TARGET / program), *arguments]
        found = os.environ | environment
        return subprocess.run(command, check=True, env=found, capture_output=True, timeout=60).stdout

    @contextmanager
    def life(self, number: int, now_ms: int, how: str = "graceful", *steps: str) -> Iterator[list[str]]:
        """Start the program, wait until it is idle, run the body beside it, end it; yield the acknowledged ids."""
        command = [sys.executable, "-BEsS", str(TARGET / "sessions.py"), self.keeper, "run", str(self.root)]
        life = {"TORNWRITE_LIFE": str(number), "TORNWRITE_NOW": str(now_ms)}
        process = subprocess.Popen(
            [*command, self.described(*steps)],
            env=os.environ | life,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdin is not None and process.stdout is not None
            said: list[str] = []
            for line in process.stdout:
                said.append(line.decode().strip())
                if line == b"IDLE\n":
                    break
            yield [line[4:] for line in said if line.startswith("ACK ")]
            if how == "suspend_resume":
                process.send_signal(signal.SIGSTOP)
                process.send_signal(signal.SIGCONT)
            elif how != "graceful":
                process.send_signal(SIGNALS[how])
            process.stdin.close()
            assert process.wait(30) == (-SIGNALS[how] if how in SIGNALS else 0)

    def live(self, number: int, now_ms: int, how: str = "graceful", *steps: str) -> list[str]:
        with self.life(number, now_ms, how, *steps) as acks:
            return acks

    def start(self) -> None:
        """Start once more, and exit gracefully: what a start repairs is repaired."""
        self.command("sessions.py", self.keeper, "recover", str(self.root), self.described())

    def listing(self, *flags: str) -> list[dict[str, Any]]:
        """Return the lines of the picker."""
        said = self.command("sessions.py", self.keeper, "list", str(self.root), *flags)
        return [json.loads(line) for line in said.splitlines()]

    def listed(self) -> set[str]:
        return {line["id"] for line in self.listing() if "id" in line}

    def project(self, number: int) -> Path:
        return self.root / "projects" / f"-srv-p{number:02}"

    def session(self, name: str) -> str:
        return str(transcript_module.uuid_of(1, f"session {name}"))

    def entries(self, project: int) -> dict[str, dict[str, Any]]:
        found = json.loads((self.project(project) / "sessions-index.json").read_bytes())
        return {entry["sessionId"]: entry for entry in found["entries"]}

    def lag_days(self, project: int) -> float:
        """Return how far the index on disk is behind the newest transcript of its project."""
        return float(index_module.lag_ms(str(self.project(project)), self.entries(project)) / DAY_MS)


# -- December to April -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    """Every keeper's machine after the lives of the scenario ``index_drift``."""
    scenario = load_scenario("index_drift")
    machines = {}
    for keeper in KEEPERS:
        base = tmp_path_factory.mktemp(keeper)
        data = life_data(scenario.life, scenario.workload.now_ms)
        machine, starts = Machine(base, keeper, scenario.workload, data), iter(data)
        for life in scenario.life:
            with ExitStack() as together:  # the first to start is the last to end
                for start in itertools.islice(starts, life.instances):
                    lived = machine.life(start["index"], start["now_ms"], life.exit)
                    assert len(together.enter_context(lived)) == scenario.workload.updates
        machines[keeper] = machine
    return machines


def lags(machine: Machine) -> list[int]:
    return [round(machine.lag_days(project)) for project in range(14)]


SEED_LAGS = [93, 90, 84, 80, 79, 66, 65, 57, 57, 46, 44, 12, 12, 11]
"""The table of seed 003, in days."""


@pytest.mark.parametrize("keeper", ["cached_snapshot", "seed003_merge"])
def test_an_entry_stays_at_nine_messages_for_93_days(drifted: dict[str, Machine], keeper: str) -> None:
    """The last graceful exit was in January. Merging on exit changes nothing about exits that do not come."""
    machine = drifted[keeper]
    assert lags(machine) == SEED_LAGS
    entry = machine.entries(0)[machine.session("s0")]
    path = machine.project(0) / f"{machine.session('s0')}.jsonl"
    assert entry["messageCount"] == 9
    assert entry["modified"].startswith("2026-01-20T")
    assert index_module.entry_of(str(path))["messageCount"] > 80
    assert all("warning" not in line for line in machine.listing())
    resumed = machine.command("sessions.py", keeper, "resume", str(machine.root), machine.session("s0"))
    assert len(json.loads(resumed)["messages"]) > 80


def test_a_rebuild_at_the_start_bounds_the_lag_by_one_life(drifted: dict[str, Machine]) -> None:
    """What it closes: months. What not: the life that is killed, and the summaries that only the index had.

    Nor a lag of 24 hours at most: projects 5 and 12 keep one for the weeks that follow.
    """
    machine = drifted["seed003_rebuild_24h"]
    assert lags(machine) == [3, *[0] * 4, 1, *[0] * 6, 1, 0]
    listed = {line["id"]: line for line in machine.listing() if "id" in line}
    path = machine.project(0) / f"{machine.session('s0')}.jsonl"
    assert listed[machine.session("s0")]["messageCount"] == index_module.entry_of(str(path))["messageCount"]
    assert "customTitle" in machine.entries(0)[machine.session("s0")]
    assert all("summary" not in entry for project in range(14) for entry in machine.entries(project).values())


def test_durable_is_never_behind_and_keeps_titles_and_summaries(drifted: dict[str, Machine]) -> None:
    machine = drifted["durable"]
    assert lags(machine) == [0] * 14
    for project in range(14):
        directory = machine.project(project)
        entries = machine.entries(project)
        assert set(entries) == set(index_module.transcripts_of(str(directory)))
        for name, entry in entries.items():
            made = index_module.entry_of(str(directory / f"{name}.jsonl"))
            assert {key: entry[key] for key in made} == made
        assert "summary" in entries[machine.session(f"s{project}")]
    assert all("warning" not in line for line in machine.listing())


# -- how a life ends, and two lives at once --------------------------------------------------------------------

SMALL = Workload(sessions=2, updates=6, record_bytes=(60, 1500))
NOW_MS = SMALL.now_ms


@pytest.mark.parametrize("keeper", KEEPERS)
@pytest.mark.parametrize("how", ["graceful", "sighup", "sigterm", "sigint", "sigkill", "power", "suspend_resume"])
def test_what_each_kind_of_exit_leaves(tmp_path: Path, keeper: str, how: str) -> None:
    """The seed's open question: only the graceful exit writes, except where every message does."""
    machine = Machine(tmp_path, keeper, SMALL)
    acks = machine.live(0, NOW_MS, how)
    entry = machine.entries(0)[machine.session("s0")]
    written = keeper == "durable" or how in ("graceful", "suspend_resume")
    assert len(acks) == 6
    assert entry["messageCount"] == (6 if written else 3)
    assert (machine.session("s2") in machine.entries(0)) == written
    assert (machine.session("s2") in machine.listed()) == written


@pytest.mark.parametrize("keeper", KEEPERS)
def test_two_instances_and_a_graceful_exit_lose_an_entry(tmp_path: Path, keeper: str) -> None:
    """The second instance begins a session and exits; the first then writes what it remembers."""
    machine = Machine(tmp_path, keeper, SMALL)
    new = machine.session("s4")
    with machine.life(0, NOW_MS, "graceful", "s0"):
        machine.live(1, NOW_MS, "graceful", "s4", "s4")
        assert new in machine.entries(0)
    kept = keeper in ("seed003_merge", "durable")
    assert (new in machine.entries(0)) == kept
    machine.start()  # within 24 hours: the rebuild does not see it either
    assert (new in machine.entries(0)) == kept
    assert (new in machine.listed()) == kept
    assert (machine.project(0) / f"{new}.jsonl").exists()


@pytest.mark.parametrize("keeper", KEEPERS)
def test_a_graceful_exit_rolls_an_entry_back_by_weeks(tmp_path: Path, keeper: str) -> None:
    machine = Machine(tmp_path, keeper, SMALL)
    machine.live(0, NOW_MS, "graceful", "s2", "s2")  # a second session of project 0
    other = machine.session("s2")
    with machine.life(1, NOW_MS + 20 * DAY_MS, "graceful", "s0"):
        machine.live(2, NOW_MS + 20 * DAY_MS, "graceful", "s2", "s2")
        before = machine.entries(0)[other]
    after = machine.entries(0)[other]
    rolled = transcript_module.milliseconds(before["modified"]) - transcript_module.milliseconds(after["modified"])
    lost = before["messageCount"] - after["messageCount"]
    if keeper in ("seed003_merge", "durable"):
        assert (rolled, lost) == (0, 0)
    else:
        assert rolled >= 14 * DAY_MS
        assert lost == 2


def test_two_durable_instances_at_work_at_once_lose_nothing(tmp_path: Path) -> None:
    workload = Workload(sessions=1, updates=1, record_bytes=(60, 300))
    machine = Machine(tmp_path, "durable", workload)
    names = ["s1", "s2", "s3", "s4"]
    command = [sys.executable, "-BEsS", str(TARGET / "sessions.py"), "durable", "run", str(machine.root)]
    running = [subprocess.Popen([*command, machine.described(*[name] * 12)]) for name in names]
    assert [process.wait(60) for process in running] == [0] * 4
    counts = {name: entry["messageCount"] for name, entry in machine.entries(0).items()}
    assert counts == {machine.session("s0"): 3} | {machine.session(name): 12 for name in names}
    assert {path.suffix for path in machine.project(0).iterdir()} == {".json", ".jsonl"}


# -- the picker, damaged indexes, a large transcript -----------------------------------------------------------


def test_the_picker_warns_where_index_and_transcript_disagree_by_days(tmp_path: Path) -> None:
    for keeper in KEEPERS:
        machine = Machine(tmp_path / keeper, keeper, SMALL)
        index = machine.project(0) / "sessions-index.json"
        stale = index.read_bytes()
        machine.live(0, NOW_MS + 8 * DAY_MS, "graceful", "s0")
        index.write_bytes(stale)
        warned = {line["name"] for line in machine.listing() if "warning" in line}
        warns = keeper in ("durable", "seed003_rebuild_24h")
        assert warned == ({machine.session("s0")} if warns else set())
        assert not any("warning" in line for line in machine.listing("--days=9"))


@pytest.mark.parametrize("keeper", KEEPERS)
@pytest.mark.parametrize("damage", ["empty", "torn", "missing"])
def test_an_index_that_cannot_be_read(tmp_path: Path, keeper: str, damage: str) -> None:
    """From memory it is begun anew with what this instance touches; durable also keeps the damaged bytes."""
    machine = Machine(tmp_path, keeper, SMALL)
    machine.live(0, NOW_MS, "graceful", "s2")
    index = machine.project(0) / "sessions-index.json"
    damaged = index.read_bytes()[:300] if damage == "torn" else b""
    index.unlink() if damage == "missing" else index.write_bytes(damaged)
    before = {path: path.read_bytes() for path in machine.project(0).glob("*.jsonl")}
    machine.start()
    names = {machine.session("s0"), machine.session("s2")}
    rebuilds = keeper in ("durable", "seed003_rebuild_24h")
    assert set(machine.entries(0)) == (names if rebuilds else {machine.session("s0")})
    assert all(path.read_bytes().startswith(data) for path, data in before.items())
    backup = index.with_name(index.name + ".corrupted-bak")
    assert (backup.exists() and backup.read_bytes() == damaged) == (keeper == "durable" and damage != "missing")


def test_a_graceful_exit_also_comes_from_the_tools_socket(tmp_path: Path) -> None:
    for ending in (b"exit\n", b""):
        machine = Machine(tmp_path / ending.hex(), "cached_snapshot", SMALL)
        place = str(tmp_path / f"socket{len(ending)}")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(place)
            server.listen()
            command = [sys.executable, "-BEsS", str(TARGET / "sessions.py"), machine.keeper, "run"]
            life = {"TORNWRITE_LIFE": "0", "TORNWRITE_TOOLS": f"unix:{place}"}
            process = subprocess.Popen(
                [*command, str(machine.root), machine.described()],
                env=os.environ | life,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            connection, _ = server.accept()
            with connection, process:
                assert process.stdout is not None
                assert b"IDLE\n" in iter(process.stdout.readline, b"")
                assert machine.entries(0)[machine.session("s0")]["messageCount"] == 3
                connection.sendall(ending) if ending else connection.shutdown(socket.SHUT_WR)
                assert process.wait(30) == 0
        assert machine.entries(0)[machine.session("s0")]["messageCount"] == 6


def test_the_time_of_a_rebuild_is_measured_on_every_record(tmp_path: Path) -> None:
    found = measure_module.measure_rebuild(str(tmp_path), 1_000_000)
    assert found["bytes"] >= 1_000_000
    assert found["records"] == found["counted"] > 100
    assert 0 < found["read_ms"] < found["parse_ms"]


@pytest.mark.parametrize("case_sensitive", [True, False])
def test_paths_are_compared_by_the_rule_of_their_file_system(fs: FakeFilesystem, case_sensitive: bool) -> None:
    """Two names of a worktree that differ in case are one place exactly where the file system says so."""
    fs.is_case_sensitive = case_sensitive
    left, right = "/srv/App/.claude/worktrees/fix-1", "/srv/app/.claude/worktrees/fix-1/"
    fs.create_dir(left)
    assert index_module.same_path(left, right, case_sensitive=case_sensitive) == os.path.exists(right)
    assert index_module.same_path(left, left + "/.", case_sensitive=case_sensitive)
    assert not index_module.same_path(left, left + "0", case_sensitive=case_sensitive)


def test_the_picker_of_one_project_goes_by_the_rule_it_is_given(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "cached_snapshot", SMALL)
    assert [line["id"] for line in machine.listing("--cwd=/srv/p01")] == [machine.session("s1")]
    assert machine.listing("--cwd=/SRV/p01") == []
    assert [line["id"] for line in machine.listing("--cwd=/SRV/p01", "--ignore-case")] == [machine.session("s1")]


def test_both_targets_append_in_the_same_way() -> None:
    """The module lies in either folder, so that each can be copied by itself; it must not drift apart."""
    assert (TARGET / "transcript.py").read_bytes() == (TARGET.parent / "registry" / "transcript.py").read_bytes()
