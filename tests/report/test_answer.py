"""The table of a campaign: grouped by story, how often with an interval, why, and what helps."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from campaign_sample import sample_events, torn_finding

from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted, FindingConfirmed, Notice
from harness.core.verdict import Confirmation, Finding
from harness.report.answer import groups, rate, tally
from harness.report.markdown import report
from harness.report.notes import NOTE_CHARS, short_notes
from harness.report.terminal import console_for, print_view
from harness.report.view import RunView, collect

HELD = {"fault_class": "kill", "verdict": "held", "expected": "held", "states": 9, "distinct": 8}
KILL = {"fault_class": "kill", "verdict": "violated", "expected": "violated", "states": 90, "distinct": 80}
RUNS = {"fault_class": "concurrency", "verdict": "violated", "expected": "violated", "runs": 20, "bad": 3}


def case(variant: str, part: str, *classes: dict[str, Any], target: str = "t", **more: Any) -> dict[str, Any]:
    return {
        "id": f"{target}/{variant}",
        "target": target,
        "variant": variant,
        "part": part,
        "null_verdict": "held",
        "classes": list(classes),
        **more,
    }


def finding(variant: str, invariant: str, fault_class: str = "kill", target: str = "t", **more: Any) -> Finding:
    return msgspec.structs.replace(
        torn_finding(),
        fingerprint=f"{variant}-{invariant}-{fault_class}",
        target=target,
        variant=variant,
        version="",
        invariant=invariant,
        fault_class=fault_class,
        confirmation=Confirmation(attempts=3, confirmed=3, method="killed again"),
        **more,
    )


def view_of(cases: list[dict[str, Any]], findings: list[Finding], parts: list[dict[str, str]]) -> RunView:
    events: list[AnyEvent] = [
        CampaignStarted(run_id="r", scenario="s", targets=(), seed=1, directory="", planned_trials=0),
        *[FindingConfirmed(finding=item) for item in findings],
        CampaignFinished(verdict="violated", exit_code=0, summary={"cases": cases, "parts": parts}),
    ]
    return collect(events)


PARTS = [
    {"name": "first", "seed_story": "000", "story": "is it lost?"},
    {"name": "second", "seed_story": "001", "story": "is it hidden?"},
]


def two_stories() -> RunView:
    return view_of(
        [
            case("in_place", "first", {**KILL, "bad_states": 70, "runs": 12, "bad": 0}, RUNS),
            case("renamed", "first", HELD, {**RUNS, "verdict": "violated"}, story="a temporary, then a rename"),
            case(
                "durable",
                "first",
                HELD,
                {**RUNS, "verdict": "held", "expected": "held", "bad": 0},
                story="fsync, then the word",
            ),
            case("hidden", "second", KILL, target="u"),
            case("shown", "second", HELD, target="u"),
        ],
        [
            finding("in_place", "B5", damage="lost"),
            finding("in_place", "B1"),
            finding("in_place", "B5", "concurrency", damage="lost", states=0),
            finding("hidden", "M10", target="u", damage="unreadable", states=33),
        ],
        PARTS,
    )


def test_rows_are_grouped_by_story() -> None:
    first, second = groups(two_stories(), str)
    assert first.title == "000 first: is it lost? (t)"
    assert [row.writer for row in first.rows] == ["in_place", "renamed", "renamed", "durable"]
    assert [row.verdict for row in first.rows] == ["violated", "violated", "held", "held"]
    assert [row.writer for row in second.rows] == ["hidden", "shown"]


def test_how_often_is_a_count_with_its_interval_or_states() -> None:
    first, second = groups(two_stories(), str)
    assert first.rows[0].often == "kill 70/80 states, 0/12 (<22.1 %) kills\nconcurrency 3/20 (5–37 %) runs"
    assert first.rows[3].often == "kill 0/8 states\nconcurrency 0/20 (<13.9 %) runs"
    assert second.rows[0].often == "kill at least 33/80 states", "what only a sample showed is a lower bound"


def test_why_is_the_most_telling_damage_first() -> None:
    first, second = groups(two_stories(), str)
    assert first.rows[0].why == "acknowledged data lost (B5); torn file (B1)"
    assert second.rows[0].why == "an intact session is hidden (M10)"
    assert first.rows[3].why == ""


def test_what_helps_held_where_another_of_its_target_broke() -> None:
    first, second = groups(two_stories(), str)
    assert first.helps == (
        "renamed (held under kill, violated under concurrency): a temporary, then a rename",
        "durable (held under kill, concurrency): fsync, then the word",
    )
    assert second.helps == ("shown (held under kill)",)


def test_a_writer_alone_helps_nobody() -> None:
    (group,) = groups(view_of([case("durable", "p", HELD)], [], []), str)
    assert (group.title, group.helps, group.rows[0].writer) == ("", (), "t/durable")


def test_what_was_not_expected_and_not_proven_is_said() -> None:
    surprise = {**KILL, "expected": "held"}
    unproven = msgspec.structs.replace(finding("x", "B1"), confirmation=Confirmation(attempts=3))
    (group,) = groups(view_of([case("x", "", surprise)], [unproven], []), str)
    assert group.rows[0].surprise
    assert group.rows[0].why == "expected held; torn file (B1); not confirmed"


def test_a_case_that_was_not_measured_says_why() -> None:
    line = {"fault_class": "kill", "verdict": "inconclusive", "reason": "no time"}
    dead = case("dead", "", line, null_verdict="inconclusive", null_note="it hangs")
    late = case("late", "", line)
    (group,) = groups(view_of([dead, late, case("none", "", null_note="x")], [], []), str)
    assert [(row.verdict, row.why) for row in group.rows[:2]] == [
        ("inconclusive", "it hangs"),
        ("inconclusive", "no time"),
    ]
    assert group.rows[2].often == "-"


def test_rates_are_never_rounded_inwards() -> None:
    assert [rate(0, 30), rate(1, 40), rate(17, 120), rate(20, 20)] == [
        "0/30 (<9.5 %)",
        "1/40 (0.4–13 %)",
        "17/120 (9–22 %)",
        "20/20 (83–100 %)",
    ]


def test_a_tally_of_writers() -> None:
    assert tally(two_stories()) == "3 of 5 writers lose or damage something; 2 held under all that was tried."


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for view in (two_stories(), collect(sample_events())):
        stream = io.StringIO()
        print_view(console_for(stream, width), view)
        text = stream.getvalue()
        table = text.partition("\n1. ")[0]
        assert "helps: " in table or view.started.run_id != "r"
        assert [line for line in table.splitlines() if len(line) > width] == []
        assert "\x1b" not in text
        assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_each_story_shows_a_finding_and_what_to_do() -> None:
    stream = io.StringIO()
    print_view(console_for(stream, 100), two_stories())
    text = stream.getvalue()
    assert "1. t/in_place loses acknowledged data" in text
    assert "2. u/hidden hides the intact session in" in text
    assert text.count("   Now: ") == 2
    assert "… and 1 more in the report" in text
    assert "3 of 5 writers lose or damage something" in text
    assert "Tried, and nothing else was asked for: first kill, concurrency; second kill." in text


def test_the_markdown_report_says_what_helps() -> None:
    text = report(two_stories())
    assert "## What helps" in text
    assert "fsync, then the word" in text
    assert text.count("**What you can do now:**") == 3


# -- notes -----------------------------------------------------------------------------------------------------------


def notes_of(*notices: Notice) -> list[str]:
    events = [*sample_events()[:1], *notices, *sample_events()[-1:]]
    return short_notes(collect(events))


def test_one_text_of_several_writers_is_one_note() -> None:
    same = "kill: 5 of 9 cuts of long writes were explored"
    assert notes_of(Notice(text=same, target="a"), Notice(text=same, target="b"))[0] == f"2 writers: {same}"
    assert notes_of(Notice(text=same, target="a"))[0] == f"a: {same}"
    assert notes_of(Notice(text=same))[0] == same


def test_what_was_not_measured_is_a_list_of_ids() -> None:
    text = "not measured: G4, T9 under kill (needs M8 first); M1 under kill, signal (no document was seen)"
    told = notes_of(Notice(text=text, target="a"), Notice(text="not measured: M1 under kill (x)", target="b"))
    assert told[0] == "Not measured of 2 writers, reasons in the report: G4 of 1, M1, T9 of 1"
    assert notes_of(Notice(text=text, target="a"))[0] == f"a: {text}", "of one writer the reasons are short enough"


def test_lives_and_long_texts_are_cut() -> None:
    lives = [Notice(text=f"life {n} on 2026-01-01 ended by sighup: held; it wrote", target="a") for n in (1, 2, 3)]
    told = notes_of(*lives, Notice(text="x" * 900, target="b"))
    assert told[1] == "Starts and ends one after the other, each with a line in the report: a 3."
    assert len(told[0]) <= NOTE_CHARS + 3
    assert told[0].endswith("…")
