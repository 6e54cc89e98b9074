"""B1 to B6, B8 and B9: what holds for files of one record per line, in any tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from harness.checks.binding import RECORD_FORMATS
from harness.checks.expectation import ExpectedRecords, OwedRecord
from harness.checks.invariant import check
from harness.checks.summary import Problem, parse_json
from harness.checks.view import FileView, TreeView
from harness.core.content import Content
from harness.core.verdict import Damage, Violation

_IDS_SHOWN = 8
_CLOSING_BRACE = 0x7D


def tail_is_record(file: FileView) -> bool:
    """Whether the bytes after the last newline are one whole JSON object."""
    # Only an object can be a record, so a tail that does not end in "}" needs no parse.
    if not file.binding.json or file.content.chunk[-1] != _CLOSING_BRACE:
        return False
    try:
        return isinstance(parse_json(file.content.read(file.lines.tail_start, file.content.size)), dict)
    except ValueError:
        return False


def _tail_is_judged(file: FileView) -> bool:
    """Whether an unfinished last line is damage: not where the next opener heals it, nor in an unframed file.

    A run that ended undisturbed has nothing in flight.
    """
    if file.binding.torn_tail == "healed" and file.fault_class != "none":
        return False
    return file.binding.json or file.records is None or file.records.framed


@check("B1", "file", RECORD_FORMATS)
def ends_with_newline(file: FileView) -> Sequence[Violation]:
    """Empty, or the last byte is a newline; only information when the last record is whole."""
    tail = file.content.size - file.lines.tail_start
    if not tail or not _tail_is_judged(file):
        return ()
    whole = tail_is_record(file)
    what = "is a whole record without its newline" if whole else "is not a whole record"
    return (
        Violation(
            invariant="B1",
            path=file.path,
            damage="torn",
            message=f"the file ends with {tail} bytes after its last newline at offset {file.lines.tail_start}; "
            f"that tail {what}",
            severity="information" if whole else "violation",
            offset=file.lines.tail_start,
        ),
    )


@check("B2", "file", RECORD_FORMATS)
def lines_are_objects(file: FileView) -> Sequence[Violation]:
    """Every segment between newlines is one JSON object."""
    if not file.binding.json:
        return ()
    found = _as_violations(file, "B2") if file.lines.problems else ()
    tail = file.content.size - file.lines.tail_start
    if not tail or not _tail_is_judged(file) or tail_is_record(file):
        return found
    torn = Violation(
        invariant="B2",
        path=file.path,
        damage="torn",
        message=f"line {file.lines.complete + 1} at offset {file.lines.tail_start} has {tail} bytes and is not one "
        "JSON object",
        offset=file.lines.tail_start,
    )
    return (*found, torn)


def _owed_lines(file: FileView) -> int:
    """Return after how many lines what a power loss leaves is the business of the program's own recovery; -1: never.

    Data that was in flight may be missing, NUL or in part there, in any order, on some file systems also with the
    newline after them; nothing about it was promised. A program that heals the end of its files has to find that out
    line by line, and its recovery is tried on such states. What was acknowledged is judged to the byte.
    """
    if file.fault_class != "power" or file.records is None or file.off_script:
        return -1
    return file.records.lines_at(file.acked) if file.binding.torn_tail == "healed" else -1


def _is_in_flight(file: FileView, offset: int) -> bool:
    """Whether a byte at ``offset`` lies behind all that a healing program owes after a power loss."""
    owed = _owed_lines(file)
    return 0 <= owed <= file.lines.complete and offset >= _line_starts(file.content)[owed]


def _as_violations(file: FileView, invariant: str) -> tuple[Violation, ...]:
    return tuple(
        Violation(
            invariant=invariant,
            path=file.path,
            damage=problem.damage,
            message=f"line {problem.line} at offset {problem.offset} {problem.what}",
            offset=problem.offset,
        )
        for problem in file.lines.problems
        if problem.invariant == invariant
        and not _was_there(file, problem)
        and not _is_in_flight(file, problem.offset)
    )


def _was_there(file: FileView, problem: Problem) -> bool:
    """Whether the run started with this damage, which is then not this run's."""
    return file.records is not None and problem in file.records.start_problems


