"""How far bytes are JSON: whole, cut, followed by something else, or broken, and where. One pass, linear in the size.

A JSON parser says where it gave up. For a damaged file the questions are others: is what is there the beginning of a
document (then it was *cut*, and is anything missing but its end?), or does one whole document end before the bytes do?
Nesting is counted on a list, so depth costs memory and no recursion. RFC 8259, UTF-8; no NaN, no comments.

Non-goals: values. Nothing of the content leaves this module.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

State = Literal["whole", "cut", "followed", "broken", "blank"]

_SPACE = b" \t\n\r"
_TEXT = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_ATOM = rb"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?(?![0-9.eE+-])|true|false|null)"
_WS = rb"[ \t\n\r]*+"
_TOKEN = re.compile(rb"%b(?:(?P<mark>[{}\[\],:])|(?P<text>%b)|(?P<atom>%b))" % (_WS, _TEXT, _ATOM))
_ITEMS = re.compile(rb"(?:%b(?:%b|%b)%b,)++" % (_WS, _TEXT, _ATOM, _WS))
_MEMBERS = re.compile(rb"(?:%b%b%b:%b(?:%b|%b)%b,)++" % (_WS, _TEXT, _WS, _WS, _TEXT, _ATOM, _WS))
"""Runs of plain values: the same tokens, many at a time."""
_CUT_TOKEN = re.compile(
    rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+(?:\\(?:u[0-9a-fA-F]{0,3})?)?'
    rb"|-|-?(?:0|[1-9][0-9]*+)(?:\.|(?:\.[0-9]++)?[eE][+-]?)|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?"
)
_VALUE, _ITEM_OR_END, _KEY_OR_END, _KEY, _COLON, _COMMA_OR_END = range(6)
_CLOSES = {b"}": b"{", b"]": b"["}


class Scan(NamedTuple):
    """What the scan found.

    ``end``: where the document ends (whole, followed), where the bytes stop being JSON (broken), the number of bytes
    (cut). ``depth``: brackets open there. ``inside``: the bytes end in the middle of a token. ``character``: they end
    in the middle of a character. ``start``: where the token begins at which the bytes break or are cut.
    """

    state: State
    end: int
    depth: int = 0
    inside: bool = False
    character: bool = False
    start: int = 0


def scan(data: bytes) -> Scan:
    """Scan ``data`` from its first byte."""
    limit, character = _utf8_end(data)
    found = _scan(data[:limit] if limit < len(data) else data)
    if limit == len(data):
        return found
    if found.state == "blank":
        return Scan("broken", limit, start=limit)
    if found.state != "cut":
        return found if found.state != "whole" else found._replace(state="followed")
    if character:
        return found._replace(end=len(data), inside=True, character=True)
    return Scan("broken", limit, found.depth, start=found.start)


def _utf8_end(data: bytes) -> tuple[int, bool]:
    """Return how many bytes are UTF-8, and whether the rest is only the beginning of a character."""
    if data.isascii():
        return len(data), False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start, error.reason == "unexpected end of data"
    return len(data), False


def _scan(data: bytes) -> Scan:
    match, expect, at = _TOKEN.match, _VALUE, 0
    opened: list[bytes] = []
    while True:
        if expect in (_VALUE, _KEY) and opened:
            run = (_ITEMS if opened[-1] == b"[" else _MEMBERS).match(data, at) if _begins(expect, opened) else None
            at = run.end() if run else at
        token = match(data, at)
        if token is None:
            return _stopped(data, at, expect, len(opened))
        mark = token["mark"]
        if not _allowed(mark, token["text"] is not None, expect, opened):
            at = token.start(token.lastgroup or 0)
            return Scan("broken", at, len(opened), start=at)
        if mark is None:
            expect = _COLON if expect in (_KEY, _KEY_OR_END) else _COMMA_OR_END
        elif mark in b"{[":
            opened.append(mark)
            expect = _KEY_OR_END if mark == b"{" else _ITEM_OR_END
        elif mark in b"}]":
            opened.pop()
            expect = _COMMA_OR_END
        elif mark == b",":
            expect = _KEY if opened[-1] == b"{" else _VALUE
        else:
            expect = _VALUE
        at = token.end()
        if not opened and expect == _COMMA_OR_END:
            return Scan("followed" if data[at:].strip(_SPACE) else "whole", at, start=at)


def _begins(expect: int, opened: list[bytes]) -> bool:
    """Whether an item or a member may begin: not the value of a key."""
    return expect == (_VALUE if opened[-1] == b"[" else _KEY)


def _allowed(mark: bytes | None, is_text: bool, expect: int, opened: list[bytes]) -> bool:
    if mark is None:
        return expect in (_VALUE, _ITEM_OR_END) or (is_text and expect in (_KEY, _KEY_OR_END))
    if mark in b"{[":
        return expect in (_VALUE, _ITEM_OR_END)
    if mark in b"}]":
        empty = _KEY_OR_END if mark == b"}" else _ITEM_OR_END
        return bool(opened) and opened[-1] == _CLOSES[mark] and expect in (_COMMA_OR_END, empty)
    if mark == b":":
        return expect == _COLON
    return expect == _COMMA_OR_END and bool(opened)


def _stopped(data: bytes, at: int, expect: int, depth: int) -> Scan:
    """Nothing matches at ``at``: either the bytes end there, in a token or between two, or they are no JSON."""
    rest = data[at:].lstrip(_SPACE)
    start = len(data) - len(rest)
    if not rest:
        return Scan("cut" if at or depth else "blank", len(data), depth, start=start)
    part = _CUT_TOKEN.fullmatch(rest)
    fits = expect in (_VALUE, _ITEM_OR_END) or (expect in (_KEY, _KEY_OR_END) and rest[:1] == b'"')
    if part is not None and fits:
        return Scan("cut", len(data), depth, inside=True, start=start)
    return Scan("broken", start + _unspoilt(rest), depth, start=start)


_STRING_START = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+')


def _unspoilt(rest: bytes) -> int:
    """Return how many bytes of a string that breaks are still those of a string."""
    begun = _STRING_START.match(rest)
    return begun.end() if begun else 0
