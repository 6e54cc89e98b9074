"""Roles stay the same from run to run, and names that mean something stay as they are."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.role import mask_bytes, path_role

_PYTHON = string.ascii_lowercase + string.digits + "_"
_LIBC = string.ascii_letters + string.digits


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("a/3f2b8c1e-0000-4000-8000-0123456789ab.jsonl", "a/<uuid>.jsonl"),
        ("a/3F2B8C1E-0000-4000-8000-0123456789AB.jsonl", "a/<uuid>.jsonl"),
        ("s.tmp.4711", "s.tmp.<n>"),
        ("s.json.tmp.4194303", "s.json.tmp.<n>"),
        ("s.json.tmp.4711.1700000000000", "s.json.tmp.<n>.<n>"),
        ("tmpab12cd_x", "<tmp>"),
        ("d/tmpabcdefgh/state.json", "d/<tmp>/state.json"),
        ("state.json.aBcDeF", "state.json.<n>"),
        (".state.json.x1y2z3w4.tmp", ".state.json.<n>.tmp"),
        ("state.json.deadbe.tmp", "state.json.<n>.tmp"),
        ("p/0123456789abcdef0123456789abcdef.jsonl", "p/<n>.jsonl"),
        ("segment-000001.log", "segment-<n>.log"),
        ("session-12.jsonl", "session-<n>.jsonl"),
        ("index.sqlite3-wal", "index.sqlite<n>-wal"),
        ("x.sha256", "x.sha<n>"),
        ("log-session01.jsonl", "log-session<n>.jsonl"),
    ],
)
def test_what_varies_is_masked(path: str, role: str) -> None:
    assert path_role(path) == role


@pytest.mark.parametrize(
    "path",
    [
        "state.json",
        "checkpoint.jsonl",
        "sessions/registry.json",
        "my-session-registry.json",
        "state.json.tmp",
        "state.json.backup",
        "state.json.previous",
        "history.jsonl.lock",
        "registry.tmp",
        "tmp/state.json",
        "tmp_sessions",
        "temporary.json",
        "template.html",
        "temperature.csv",
        "deadbeef",
        "facade.json",
        "README.md",
        ".claude.json",
        "package-lock.json",
        "claude_desktop_config.json",
        "projects/my-project/subagents/index.db-wal",
        "bad\udcff\udcfe.json",
        "línea.json",
    ],
)
def test_what_means_something_stays(path: str) -> None:
    assert path_role(path) == path


def _drawn(alphabet: str, length: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choice(alphabet) for _ in range(length))


@pytest.mark.parametrize(
    ("shape", "infix"),
    [
        ("tmp{}", _drawn(_PYTHON, 8)),
        ("d/tmp{}/state.json", _drawn(_PYTHON, 8)),
        (".state.json.{}.tmp", _drawn(_PYTHON, 8)),
        ("state.json.{}", _drawn(_LIBC, 6)),
        ("tmp.{}", _drawn(_LIBC, 10)),
        (".tmp-{}", _drawn(_LIBC, 6)),
        ("state.json.{}.tmp", _drawn("0123456789abcdef", 6)),
        ("state.json.{}.tmp", _drawn("0123456789abcdef", 12)),
        ("p/{}.jsonl", _drawn("0123456789abcdef", 32)),
        ("p/{}.jsonl", lambda rng: str(uuid.UUID(int=rng.getrandbits(128)))),
        ("state.json.tmp.{}", lambda rng: str(rng.randrange(1, 4_194_304))),
    ],
)
def test_names_drawn_by_one_rule_share_one_role(shape: str, infix: Callable[[random.Random], str]) -> None:
    rng = random.Random(5)
    roles = [path_role(shape.format(infix(rng))) for _ in range(2000)]
    usual = max(set(roles), key=roles.count)
    assert "<" in usual
    # A drawn infix can look like a word with a separator (`tmp_abcdefg`): rare is enough, never is not possible.
    assert sum(role != usual for role in roles) <= 12, {role for role in roles if role != usual}


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=12), min_size=1, max_size=4))
def test_role_keeps_the_depth_and_is_its_own_role(parts: list[str]) -> None:
    role = path_role("/".join(parts))
    assert role.count("/") == len(parts) - 1
    assert path_role(role) == role
    assert not any(ch in role for ch in "0123456789")


def test_mask_bytes() -> None:
    line = b'{"id":"3f2b8c1e-0000-4000-8000-0123456789ab","at":"2024-05-06T07:08:09.123Z","n":12}'
    assert mask_bytes(line) == b'{"id":"<uuid>","at":"<time>","n":12}'
    assert mask_bytes(b"2024-05-06 07:08:09+02:00 x") == b"<time> x"
    assert mask_bytes(b"12345678 \xff\x00") == b"12345678 \xff\x00"
