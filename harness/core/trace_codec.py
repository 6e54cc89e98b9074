"""A trace ⇄ ``trace.jsonl`` and blobs: the form in which a run is kept and any machine can explore it.

Line 1 is the header: ``format_version``, engine, root, actors, what was not seen, the start tree. Every further
line is one operation, in order. Members that have their default value are left out, so defaults are part of the
format. A byte string is ``{"b64": text}`` up to :data:`INLINE_BYTES`, else ``{"blob": blake2b-128 in hex, "bytes":
length}`` and a blob of that name. Names that are not UTF-8 are escaped lone surrogates.

Decoding trusts nothing: a blob is hashed, numbers are bounded, and a path may not lead out of the state
directory, because trees are written back to disk. Anything malformed is a :class:`TraceFormatError`.

Non-goals: whether the operations fit their tree (:func:`harness.core.apply.apply` says so).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from harness.core.content import FileTooLargeError, content_of
from harness.core.json_record import RecordError, convert_record, encode_plain, encode_record, parse_json
from harness.core.operation import AnyOperation, Outside
from harness.core.trace import TRACE_FORMAT_VERSION, Actor, Trace
from harness.core.tree import Directory, File, Node, Special, Symlink, Tree, build_tree

INLINE_BYTES = 64
"""Longest byte string kept inside the line."""
MAX_OPERATIONS = 5_000_000
"""A trace with more lines is refused, not truncated."""
_MAX_NUMBER = 1 << 63
_BYTE_MEMBERS = ("data", "requested")
_COUNTS = ("ino", "offset", "size", "actor", "at_ns", "writers_left", "batch", "mode", "type_bits")
_PATHS = ("path", "to")
_TREE_NODES: dict[str, type] = {"file": File, "directory": Directory, "symlink": Symlink, "special": Special}


class TraceFormatError(ValueError):
    """Bytes that are no trace of this version; one line with where and what."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format_version: int
    engine: str
    root: str
    operations: int
    actors: tuple[Actor, ...] = ()
    unseen: tuple[str, ...] = ()
    unseen_paths: tuple[str, ...] = ()
    names: tuple[tuple[str, int], ...] = ()
    inodes: tuple[tuple[int, dict[str, Any]], ...] = ()


def blob_name(data: bytes) -> str:
    """Return the name under which a byte string is kept: its blake2b-128 in hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _packed(data: bytes, blobs: dict[str, bytes]) -> dict[str, Any]:
    if len(data) <= INLINE_BYTES:
        return {"b64": base64.b64encode(data).decode("ascii")}
    name = blob_name(data)
    blobs[name] = data
    return {"blob": name, "bytes": len(data)}


def _packed_node(node: Node, blobs: dict[str, bytes]) -> dict[str, Any]:
    out: dict[str, Any] = {"type": type(node).__name__.lower(), **node._asdict()}
    if isinstance(node, File):
        out["content"] = _packed(node.content.to_bytes(), blobs)
    return out


@lru_cache(maxsize=64)
def _members(type_: type) -> tuple[tuple[str, bool, Any], ...]:
    """Return (name, required, default) of an operation's members but ``seq``, which stands first."""
    fields = msgspec.structs.fields(type_)
    return tuple((field.name, field.required, field.default) for field in fields if field.name != "seq")


def _packed_operation(op: AnyOperation, blobs: dict[str, bytes]) -> dict[str, Any]:
    out: dict[str, Any] = {"seq": op.seq, "kind": op.kind}
    for name, required, default in _members(type(op)):
        value = getattr(op, name)
        if required or value != default:
            out[name] = _packed(value, blobs) if isinstance(value, bytes) else value
    return out


def encode_trace(trace: Trace) -> tuple[bytes, dict[str, bytes]]:
    """Return the lines of ``trace`` and the blobs they name."""
    blobs: dict[str, bytes] = {}
    start = trace.start
    header = _Header(
        format_version=TRACE_FORMAT_VERSION,
        engine=trace.engine,
        root=trace.root,
        operations=len(trace.operations),
        actors=trace.actors,
        unseen=trace.unseen,
        unseen_paths=trace.unseen_paths,
        names=tuple(sorted(start.names.items())),
        inodes=tuple((ino, _packed_node(node, blobs)) for ino, node in sorted(start.nodes.items())),
    )
    lines = [encode_record(header)]
    lines += [encode_plain(_packed_operation(op, blobs)) for op in trace.operations]
    return ("\n".join(lines) + "\n").encode("ascii"), blobs


