"""``tornwrite explain``: which fault could have made a damaged file from the wild, and which could not.

Exit code 0: every file is sound; 1: one is damaged; 3: none is damaged, and one is of a format that is not judged.
"""

from __future__ import annotations

import click
import msgspec

from harness.checks.explain import Answer, Cause, Explanation, Seen, Shape, explain
from harness.cli.output import json_option, print_folded, print_line, say
from harness.cli.wild_files import STANDARD_INPUT, UnreadableError, WildFile, files_of, read_file, shown
from harness.report.escape import plain
from harness.report.hexdump import hexdump
from harness.report.json_document import result_document

EXIT_DAMAGED, EXIT_INCONCLUSIVE = 1, 3
_SHAPES: dict[str, Shape] = {"json": "document", "jsonl": "records", "sqlite": "sqlite", "text": "text"}
_TITLES: dict[Cause, str] = {
    "kill": "SIGKILL of the writer",
    "signal": "a signal (SIGTERM, Ctrl+C)",
    "disk_full": "full disk, quota or failed write",
    "concurrency": "two writers at once",
    "power": "power loss or kernel crash",
    "program": "no crash, the program's own output",
}
_ANSWERS: tuple[Answer, ...] = ("could", "unlikely", "could not")
_LABEL, _BEFORE, _AROUND = 12, 64, 128
_ID_CHARS = 80


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes around a damage, in hex; only with ``--show-bytes``."""

    pattern: str
    window_offset: int
    window_hex: str


class FileResult(msgspec.Struct, frozen=True, kw_only=True):
    """An explanation, and the bytes that were asked for."""

    explanation: Explanation
    windows: tuple[Window, ...] = ()


class ExplainResult(msgspec.Struct, frozen=True, kw_only=True):
    """The ``result`` of ``explain``."""

    files: tuple[FileResult, ...] = ()
    damaged: int = 0
    not_judged: int = 0


def _windows(data: bytes, explanation: Explanation) -> tuple[Window, ...]:
    found = []
    for item in explanation.seen:
        start = max(0, min(item.offset, len(data)) - _BEFORE) // 16 * 16
        piece = data[start : start + _AROUND]
        found.append(Window(pattern=item.pattern, window_offset=start, window_hex=piece.hex()))
    return tuple(found)


def _label(text: str) -> str:
    return f"  {text:<{_LABEL - 2}}"


def _what(item: Seen) -> str:
    ids = f" [{', '.join(plain(name, _ID_CHARS) for name in item.ids)}]" if item.ids else ""
    return item.what + ids + (f"; {item.times:,} times in this file" if item.times > 1 else "")


def _print(file: WildFile, result: FileResult) -> None:
    told = result.explanation
    print_folded("", f"{shown(file)}: {told.state} ({told.shape}, {told.size:,} bytes)", 2)
    if told.state != "damaged":
        print_folded(_label(""), told.summary)
    for index, item in enumerate(told.seen):
        print_folded(_label("seen"), _what(item))
        if result.windows:
            window = result.windows[index]
            for row in hexdump(bytes.fromhex(window.window_hex), window.window_offset).splitlines():
                print_line(row)
    if told.several:
        print_folded(_label(""), "no single cause makes all of this; each may have had a part in it:")
    elif len(told.seen) > 1:
        print_folded(_label(""), "as the one cause of all of this:")
    _print_causes(told)
    for label, lines in (("prevent", told.prevention), ("note", told.notes)):
        for line in lines:
            print_folded(_label(label), line)


def _print_causes(told: Explanation) -> None:
    for answer in _ANSWERS:
        for cause in told.causes:
            if cause.answer == answer:
                where = f" (seen on {', '.join(cause.file_systems)})" if cause.file_systems else ""
                print_folded(_label(answer), f"{_TITLES[cause.cause]}: {cause.why}{where}", _LABEL + 2)


def _explained(file: WildFile, shape: Shape | None, show_bytes: bool) -> FileResult:
    data = read_file(file)
    found = explain(data, file.name, shape)
    return FileResult(explanation=found, windows=_windows(data, found) if show_bytes else ())


def _exit_code(damaged: int, unsure: int) -> int:
    return EXIT_DAMAGED if damaged else EXIT_INCONCLUSIVE if unsure else 0


@click.command("explain")
@click.argument("paths", nargs=-1, required=True, metavar="FILE…")
@click.option("-r", "--recursive", is_flag=True, help="Take the files below a directory.")
@click.option("--as", "shape", default=None, type=click.Choice(sorted(_SHAPES)), help="What the files are.")
@click.option(
    "--show-bytes", "--show-content", "show_bytes", is_flag=True, help="Show the bytes around each damage."
)
@json_option
def command(paths: tuple[str, ...], recursive: bool, shape: str | None, show_bytes: bool, as_json: bool) -> int:
    """Say which fault could have made a damaged FILE, which could not, and why.

    FILE is JSON, JSON lines, a session transcript, SQLite or text; - is standard input. No recording and no writer
    is needed: the evidence is sizes, offsets and ids. Nothing of the content is shown without --show-bytes.

    \b
    Example: tornwrite explain ~/sessions/local_1.json
    Exit codes: 0 sound, 1 damaged, 3 not damaged but not judged, 2 unreadable.
    """
    if paths.count(STANDARD_INPUT) > 1:
        raise click.UsageError("standard input (-) can be read once")
    results: list[FileResult] = []
    unread: list[str] = []
    named = frozenset(paths)
    damaged = not_judged = 0
    for file in list(files_of(paths, recursive=recursive)):
        try:
            result = _explained(file, _SHAPES[shape] if shape else None, show_bytes)
        except UnreadableError as error:
            if file.name in named:
                raise
            unread.append(plain(error.message))
            continue
        damaged += result.explanation.state == "damaged"
        not_judged += result.explanation.state == "not judged"
        if as_json:
            results.append(result)
        else:
            _print(file, result)
    code = _exit_code(damaged, not_judged + len(unread))
    if as_json:
        value = ExplainResult(files=tuple(results), damaged=damaged, not_judged=not_judged)
        print_line(result_document("explain", code, value, tuple(unread)))
        return code
    for line in unread:
        say(line)
    return code
