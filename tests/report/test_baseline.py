"""A run and what its project knows: new, known until a day, gone where it was looked for; beside a manifest's word."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import msgspec
import pytest
from two_runs import case, finding, line, run

from harness.catalog.baseline import load_baseline
from harness.core.baseline import Cause, Known
from harness.core.event import CampaignFinished
from harness.core.verdict import Finding, fingerprint_of
from harness.report.baseline import baseline_text, judge_baseline, with_baseline
from harness.report.json_document import campaign_result
from harness.report.junit import junit
from harness.report.markdown import report
from harness.report.terminal import console_for, print_view
from harness.report.view import RunView, collect

DAY = date(2027, 1, 31)
SURPRISE, EXPECTED = finding(), finding("M4", expected=True)
VIOLATED = CampaignFinished(verdict="violated", exit_code=1)


def known(found: Finding, expires: date = DAY, cause: bool = True) -> Known:
    fields = {name: getattr(found, name) for name in Cause.__struct_fields__}
    return Known(
        fingerprint=found.fingerprint,
        link="https://x.test/7",
        expires=expires,
        cause=Cause(**fields) if cause else None,
    )


def violated(*findings: Finding, **more: Any) -> RunView:
    names = tuple(item.key for item in findings)
    return run(case(line(bad_states=4, findings=names, **more)), findings=findings, finished=VIOLATED)


def standings(view: RunView, *entries: Known, today: date = DAY) -> list[str]:
    return [item.standing for item in judge_baseline(view, entries, today, "k.toml").judged]


def exit_code(view: RunView, *entries: Known, today: date = DAY) -> int:
    assert view.finished is not None
    return with_baseline(view.finished, view, judge_baseline(view, entries, today, "k.toml")).exit_code


def test_new_known_and_expired() -> None:
    view = violated(SURPRISE)
    assert (standings(view), exit_code(view)) == (["new"], 1)
    assert (standings(view, known(SURPRISE)), exit_code(view, known(SURPRISE))) == (["known"], 0)
    late = date(2027, 2, 1)
    assert standings(view, known(SURPRISE), today=late) == ["expired"]
    assert exit_code(view, known(SURPRISE), today=late) == 1
    text = judge_baseline(view, [known(SURPRISE)], late, "k.toml").failures[0].text
    assert text.startswith("expired on 2027-01-31, tracked in https://x.test/7: ")


def test_one_known_does_not_cover_another_that_is_new() -> None:
    view = violated(SURPRISE, finding("B1"))
    assert sorted(standings(view, known(SURPRISE))) == ["known", "new"]
    assert exit_code(view, known(SURPRISE)) == 1


def test_what_the_manifest_expects_needs_no_entry() -> None:
    view = violated(EXPECTED, expected="violated")
    assert standings(view) == ["expected"]
    assert standings(view, known(EXPECTED)) == ["expected"]
    assert "[[known]]" not in baseline_text(view)


def test_an_expected_violation_that_does_not_occur_stays_a_failure() -> None:
    held = line("errno", runs=5, expected="violated")
    view = run(case(line(bad_states=4, findings=(SURPRISE.key,)), held), findings=(SURPRISE,), finished=VIOLATED)
    assert exit_code(view, known(SURPRISE)) == 1


def test_what_was_not_measured_stays_inconclusive() -> None:
    unmeasured = line("errno", verdict="inconclusive", reason="x")
    view = run(
        case(line(bad_states=4, findings=(SURPRISE.key,)), unmeasured), findings=(SURPRISE,), finished=VIOLATED
    )
    assert exit_code(view, known(SURPRISE)) == 3
    broken = run(case(line()), finished=CampaignFinished(verdict="broken", exit_code=4))
    assert exit_code(broken, known(SURPRISE)) == 4


def test_gone_only_where_it_was_looked_for() -> None:
    assert standings(run(case(line())), known(SURPRISE)) == ["gone"]
    assert exit_code(run(case(line())), known(SURPRISE)) == 0
    for view in (
        run(case(line("errno", runs=4))),
        run(case(line(cut=2))),
        run(case(line(), variant="other")),
        run(case(line()), finished=None),
    ):
        assert standings(view, known(SURPRISE)) == ["not measured"]
    assert standings(run(case(line())), known(SURPRISE, cause=False)) == ["not measured"]
    chance = finding(fault_class="signal", operation="unattributed")
    assert standings(run(case(line("signal", runs=90))), known(chance)) == ["not measured"]
    text = judge_baseline(run(case(line())), [known(SURPRISE)], DAY, "k").judged[0].text
    assert text.startswith("gone: t/v: M1 under kill; remove ")


def test_all_versions_must_have_been_looked_at() -> None:
    old, new = case(line(), version="1"), case(line(verdict="inconclusive"), version="2")
    assert standings(run(old, new), known(SURPRISE)) == ["not measured"]


def test_reports_say_known(tmp_path: Any) -> None:
    view = violated(SURPRISE)
    finished = with_baseline(VIOLATED, view, judge_baseline(view, [known(SURPRISE)], DAY, "k.toml"))
    told = collect([view.started, finished])
    assert told.baseline is not None
    told = run(*view.cases, findings=view.findings, finished=finished, baseline=told.baseline)
    assert told.label(SURPRISE) == "known"
    stream = io.StringIO()
    print_view(console_for(stream, width=80), told)
    assert "[known]" in stream.getvalue()
    assert "1 known, no failure; the first expires on 2027-01-31" in stream.getvalue()
    assert "Violated: 1 known finding (exit code 0)." in stream.getvalue().replace("found; ", "")
    assert "**Known.**" in report(told)
    assert b'failures="0"' in junit(told)
    assert b'failures="1"' in junit(view)
    assert campaign_result(told).baseline == told.baseline


def test_a_generated_file_is_refused_until_it_is_filled_in(tmp_path: Any) -> None:
    hostile = finding("B1", message="\x1b", path="\n")
    text = baseline_text(violated(SURPRISE, hostile, finding("M4", expected=True)))
    assert text.count("[[known]]") == 2
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(Exception, match=r"\[known 1\] link: not filled in"):
        load_baseline(str(path))
    path.write_text(text.replace('link = "FILL IN"', 'link = "x"'))
    with pytest.raises(Exception, match=r"\[known 1\] expires: not filled in"):
        load_baseline(str(path))
    path.write_text(text.replace('link = "FILL IN"', 'link = "x"').replace('"FILL IN"', "2027-01-31"))
    entries = load_baseline(str(path))
    assert {entry.fingerprint for entry in entries} == {SURPRISE.fingerprint, hostile.fingerprint}
    assert all(entry.cause is not None and entry.expires == DAY for entry in entries)
    assert "Nothing surprised" in baseline_text(run(case(line())))


@pytest.mark.parametrize("role", ['a"b\\c\n\t\x7f.json', "ü😀.json", "a\udcff.json"])
def test_any_path_can_stand_in_a_generated_file(tmp_path: Any, role: str) -> None:
    fields = {name: getattr(SURPRISE, name) for name in Cause.__struct_fields__} | {"role": role}
    odd = msgspec.structs.replace(SURPRISE, role=role, fingerprint=fingerprint_of(**fields))
    path = tmp_path / "known.toml"
    text = (
        baseline_text(violated(odd)).replace('link = "FILL IN"', 'link = "x"').replace('"FILL IN"', "2027-01-31")
    )
    path.write_text(text, encoding="utf-8")
    (entry,) = load_baseline(str(path))
    assert entry.cause is None if "\udcff" in role else entry.cause is not None and entry.cause.role == role