class _Decoder:
    """Reads the lines of one trace; knows which line it is at, for the message."""

    def __init__(self, blob: Callable[[str], bytes]) -> None:
        self.blob = blob
        self.line = 1

    def error(self, what: str) -> TraceFormatError:
        return TraceFormatError(f"line {self.line}: {what}")

    def record(self, raw: bytes) -> dict[str, Any]:
        try:
            value = parse_json(raw)
        except RecordError as error:
            raise self.error(str(error)) from None
        if not isinstance(value, dict):
            raise self.error("not a JSON object")
        return value

    def convert(self, value: Any, type_: Any) -> Any:
        try:
            return convert_record(value, type_)
        except RecordError as error:
            raise self.error(str(error)) from None

    def unpacked(self, value: Any) -> bytes:
        match value:
            case {"b64": str(text)} if len(value) == 1:
                try:
                    return base64.b64decode(text, validate=True)
                except (binascii.Error, ValueError):
                    raise self.error("not base64") from None
            case {"blob": str(name), "bytes": int(size)} if len(value) == 2:
                return self._blob(name, size)
            case _:
                raise self.error("bytes are neither inline nor a blob")

    def _blob(self, name: str, size: int) -> bytes:
        if len(name) != 32 or not all(ch in "0123456789abcdef" for ch in name):
            raise self.error("a blob's name is not 32 hex digits")
        try:
            data = self.blob(name)
        except (KeyError, OSError, ValueError):
            raise self.error(f"blob {name} is missing") from None
        if len(data) != size or blob_name(data) != name:
            raise self.error(f"blob {name} does not match its name or length")
        return data

    def text(self, value: str, what: str) -> None:
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise self.error(f"{what} is not the name of any file") from None
        if "\0" in value:
            raise self.error(f"{what} contains NUL")

    def path(self, value: str) -> None:
        self.text(value, "a path")
        if any(part in ("", ".", "..") for part in value.split("/")):
            raise self.error("a path is not relative to the state directory")

    def counts(self, record: Mapping[str, Any], members: Iterable[str]) -> None:
        for name in members:
            value = record.get(name)
            if isinstance(value, int) and not 0 <= value < _MAX_NUMBER:
                raise self.error(f"{name} is out of range")

    def node(self, packed: dict[str, Any]) -> Node:
        members = dict(packed)
        type_ = _TREE_NODES.get(str(members.pop("type", "")))
        if type_ is None:
            raise self.error("an inode's type is none of " + ", ".join(_TREE_NODES))
        if set(members) != set(type_._fields):  # type: ignore[attr-defined]
            raise self.error("an inode has other members than its type")
        self.counts(members, ("mode", "type_bits"))
        for name, kind in _NODE_MEMBERS[type_].items():
            self.convert(members[name], kind)
        if type_ is Symlink:
            self.text(members["destination"], "a link's destination")
        if type_ is File:
            try:
                members["content"] = content_of(self.unpacked(members["content"]))
            except FileTooLargeError as error:
                raise self.error(str(error)) from None
        node: Node = type_(**members)
        return node

    def tree(self, header: _Header) -> Tree:
        self.counts({"ino": min((ino for ino, _ in header.inodes), default=0)}, ("ino",))
        nodes = {ino: self.node(packed) for ino, packed in header.inodes}
        for path, ino in header.names:
            self.path(path)
            if ino not in nodes:
                raise self.error(f"a name of the unknown inode {ino}")
        names = dict(header.names)
        for path in names:
            parent = path.rpartition("/")[0]
            # A name below a symbolic link would be written through it when the tree is put on disk.
            if parent and not isinstance(nodes.get(names.get(parent, -1)), Directory):
                raise self.error("a name stands below something that is no directory")
        return build_tree(names, nodes)

    def header(self, raw: bytes) -> _Header:
        record = self.record(raw)
        version = record.get("format_version")
        if version != TRACE_FORMAT_VERSION or isinstance(version, bool):
            shown = version if isinstance(version, int) else "missing"
            raise self.error(f"format_version is {shown}; this program reads {TRACE_FORMAT_VERSION}")
        header: _Header = self.convert(record, _Header)
        self.text(header.root, "the root")
        return header

    def operation(self, raw: bytes, seq: int, actors: int) -> AnyOperation:
        record = self.record(raw)
        kind = record.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise self.error("the kind of the operation is unknown")
        for name in _BYTE_MEMBERS:
            if record.get(name) is not None:
                record[name] = self.unpacked(record[name])
        op: AnyOperation = self.convert(record, _KINDS[kind])
        if op.seq != seq:
            raise self.error(f"seq is {op.seq}, expected {seq}")
        self.counts(record, ("actor", "at_ns", "error") if kind == "sync" else _COUNTS)
        if op.actor >= max(actors, 1):
            raise self.error(f"actor {op.actor} is not in the header")
        if not isinstance(op, Outside):
            for name in _PATHS:
                if getattr(op, name, None) is not None:
                    self.path(getattr(op, name))
        return op


_NODE_MEMBERS: dict[type, dict[str, Any]] = {
    File: {"mode": int, "mtime_ns": int | None},
    Directory: {"mode": int, "mtime_ns": int | None},
    Symlink: {"destination": str},
    Special: {"type_bits": int, "mode": int},
}
_KINDS: dict[str, type] = {type_.kind: type_ for type_ in AnyOperation.__args__}


def decode_trace(jsonl: bytes, blob: Callable[[str], bytes]) -> Trace:
    """Return the trace of these lines; ``blob`` gives a blob by name (``KeyError`` or ``OSError`` if it cannot).

    Raises :class:`TraceFormatError` and nothing else, whatever the bytes.
    """
    decoder = _Decoder(blob)
    if not jsonl.endswith(b"\n"):
        raise TraceFormatError("the last line is cut off" if jsonl else "empty file")
    lines = jsonl[:-1].split(b"\n")
    if len(lines) - 1 > MAX_OPERATIONS:
        raise TraceFormatError(f"{len(lines) - 1} operations, limit {MAX_OPERATIONS}")
    header = decoder.header(lines[0])
    start = decoder.tree(header)
    operations = []
    for seq, raw in enumerate(lines[1:]):
        decoder.line = seq + 2
        operations.append(decoder.operation(raw, seq, len(header.actors)))
    if len(operations) != header.operations:
        raise TraceFormatError(f"{len(operations)} operations, the header says {header.operations}")
    return Trace(
        root=header.root,
        engine=header.engine,
        actors=header.actors,
        start=start,
        operations=tuple(operations),
        unseen=header.unseen,
        unseen_paths=header.unseen_paths,
    )
