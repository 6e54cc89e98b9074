"""The run store: one directory per campaign, written as we ask others to write.

``run.json`` (what was asked, how it ended, what was said), ``trials.jsonl`` (one row per trial, appended),
``traces/<name>/trace.jsonl`` with ``blobs/``, ``findings/<fingerprint>/finding.json``, reports. ``latest`` beside the
runs points at the newest. Whole files are replaced atomically and durably; rows are appended with one write each
and made durable at most ``sync_interval_s`` later (default :data:`SYNC_INTERVAL_S`; 0: before the append returns).

Reading tolerates one thing: a last row without its newline, which an interrupted append leaves. Opening for
writing keeps a copy of it, cuts it off and says so. Anything else is a :class:`StoreError` with file and line.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Self

import msgspec

from harness.campaign.durable import (
    AppendLog,
    StoreError,
    make_directories,
    storing,
    sweep,
    sync_directory,
    torn_tail,
    write_whole,
)
from harness.campaign.latest import point_latest
from harness.campaign.run_lock import RunLock
from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted, Notice
from harness.core.json_record import RecordError, decode_record, encode_document, encode_record, parse_json
from harness.core.trace import Trace
from harness.core.trace_codec import TraceFormatError, decode_trace, encode_trace
from harness.core.verdict import Finding, TrialRow

DEFAULT_REPORTS = "reports"
SYNC_INTERVAL_S = 0.2
RUN_FORMAT_VERSION = 1
FINDING_FORMAT_VERSION = 1
READ_LIMIT_BYTES = 1 << 30
"""No file of a store larger than this is read (1 GiB)."""
_BLOB_WRITERS = 8
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,199}")


def new_run_id() -> str:
    """Return ``<utc>-<id>``: sorts by time, and two in one second differ."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _name(name: str, what: str) -> str:
    """Return ``name`` if it is one plain name. A path from a token or a manifest must not lead out of the run."""
    if not _NAME.fullmatch(name):
        raise StoreError(f"not the name of a {what}: {name[:80]!r}")
    return name


