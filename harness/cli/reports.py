"""The files of a report beside the rows they are made of, and what they are drawn from: recordings, strips, states."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from harness.campaign.durable import StoreError, write_whole
from harness.campaign.store import RunStore
from harness.core.json_record import RecordError, decode_record
from harness.core.outline import OUTLINE_FORMAT_VERSION, TreeOutline
from harness.core.strip import STRIP_FORMAT_VERSION, Strip
from harness.core.trace import Trace
from harness.core.verdict import case_file_name
from harness.report.files import report_files
from harness.report.html.page import page
from harness.report.view import RunView

_T = TypeVar("_T")

TRACES_BYTES = 256 << 20
"""Recordings that one report draws from, together; what is beyond is said, not drawn."""


class StoredEvidence:
    """What run directories hold beside their rows: of one run, or of its shards, where the first that has it is taken.

    What cannot be read is missing, and a picture with it.
    """

    def __init__(self, *stores: RunStore) -> None:
        self._stores = stores
        self._room = TRACES_BYTES

    def trace(self, case: str) -> Trace | str:
        """Return the recording of a case, or why there is none."""
        name = case_file_name(case)
        if self._room <= 0:
            return f"the recordings of this run are larger than {TRACES_BYTES >> 20} MiB together"
        try:
            relative = f"traces/{name}/trace.jsonl"
            store = next((each for each in self._stores if each.read_artifact(relative) is not None), None)
            if store is None:
                return "the run keeps no recording of this writer"
            trace = store.read_trace(name)
        except StoreError as error:
            return f"its recording cannot be read: {error}"
        self._room -= sum(len(getattr(op, "data", None) or b"") for op in trace.operations)
        return trace

    def strip_of(self, case: str) -> Strip | None:
        """Return the crash-point strip of a case; that of shards has the rows of all of them, each once."""
        found = [self._decoded(store, f"strips/{case_file_name(case)}.json", Strip) for store in self._stores]
        strips = [strip for strip in found if strip is not None and strip.format_version == STRIP_FORMAT_VERSION]
        if not strips:
            return None
        same = [strip for strip in strips if strip.operations == strips[0].operations]
        rows = {(row.fault_class, row.profile): row for strip in reversed(same) for row in strip.rows}
        return msgspec.structs.replace(strips[0], rows=tuple(rows.values()))

    def left(self, key: str) -> TreeOutline | None:
        """Return the outline of the state that a finding was first seen in."""
        outline = self._read(f"findings/{key}/state.json", TreeOutline)
        return outline if outline is not None and outline.format_version == OUTLINE_FORMAT_VERSION else None

    def _read(self, relative: str, type_: type[_T]) -> _T | None:
        found = (self._decoded(store, relative, type_) for store in self._stores)
        return next((each for each in found if each is not None), None)

    @staticmethod
    def _decoded(store: RunStore, relative: str, type_: type[_T]) -> _T | None:
        try:
            raw = store.read_artifact(relative)
            return None if raw is None else decode_record(raw, type_)
        except (StoreError, RecordError):
            return None  # of another version, or damaged: the page does without


def write_page(path: str, view: RunView, *stores: RunStore, content: bool = False) -> None:
    """Write ``report.html`` of a run, or of the shards of one, to ``path``: a whole file is replaced.

    Raises :class:`StoreError`.
    """
    write_whole(path, page(view, StoredEvidence(*stores), content=content).encode("utf-8"))


def write_reports(store: RunStore, view: RunView, content: bool = False) -> None:
    """Write every report file of a run. ``content``: the evidence may quote bytes."""
    for path, data in report_files(view, StoredEvidence(store), content=content).items():
        store.write_artifact(path, data)
