"""The run store on a real file system: torn tails, short writes, locks, names, the newest run, a killed writer."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.campaign import durable, latest
from harness.campaign.durable import AppendLog, StoreError, torn_tail
from harness.campaign.latest import find_run
from harness.campaign.store import RunStore, new_run_id
from harness.core.event import CampaignFinished, CampaignStarted, Notice, TrialFinished
from harness.core.verdict import TrialRow


def row(number: int) -> TrialRow:
    return TrialRow(trial_id=f"t/v/{number}", kind="exact", target="t", variant="v", seed=1, verdict="held")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 5), st.data())
def test_a_log_cut_anywhere_gives_a_prefix_of_its_rows(tmp_path: Path, count: int, data: st.DataObject) -> None:
    with RunStore.create(str(tmp_path), sync_interval_s=60) as store:
        for number in range(count):
            store.append_row(row(number))
        directory = store.directory
    path = Path(directory, "trials.jsonl")
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with RunStore.open(directory) as again:
        assert again.rows() == tuple(row(number) for number in range(whole[:cut].count(b"\n")))
        assert bool(again.notices) == (not whole[:cut].endswith(b"\n") and cut > 0)
        again.append_row(row(99))
    with RunStore.open(directory) as again:
        assert again.notices == []
        assert again.rows()[-1] == row(99)


def test_a_row_is_one_write_and_a_short_one_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write, calls = os.write, []

    def write(fd: int, data: bytes) -> int:
        calls.append(bytes(data))
        return real_write(fd, bytes(data[: 7 if len(calls) > 1 else None]))

    with RunStore.create(str(tmp_path)) as store:
        monkeypatch.setattr(durable.os, "write", write)
        store.append_row(row(1))
        assert len(calls) == 1
        assert calls[0].endswith(b"}\n")
        store.append_row(row(2))
        assert len(calls) > 2
        monkeypatch.undo()
        directory = store.directory
    with RunStore.open(directory) as again:
        assert again.rows() == (row(1), row(2))


def test_a_row_that_cannot_be_taken_back_stops_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunStore.create(str(tmp_path)) as store:
        store.append_row(row(1))
        monkeypatch.setattr(durable.os, "write", no_space)
        monkeypatch.setattr(durable.os, "ftruncate", no_space)
        with pytest.raises(StoreError, match="No space left"):
            store.append_row(row(2))
        monkeypatch.undo()
        with pytest.raises(StoreError, match="an earlier row could not be taken back"):
            store.append_row(row(2))


def test_a_failed_sync_is_never_followed_by_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    log = AppendLog(str(tmp_path / "log"), 0)
    log.append(b"1\n")
    monkeypatch.setattr(durable.os, "fsync", fails)
    with pytest.raises(StoreError, match=r"cannot sync .* Input/output error"):
        log.append(b"2\n")
    monkeypatch.undo()
    with pytest.raises(StoreError, match="an earlier sync failed"):
        log.append(b"3\n")
    log.close()


@pytest.mark.parametrize(("interval_s", "syncs"), [(0.0, 5), (3600.0, 1)])
def test_rows_are_synced_each_or_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval_s: float, syncs: int
) -> None:
    log = AppendLog(str(tmp_path / "log"), interval_s)
    real, calls = os.fsync, []
    monkeypatch.setattr(durable.os, "fsync", lambda fd: (calls.append(fd), real(fd))[1])
    for number in range(5):
        log.append(b"%d\n" % number)
    log.close()
    log.close()
    assert len(calls) == syncs


def test_a_whole_file_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("open", "write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            durable.os, name, lambda *a, _real=real, _name=name, **k: (calls.append(_name), _real(*a, **k))[1]
        )
    durable.write_whole(str(tmp_path / "a"), b"1")
    monkeypatch.undo()
    expected = ["open", "write", "fsync", "replace"] + (["open", "fsync"] if os.name == "posix" else [])
    assert calls == expected
    assert os.listdir(tmp_path) == ["a"]


def test_a_killed_whole_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    durable.write_whole(str(target), b"old")
    for name in ("write", "fsync", "replace"):

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(durable.os, name, stop)
        with pytest.raises(KeyboardInterrupt):
            durable.write_whole(str(target), b"new")
        monkeypatch.undo()
        assert target.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".", "..", "/etc/passwd", "a\0b", "x" * 201, ".hidden", "a\nb", "-rf"]
)
def test_names_cannot_lead_out_of_the_run(tmp_path: Path, name: str) -> None:
    with RunStore.create(str(tmp_path)) as store:
        for attempt in (
            lambda: store.read_finding(name),
            lambda: store.read_trace(name),
            lambda: store.path(f"x/../{name}"),
            lambda: RunStore.create(str(tmp_path), run_id=name) if name else store.read_finding(name),
        ):
            with pytest.raises(StoreError):
                attempt()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store:
        with pytest.raises(StoreError, match="already open for writing in this process"):
            RunStore.open(store.directory)
        RunStore.open(store.directory, writable=False).close()
        directory = store.directory
    RunStore.open(directory).close()


_HOLDER = """
    import sys
    from harness.campaign.store import RunStore
    from harness.core.verdict import TrialRow
    store = RunStore.open(sys.argv[1])
    print("ready", flush=True)
    for number in range(10**9):
        row = TrialRow(trial_id=f"t/v/{number}", kind="exact", target="t", variant="v", seed=1, verdict="held")
        store.append_row(row)
        store.write_artifact("report.md", b"x" * (number % 9000))