def _read(path: str) -> bytes | None:
    with storing("read", path):
        try:
            with open(path, "rb") as file:
                data = file.read(READ_LIMIT_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
    if len(data) > READ_LIMIT_BYTES:
        raise StoreError(f"cannot read {path!r}: more than {READ_LIMIT_BYTES} bytes")
    return data


class RunStore:
    """The files of one campaign. :meth:`create` or :meth:`open`; close it, or use it as a context manager."""

    def __init__(self, directory: str, writable: bool, sync_interval_s: float) -> None:
        self.directory = os.path.abspath(directory)
        self.run_id = os.path.basename(self.directory)
        self.notices: list[str] = []
        self._run: dict[str, Any] = {}
        self._events: list[AnyEvent] = []
        self._lock: RunLock | None = None
        self._log: AppendLog | None = None
        self._rows: dict[str, TrialRow] = {}
        if writable:
            self._lock = RunLock(self.path("lock"))
            try:
                self._prepare(sync_interval_s)
            except BaseException:
                self.close()
                raise
        else:
            self._rows = self._load_rows(self._trials())

    @classmethod
    def create(
        cls,
        reports: str = DEFAULT_REPORTS,
        *,
        run_id: str | None = None,
        sync_interval_s: float = SYNC_INTERVAL_S,
    ) -> Self:
        """Return a new run below ``reports``/runs and point ``latest`` at it."""
        runs = os.path.join(os.path.abspath(reports), "runs")
        directory = os.path.join(runs, _name(run_id or new_run_id(), "run"))
        make_directories(runs)
        with storing("make", directory):
            os.mkdir(directory)
            sync_directory(runs)
        store = cls(directory, True, sync_interval_s)
        try:
            point_latest(reports, store.run_id)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, directory: str, *, writable: bool = True, sync_interval_s: float = SYNC_INTERVAL_S) -> Self:
        """Return an existing run, healed if ``writable``; else nothing on disk changes and nothing is locked."""
        if not os.path.isdir(directory):
            raise StoreError(f"no run directory {directory!r}")
        if not any(os.path.exists(os.path.join(directory, name)) for name in ("run.json", "trials.jsonl", "lock")):
            raise StoreError(f"not a run directory (neither run.json nor trials.jsonl): {directory!r}")
        return cls(directory, writable, sync_interval_s)

    def _prepare(self, sync_interval_s: float) -> None:
        assert self._lock is not None
        if self._lock.notice:
            self.notices.append(self._lock.notice)
        sweep(self.directory)
        data = self._trials()
        self._rows = self._load_rows(data)
        tail = torn_tail(data)
        if tail:
            copy = f"healed/trials-{hashlib.blake2b(tail, digest_size=6).hexdigest()}.torn"
            write_whole(self.path(copy), tail)
            with storing("heal", self.path("trials.jsonl")):
                os.truncate(self.path("trials.jsonl"), len(data) - len(tail))
        self._log = AppendLog(self.path("trials.jsonl"), sync_interval_s)
        self._run = self.read_run() if os.path.exists(self.path("run.json")) else {}

    def _trials(self) -> bytes:
        return _read(self.path("trials.jsonl")) or b""

    def _load_rows(self, data: bytes) -> dict[str, TrialRow]:
        tail = torn_tail(data)
        if tail:
            self.notices.append(
                f"trials.jsonl ended in a torn row of {len(tail)} bytes; that trial counts as not run"
            )
        rows: dict[str, TrialRow] = {}
        for number, line in enumerate(data[: len(data) - len(tail)].split(b"\n")[:-1], 1):
            where = f"{self.path('trials.jsonl')!r} line {number}"
            try:
                row = decode_record(line, TrialRow)
            except RecordError as error:
                raise StoreError(f"{where}: not a trial row: {error}") from None
            if row.trial_id in rows:
                raise StoreError(f"{where}: the trial {row.trial_id[:80]!r} has a row already")
            rows[row.trial_id] = row
        return rows

    def path(self, relative: str) -> str:
        """Return the absolute path of a ``/``-separated path inside the run."""
        parts = relative.split("/")
        if not all(part not in ("", ".", "..") and "\\" not in part and "\0" not in part for part in parts):
            raise StoreError(f"not a path inside a run: {relative[:80]!r}")
        return os.path.join(self.directory, *parts)

    def _writable(self) -> AppendLog:
        if self._log is None:
            raise StoreError(f"the run {self.directory!r} is not open for writing")
        return self._log

    # -- rows ---------------------------------------------------------------------------------------------------

    def append_row(self, row: TrialRow) -> None:
        """Append a trial's row with one write. A second row of one trial is a :class:`StoreError`."""
        log = self._writable()
        if row.trial_id in self._rows:
            raise StoreError(f"the trial {row.trial_id[:80]!r} has a row already")
        log.append(encode_record(row).encode("ascii") + b"\n")
        self._rows[row.trial_id] = row

    def rows(self) -> tuple[TrialRow, ...]:
        """Return every row, in the order of appending."""
        return tuple(self._rows.values())

    def row(self, trial_id: str) -> TrialRow | None:
        """Return the row of one trial."""
        return self._rows.get(trial_id)

    def flush(self) -> None:
        """Make every appended row durable now."""
        self._writable().flush()

    # -- whole files --------------------------------------------------------------------------------------------

    def write_artifact(self, relative: str, data: bytes) -> None:
        """Write a file of the run: atomically and durably."""
        self._writable()
        write_whole(self.path(relative), data)

    def read_artifact(self, relative: str) -> bytes | None:
        """Return a file of the run, or ``None`` where there is none."""
        return _read(self.path(relative))

    def write_run(self, data: Mapping[str, Any]) -> None:
        """Write ``run.json``: ``data`` and the events kept so far."""
        self._run = dict(data)
        events = [msgspec.to_builtins(event) for event in self._events]
        document = encode_document({**self._run, "events": events})
        self.write_artifact("run.json", document.encode("ascii"))

    def read_run(self) -> dict[str, Any]:
        """Return ``run.json``."""
        raw = self.read_artifact("run.json")
        if raw is None:
            raise StoreError(f"no file {self.path('run.json')!r}")
        try:
            value = parse_json(raw)
        except RecordError as error:
            raise StoreError(f"{self.path('run.json')!r}: {error}") from None
        if not isinstance(value, dict):
            raise StoreError(f"{self.path('run.json')!r}: not a JSON object")
        version = value.get("format_version", RUN_FORMAT_VERSION)
        if version != RUN_FORMAT_VERSION:
            raise StoreError(
                f"{self.path('run.json')!r}: of format version {version!r}; this program reads {RUN_FORMAT_VERSION}"
            )
        return value

    def keep(self, event: AnyEvent) -> None:
        """Subscriber: keep what only the stream of events says (start, notices, end) for a later report."""
        if isinstance(event, CampaignStarted):
            self._events = [event]
        elif (isinstance(event, Notice) and event not in self._events) or isinstance(event, CampaignFinished):
            self._events.append(event)
        if isinstance(event, CampaignStarted | CampaignFinished):
            self.write_run({key: value for key, value in self._run.items() if key != "events"})

    def write_finding(self, name: str, finding: Finding) -> None:
        """Write ``findings/<name>/finding.json``; ``name`` is the finding's key."""
        document = {"format_version": FINDING_FORMAT_VERSION, **msgspec.to_builtins(finding)}
        self.write_artifact(
            f"findings/{_name(name, 'finding')}/finding.json", encode_document(document).encode("ascii")
        )

    def read_finding(self, name: str) -> Finding:
        """Return one finding. A name without one is a :class:`StoreError`."""
        relative = f"findings/{_name(name, 'finding')}/finding.json"
        raw = self.read_artifact(relative)
        if raw is None:
            raise StoreError(f"no finding {name!r} in {self.directory!r}")
        try:
            return decode_record(raw, Finding)
        except RecordError as error:
            raise StoreError(f"{self.path(relative)!r}: {error}") from None

    def findings(self) -> dict[str, Finding]:
        """Return every finding by name, sorted."""
        return {name: self.read_finding(name) for name in self._names("findings", "finding.json")}

    # -- traces -------------------------------------------------------------------------------------------------

    def write_trace(self, name: str, trace: Trace) -> None:
        """Write ``traces/<name>/``: blobs first, so a trace that can be read has all of its blobs."""
        directory = f"traces/{_name(name, 'trace')}"
        lines, blobs = encode_trace(trace)
        self._writable()
        if blobs:
            make_directories(self.path(f"{directory}/blobs"))
            # Each blob is synced, as any file; at the same time, because file systems commit such calls together.
            with ThreadPoolExecutor(_BLOB_WRITERS) as writers:
                for _ in writers.map(lambda item: self._write_blob(directory, *item), blobs.items()):
                    pass
            with storing("sync", self.path(f"{directory}/blobs")):
                sync_directory(self.path(f"{directory}/blobs"))
        self.write_artifact(f"{directory}/trace.jsonl", lines)

    def _write_blob(self, directory: str, name: str, data: bytes) -> None:
        path = self.path(f"{directory}/blobs/{name}")
        if _read(path) != data:
            write_whole(path, data, sync_name=False)

    def read_trace(self, name: str) -> Trace:
        """Return a trace. Raises :class:`StoreError` with the file and what is wrong in it."""
        directory = f"traces/{_name(name, 'trace')}"
        lines = self.read_artifact(f"{directory}/trace.jsonl")
        if lines is None:
            raise StoreError(f"no trace {name!r} in {self.directory!r}")

        def blob(digest: str) -> bytes:
            data = self.read_artifact(f"{directory}/blobs/{digest}")
            if data is None:
                raise KeyError(digest)
            return data

        try:
            return decode_trace(lines, blob)
        except TraceFormatError as error:
            raise StoreError(f"{self.path(directory + '/trace.jsonl')!r}: {error}") from None

    def traces(self) -> tuple[str, ...]:
        """Return the names of the traces, sorted."""
        return self._names("traces", "trace.jsonl")

    def _names(self, directory: str, file: str) -> tuple[str, ...]:
        """Return the names in ``directory`` that hold ``file``: one made just before a kill may still be empty."""
        with storing("read", self.path(directory)):
            try:
                names = os.listdir(self.path(directory))
            except FileNotFoundError:
                return ()
        whole = [name for name in names if os.path.exists(self.path(f"{directory}/{name}/{file}"))]
        return tuple(sorted(name for name in whole if _NAME.fullmatch(name)))

    # -- life ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Make the rows durable, give the lock back. A second close does nothing."""
        log, self._log = self._log, None
        lock, self._lock = self._lock, None
        try:
            if log is not None:
                log.close()
        finally:
            if lock is not None:
                lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
