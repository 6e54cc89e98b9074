"""M9: the user's settings are kept or reported lost. W10: a repair may repeat, and copies before it destroys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions import ALL, entry, prompt, written
from trees import DOCUMENT, HEALED, names, record

from harness.checks import Expectation, FileBinding, LossReport, judge_cut_repair, judge_recovery
from harness.core.tree import tree_of
from harness.core.verdict import Violation
from harness.explore import crash_states
from harness.explore.script import Script

A, ENTRY = "projects/p/a.jsonl", "registry/local_a.json"
SET = {"isPinned": True, "title": "Mine", "titleSource": "user", "isArchived": True}
RUN = written((A, prompt()), (ENTRY, entry(**SET)), "1", (ENTRY, entry(**{**SET, "title": "Later"})), "2")


def kept(after: bytes | None, *lost: tuple[str, str], acked: int = 1, run: Script = RUN) -> list[Violation]:
    expectation = Expectation.from_trace(run.trace(), ALL)
    files = {A: prompt()} if after is None else {A: prompt(), ENTRY: after}
    reports = [LossReport(field, name) for field, name in lost]
    before = tree_of({A: prompt(), ENTRY: b"\0" * 9})
    return list(judge_recovery(before, tree_of(files), expectation, acked, lost=reports, invariants=("M9",)))


def settings(found: list[Violation]) -> list[str]:
    return [v.ids[0] for v in found]


def test_m9_settings_that_are_still_there() -> None:
    assert kept(entry(**SET)) == kept(entry(**{**SET, "title": "Later"})) == []
    assert kept(entry(**{**SET, "lastActivityAt": 9})) == []


def test_m9_a_stub_that_defaults_them_silently() -> None:
    stub = entry(title="Mine", titleSource="auto")
    found = kept(stub)
    assert settings(found) == ["archived", "pin", "title"]
    assert {v.damage for v in found} == {"reset"}
    assert settings(kept(entry(title="Mine", titleSource="user"))) == ["archived", "pin"]


def test_m9_what_recovery_reports_as_lost_is_said() -> None:
    stub = entry(title="Mine", titleSource="user")
    assert kept(stub, ("pin", "local_a"), ("isArchived", "a")) == []
    assert settings(kept(stub, ("pin", "local_a"))) == ["archived"]
    assert settings(kept(stub, ("pin", "other"), ("archived", "local_a.json"))) == ["pin"]


def test_m9_an_entry_that_is_still_unreadable_has_lost_all_of_them() -> None:
    for after in (b"\0" * 9, None):
        found = kept(after)
        assert settings(found) == ["archived", "pin", "title"]
        assert {v.damage for v in found} == {"lost"}
    assert kept(None, ("pin", "a"), ("title", "a"), ("archived", "a")) == []


def test_m9_an_older_title_than_the_acknowledged_one() -> None:
    assert settings(kept(entry(**SET), acked=2)) == ["title"]


def test_m9_what_nobody_set_or_acknowledged_is_nothing_to_lose() -> None:
    assert kept(None, acked=0) == []
    plain = written((A, prompt()), (ENTRY, entry(title="auto", titleSource="auto", isArchived=False)), "1")
    assert kept(entry(), run=plain) == kept(None, run=plain) == []
    assert settings(kept(entry(isPinned=True, isArchived=True), run=plain)) == ["archived"]


def test_m9_the_entry_may_have_another_name_now() -> None:
    expectation = Expectation.from_trace(RUN.trace(), ALL)
    after = tree_of({A: prompt(), "registry/local_b.json": entry(**SET)})
    assert judge_recovery(tree_of({}), after, expectation, 1, invariants=("M9",)) == ()


def test_m9_is_not_defined_under_errno() -> None:
    expectation = Expectation.from_trace(RUN.trace(), ALL)
    assert judge_recovery(tree_of({}), tree_of({}), expectation, 1, "errno", invariants=("M9",)) == ()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("isPinned", "isArchived"), st.booleans())), st.booleans())
def test_m9_holds_exactly_for_equal_or_reported_flags(now: dict[str, Any], reported: bool) -> None:
    found = kept(entry(title="Mine", **now), *([("isPinned", "a")] if reported else []))
    expected = {name for name, key in (("pin", "isPinned"), ("archived", "isArchived")) if not now.get(key)}
    assert set(settings(found)) == expected - ({"pin"} if reported else set())


# -- W10 ---------------------------------------------------------------------------------------------------------

R1, R2 = record(1), record(2)
N1, N2 = b'{"id": "r1"}\n', b'{"id": "r2"}\n'
BACKUP = FileBinding("*.bak*", "opaque")
BINDINGS = (FileBinding("**/.*.tmp", "opaque", litter=True), HEALED, DOCUMENT, BACKUP)


def null() -> Script:
    script = Script()
    for number in (1, 2):
        fd = script.open("log.jsonl", append=True)
        script.write(fd, record(number))
        script.close(fd)
        script.replace("state.json", b'{"last": %d}' % number)
        script.ack(number)
    return script


def repaired(before: dict[str, bytes], after: dict[str, bytes], **more: Any) -> list[tuple[str, str]]:
    expectation = Expectation.from_trace(null().trace(), BINDINGS)
    found = judge_recovery(tree_of(before), tree_of(after), expectation, 0, invariants=("W10",), **more)
    assert all(v.invariant == "W10" for v in found)
    return [(v.path, v.damage) for v in found if v.severity == "violation"]


def twice(before: dict[str, bytes], after: dict[str, bytes], again: dict[str, bytes]) -> list[tuple[str, str]]:
    return repaired(before, after, again=tree_of(again))


def test_w10_a_second_recovery_adds_its_record_and_nothing_else() -> None:
    torn = {"log.jsonl": R1 + R2[:5], "state.json": b'{"last": 1}'}
    first = {"log.jsonl": R1 + N1, "state.json": b'{"last": "r1"}'}
    assert twice(torn, first, {"log.jsonl": R1 + N1 + N2, "state.json": b'{"last": "r2"}'}) == []
    assert twice(torn, first, first) == []


def test_w10_a_second_backup_is_one_too_many() -> None:
    torn = {"state.json": b'{"la'}
    first = {"state.json": b'{"last": 0}', "state.json.bak": b'{"la'}
    assert twice(torn, first, first) == []
    assert twice(torn, first, {**first, "state.json.bak.2": b'{"last": 0}'}) == [("state.json.bak.2", "extra")]


def test_w10_a_second_recovery_that_removes_what_the_first_left() -> None:
    first = {"log.jsonl": R1 + N1, "state.json": b'{"last": 0}'}
    assert twice({"log.jsonl": R1}, first, {**first, "log.jsonl": R1 + N2}) == [("log.jsonl", "lost")]
    assert twice({"log.jsonl": R1}, first, {"log.jsonl": R1 + N1 + N2}) == [("state.json", "missing")]
    assert twice({"log.jsonl": R1}, first, {**first, "state.json": b"{}"}) == [("state.json", "reset")]


def test_w10_a_second_recovery_that_repairs_more_than_the_first() -> None:
    assert twice({"log.jsonl": R1}, {"log.jsonl": R1 + N1}, {"log.jsonl": R1 + N1 + N2 + R2}) == [("", "extra")]


def test_w10_temporaries_and_files_of_the_appended_record_may_be_new() -> None:
    many = (*BINDINGS, FileBinding("s/*.json", "registry"))
    expectation = Expectation.from_trace(null().trace(), many)
    trees = [tree_of({f"s/{n}.json": b"{}" for n in range(count)} | {f".{count}.tmp": b""}) for count in (1, 2, 3)]
    found = judge_recovery(trees[0], trees[1], expectation, 0, again=trees[2], invariants=("W10",))
    assert names(found) == []


def cut_then_copied(*, copy_first: bool) -> Script:
    script = Script(tree_of({"log.jsonl": R1 + b"rubbish\n" + R2}))
    if copy_first:
        script.put("log.jsonl.bak", R1 + b"rubbish\n" + R2)
    script.put("log.jsonl", R1 + R2)
    if not copy_first:
        script.put("log.jsonl.bak", R1 + b"rubbish\n" + R2)
    return script


def cut_short(repair: Script) -> set[tuple[str, str]]:
    """Return what is wrong with the states that a kill of this repair can leave."""
    trace = repair.trace()
    expectation = Expectation.from_trace(Script(trace.start).trace(), (HEALED, DOCUMENT))
    return {
        (item.path, item.damage)
        for state in crash_states(trace, "kill")
        for item in judge_cut_repair(trace.start, state.tree, expectation, 0)
    }


@pytest.mark.parametrize("copy_first", [True, False])
def test_w10_the_copy_comes_before_the_cut(copy_first: bool) -> None:
    found = cut_short(cut_then_copied(copy_first=copy_first))
    assert found == (set() if copy_first else {("log.jsonl", "lost")})


def test_w10_is_not_judged_where_nobody_asked_for_it() -> None:
    before = tree_of({"log.jsonl": R1})
    expectation = Expectation.from_trace(Script(before).trace(), (HEALED,))
    assert judge_cut_repair(before, tree_of({}), expectation, 0, ("W10",))
    assert not judge_cut_repair(before, tree_of({}), expectation, 0, ("M8",))


def test_w10_a_document_replaced_by_rename_is_never_gone() -> None:
    before = {"state.json": b'{"last": 1}'}
    durable, naive = Script(tree_of(before)), Script(tree_of(before))
    durable.replace("state.json", b'{"last": 2}')
    naive.put("state.json", b'{"last": 2}')
    assert cut_short(durable) == set()
    assert ("state.json", "reset") in cut_short(naive)


@given(st.integers(0, len(R2)), st.integers(0, 2))
def test_w10_a_heal_and_one_append_may_repeat_whatever_was_torn(cut: int, more: int) -> None:
    before = {"log.jsonl": R1 + R2[:cut]}
    whole = before["log.jsonl"][: before["log.jsonl"].rfind(b"\n") + 1]
    first = {"log.jsonl": whole + N1}
    again = {"log.jsonl": whole + N1 + N2 * more}
    assert bool(twice(before, first, again)) == (more > 1)