@check("B3", "file")
def no_nul(file: FileView) -> Sequence[Violation]:
    """No byte 0x00, where the bytes are text."""
    if file.binding.format == "opaque" or not file.binding.json:
        return ()
    nul_at = file.nul_at()
    if nul_at < 0 or _is_in_flight(file, nul_at):
        return ()
    return (
        Violation(
            invariant="B3", path=file.path, damage="nul", message=_nuls(file.content, nul_at), offset=nul_at
        ),
    )


@lru_cache(maxsize=4096)
def _nuls(content: Content, nul_at: int) -> str:
    """Say where the NULs are. Power loss leaves the same content in many states."""
    data = content.to_bytes()
    if not data.strip(b"\0"):
        where = "the whole file is NUL"
    elif nul_at == 0:
        where = "a prefix is NUL"
    elif data.rstrip(b"\0").find(0) < 0:
        where = "the tail is NUL"
    else:
        where = "there is a NUL inside"
    return f"{where}: {data.count(0)} of {len(data)} bytes, the first at offset {nul_at}"


@check("B4", "file", RECORD_FORMATS)
def lines_are_unicode(file: FileView) -> Sequence[Violation]:
    """Complete lines are UTF-8 and escape no half of a surrogate pair."""
    return _as_violations(file, "B4") if file.lines.problems else ()


@check("B8", "file", RECORD_FORMATS)
def fields_are_there(file: FileView) -> Sequence[Violation]:
    """Known record types carry their required fields."""
    return _as_violations(file, "B8") if file.lines.problems else ()


@check("B9", "file", frozenset({"transcript"}))
def session_is_stem(file: FileView) -> Sequence[Violation]:
    """``sessionId`` equals the stem; agent side files belong to another session by design."""
    stem = file.path.rsplit("/", 1)[-1].removesuffix(".jsonl")
    strangers = file.lines.session_ids - {stem}
    if not strangers or stem.startswith("agent-"):
        return ()
    return (
        Violation(
            invariant="B9",
            path=file.path,
            damage="other",
            message=f"records name {len(strangers)} session other than the file's own",
            ids=tuple(sorted(strangers))[:_IDS_SHOWN],
        ),
    )


@check("B6", "file", RECORD_FORMATS)
def is_intact_prefix(file: FileView) -> Sequence[Violation]:
    """The file is a prefix of what the run wrote there; only the record in flight may be torn."""
    expected = file.records
    if expected is None or file.off_script:
        return ()
    if file.is_prefix:
        return () if file.lines.complete >= expected.lines_at(file.acked) else _shortened(file, expected)
    if not expected.has_prefixes:
        return ()
    digests = file.expectation.line_digests(file.content)
    known, agreed = expected.closest(digests)
    if 0 <= _owed_lines(file) <= agreed:
        return ()
    if agreed < 0 or agreed == len(digests) < len(known):
        return () if file.expectation.masked or not file.tail_bytes else _strange_tail(file)
    if agreed == len(digests):
        return () if not file.tail_bytes else _strange_tail(file)
    offset = _line_starts(file.content)[agreed]
    damage: Damage = "other"
    if any(problem.line == agreed + 1 for problem in file.lines.problems):
        damage = next(problem.damage for problem in file.lines.problems if problem.line == agreed + 1)
    elif digests[agreed] in known:
        damage = "hole"
    return (
        Violation(
            invariant="B6",
            path=file.path,
            damage=damage,
            message=f"line {agreed + 1} at offset {offset} is not what the run wrote there; "
            f"{agreed} of {len(digests)} complete lines are an exact prefix",
            offset=offset,
        ),
    )


