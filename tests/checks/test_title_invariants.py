"""M7: the last acknowledged title is found by a strict parse and by a scan of the last 64 KiB."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sessions import TRANSCRIPTS, line, prompt, title, written
from trees import explored, judge

from harness.checks import FileBinding
from harness.core.tree import tree_of
from harness.explore.script import Script

A = "projects/p/a.jsonl"
LONG = prompt(9, text="x" * 70_000)


def appended(*records: bytes, start: bytes = b"") -> Script:
    script = Script(tree_of({A: start})) if start else written()
    for number, record in enumerate(records, 1):
        fd = script.open(A, append=True)
        script.write(fd, record)
        script.close(fd)
        script.ack(number)
    return script


RUN = appended(prompt(), title("one"), title("two"))


def wrong(data: bytes, acked: int = 3, script: Script = RUN, fault_class: str = "kill") -> list[str]:
    found = judge(script, TRANSCRIPTS, {A: data}, acked, fault_class=fault_class, invariants="M7")  # type: ignore[arg-type]
    return [v.damage for v in found]


def test_m7_the_acknowledged_title_or_a_later_one() -> None:
    assert wrong(prompt() + title("one") + title("two")) == []
    assert wrong(prompt() + title("one"), 2) == wrong(prompt() + title("one") + title("two"), 2) == []
    assert wrong(prompt() + title("one")) == ["lost"]
    assert wrong(prompt(), 1) == []  # nothing acknowledged yet


def test_m7_a_title_glued_to_a_torn_record_is_no_record() -> None:
    assert wrong(prompt()[:-9] + title("two")) == ["lost"]
    assert wrong(prompt() + title("one") + title("two")[:-1]) == ["lost"]


def test_m7_a_title_further_from_the_end_than_a_scan_reaches() -> None:
    script = appended(prompt(), title("one"), LONG)
    assert wrong(prompt() + title("one") + LONG, 3, script, "none") == ["unreadable"]
    again = appended(prompt(), title("one"), LONG, title("one"))
    assert wrong(prompt() + title("one") + LONG + title("one"), 4, again, "none") == []


def test_m7_a_scan_that_finds_another_title() -> None:
    stray = line(type="user", uuid="u5", toolUseResult={"customTitle": "stray"})
    script = appended(title("one"), stray)
    assert wrong(title("one") + stray, 2, script) == ["stale"]


def test_m7_a_title_in_a_torn_tail_is_in_flight_where_the_next_opener_cuts_it_off() -> None:
    healed = FileBinding(TRANSCRIPTS.glob, "transcript", id_key="uuid", torn_tail="healed")
    long = line(type="custom-title", customTitle="two", sessionId="s" * 40)
    torn = title("one") + long[: long.index(b'"two"') + 6]
    script = appended(title("one"), long)
    for binding, expected in ((TRANSCRIPTS, ["stale"]), (healed, [])):
        found = judge(script, binding, {A: torn}, 1, fault_class="short", invariants="M7")
        assert [v.damage for v in found] == expected
    (kept,) = judge(script, healed, {A: torn + LONG[:9]}, 2, fault_class="short", invariants="M7")
    assert kept.damage == "lost"


def test_m7_a_title_is_compared_as_text_not_as_it_is_escaped() -> None:
    script = appended(title('a "b" \\ ü'))
    assert wrong(title('a "b" \\ ü'), 1, script) == []


def test_m7_a_session_that_the_run_did_not_touch_is_not_its_doing() -> None:
    start = title("one") + LONG
    assert wrong(start, 1, appended(b"", start=start), "none") == []
    assert wrong(start + prompt(), 1, appended(prompt(), start=start), "none") == ["unreadable"]


def test_m7_somebody_may_have_given_a_newer_title_since() -> None:
    assert wrong(prompt() + title("one") + title("two") + title("after recovery")) == []


def test_m7_an_append_per_title_holds_and_a_rewrite_in_place_does_not() -> None:
    assert explored(RUN, TRANSCRIPTS) & {("M7", "lost")} == set()
    rewritten = written()
    for number, text in enumerate(("one", "two"), 1):
        rewritten.put(A, prompt() + title(text))
        rewritten.ack(number)
    assert ("M7", "lost") in explored(rewritten, TRANSCRIPTS)


@given(st.lists(st.sampled_from(["t1", "t2", "t3"]), min_size=1, max_size=5), st.data())
def test_m7_a_prefix_holds_exactly_if_it_has_the_acknowledged_title(
    titles: list[str], data: st.DataObject
) -> None:
    script = appended(*(title(text) for text in titles))
    acked = data.draw(st.integers(0, len(titles)))
    kept = data.draw(st.integers(0, len(titles)))
    whole = b"".join(title(text) for text in titles[:kept])
    allowed = set(titles[acked - 1 :]) if acked else set()
    expected = [] if not acked or allowed & set(titles[:kept]) else ["lost"]
    assert wrong(whole, acked, script) == expected
