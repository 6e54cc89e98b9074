"""What is told of the drift of indexes: a function of the lives document alone."""

from __future__ import annotations

from typing import Any

import pytest

from harness.seeds.claim import Claim
from harness.seeds.drift import DAY_MS, MEASUREMENTS


def entry(session: str, count: int, modified: float, newest: float) -> dict[str, Any]:
    """Return an entry of an index; times in days, a negative one for none."""
    modified_ms, newest_ms = (round(day * DAY_MS) if day >= 0 else -1 for day in (modified, newest))
    return {
        "session": session,
        "count": count,
        "modified_ms": modified_ms,
        "newest_ms": newest_ms,
    }


def life(
    kind: str, *projects: list[dict[str, Any]], instances: int = 1, back: int = 0, **changed: list[str]
) -> dict[str, Any]:
    """Return one life as the document has it; ``back`` in days."""
    indexes = {f"projects/p{number}/sessions-index.json": each for number, each in enumerate(projects)}
    wrote = {key: {path: [1, 2] for path in changed.get(key, [])} for key in ("alive", "at_end")}
    return {"exit": kind, "instances": instances, "indexes": indexes, "rolled_back_ms": back * DAY_MS, **wrote}


INDEX = "projects/p0/sessions-index.json"
LIVES = [
    life("graceful", [entry("a", 3, 1, 1)], at_end=[INDEX], alive=["projects/p0/a.jsonl"]),
    life("graceful", [entry("a", 3, 1, 22), entry("b", -1, -1, 22)], instances=2, back=21, at_end=[INDEX]),
    life("power"),
    life("sigkill", [entry("a", 9, 30, 123), entry("b", -1, -1, 22)], [entry("c", 4, 100, 103)], at_end=["x"]),
]


@pytest.mark.parametrize(
    ("name", "of", "expected"),
    [
        ("lag_days", "", 93),
        ("all_lags", "", "93 3"),
        ("stale_projects", "", 1),
        ("frozen_count", "", 9),
        ("lost_after_graceful", "", 1),
        ("lost_for_good", "", 1),
        ("rolled_back_days", "", 21),
        ("written_alive", "", 0),
        ("exits_that_write", "graceful power sigkill", "graceful"),
        ("written_by_exit", "graceful", True),
        ("written_by_exit", "sigkill", False),
        ("written_by_exit", "sighup", False),
        ("update_kept", "graceful", False),
        ("update_kept", "sigkill", False),
        ("update_kept", "power", False),
    ],
)
def test_a_fact_of_the_lives(name: str, of: str, expected: object) -> None:
    fact = MEASUREMENTS[name](LIVES, Claim(id="003.99", kind="claim", says="s", of=of))
    assert (fact.value, fact.shown != "") == (expected, True)


def test_what_is_told_of_an_end_says_what_it_did() -> None:
    claim = Claim(id="003.99", kind="claim", says="s", of="sigkill")
    assert "1 of 1 ends left entries behind" in MEASUREMENTS["update_kept"](LIVES, claim).shown
    assert "0 of 1 lost entries came back" in MEASUREMENTS["lost_for_good"](LIVES, claim).shown


def test_an_update_is_kept_where_every_end_of_the_kind_keeps_it() -> None:
    claim = Claim(id="003.99", kind="claim", says="s", of="sigkill")
    kept = [life("sigkill", [entry("a", 3, 1, 1)]), life("sighup", [entry("a", 3, 1, 2)])]
    assert MEASUREMENTS["update_kept"](kept, claim).value is True
