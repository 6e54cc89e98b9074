"""M3: no update of a concurrent writer is lost. W9: what was acknowledged before a signal is there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, LOG, judge, log_run, names, record

from harness.checks import FileBinding
from harness.explore.script import Script

KEYED = FileBinding("state.json", "document", id_key="projects")


def state(**projects: object) -> bytes:
    return json.dumps({"projects": projects, "other": 1}).encode()


def merging() -> Script:
    """Two instances that read before they write: each adds its key to what is there."""
    script = Script(actors=2)
    script.replace("state.json", state(a=1), actor=0)
    script.ack("a", actor=0)
    script.replace("state.json", state(a=1, b=2), actor=1)
    script.ack("b", actor=1)
    script.replace("state.json", state(a=3, b=2), actor=0)
    script.ack("a", actor=0)
    return script


def wrong(
    files: dict[str, bytes],
    acked: int | list[str] = 3,
    fault_class: str = "concurrency",
    script: Script | None = None,
    binding: FileBinding = KEYED,
) -> list[tuple[str, tuple[str, ...]]]:
    run = script or merging()
    found = judge(run, binding, files, acked, fault_class=fault_class, invariants="M3")  # type: ignore[arg-type]
    return [(v.damage, v.ids) for v in found]


def test_m3_both_writers_keys_survive() -> None:
    assert wrong({"state.json": state(a=3, b=2)}) == []
    assert wrong({"state.json": state(a=3, b=2, c=9)}) == []


def test_m3_the_last_writer_wins() -> None:
    assert wrong({"state.json": state(a=3)}) == [("lost", ("b",))]
    assert wrong({"state.json": state(b=2)}) == [("lost", ("a",))]
    assert wrong({"state.json": b'{"other": 1}'}) == [("lost", ("a", "b"))]


def test_m3_a_value_older_than_the_acknowledged_one() -> None:
    assert wrong({"state.json": state(a=1, b=2)}) == [("stale", ("a",))]
    assert wrong({"state.json": state(a=1, b=2)}, 2) == []
    assert wrong({"state.json": state(a=3, b=2)}, 2) == []


def test_m3_only_what_was_acknowledged_is_owed() -> None:
    assert wrong({"state.json": state(a=1)}, 1) == []
    assert wrong({"state.json": state(b=2)}, ["b"]) == []  # in another order than in the undisturbed run
    assert wrong({"state.json": state(a=1)}, ["b"]) == [("lost", ("b",))]


def test_m3_an_undisturbed_run_that_loses_an_update_by_itself() -> None:
    script = Script(actors=2)
    for actor, name in enumerate("ab"):
        script.replace("state.json", state(**{name: 1}), actor=actor)
        script.ack(name, actor=actor)
    assert wrong({"state.json": state(b=1)}, 2, "none", script) == [("lost", ("a",))]


@pytest.mark.parametrize("items", [["a", "b"], [{"id": "a"}, {"id": "b"}]])
def test_m3_a_list_of_ids(items: list[object]) -> None:
    script = Script(actors=2)
    for count, name in enumerate("ab", 1):
        script.replace("state.json", json.dumps({"projects": items[:count]}).encode())
        script.ack(name)
    assert wrong({"state.json": json.dumps({"projects": items}).encode()}, 2, script=script) == []
    assert wrong({"state.json": json.dumps({"projects": items[1:]}).encode()}, 2, script=script) == [
        ("lost", ("a",))
    ]


def test_m3_documents_that_are_unreadable_or_gone_are_m1s() -> None:
    assert wrong({"state.json": b"{"}) == wrong({}) == []


def test_m3_a_single_id_is_no_collection_and_other_acknowledgements_are_none_of_it() -> None:
    last = FileBinding("state.json", "document", id_key="last")
    script = Script()
    for number in range(2):
        script.replace("state.json", b'{"last": %d}' % number)
        script.ack(number)
    assert wrong({"state.json": b'{"last": 1}'}, 2, script=script, binding=last) == []
    assert wrong({"state.json": state(a=1)}, 3, binding=DOCUMENT) == []


def test_m3_lost_records_are_lost_updates_under_concurrency() -> None:
    kept = {"log.jsonl": record(1) + record(3)}
    found = judge(log_run(), LOG, kept, 3, fault_class="concurrency", invariants="M3")
    assert [(v.damage, v.ids) for v in found] == [("lost", ("2",))]
    assert judge(log_run(), LOG, kept, 3, fault_class="none", invariants="M3") == []  # B5 says it
    assert judge(log_run(), LOG, kept, 3, fault_class="kill", invariants="M3") == []


@given(st.dictionaries(st.sampled_from("ab"), st.sampled_from([1, 2, 3]), max_size=2))
def test_m3_holds_exactly_where_each_key_has_its_last_value(projects: dict[str, int]) -> None:
    assert (wrong({"state.json": state(**projects)}) == []) == (projects == {"a": 3, "b": 2})


# -- W9 ----------------------------------------------------------------------------------------------------------


def test_w9_a_batch_that_a_signal_throws_away() -> None:
    found = judge(log_run(), LOG, {"log.jsonl": record(1)}, 3, fault_class="signal", invariants="W9")
    assert [(v.invariant, v.damage, v.ids) for v in found] == [("W9", "lost", ("2", "3"))]
    assert names(judge(log_run(), LOG, {}, 1, fault_class="signal", invariants="W9")) == [("W9", "missing")]


@pytest.mark.parametrize("fault_class", ["kill", "none", "errno"])
def test_w9_is_about_signals_alone(fault_class: str) -> None:
    assert judge(log_run(), LOG, {}, 3, fault_class=fault_class, invariants="W9") == []  # type: ignore[arg-type]


@given(st.integers(0, 3), st.integers(0, 3))
def test_w9_holds_exactly_if_what_was_acknowledged_is_there(acked: int, kept: int) -> None:
    files = {"log.jsonl": b"".join(record(number) for number in range(1, kept + 1))}
    found = judge(log_run(), LOG, files, acked, fault_class="signal", invariants="W9")
    assert bool(found) == (kept < acked)
