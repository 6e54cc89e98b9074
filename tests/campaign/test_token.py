"""Tokens come back exactly, name things only, and whatever else the text is, it is one line of error."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign.token import (
    PREFIX,
    RECORD_LIMIT,
    TEXT_LIMIT,
    ReplayRecord,
    TokenError,
    decode,
    encode,
    probe_digest,
)
from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.schedule import schedule_of
from harness.strategies import crash_points, fault_plans, schedules
from harness.strategies.faults import KINDS

_NAME = st.text(max_size=12) | st.just("bad\udcff.json")
_PLAN = fault_plans(
    KINDS,
    least=0,
    most=3,
    points=crash_points(roles=_NAME, occurrences=10**6, most_bytes=1 << 40),
    schedules=schedules(["p0", "p0.t1", "p0*r1:a.jsonl read"]),
)
_RECORD = st.builds(
    ReplayRecord,
    target=_NAME,
    variant=_NAME,
    version=_NAME,
    kind=st.sampled_from(["target", "probe"]),
    scenario=_NAME,
    workload=st.dictionaries(_NAME, st.integers() | _NAME | st.lists(st.integers(), max_size=3), max_size=4),
    seed=st.integers(0, 1 << 64),
    plan=_PLAN,
    fault_class=st.sampled_from(["kill", "short", "errno"]),
    fingerprint=st.text("0123456789abcdef", min_size=32, max_size=32),
    invariant=_NAME,
    digest=_NAME,
)


@given(_RECORD)
def test_round_trip_is_exact(record: ReplayRecord) -> None:
    text = encode(record)
    assert text.startswith(PREFIX)
    assert text.isascii()
    assert not set(text) & set("+/= \n")
    assert decode(text) == record
    assert decode(f"  {text[:30]}\n  {text[30:]}\n") == record  # as a mail client wraps it


GOLDEN = "tw1.ePl0qmyRqyYxOlFTgzkol0CCzpysoIO5GeoalFyDGmpGOEINLW0TE2hEBJCBoZGxiamZuYVlYlJySmoaOh-zLKgFAJPtad8"
"""Made with the first dictionary: if this fails, a token that somebody kept has become worthless."""


def test_tokens_of_the_first_version_stay_readable() -> None:
    record = decode(GOLDEN)
    assert record == ReplayRecord(
        target="fork_session",
        variant="published",
        version="0.1.72",
        seed=7,
        plan=FaultPlan(
            faults=(Kill(at=CrashPoint(operation="write", role="<uuid>.jsonl", occurrence=2, phase="after")),)
        ),
        fault_class="kill",
        fingerprint="0123456789abcdef0123456789abcdef",
        invariant="B1",
    )


def test_a_token_has_no_place_for_a_command() -> None:
    fields = {field.name for field in msgspec.structs.fields(ReplayRecord)}
    assert fields == {
        "target",
        "variant",
        "version",
        "kind",
        "scenario",
        "workload",
        "seed",
        "plan",
        "fault_class",
        "fingerprint",
        "invariant",
        "role",
        "damage",
        "digest",
    }
    for name in ("command", "argv", "run", "check"):
        with pytest.raises(TokenError, match="unknown field"):
            decode(_packed({"target": "t", name: ["sh", "-c", "true"]}))


def test_the_digest_tells_command_workload_and_check_apart() -> None:
    digests = {
        probe_digest(["a", "b"]),
        probe_digest(["a b"]),
        probe_digest(["a", "b"], "w"),
        probe_digest(["a", "b"], "", "w"),
        probe_digest(["a", "b", ""]),
        probe_digest(["bad\udcff"]),
    }
    assert len(digests) == 6
    assert probe_digest(["a", "b"]) == probe_digest(("a", "b"))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"type": "schedule", "actors": ["p0"], "turns": [0, 10**12]}, "more than 1,000,000 decisions"),
        ({"type": "schedule", "actors": ["p0"], "turns": [1, 1]}, "an actor that it does not have"),
        ({"type": "schedule", "actors": [], "turns": [0]}, "pairs"),
        ({"type": "search", "policy": "pct", "steps": 10**12}, "no decisions"),
        ({"type": "else"}, "another shape"),
    ],
)
def test_an_order_that_nobody_can_follow_is_refused(order: dict[str, Any], expected: str) -> None:
    with pytest.raises(TokenError, match=expected) as refused:
        decode(_packed({"target": "t", "plan": {"schedule": order}}))
    assert "\n" not in str(refused.value)


def test_the_order_of_a_long_run_fits_into_a_token() -> None:
    labels = [f"p0*r{n}:projects/-srv-app/<uuid>.jsonl {word}" for n in range(400) for word in ("open", "read")]
    record = ReplayRecord(target="t", plan=FaultPlan(schedule=schedule_of(labels * 2)))
    assert decode(encode(record)) == record


def _packed(value: Any) -> str:
    return _raw(json.dumps(value).encode())


def _raw(data: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(zlib.compress(data)).rstrip(b"=").decode()


_GOOD = encode(ReplayRecord(target="t"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a replay token"),
        ("hello", "not a replay token"),
        ("tw2.AAAA", "version tw2; this program reads tw1"),
        ("tw1.", "an empty replay token"),
        ("tw1.é", "not base64url"),
        ("tw1.+/", "not base64url"),
        ("tw1.A", "not base64url"),
        ("tw1.AAAA", "checksum"),
        (_GOOD[:-6], "cut off|not base64url"),
        (_GOOD[:10] + ("A" if _GOOD[10] != "A" else "B") + _GOOD[11:], "damaged replay token"),
        (_raw(b"{}") + "AAAA", "damaged replay token"),
        (_raw(b"{}"), "missing required field `target`"),
        (_raw(b"[]"), "Expected `object`"),
        (_raw(b"\xff"), "not UTF-8"),
        (_raw(b"["), "not JSON"),
        (_raw(b"[" * 60_000), "nested too deeply|another shape"),
        (_raw(b'{"target":' + b"1" * 6000 + b"}"), "another shape"),
        (_packed({"target": "t", "plan": {"faults": [{"type": "boom"}]}}), "Invalid value"),
        (_packed({"target": "t", "fault_class": "\ud800"}), "another shape"),
        (_raw(b" " * (RECORD_LIMIT + 1)), "after decompression"),
        (_raw(b" " * 5_000_000), "after decompression"),
        ("tw1." + "A" * TEXT_LIMIT, "at most"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(TokenError, match=message) as caught:
        decode(text)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = _raw(b" " * 10_000_000)
    assert len(bomb) < TEXT_LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(TokenError, match="after decompression"):
            decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_record_too_long_for_a_token_is_refused_when_made() -> None:
    with pytest.raises(TokenError, match="too long"):
        encode(ReplayRecord(target="t", workload={"x": "y" * RECORD_LIMIT}))


@given(
    st.text(max_size=60)
    | st.binary(max_size=80).map(lambda data: PREFIX + base64.urlsafe_b64encode(data).decode())
)
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        decode(text)
    except TokenError as error:
        assert "\n" not in str(error)


@given(_RECORD, st.data())
def test_a_damaged_token_never_raises_anything_else(record: ReplayRecord, data: st.DataObject) -> None:
    text = list(encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(4, len(text) - 1))] = data.draw(st.characters())
    try:
        decode("".join(text))
    except TokenError as error:
        assert "\n" not in str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["target", "plan", "faults", "type", "at", "kill", "workload"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_in_a_token_is_a_record_or_an_error(value: Any) -> None:
    try:
        assert isinstance(decode(_packed(value)), ReplayRecord)
    except TokenError as error:
        assert "\n" not in str(error)
