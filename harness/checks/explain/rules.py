"""Which cause could have made which pattern, and why: a table. One row per pattern, one answer per cause and row.

The reasoning rests on what each cause can do to the bytes of a file:

- A killed process loses nothing that a completed ``write()`` accepted; one write ends early only at a page of the file
  offset. A signal that ends the process is the same; one that is handled lets the program finish what it began.
- A full disk or a quota shortens a write, at a block or at any byte, or refuses it. It writes nothing of its own. A
  writer that ignores it and goes on loses that piece, the first one too.
- Two writers leave bytes of both, or of one at the offset of the other. Nothing of theirs is NUL but a gap.
- A power loss (or a crash of the kernel) keeps size, names and data in an order of its own, page by page.
- A program that ran to its end leaves what it meant to write.

"could" may have a condition, which the reason gives; "could not" leaves room for the one odd writer that the reason
names. File systems are those on which it was seen (block states of ext4, xfs and btrfs; reports of users for NTFS):
never "nowhere else".
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.checks.explain.explanation import CAUSES, CLASSES_OF, Answer, Cause, CauseAnswer

Row = Mapping[Cause, tuple[Answer, str]]

_NUL_WHOLE = ("ntfs", "ext4 data=writeback without delayed allocation", "ext4 by unwritten extents (a new file)")
_NUL_PART = ("ntfs", "ext4", "btrfs")
_EMPTY = ("ext4 (but for a replacing rename)", "xfs", "btrfs")
_SHORTER = ("ext4",)
_MIXED = ("ext4", "xfs", "btrfs")


def _like_kill(row: dict[Cause, tuple[Answer, str]]) -> Row:
    """Complete a row: a signal that ends the process does what a kill does, unless the row says otherwise."""
    answer = row["kill"][0]
    told = "no signal does what a kill does not" if answer == "could not" else "as a kill, if it ends the process"
    return {**row, "signal": row.get("signal", (answer, told))}


_KEEPS = "a kill loses nothing that write() accepted; only a writer that extends the file first, or writes NULs"
_NO_NULS = "a refused or shortened write leaves no NULs; only a writer that extends the file first does"

_CUTS: Mapping[str, dict[Cause, tuple[Answer, str]]] = {
    "page": {
        "kill": ("could", "a kill ends a write() where the file offset is a multiple of 4,096, and this is one"),
        "disk_full": ("could", "a full disk ends a write at a block of the file system"),
        "power": ("could", "the size that reached the disk was that of an earlier page"),
    },
    "piece": {
        "kill": ("could", "so long is a buffer: the writer died between two pieces of one record"),
        "disk_full": ("could", "the next piece was refused, or a write was shortened"),
        "power": ("could", "the size that reached the disk was that after an earlier piece"),
    },
    "block": {
        "kill": ("could", "so long is a small buffer: the writer died between two pieces"),
        "disk_full": (
            "could",
            "a full disk ends a write at a block of the file system, and those have 512 bytes or more",
        ),
        "power": ("could", "the size that reached the disk was that after an earlier piece"),
    },
    "token": {
        "kill": (
            "could",
            "the place is between two tokens: a writer that hands them over piece by piece died there",
        ),
        "disk_full": ("could", "the next piece was refused, or a quota ended a write here"),
        "power": ("could", "the size that reached the disk was that after an earlier piece"),
    },
    "inside": {
        "kill": (
            "could",
            "only of a writer that writes in pieces (a buffered log, a pipe, a copy): a single write() is cut by a "
            "kill at a multiple of 4,096 alone",
        ),
        "disk_full": ("could", "a quota, a size limit or a shortened write ends at any byte"),
        "power": (
            "could",
            "only of a writer that writes in pieces: the size that reached the disk was that after one",
        ),
    },
}
"""What a cut tells, by the boundary it stands at."""

_CUT_FAMILIES: Mapping[str, dict[Cause, tuple[Answer, str]]] = {
    "cut": {
        "concurrency": (
            "unlikely",
            "two writers leave more than one of them wrote, unless each sets the length for the other",
        ),
        "program": (
            "could not",
            "nothing ends a document in its middle but an exit that never flushes its last buffer",
        ),
    },
    "torn_tail": {
        "concurrency": (
            "unlikely",
            "an append takes nothing away; only a rewrite of the whole file beside it does",
        ),
        "program": (
            "could not",
            "nothing ends a record in its middle but an exit that never flushes its last buffer",
        ),
    },
    "stub": {
        "concurrency": ("could not", "the rest of the record is nowhere; a second writer would not have taken it"),
        "program": ("could not", "no program writes half a record and then goes on unless the write failed"),
    },
    "glued": {
        "concurrency": (
            "could not",
            "the rest of the first record is nowhere; a second writer would not have taken it",
        ),
        "program": ("could not", "no program writes half a record and then the next one unless the write failed"),
    },
}


_HALF_READ: tuple[Answer, str] = (
    "could",
    "where the whole file is rewritten for each record: one program read it half rewritten (a page is where), and "
    "wrote that back with its own record",
)


def _cut_rows() -> dict[str, Row]:
    rows = {
        f"{family}/{boundary}": {**cut, **own}
        for family, own in _CUT_FAMILIES.items()
        for boundary, cut in _CUTS.items()
    }
    for family in ("stub", "glued"):
        rows[f"{family}/page"]["concurrency"] = _HALF_READ
    return {pattern: _like_kill(row) for pattern, row in rows.items()}


_EMPTIES: dict[str, Row] = {
    "empty": _like_kill(
        {
            "kill": (
                "could",
                "it died between opening the file (created, or truncated to nothing) and its first write",
            ),
            "disk_full": ("could", "opening truncated the file, and the write was refused"),
            "concurrency": ("could not", "the last of two writers leaves what it wrote"),
            "power": ("could", "the name or the truncation reached the disk and the data did not"),
            "program": (
                "unlikely",
                "it would have had to write nothing: a lock, a mark, a log without a record yet",
            ),
        }
    ),
}

_NULS: dict[str, Row] = {
    "nul_all/exact": _like_kill(
        {
            "kill": ("could not", _KEEPS),
            "disk_full": ("could not", _NO_NULS),
            "concurrency": ("could not", "two writers leave what one of them wrote"),
            "power": ("could", "the size reached the disk and the data did not: metadata journaled before data"),
            "program": ("unlikely", "it would have had to write NULs, or set the size and nothing else"),
        }
    ),
    "nul_all/blocks": _like_kill(
        {
            "kill": (
                "unlikely",
                "only if the writer reserves whole blocks first; a kill loses nothing that was written",
            ),
            "disk_full": ("unlikely", "only if the writer reserves whole blocks first"),
            "concurrency": ("could not", "two writers leave what one of them wrote"),
            "power": ("could", "the size reached the disk and the data did not: metadata journaled before data"),
            "program": ("could", "a size of whole blocks may be reserved space that was never used"),
        }
    ),
    "nul_tail": _like_kill(
        {
            "kill": ("could not", _KEEPS),
            "disk_full": ("could not", _NO_NULS),
            "concurrency": ("could not", "a gap that a second writer leaves has its bytes behind it"),
            "power": ("could", "the size reached the disk, and of the data only what stands before the NULs"),
            "program": ("unlikely", "it would have had to reserve space, or to pad its file with NULs"),
        }
    ),
    "nul_tail/one": _like_kill(
        {
            "kill": ("could not", _KEEPS),
            "disk_full": ("could not", _NO_NULS),
            "concurrency": ("could not", "a gap that a second writer leaves has its bytes behind it"),
            "power": ("could", "the size reached the disk and the last byte did not"),
            "program": ("could", "it may have written the end mark of a string in C"),
        }
    ),
    "nul_hole/page": _like_kill(
        {
            "kill": ("could not", _KEEPS),
            "disk_full": ("could not", _NO_NULS),
            "concurrency": (
                "could",
                "one program truncated the file, another went on behind a piece of whole blocks (Node's 512 KiB)",
            ),
            "power": ("could", "blocks of the file never reached the disk, and later ones did"),
            "program": ("unlikely", "it would have had to leave out whole blocks"),
        }
    ),
    "nul_hole/record": _like_kill(
        {
            "kill": ("could not", _KEEPS),
            "disk_full": ("could not", _NO_NULS),
            "concurrency": (
                "could",
                "one program truncated the file, another went on at its old offset: the gap reads as NULs and ends "
                "where a record begins",
            ),
            "power": ("unlikely", "what a power loss takes ends at a block, and this does not"),
            "program": ("unlikely", "it would have had to seek past the end of its own file"),
        }
    ),
    "nul_hole/any": _like_kill(
        {
            "kill": ("could not", _KEEPS),
            "disk_full": ("could not", _NO_NULS),
            "concurrency": ("could", "one program truncated the file, another went on at its old offset"),
            "power": ("unlikely", "what a power loss takes ends at a block, and this does not"),
            "program": ("unlikely", "it would have had to write NULs into the middle of text"),
        }
    ),
}

_OVERWRITTEN: dict[str, Row] = {
    "old_tail": _like_kill(
        {
            "kill": (
                "could",
                "a writer that overwrites first and shortens the file afterwards died between the two",
            ),
            "disk_full": (
                "could not",
                "the new version is whole: no write of it was refused, and shortening needs no space",
            ),
            "concurrency": ("could", "two writers wrote from the start, the longer one first: its end is left"),
            "power": ("could", "the new data reached the disk and the shorter size did not"),
            "program": (
                "could",
                "a writer that overwrites and never truncates leaves this each time it gets shorter",
            ),
        }
    ),
    "mixed/page": _like_kill(
        {
            "kill": ("could", "a writer that overwrites in place died within its write, and the cut is at a page"),
            "disk_full": (
                "could",
                "only on copy-on-write (btrfs, ZFS, APFS) or a failing disk: elsewhere it has its space",
            ),
            "concurrency": ("could", "pieces of two writers, at the same offsets"),
            "power": ("could", "pages of the new version reached the disk and others did not"),
            "program": (
                "could not",
                "no serializer breaks off within a value; only a hand or a home-made one does",
            ),
        }
    ),
    "mixed/later": _like_kill(
        {
            "kill": ("unlikely", "a kill ends an overwriting write() only at a page, and none is near"),
            "disk_full": (
                "could",
                "only on copy-on-write (btrfs, ZFS, APFS) or a failing disk: elsewhere it has its space",
            ),
            "concurrency": ("could", "pieces of two writers"),
            "power": ("unlikely", "versions meet at a page after a power loss, and none is near"),
            "program": ("unlikely", "no serializer breaks off within a value; a hand or a home-made one does"),
        }
    ),
    "mixed/early": _like_kill(
        {
            "kill": ("unlikely", "a kill ends an overwriting write() only at a page, and none is before this"),
            "disk_full": (
                "could",
                "only on copy-on-write (btrfs, ZFS, APFS) or a failing disk: elsewhere it has its space",
            ),
            "concurrency": ("could", "pieces of two writers"),
            "power": ("could not", "versions meet at a page after a power loss, and none is before this"),
            "program": (
                "could",
                "an edit by hand or a home-made serializer; others do not break off within a value",
            ),
        }
    ),
    "glued_documents": _like_kill(
        {
            "kill": ("could not", "a kill adds nothing"),
            "disk_full": ("could not", "a refused write adds nothing"),
            "concurrency": ("could", "two writers appended where each meant to replace"),
            "power": ("unlikely", "only where the end of an older version happens to be a document"),
            "program": ("could", "it appends a document each time, or writes one per line: a name of records"),
        }
    ),
    "interleaved": _like_kill(
        {
            "kill": (
                "could not",
                "nothing is missing: the rest stands behind another record, and a kill only takes away",
            ),
            "disk_full": ("could not", "nothing is missing: the rest stands behind another record"),
            "concurrency": ("could", "a record went out in pieces, and another writer came between them"),
            "power": ("could not", "nothing is missing, and a power loss moves no bytes"),
            "program": ("could not", "one writer alone does not break into its own record"),
        }
    ),
    "pieces": _like_kill(
        {
            "kill": ("could not", "there are ends without their beginnings: a kill leaves only beginnings"),
            "disk_full": ("unlikely", "only of a writer in pieces that ignores refused writes, more than once"),
            "concurrency": ("could", "records went out in pieces, and writers came between each other's"),
            "power": ("unlikely", "pages of two versions of the file could meet so, at page boundaries"),
            "program": ("could not", "one writer alone does not break into its own records"),
        }
    ),
    "headless": _like_kill(
        {
            "kill": (
                "could",
                "a writer that rewrites the file in place and shortens it afterwards died between the two",
            ),
            "disk_full": ("could", "a writer in pieces that ignores a refused write goes on with the next piece"),
            "concurrency": (
                "could",
                "two writers at one offset, without O_APPEND: of the longer record the end is left",
            ),
            "power": (
                "could",
                "data of a rewrite in place reached the disk and the size, or other pages, did not",
            ),
            "program": ("unlikely", "a writer that never truncates would do it each time the file gets shorter"),
        }
    ),
    "no_newline_between": _like_kill(
        {
            "kill": ("could", "it died between a record and its newline, and the next one was appended"),
            "disk_full": ("could", "the write of the newline was refused or cut off"),
            "concurrency": ("could not", "a second writer would have left the newline, behind the other record"),
            "power": ("could", "the size that reached the disk was that before the newline"),
            "program": ("unlikely", "it writes newlines everywhere else"),
        }
    ),
    "newlines_swapped": _like_kill(
        {
            "kill": ("could not", "nothing is missing: both newlines are there, one after the other"),
            "disk_full": ("could not", "nothing is missing: both newlines are there"),
            "concurrency": ("could", "record and newline are two writes, and another record came between them"),
            "power": ("could not", "nothing is missing, and a power loss moves no bytes"),
            "program": ("unlikely", "one writer alone does not come between its own writes"),
        }
    ),
}

_NO_CRASH = "no crash makes this: bytes are missing nowhere"

_OWN: dict[str, Row] = {
    pattern: {
        "kill": ("could not", _NO_CRASH),
        "signal": ("could not", _NO_CRASH),
        "disk_full": ("could not", _NO_CRASH),
        "concurrency": ("could not", "each byte is where one writer put it"),
        "power": ("could not", _NO_CRASH),
        "program": ("could", why),
    }
    for pattern, why in {
        "not_strict": "it is what some programs and editors write, and strict JSON does not allow",
        "encoding": "it was written in another encoding than UTF-8",
        "misnamed": "the bytes are of another format than the name says",
    }.items()
}

_ROW_OF_PROGRAM: Row = _OWN["not_strict"]

_OPEN_TURN: dict[Cause, tuple[Answer, str]] = {
    "kill": ("could", "it died after the call was saved and before its result was"),
    "signal": ("could", "an interrupted turn: it ended after the call was saved and before its result was"),
    "disk_full": ("could", "the result could not be written"),
    "power": ("could", "the end of the file, whole records, never reached the disk"),
    "program": ("unlikely", "only if the session still runs: a tool may not be done"),
}

_CONVERSATIONS: dict[str, Row] = {
    "open_turn/last": _like_kill(
        {
            **_OPEN_TURN,
            "concurrency": (
                "could not",
                "the call is the last record: a writer that overwrote its result left nothing",
            ),
        }
    ),
    "open_turn/begun": _like_kill(
        {
            **_OPEN_TURN,
            "concurrency": ("could", "results were saved at the same time, and one overwrote the other"),
        }
    ),
    "result_lost_alive": _like_kill(
        {
            "kill": (
                "could not",
                "the assistant went on after results of the same message: the program had this one too, and lived "
                "(unless a resume closed the call in memory alone)",
            ),
            "disk_full": ("could", "the write of this record was refused, and the program went on"),
            "concurrency": ("could", "results were saved at the same time, and one overwrote the other"),
            "power": ("could not", "records behind the missing one are there"),
            "program": ("could", "it may have dropped the record"),
        }
    ),
    "result_missing": _like_kill(
        {
            "kill": ("could", "the turn was cut off, and the session resumed without closing the call"),
            "signal": ("could", "the turn was interrupted, and the session went on without closing the call"),
            "disk_full": ("could", "the write of the result was refused, and the program went on"),
            "concurrency": ("could", "another writer overwrote the result"),
            "power": (
                "unlikely",
                "records behind the missing one are there; the session would have had to be resumed",
            ),
            "program": ("could", "it may have dropped the record"),
        }
    ),
    "record_missing": _like_kill(
        {
            "kill": ("could not", "what came after the missing record is there: a kill takes only the end"),
            "disk_full": ("could", "the write of that record was refused, and the program went on"),
            "concurrency": ("could", "another writer overwrote the record, or wrote it to another file"),
            "power": ("unlikely", "what came after the missing record is there, and no byte is NUL"),
            "program": ("could", "it may have dropped the record, or copied a part of a conversation"),
        }
    ),
    "record_twice": _like_kill(
        {
            "kill": (
                "could",
                "it died before it noted that the record was saved, and saved it again at the next start",
            ),
            "disk_full": ("unlikely", "only if a write that succeeded was taken for refused and made again"),
            "concurrency": ("could", "two writers, or two instances of one session, saved the same record"),
            "power": ("could not", "a power loss copies no record"),
            "program": ("could", "it may have saved it twice"),
        }
    ),
    "order": _like_kill(
        {
            "kill": ("could not", "nothing is missing; the order is one in which it was written"),
            "disk_full": ("could not", "nothing is missing; the order is one in which it was written"),
            "concurrency": ("could", "two writers, or tools that end at once, wrote into each other's turn"),
            "power": ("could not", "a power loss moves no record"),
            "program": ("could", "it may write in this order"),
        }
    ),
    "message_rule": {**_ROW_OF_PROGRAM, "program": ("could", "it wrote this message so")},
}

_DATABASES: dict[str, Row] = {
    "sqlite_short/page": _like_kill(
        {
            "kill": (
                "could",
                "it died in a transaction: with its -wal or -journal beside it SQLite brings this back",
            ),
            "disk_full": (
                "could",
                "a transaction was refused in its middle (its journal brings it back), or a copy was cut off",
            ),
            "concurrency": ("unlikely", "only a copy made while it was written, or locks that do not work"),
            "power": ("could", "the size that reached the disk was that before the transaction (synchronous off)"),
            "program": ("could not", "SQLite writes whole pages up to the size that the header gives"),
        }
    ),
    "sqlite_short/inside": _like_kill(
        {
            "kill": ("could not", "SQLite writes whole pages; only the copying of the file can have been killed"),
            "disk_full": ("could", "a copy of the file was cut off by a full disk or a quota"),
            "concurrency": ("could not", "SQLite writes whole pages"),
            "power": ("unlikely", "sizes on disk are those after a page"),
            "program": ("could not", "SQLite writes whole pages"),
        }
    ),
    "sqlite_nul_page": _like_kill(
        {
            "kill": ("could not", _KEEPS),
            "disk_full": ("could not", _NO_NULS),
            "concurrency": ("unlikely", "only with locks that do not work, as on some network file systems"),
            "power": ("could", "pages of the file never reached the disk (a disk that reports a flush too early)"),
            "program": ("unlikely", "with secure_delete a free page is NUL; that is no damage"),
        }
    ),
}

RULES: Mapping[str, Row] = {
    **_cut_rows(),
    **_EMPTIES,
    **_NULS,
    **_OVERWRITTEN,
    **_OWN,
    **_CONVERSATIONS,
    **_DATABASES,
}
"""Pattern → cause → answer and reason. A pattern is a name, for cuts with the boundary behind a slash."""

_WHERE: Mapping[str, tuple[str, ...]] = {
    "empty": _EMPTY,
    "nul_all": _NUL_WHOLE,
    "nul_tail": _NUL_PART,
    "nul_hole": _NUL_PART,
    "cut": _SHORTER,
    "torn_tail": _SHORTER,
    "stub": _SHORTER,
    "glued": _SHORTER,
    "no_newline_between": _SHORTER,
    "old_tail": _MIXED,
    "headless": _MIXED,
    "mixed": _MIXED,
}


def answers(pattern: str) -> tuple[CauseAnswer, ...]:
    """Return the answers for a pattern, in the order of :data:`CAUSES`. ``KeyError`` for one without a row."""
    row = RULES[pattern]
    return tuple(_answer(pattern, cause, *row[cause]) for cause in CAUSES)


def _answer(pattern: str, cause: Cause, answer: Answer, why: str) -> CauseAnswer:
    where = _WHERE.get(pattern.partition("/")[0], ()) if cause == "power" and answer != "could not" else ()
    return CauseAnswer(cause=cause, answer=answer, why=why, fault_classes=CLASSES_OF[cause], file_systems=where)