"""


@pytest.mark.real
def test_another_process_is_kept_out_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store:
        directory = store.directory
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_HOLDER), directory], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            with pytest.raises(StoreError, match=f"is being written by process {child.pid}"):
                RunStore.open(directory)
        finally:
            child.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            child.wait(10)
            child.stdout.close()
        with RunStore.open(directory) as again:  # at once: the lock died with its holder
            assert [kept.trial_id for kept in again.rows()] == [f"t/v/{n}" for n in range(len(again.rows()))]
            assert not [name for name in os.listdir(directory) if name.startswith(durable.TEMPORARY_PREFIX)]
        os.unlink(os.path.join(directory, "trials.jsonl"))


def test_the_newest_run_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = str(tmp_path / "reports")
    with pytest.raises(StoreError, match="no run yet"):
        find_run("latest", reports)
    for name in ("20240101T000000Z-aaa", "20240101T000000Z-bbb", "20240202T000000Z-ccc"):
        RunStore.create(reports, run_id=name).close()
        assert os.path.basename(find_run("latest", reports)) == name
    assert os.path.basename(find_run("20240202", reports)) == "20240202T000000Z-ccc"
    assert find_run(reports + "/runs/20240101T000000Z-aaa", reports).endswith("aaa")
    with pytest.raises(StoreError, match="names 2 runs"):
        find_run("20240101", reports)
    with pytest.raises(StoreError, match=r"no run 'zzz' below .*; newest: "):
        find_run("zzz", reports)
    with pytest.raises(StoreError, match="File exists"):
        RunStore.create(reports, run_id="20240101T000000Z-aaa")

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(latest.os, "symlink", no_links)
    os.unlink(os.path.join(reports, "latest"))
    for name in ("x1", "x2"):
        RunStore.create(reports, run_id=name).close()
        assert Path(reports, "latest").read_text() == f"runs/{name}\n"
        assert os.path.basename(find_run("latest", reports)) == name
    assert sorted(os.listdir(reports)) == ["latest", "runs"]


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "gone", "no run directory"), (tmp_path / "empty", "not a run directory")):
        with pytest.raises(StoreError, match=message):
            RunStore.open(str(path))
    assert os.listdir(tmp_path / "empty") == []


def test_a_damaged_run_json_or_finding_is_named(tmp_path: Path) -> None:
    with RunStore.create(str(tmp_path)) as store:
        for raw in (b"", b"[]", b"{", b"\xff"):
            store.write_artifact("run.json", raw)
            with pytest.raises(StoreError, match=r"run\.json"):
                store.read_run()
        store.write_artifact("findings/abc/finding.json", b'{"fingerprint": 1}')
        with pytest.raises(StoreError, match=r"finding\.json.*Expected `str`"):
            store.findings()
        store.write_artifact("traces/t/trace.jsonl", b"{}\n")
        with pytest.raises(StoreError, match=r"trace\.jsonl.*line 1: format_version is missing"):
            store.read_trace("t")


def test_events_that_only_the_stream_has_are_kept(tmp_path: Path) -> None:
    started = CampaignStarted(run_id="r", scenario="s", targets=("t",), seed=1, directory="d", planned_trials=2)
    finished = CampaignFinished(verdict="held", exit_code=0, summary={"cases": []})
    with RunStore.create(str(tmp_path)) as store:
        store.write_run({"name": "s"})
        for event in (started, TrialFinished(row=row(1)), Notice(text="n"), Notice(text="n"), finished):
            store.keep(event)
        run = store.read_run()
        assert run["name"] == "s"
        assert [event["event"] for event in run["events"]] == ["campaign_started", "notice", "campaign_finished"]
        directory = store.directory
    with RunStore.open(directory) as again:  # a resumed run begins its events anew
        again.keep(started)
        assert [event["event"] for event in again.read_run()["events"]] == ["campaign_started"]
        assert again.read_run()["name"] == "s"


def test_run_ids_sort_by_time_and_differ() -> None:
    first, second = new_run_id(), new_run_id()
    assert first != second
    assert first[8] == "T"
    assert first[15:17] == "Z-"


def test_torn_tail() -> None:
    assert [torn_tail(data) for data in (b"", b"a", b"a\n", b"a\nb", b"\n\n", b"a\n\0")] == [
        b"",
        b"a",
        b"",
        b"b",
        b"",
        b"\0",
    ]