def _shortened(file: FileView, expected: ExpectedRecords) -> Sequence[Violation]:
    """The file is a prefix of what the run wrote, and lacks lines that were complete before the one in flight."""
    complete = expected.lines_at(file.acked)
    return (
        Violation(
            invariant="B6",
            path=file.path,
            damage="lost" if file.content.size else "empty",
            message=f"{file.lines.complete} of {complete} lines are left that were complete "
            f"after {file.acked} acknowledgements",
            offset=file.lines.tail_start,
        ),
    )


@lru_cache(maxsize=4096)
def _line_starts(content: Content) -> tuple[int, ...]:
    """Return where each line begins, the tail last. Many states share a content."""
    return (0, *accumulate(len(line) + 1 for line in content.to_bytes().split(b"\n")[:-1]))


def _strange_tail(file: FileView) -> Sequence[Violation]:
    """All complete lines agree and the tail does not: it is no prefix of a record the run wrote."""
    if file.expectation.masked or _tail_is_judged(file):
        return ()  # masked tails cannot be compared; an unhealed tail is B1's and B2's
    return (
        Violation(
            invariant="B6",
            path=file.path,
            damage="nul" if file.nul_at() >= file.lines.tail_start else "torn",
            message=f"the tail of {file.tail_bytes} bytes at offset {file.lines.tail_start} is no prefix of a "
            "record that the run wrote",
            offset=file.lines.tail_start,
        ),
    )


@check("B5", "tree")
def acknowledged_records_are_there(view: TreeView) -> Sequence[Violation]:
    """Every acknowledged record is there, once, byte for byte."""
    found: tuple[Violation, ...] = ()
    for key, expected in view.expectation.records.items():
        file = view.only_lines(key)
        if file is None:
            found += tuple(_missing(view, key, expected))
            continue
        known = file.told.get("B5")
        if known is None:
            known = file.told["B5"] = tuple(_missing(view, key, expected))
        found += known
    return found


def _missing(view: TreeView, key: str, expected: ExpectedRecords) -> Iterator[Violation]:
    if view.acked_ids is None:
        count = expected.count_owed(view.acked)
        if count == 0:
            return iter(())
        if count > 0:
            file = view.files.get(key)
            if file is not None and file.is_prefix and file.lines.complete >= count:
                return iter(())
        owed = expected.owed(view.acked)
    else:
        owed = expected.owed_by_ids(view.acked_ids) if expected.binding.id_key else ()
    if not owed:
        return iter(())
    files = view.keyed(key)
    if view.acked_ids is None and len(files) == 1:
        gone = expected.gone_once(files[0].content, view.acked)
        if gone is not None:  # the usual case by far, and the one a campaign judges ten thousands of
            return _lost(view, key, files, _nowhere_else(view, files[0], gone)) if gone else iter(())
    return _lost_or_doubled(view, key, expected, owed)


def _nowhere_else(view: TreeView, file: FileView, gone: Sequence[OwedRecord]) -> Sequence[OwedRecord]:
    """Return those of ``gone`` that no other file of lines has either."""
    if len(view.lines) == 1:
        return gone
    elsewhere = _lines_elsewhere(view, {file.path})
    return [record for record in gone if record.digest not in elsewhere]


def _lost_or_doubled(
    view: TreeView, key: str, expected: ExpectedRecords, owed: Iterable[OwedRecord]
) -> Iterator[Violation]:
    files = view.keyed(key)
    counted = [Counter(view.expectation.line_digests(file.content)) for file in files]
    have = sum(counted, Counter[bytes]())

    def most(digest: bytes) -> int:
        # Within one file: files of one role (two forks of a session) may hold the same records, masked.
        return max(lines[digest] for lines in counted)

    elsewhere: Counter[bytes] | None = None
    lost: list[OwedRecord] = []
    doubled: list[OwedRecord] = []
    for record, times in Counter(owed).items():
        found = have[record.digest] if record.digest is not None else 0
        if found < times:
            if elsewhere is None:
                elsewhere = _lines_elsewhere(view, {file.path for file in files})
            if record.digest is None or found + elsewhere[record.digest] < times:
                lost.append(record)
        elif (
            record.digest is not None
            and (record.id or not expected.binding.id_key)  # a line that carries no id may well come again
            and (there := most(record.digest)) > times
            # Last, because it counts in all generations of the file.
            and there > expected.most_of(record.digest)
        ):
            doubled.append(record)
    yield from _lost(view, key, files, lost)
    if doubled:
        yield Violation(
            invariant="B5",
            path=files[0].path if files else key,
            damage="extra",
            message=f"{_records_are(len(doubled))} there more than once",
            ids=_ids_of(doubled),
        )


