"""A trace comes back exactly as it went; what is no trace is one line of text and never another exception."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.content import content_of
from harness.core.operation import (
    Ack,
    AnyOperation,
    Close,
    Link,
    Lock,
    MakeNode,
    Map,
    Mkdir,
    Open,
    Outside,
    Rename,
    SetAttribute,
    SetMode,
    SetTimes,
    Sync,
    Truncate,
    Unlink,
    Write,
)
from harness.core.trace import Actor, Trace
from harness.core.trace_codec import INLINE_BYTES, TraceFormatError, blob_name, decode_trace, encode_trace
from harness.core.tree import Directory, File, Special, Symlink, build_tree, differences

_PATH = st.sampled_from(["a", "d", "d/b.json", "línea", "bad\udcff\udc80", 'quote"\\\n', "d/e"])
_COUNT = st.integers(0, 1 << 40)
_DATA = st.one_of(st.binary(max_size=INLINE_BYTES + 2), st.binary(min_size=INLINE_BYTES, max_size=200))
_TEXT = st.text(max_size=10)
_KINDS: list[st.SearchStrategy[AnyOperation]] = [
    st.builds(
        Open,
        seq=st.just(0),
        path=st.none() | _PATH,
        ino=_COUNT,
        fd=st.integers(-1, 9),
        flags=_COUNT,
        created=st.booleans(),
        truncated=st.booleans(),
        append=st.booleans(),
        error=st.integers(0, 130),
    ),
    st.builds(Close, seq=st.just(0), ino=_COUNT, writers_left=_COUNT),
    st.builds(Write, seq=st.just(0), ino=_COUNT, offset=_COUNT, data=_DATA, requested=_DATA, atomic=st.booleans()),
    st.builds(Truncate, seq=st.just(0), ino=_COUNT, size=_COUNT),
    st.builds(Rename, seq=st.just(0), path=_PATH, to=_PATH, exchange=st.booleans(), at_ns=_COUNT, syscall=_TEXT),
    st.builds(Link, seq=st.just(0), ino=_COUNT, path=_PATH, data=st.none() | _DATA),
    st.builds(Unlink, seq=st.just(0), path=_PATH),
    st.builds(Mkdir, seq=st.just(0), ino=_COUNT, path=_PATH),
    st.builds(MakeNode, seq=st.just(0), ino=_COUNT, path=_PATH, destination=st.none() | _PATH, type_bits=_COUNT),
    st.builds(SetMode, seq=st.just(0), ino=_COUNT, mode=st.integers(0, 0o7777)),
    st.builds(SetTimes, seq=st.just(0), ino=_COUNT, mtime_ns=st.none() | st.integers(-5, 1 << 62)),
    st.builds(SetAttribute, seq=st.just(0), ino=_COUNT, what=_TEXT),
    st.builds(Sync, seq=st.just(0), ino=st.integers(-1, 5), scope=st.sampled_from(["file", "all"])),
    st.builds(Lock, seq=st.just(0), ino=_COUNT, what=_TEXT),
    st.builds(Map, seq=st.just(0), ino=_COUNT, what=_TEXT),
    st.builds(Outside, seq=st.just(0), path=st.just("/elsewhere/../x")),
    st.builds(Ack, seq=st.just(0), id=st.text(max_size=10), batch=st.integers(0, 3)),
]
_TREE = st.builds(
    lambda data, mode, mtime, hidden: build_tree(
        {"d": 1, "d/b.json": 2, "hard": 2, "bad\udcff": 3, "fifo": 4, "link": 5},
        {
            1: Directory(0o700, mtime),
            2: File(content_of(data), mode, mtime),
            3: File(),
            4: Special(0o010000),
            5: Symlink("../\udcff"),
            9: File(content_of(hidden)),
        },
    ),
    _DATA,
    st.sampled_from([0o600, 0o644]),
    st.none() | st.integers(-1, 1 << 60),
    _DATA,
)


def _numbered(operations: list[AnyOperation]) -> tuple[AnyOperation, ...]:
    return tuple(msgspec.structs.replace(op, seq=seq) for seq, op in enumerate(operations))


_TRACE = st.builds(
    Trace,
    root=st.just("/state/r\udcff"),
    engine=_TEXT,
    actors=st.just((Actor(process=0, pid=17, command="x"), Actor(process=0, thread=1))),
    start=_TREE,
    operations=st.lists(st.one_of(_KINDS), max_size=12).map(_numbered),
    unseen=st.lists(_TEXT, max_size=2).map(tuple),
    unseen_paths=st.just(("d/bad\udcff",)),
)


@given(_TRACE)
def test_round_trip_is_exact(trace: Trace) -> None:
    jsonl, blobs = encode_trace(trace)
    back = decode_trace(jsonl, blobs.__getitem__)
    assert back.operations == trace.operations
    assert (back.root, back.engine, back.actors) == (trace.root, trace.engine, trace.actors)
    assert (back.unseen, back.unseen_paths) == (trace.unseen, trace.unseen_paths)
    assert dict(back.start.names) == dict(trace.start.names)
    assert dict(back.start.nodes) == dict(trace.start.nodes)
    assert differences(trace.start, back.start) == []
    assert encode_trace(back) == (jsonl, blobs)
    assert jsonl.isascii()
    assert jsonl.count(b"\n") == len(trace.operations) + 1
    assert all(blob_name(data) == name and len(data) > INLINE_BYTES for name, data in blobs.items())


def test_every_kind_of_operation_is_drawn() -> None:
    assert len(_KINDS) == len(AnyOperation.__args__)  # type: ignore[attr-defined]


def test_the_format_is_what_the_description_says() -> None:
    trace = Trace(
        root="/r",
        engine="ptrace",
        actors=(Actor(process=0, pid=7),),
        start=build_tree({"a": 1}, {1: File(content_of(b"x"))}),
        operations=(
            Write(seq=0, ino=1, offset=1, data=b"y" * 65, syscall="write"),
            Ack(seq=1, id="1"),
        ),
    )
    jsonl, blobs = encode_trace(trace)
    name = blob_name(b"y" * 65)
    assert blobs == {name: b"y" * 65}
    assert [json.loads(line) for line in jsonl.splitlines()] == [
        {
            "format_version": 1,
            "engine": "ptrace",
            "root": "/r",
            "operations": 2,
            "actors": [{"process": 0, "thread": 0, "pid": 7, "command": ""}],
            "unseen": [],
            "unseen_paths": [],
            "names": [["a", 1]],
            "inodes": [[1, {"type": "file", "content": {"b64": "eA=="}, "mode": 420, "mtime_ns": None}]],
        },
        {
            "seq": 0,
            "kind": "write",
            "syscall": "write",
            "ino": 1,
            "offset": 1,
            "data": {"blob": name, "bytes": 65},
        },
        {"seq": 1, "kind": "ack", "id": "1"},
    ]


def _valid() -> list[dict[str, Any]]:
    trace = Trace(
        root="/r",
        engine="e",
        actors=(Actor(process=0),),
        start=build_tree({"d": 1, "d/a": 2, "l": 3}, {1: Directory(), 2: File(content_of(b"x")), 3: Symlink("d")}),
        operations=(Write(seq=0, ino=2, offset=0, data=b"z" * 70), Rename(seq=1, path="d/a", to="b")),
    )
    return [json.loads(line) for line in encode_trace(trace)[0].splitlines()]


_BLOBS = {blob_name(b"z" * 70): b"z" * 70}


def _decode(lines: list[Any]) -> Trace:
    return decode_trace("".join(json.dumps(line) + "\n" for line in lines).encode(), _BLOBS.__getitem__)


def _set(line: int, member: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(lines: list[dict[str, Any]]) -> None:
        lines[line][member] = value

    return change


_BIG = base64.b64encode(b"x").decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(0, "format_version", 2), r"line 1: format_version is 2; this program reads 1"),
        (_set(0, "format_version", True), "line 1: format_version"),
        (_set(0, "format_version", "1"), "line 1: format_version is missing"),
        (_set(0, "operations", 3), "2 operations, the header says 3"),
        (_set(0, "names", [["../x", 2]]), "line 1: a path is not relative"),
        (_set(0, "names", [["/x", 2]]), "line 1: a path is not relative"),
        (_set(0, "names", [["a\0", 2]]), "line 1: a path contains NUL"),
        (_set(0, "names", [["\ud800", 2]]), "line 1: a path is not the name of any file"),
        (_set(0, "names", [["l", 3], ["l/x", 2]]), "line 1: a name stands below something that is no directory"),
        (_set(0, "names", [["x", 77]]), "line 1: a name of the unknown inode 77"),
        (_set(0, "names", "x"), "line 1: Expected `array`"),
        (_set(0, "inodes", [[2, {"type": "file"}]]), "line 1: an inode has other members"),
        (_set(0, "inodes", [[2, {"type": "pipe"}]]), "line 1: an inode's type is none of"),
        (_set(0, "inodes", [[2, {"type": "directory", "mode": "x", "mtime_ns": None}]]), "line 1: Expected `int`"),
        (
            _set(0, "inodes", [[-2, {"type": "directory", "mode": 1, "mtime_ns": None}]]),
            "line 1: ino is out of range",
        ),
        (_set(1, "kind", "explode"), "line 2: the kind of the operation is unknown"),
        (_set(1, "kind", ["write"]), "line 2: the kind of the operation is unknown"),
        (_set(1, "offset", -1), "line 2: offset is out of range"),
        (_set(1, "offset", 1 << 63), "line 2: offset is out of range"),
        (_set(1, "offset", 1.5), "line 2: Expected `int`"),
        (_set(1, "actor", 1), "line 2: actor 1 is not in the header"),
        (_set(1, "seq", 1), "line 2: seq is 1, expected 0"),
        (_set(1, "data", "eA=="), "line 2: bytes are neither inline nor a blob"),
        (_set(1, "data", {"b64": "*"}), "line 2: not base64"),
        (_set(1, "data", {"blob": "../../etc/passwd", "bytes": 1}), "line 2: a blob's name is not 32 hex digits"),
        (_set(1, "data", {"blob": "0" * 32, "bytes": 1}), "line 2: blob 0+ is missing"),
        (_set(1, "data", {"blob": blob_name(b"z" * 70), "bytes": 69}), "line 2: blob .* does not match"),
        (_set(2, "to", "../../etc/passwd"), "line 3: a path is not relative"),
        (_set(2, "to", None), "line 3: Expected `str`"),
        (_set(2, "to", "\ud800"), "line 3: a path is not the name of any file"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    change: Callable[[list[dict[str, Any]]], None], message: str
) -> None:
    lines = _valid()
    assert _decode(lines)
    change(lines)
    with pytest.raises(TraceFormatError, match=message) as caught:
        _decode(lines)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"\n", b"[]\n", b"\xff\n", b"{}\n", b"[" * 100_000 + b"\n", b"1" * 5000 + b"\n"]
)
def test_other_bytes_are_no_trace(raw: bytes) -> None:
    with pytest.raises(TraceFormatError):
        decode_trace(raw, _BLOBS.__getitem__)


def test_a_swapped_blob_is_noticed() -> None:
    jsonl = "".join(json.dumps(line) + "\n" for line in _valid()).encode()
    with pytest.raises(TraceFormatError, match="does not match"):
        decode_trace(jsonl, lambda name: b"y" * 70)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "a", "../a", "write", "\udcff", "\ud800", "open", "file"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["b64", "blob", "bytes", "type"]), inner)
    ),
    max_leaves=8,
)


@given(st.data())
def test_a_damaged_trace_never_raises_anything_else(data: st.DataObject) -> None:
    lines: list[Any] = _valid()
    for _ in range(data.draw(st.integers(1, 3))):
        target = lines[data.draw(st.integers(0, len(lines) - 1))]
        while isinstance(target, dict | list) and target:
            keys = list(target) if isinstance(target, dict) else list(range(len(target)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(target[key], dict | list) and target[key] and data.draw(st.booleans()):
                target = target[key]
                continue
            target[key] = data.draw(_JSON)
            break
    try:
        decoded = _decode(lines)
    except TraceFormatError as error:
        assert "\n" not in str(error)
    else:
        encode_trace(decoded)


@given(st.data())
def test_damaged_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    raw = bytearray("".join(json.dumps(line) + "\n" for line in _valid()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for candidate in (bytes(raw), bytes(raw[:cut]), bytes(raw[cut:])):
        try:
            decode_trace(candidate, _BLOBS.__getitem__)
        except TraceFormatError as error:
            assert "\n" not in str(error)
