"""M5: a registry entry names a transcript that is there, a lease a registry entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions import ALL, ENTRIES, entry, leased, prompt, written
from trees import judge, names

from harness.core.tree import tree_of
from harness.explore.script import Script

A = "projects/p/a.jsonl"
ENTRY = "registry/local_a.json"
LEASE = "registry/git-worktrees.json"
WHOLE = {A: prompt(), ENTRY: entry(), LEASE: leased(w="local_a", free=None)}
RUN = written((A, WHOLE[A]), (ENTRY, WHOLE[ENTRY]), (LEASE, WHOLE[LEASE]), "1")


def wrong(files: dict[str, bytes], script: Script = RUN, acked: int = 1, fault_class: str = "kill") -> list[str]:
    found = judge(script, ALL, files, acked, fault_class=fault_class, invariants="M5")  # type: ignore[arg-type]
    return [v.path for v in found]


def without(*gone: str) -> dict[str, bytes]:
    return {path: data for path, data in WHOLE.items() if path not in gone}


def test_m5_holds_on_what_the_run_left() -> None:
    assert wrong(WHOLE) == wrong(WHOLE, fault_class="none") == []


@pytest.mark.parametrize("fault_class", ["kill", "signal", "power", "none"])
def test_m5_a_session_whose_transcript_is_gone(fault_class: str) -> None:
    assert wrong(without(A), fault_class=fault_class) == [ENTRY]


def test_m5_a_lease_whose_holder_is_gone() -> None:
    assert wrong(without(ENTRY)) == [LEASE]
    found = judge(RUN, ALL, without(ENTRY), 1, fault_class="kill", invariants="M5")
    assert [(v.damage, v.ids) for v in found] == [("other", ("local_a",))]


def test_m5_a_damaged_holder_is_there_and_a_damaged_entry_is_m1s() -> None:
    assert wrong({**WHOLE, ENTRY: b"\0" * 99}) == []
    assert wrong({**without(A), ENTRY: b"\0" * 99}) == []
    assert wrong({**without(A), ENTRY: entry()[:20]}) == []
    assert wrong({**WHOLE, LEASE: b"[]"}) == wrong({**WHOLE, LEASE: b"{}"}) == []


def test_m5_an_entry_is_known_by_what_it_calls_itself_too() -> None:
    files = {A: prompt(), "registry/local_z.json": entry(), LEASE: leased(w="local_a")}
    assert wrong(files, written(*files.items(), "1")) == []


def test_m5_what_is_in_flight_may_point_at_what_is_not_there_yet() -> None:
    assert wrong(without(A), acked=0) == []
    assert wrong(without(ENTRY), acked=0) == []


def test_m5_what_pointed_nowhere_at_the_start_is_not_the_runs_doing() -> None:
    start = tree_of({ENTRY: entry("gone")})
    script = Script(start)
    script.ack("1")
    assert wrong({ENTRY: entry("gone")}, script, fault_class="none") == []


def test_m5_a_transcript_that_was_there_at_the_start_and_is_deleted() -> None:
    script = Script(tree_of(WHOLE))
    script.unlink(A)
    script.ack("1")
    assert wrong(without(A), script, fault_class="none") == [ENTRY]


def test_m5_without_a_transcript_binding_nothing_is_said() -> None:
    assert names(judge(RUN, ENTRIES, without(A), 1, fault_class="kill", invariants="M5")) == []


def test_m5_is_not_defined_under_concurrency() -> None:
    assert wrong(without(A), fault_class="concurrency") == []


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_m5_exactly_the_dangling_entries_are_named(entries: dict[str, str], there: set[str]) -> None:
    files = {f"registry/local_{name}.json": entry(to) for name, to in entries.items()}
    files |= {f"projects/p/{name}.jsonl": prompt() for name in there}
    found = wrong(files, written(*files.items(), "1"), fault_class="none")
    assert sorted(found) == sorted(f"registry/local_{n}.json" for n, to in entries.items() if to not in there)
