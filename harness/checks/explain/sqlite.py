"""SQLite files, judged roughly: does the size fit the header, are pages NUL. ``PRAGMA integrity_check`` knows more.

Source: the file format of SQLite 3: page size at byte 16 (1 means 65,536), number of pages at byte 28, valid where
the counters at 24 and 92 agree.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.explain.boundary import told
from harness.checks.explain.explanation import Seen

MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
ROUGHLY = "a database is judged roughly: its size and its NUL pages; PRAGMA integrity_check says more"


def sqlite_damage(data: bytes) -> Iterator[Seen]:
    """Yield what is wrong with a file that begins with :data:`MAGIC`."""
    if len(data) < _HEADER_BYTES:
        what = f"the file ends at byte {len(data):,}, within the header of 100 bytes"
        yield Seen(pattern="sqlite_short/inside", what=what, offset=len(data))
        return
    page = int.from_bytes(data[16:18], "big")
    page = 65536 if page == 1 else page
    if page < 512 or page & (page - 1):
        what = f"the header gives a page size of {page:,}, which is none"
        yield Seen(pattern="mixed/early", what=what, offset=16, size=2)
        return
    pages = int.from_bytes(data[28:32], "big") if data[24:28] == data[92:96] else 0
    if len(data) % page or len(data) < pages * page:
        where = "inside" if len(data) % page else "page"
        says = f"; the header says {pages:,} pages of {page:,} bytes, {pages * page:,}" if pages else ""
        what = f"the file ends at byte {len(data):,} ({told(len(data))}){says}"
        yield Seen(pattern=f"sqlite_short/{where}", what=what, offset=len(data))
    nul = [at for at in range(page, len(data) - page + 1, page) if not data[at : at + page].strip(b"\0")]
    if nul:
        what = f"{len(nul):,} of {len(data) // page:,} pages of {page:,} bytes are NUL, the first at offset {nul[0]:,}"
        yield Seen(pattern="sqlite_nul_page", what=what, offset=nul[0], size=page, times=len(nul))
