"""From events to views and back from disk to events; interrupted campaigns; limits."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import msgspec
import pytest
from campaign_sample import HOSTILE, control_finding, hostile_finding, rows, torn_finding

from harness.campaign.store import RunStore
from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted, FindingConfirmed, TrialFinished
from harness.core.fault import CrashPoint, FaultPlan, Kill, Short, Timed
from harness.core.json_record import encode_record
from harness.report.hexdump import hexdump, window
from harness.report.junit import junit
from harness.report.markdown import MAX_CHARS, report
from harness.report.replay import StoredRunError, replay_events
from harness.report.sentence import (
    circumstance,
    counts,
    headline,
    how_often,
    not_asked,
    ordinal,
    replay_command,
    timed_rate,
    verdict_sentence,
)
from harness.report.terminal import TerminalReport, console_for
from harness.report.view import ClassLine, Collector, collect, rate_of


def test_cases_controls_and_findings_are_kept_apart(events: list[AnyEvent]) -> None:
    view = collect(events)
    assert [case.name for case in view.controls] == ["reference/buggy", "reference/durable"]
    assert [finding.target for finding in view.findings] == ["probe", *["fork_session"] * 2]  # unexpected first
    assert [finding.target for finding in view.control_findings] == ["reference"]
    assert view.states == (1630, 1395)
    assert view.inconclusive == 2


def test_the_timed_rate_carries_interval_and_window(events: list[AnyEvent]) -> None:
    case = collect(events).cases[0]
    rate = rate_of(case)
    assert rate is not None
    assert (rate.k, rate.n, rate.excluded, rate.window_ms, rate.run_ms) == (17, 120, None, 12.0, 310.0)
    assert rate.low < 17 / 120 < rate.high
    assert timed_rate(case) == (
        "17/120 = 14.2 % [9.0, 21.5]; p 14.2 % × window 12.0 ms / run 310.0 ms = 0.5 % of kills at a random moment; "
        "2 inconclusive, not counted"
    )
    none = msgspec.structs.replace(case, timed_bad=0, timed_inconclusive=0)
    zero = rate_of(none)
    assert zero is not None
    assert zero.excluded == pytest.approx(0.0247, abs=1e-4)
    assert timed_rate(none).startswith("0/120 excludes rates above 2.5 %; p below 2.5 % × window")
    assert timed_rate(msgspec.structs.replace(case, timed_runs=0)) == "2 inconclusive, none measured"
    assert rate_of(msgspec.structs.replace(case, timed_runs=0)) is None


def test_a_run_is_reported_again_from_disk(events: list[AnyEvent], tmp_path: Any) -> None:
    with RunStore.create(str(tmp_path), run_id="r1") as store:
        store.write_run({"name": "fork_session"})
        for event in events:
            store.keep(event)
            if isinstance(event, TrialFinished):
                store.append_row(event.row)
            if isinstance(event, FindingConfirmed):
                store.write_finding(event.finding.key, event.finding)
        directory = store.directory
    with RunStore.open(directory, writable=False) as reader:
        again = collect(replay_events(reader.read_run(), reader.rows(), reader.findings().values()))
    assert again == collect(events)
    assert report(again) == report(collect(events))


def test_an_interrupted_run_is_reported_from_its_rows(events: list[AnyEvent]) -> None:
    view = collect(events[:-1])
    assert view.finished is None
    assert view.verdict == "inconclusive"
    case = view.cases[0]
    assert case.name == "fork_session/published@0.1.72"
    assert case.classes == (
        ClassLine(
            fault_class="kill",
            verdict="violated",
            expected="violated",
            states=340,
            distinct=301,
            runs=2,
            bad=1,
            inconclusive=1,
            findings=(torn_finding().key,),
            reason="interrupted before a verdict",
        ),
    )
    assert (case.timed_runs, case.timed_bad, case.timed_inconclusive) == (2, 1, 1)
    assert verdict_sentence(view, str).startswith("This run was interrupted")
    assert "interrupted" in report(view)
    junit(view)


def test_a_run_killed_before_its_first_event(tmp_path: Any) -> None:
    events = replay_events({"name": "s", "seed": 7, "targets": ["t"], "run_id": "r"}, [], [])
    view = collect(events)
    assert (view.started.scenario, view.started.seed) == ("s", 7)
    assert "interrupted" in report(view)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"events": 1}, "events: not a list"),
        ({"events": [1]}, r"events\[0\]: not an event"),
        ({"events": [{"event": ["notice"]}]}, r"events\[0\]: not an event"),
        ({"events": [{"event": "notice"}]}, r"events\[0\]: Object missing"),
        ({"seed": "x"}, "Expected `int`"),
        ({"events": [{"event": "campaign_finished", "verdict": "maybe", "exit_code": 1}]}, "Invalid enum"),
    ],
)
def test_a_malformed_run_is_one_line(run: dict[str, Any], message: str) -> None:
    with pytest.raises(StoredRunError, match=message) as caught:
        list(replay_events(run, [], []))
    assert "\n" not in str(caught.value)


def test_events_of_a_later_version_are_passed_over() -> None:
    assert len(list(replay_events({"events": [{"event": "novelty"}]}, [], []))) == 1


def test_a_summary_of_another_shape_falls_back_to_the_rows(events: list[AnyEvent]) -> None:
    view = collect([*events[:-1], CampaignFinished(verdict="held", exit_code=0, summary={"cases": [{"id": 1}]})])
    assert [case.name for case in view.cases] == ["fork_session/published@0.1.72"]


def test_a_report_stays_below_what_trackers_accept(events: list[AnyEvent]) -> None:
    many = [
        FindingConfirmed(
            finding=msgspec.structs.replace(torn_finding(), fingerprint=f"{number:032x}", variant=f"v{number}")
        )
        for number in range(300)
    ]
    view = collect([*events[:-1], *many, events[-1]])
    text = report(view)
    assert len(text) <= MAX_CHARS
    assert "more findings, see `findings/` of the run" in text
    shown = text.count("### ")
    assert 0 < shown < 303
    assert f"and {303 - shown} more findings" in text


def test_the_terminal_ends_cleanly_without_an_end(events: list[AnyEvent]) -> None:
    stream = io.StringIO()
    subscriber = TerminalReport(console_for(stream, 80))
    for event in events[:-1]:
        subscriber(event)
    subscriber.close()
    subscriber.close()
    assert "record …\ntimed …\n" in stream.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal(events: list[AnyEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = _Terminal()
    subscriber = TerminalReport(console_for(stream, 80))
    for event in events:
        subscriber(event)
    text = stream.getvalue()
    assert "timed fork_session/published" in text
    assert "5/5" in text
    assert text.rstrip().endswith("report.md")
    assert HOSTILE[:4] not in text
    lines = text.split("Verdict")[0].count("record fork_session")
    assert lines <= 5  # drawn in place, not one line per trial


def test_a_check_of_the_user_has_its_own_sentence() -> None:
    finding = msgspec.structs.replace(torn_finding(), invariant="check", damage="other", role="", path="")
    assert headline(finding, str) == (
        "fork_session/published@0.1.72 leaves a state that its check rejects "
        "when it is killed 4,096 bytes into its 2nd write to sessions/<uuid>.jsonl."
    )


def test_an_output_that_cannot_show_a_letter_shows_its_number() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    subscriber = TerminalReport(console_for(stream, 80))
    subscriber(CampaignStarted(run_id="r", scenario="é", targets=(), seed=1, directory="", planned_trials=0))
    subscriber(CampaignFinished(verdict="held", exit_code=0, summary={"cases": []}))
    stream.flush()
    assert b"\\xe9: seed 1" in raw.getvalue()


_AT = CrashPoint(operation="write", role="a", occurrence=3, phase="torn", bytes=8192)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (FaultPlan(faults=(Kill(at=_AT),)), "when it is killed 8,192 bytes into its 3rd write to a"),
        (FaultPlan(faults=(Timed(delay_us=5),)), "when it is killed at a random moment"),
        (
            FaultPlan(faults=(Timed(delay_us=5, signal="SIGTERM"),)),
            "when it is stopped by SIGTERM at a random moment",
        ),
        (FaultPlan(faults=(Short(at=_AT),)), "when its 3rd write to a is cut short after 8,192 bytes"),
        (
            FaultPlan(faults=(Short(at=_AT, kill=True),)),
            "when its 3rd write to a is cut short after 8,192 bytes and it is killed there",
        ),
    ],
)
def test_when_it_breaks(plan: FaultPlan, text: str) -> None:
    finding = msgspec.structs.replace(torn_finding(), fault=json.loads(encode_record(plan)))
    assert circumstance(finding, str) == text


def test_when_it_breaks_without_a_known_plan() -> None:
    unknown = msgspec.structs.replace(torn_finding(), fault={"faults": [{"type": "novelty"}]})
    assert circumstance(unknown, str).startswith("when it is killed 4,096 bytes into its 2nd write")
    bare = msgspec.structs.replace(unknown, crash_point=None)
    assert circumstance(bare, str) == "under kill"
    null = msgspec.structs.replace(bare, fault_class="none")
    assert (
        headline(null, str)
        == "fork_session/published@0.1.72 breaks B1 in sessions/<uuid>.jsonl with no fault at all."
    )


def test_how_often_says_of_how_many_only_where_known(events: list[AnyEvent]) -> None:
    view = collect(events)
    assert how_often(view, torn_finding()) == (
        "Seen in 12 of 301 distinct crash states and in 17/120 = 14.2 % [9.0, 21.5] real runs."
    )
    assert how_often(view, control_finding()) == "Seen in 12 of 301 distinct crash states and in 17 real runs."
    stranger = msgspec.structs.replace(torn_finding(), target="other", states=1234, runs=0)
    assert how_often(view, stranger) == "Seen in 1,234 distinct crash states."
    assert how_often(view, msgspec.structs.replace(stranger, states=0)) == "No count was kept."


def test_one_is_not_many(events: list[AnyEvent]) -> None:
    one = msgspec.structs.replace(control_finding(), states=0, runs=1)
    assert how_often(collect(events), one) == "Seen in 1 real run."


def test_what_was_not_asked_for_is_said(events: list[AnyEvent]) -> None:
    view = collect(events)
    assert not_asked(view) == "No fault of these classes was tried: concurrency, damage."
    assert not_asked(view) in report(view)


def test_a_probe_is_replayed_with_the_users_own_command() -> None:
    assert replay_command(hostile_finding()) == "tornwrite replay tw1.BBBB [--check CMD …] -- CMD …"
    assert replay_command(torn_finding()) == "tornwrite replay tw1.AAAA"
    assert replay_command(msgspec.structs.replace(torn_finding(), token="")) == ""


def test_what_was_not_measured_is_said() -> None:
    line = ClassLine(fault_class="kill", verdict="inconclusive", expected="held")
    assert counts(line, str) == "not measured"
    assert not line.surprise
    assert counts(ClassLine(fault_class="kill", verdict="held", runs=300), str) == (
        "runs 0/300 excludes rates above 1.0 %"
    )


def test_ordinals() -> None:
    assert [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"]
    )


def test_hexdump() -> None:
    assert hexdump(b"\x00a\x7f\xff" + b"z" * 13, 0x10) == (
        "00000010  00 61 7f ff 7a 7a 7a 7a 7a 7a 7a 7a 7a 7a 7a 7a  |.a..zzzzzzzzzzzz|\n"
        "00000020  7a                                               |z|"
    )
    assert hexdump(b"") == ""
    assert window({"window_hex": "6g", "window_offset": 0}) == window({}) == window({"window_hex": 1}) == ""


def test_the_collector_can_be_asked_at_any_time(events: list[AnyEvent]) -> None:
    collector = Collector()
    collector.view()
    for event in events:
        collector(event)
        report(collector.view())


def test_no_absolute_path_of_this_checkout_in_the_golden_files() -> None:
    here = os.path.dirname(__file__)
    for name in os.listdir(os.path.join(here, "golden")):
        with open(os.path.join(here, "golden", name), encoding="utf-8") as file:
            assert os.path.dirname(here) not in file.read()
    assert rows()


def test_what_a_client_leaves_in_its_file_is_not_what_it_sends() -> None:
    """The API never sees what a client leaves out when it is resumed; what it refused is S1."""
    kept = msgspec.structs.replace(torn_finding(), invariant="T1", damage="rejected", fault_class="kill")
    assert "that the API refuses to go on with" in headline(kept, str)
    client = msgspec.structs.replace(kept, variant="cli:effects")
    assert "that the API would refuse as it stands there" in headline(client, str)
    assert "sends a conversation that the API refuses" in headline(
        msgspec.structs.replace(client, invariant="S1"), str
    )
