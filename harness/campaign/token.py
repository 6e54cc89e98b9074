"""Replay tokens: ``tw1.`` and the base64url of a compressed record of what is to be replayed.

A token *names* things: a target and a variant, or, for a probe, the digest of command, workload and check. It
never carries a command to run, so a token from a stranger can at most select what is already here.

Decoding is bounded in both sizes and raises :class:`TokenError` with one line, nothing else. The text of a token
may differ between compressor versions; what it decodes to may not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import string
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from harness.core.fault import NO_FAULTS, FaultClass, FaultPlan
from harness.core.json_record import RecordError, convert_record, encode_record, parse_json
from harness.core.schedule import Schedule

PREFIX = "tw1."
_ALPHABET = frozenset(string.ascii_letters + string.digits + "-_")
TEXT_LIMIT = 16_384
"""Longest token, in characters."""
RECORD_LIMIT = 65_536
"""Longest record, in bytes after decompression."""


_DICTIONARY = (
    b'"kind":"probe","scenario":"","schedule":[],"digest":"","type":"errno","errno":28,"persistent":true,"type":"short"'
    b',"then_errno":0,"kill":true,"type":"timed","delay_us":,"signal":"SIGKILL","fault_class":"errno","fault_class":"short"'
    b'"damage":"lost""damage":"missing""damage":"stale""damage":"empty""damage":"other""damage":"silent""damage":"torn"'
    b'"invariant":"W8","invariant":"W2","invariant":"B5","invariant":"B1","invariant":"M1",.tmp.<n>"<uuid>.jsonl"'
    b'"operation":"sync","operation":"truncate","operation":"unlink","operation":"mkdir","operation":"rename",'
    b'"phase":"torn","phase":"after","bytes":4096}'
    b'{"target":"probe","variant":"reference","version":"0.1.","target":"fork_session","variant":"published","workload":'
    b'{"sessions":2,"updates":3,"record_bytes":[60,6000],"now_ms":1767225600000,"tools":{"parallel":0,"duration_ms":[5,80],'
    b'"result_bytes":[20,60000]},"steps":[]},"seed":1,"plan":{"faults":[{"type":"kill","at":{"operation":"open","role":"sessions/'
    b's<n>.json","occurrence":1,"actor":"p0","phase":"before","bytes":0},"victim":"tree","grace_ms":0}]},'
    b'"operation":"write","fault_class":"kill","fingerprint":"","role":"'
)
"""What records have in common: it makes tokens less than half as long. Part of the format: never change it."""


class TokenError(ValueError):
    """A text that is no token of this version; one line with what is wrong."""


class ReplayRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a token names.

    ``workload`` holds the scenario's parameters as plain data; ``plan`` the faults, and the order of operations where
    that was decided. ``digest`` identifies a probe's command, workload and check. Of a dialogue ``scenario`` names what
    is said, ``workload`` which of its dialogues is meant.
    """

    target: str
    variant: str = ""
    version: str = ""
    kind: Literal["target", "probe", "dialogue"] = "target"
    scenario: str = ""
    workload: dict[str, Any] = {}
    seed: int = 0
    plan: FaultPlan = NO_FAULTS
    fault_class: FaultClass = "none"
    fingerprint: str = ""
    invariant: str = ""
    role: str = ""
    damage: str = ""
    digest: str = ""


def encode(record: ReplayRecord) -> str:
    """Return the token of ``record``. Raises :class:`TokenError` where it would be too long to decode."""
    raw = encode_record(record).encode("ascii")
    engine = zlib.compressobj(9, zdict=_DICTIONARY)
    packed = engine.compress(raw) + engine.flush()
    text = PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")
    if len(raw) > RECORD_LIMIT or len(text) > TEXT_LIMIT:
        raise TokenError(f"a record of {len(raw)} bytes is too long for a token, limit {RECORD_LIMIT}")
    return text


def decode(text: str) -> ReplayRecord:
    """Return what ``text`` names; white space in it is ignored. Raises :class:`TokenError`."""
    raw = _decompressed(_body(text))
    try:
        record: ReplayRecord = convert_record(parse_json(raw), ReplayRecord)
    except RecordError as error:
        raise TokenError(f"a replay token of another shape: {error}") from None
    order = record.plan.schedule
    wrong = (
        "" if order is None else order.problem() if isinstance(order, Schedule) else "its order is no decisions"
    )
    if wrong:
        raise TokenError(f"a replay token of another shape: {wrong}")
    return record


def _body(text: str) -> bytes:
    if len(text) > TEXT_LIMIT:
        raise TokenError(f"a replay token has at most {TEXT_LIMIT} characters, this text has {len(text)}")
    compact = "".join(text.split())
    if not compact.startswith(PREFIX):
        version = compact.split(".")[0] if compact.startswith("tw") and "." in compact[:8] else ""
        if version[2:].isdecimal() and version.isascii():
            raise TokenError(f"a replay token of version {version}; this program reads {PREFIX[:-1]}")
        raise TokenError(f"not a replay token: it does not begin with {PREFIX!r}")
    body = compact.removeprefix(PREFIX)
    if not body:
        raise TokenError("an empty replay token")
    try:
        if not set(body) <= _ALPHABET:
            raise ValueError
        return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        raise TokenError("a damaged replay token: not base64url, or cut off") from None


def _decompressed(data: bytes) -> bytes:
    engine = zlib.decompressobj(zdict=_DICTIONARY)
    try:
        raw = engine.decompress(data, RECORD_LIMIT + 1)
    except zlib.error:
        raise TokenError("a damaged replay token: its checksum does not match") from None
    if len(raw) > RECORD_LIMIT:
        raise TokenError(f"a replay token of more than {RECORD_LIMIT} bytes after decompression")
    if not engine.eof:
        raise TokenError("a damaged replay token: cut off")
    if engine.unused_data:
        raise TokenError("a damaged replay token: something follows it")
    return raw


def probe_digest(command: Sequence[str], workload: str = "", check: str = "") -> str:
    """Return the digest that a probe's token carries in place of its command."""
    raw = encode_record([list(command), workload, check]).encode("ascii")
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