def _lost(view: TreeView, key: str, files: Sequence[FileView], lost: Sequence[OwedRecord]) -> Iterator[Violation]:
    if lost:
        what = "gone" if files else "gone with the file"
        yield Violation(
            invariant="B5",
            path=files[0].path if files else key,
            damage="lost" if files else "missing",
            message=f"{_records_are(len(lost))} {what} (after {view.acked} acknowledgements)",
            ids=_ids_of(lost),
        )


def _records_are(number: int) -> str:
    return f"{number} acknowledged {'record is' if number == 1 else 'records are'}"


@check("B6", "tree")
def replacement_is_whole(view: TreeView) -> Iterator[Violation]:
    """A log that the run replaces in place holds what was acknowledged, or all of what replaces it.

    Neither emptied nor half rewritten, unless the run published just that (or ended so), or all that it lacks is
    elsewhere.
    """
    if view.acked_ids is not None:
        return
    for key, expected in view.expectation.records.items():
        if not expected.replaced or len(expected.histories) != 1:
            continue
        owed = expected.before_replacement(view.acked)
        if not owed.size:
            continue
        files = view.keyed(key)
        if not files:
            history = expected.histories[0]
            ended_so = history.last is None and view.acked == len(history.at_ack) - 1
            if view.acked in history.made_again_at and not ended_so and not _is_elsewhere(view, owed, None):
                yield _half_replaced(view, key, "missing", "the log is gone: it is removed and made again", owed)
            continue
        file = files[0]
        if expected.may_hold(file.content, view.acked) or not expected.is_known(file.content):
            continue  # what nobody ever wrote there is judged file by file
        if not _is_elsewhere(view, owed, file):
            what = "empty" if not file.content.size else f"half rewritten, {file.content.size} bytes"
            damage: Damage = "lost" if file.content.size else "empty"
            yield _half_replaced(view, file.path, damage, f"the log is {what}: it is replaced in place", owed)


def _is_elsewhere(view: TreeView, owed: Content, file: FileView | None) -> bool:
    """Whether other files hold each line of ``owed`` that ``file`` lacks, or one of them all of its bytes."""
    others = [other for other in view.files.values() if file is None or other.path != file.path]
    data = owed.to_bytes()
    if any(data in other.content.to_bytes() for other in others if other.content.size >= owed.size):
        return True
    digests = view.expectation.line_digests
    lacks = Counter(digests(owed))
    for held in (*others, *(() if file is None else (file,))):
        lacks -= Counter(digests(held.content))
    return data.endswith(b"\n") and not lacks


def _half_replaced(view: TreeView, path: str, damage: Damage, what: str, owed: Content) -> Violation:
    return Violation(
        invariant="B6",
        path=path,
        damage=damage,
        message=f"{what}, and held {owed.size} bytes after {view.acked} acknowledgements",
    )


def _ids_of(records: Iterable[OwedRecord]) -> tuple[str, ...]:
    return tuple(record.id for record in records if record.id)[:_IDS_SHOWN]


def _lines_elsewhere(view: TreeView, paths: set[str]) -> Counter[bytes]:
    """Count the lines of all other files of lines: a rotated log keeps its records under another name."""
    return Counter(
        digest
        for path, file in view.lines.items()
        if path not in paths
        for digest in view.expectation.line_digests(file.content)
    )
