"""NUL bytes in a file of text: everywhere, at its end, at its beginning, or between."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import msgspec

from harness.checks.explain.boundary import SECTOR_BYTES, told
from harness.checks.explain.explanation import Seen
from harness.core.fault import PAGE_BYTES

_RUN = re.compile(rb"\x00+")
_RUNS = 256
_OPENERS = b"{["


def nul_runs(data: bytes) -> Iterator[Seen]:
    """Yield what each run of NULs is; of very many the first ones, the last of them counting those behind it."""
    runs = _RUN.finditer(data)
    told = [_of_run(data, run.start(), run.end()) for run in islice(runs, _RUNS)]
    more = sum(1 for _ in runs)
    if more:
        told[-1] = msgspec.structs.replace(told[-1], times=1 + more)
    yield from told


def _of_run(data: bytes, start: int, end: int) -> Seen:
    size = end - start
    if size == len(data):
        whole = size % PAGE_BYTES == 0
        multiple = "a multiple of 4,096" if whole else "not a multiple of 4,096"
        return Seen(
            pattern="nul_all/blocks" if whole else "nul_all/exact",
            what=f"every byte is NUL, size {size:,}, {multiple}: a size without its data",
            size=size,
        )
    if end == len(data):
        place = told(start)
        if start == data.rfind(b"\n", 0, start) + 1:
            place += ", where a line ends"
        return Seen(
            pattern="nul_tail/one" if size == 1 else "nul_tail",
            what=f"the last {size:,} of {len(data):,} bytes are NUL, from offset {start:,} ({place}) to the end "
            f"({'' if end % PAGE_BYTES == 0 else 'not '}at a page)",
            offset=start,
            size=size,
        )
    where = "the first" if start == 0 else "within the file"
    begins = data[end] in _OPENERS
    pattern = "page" if end % SECTOR_BYTES == 0 else "record" if begins else "any"
    behind = "; there a record begins" if begins else ""
    return Seen(
        pattern=f"nul_hole/{pattern}",
        what=f"{where} {size:,} bytes{' at offset ' + format(start, ',') if start else ''} are NUL, up to offset "
        f"{end:,} ({told(end)}){behind}",
        offset=start,
        size=size,
    )
