"""Several systems side by side: runs are pooled, states never; systems that differ are said to."""

from __future__ import annotations

import io
from typing import Any

from two_runs import case, finding, line, run, started

from harness.core.event import CampaignFinished
from harness.core.proportion import wilson
from harness.report.pooled import pool, pooled_exit_code
from harness.report.pooled_text import pooled_markdown, print_pooled
from harness.report.terminal import console_for
from harness.report.view import RunView


def on(system: str, bad: int, runs: int, code: int = 0, **more: Any) -> RunView:
    begun = started(system, system=system, kernel="1", architecture="x", engine="ptrace")
    ended = CampaignFinished(verdict="violated" if bad else "held", exit_code=code)
    return run(case(line(bad=bad, runs=runs, bad_states=bad)), started=begun, finished=ended, **more)


def test_runs_add_up_and_states_do_not() -> None:
    result = pool([on("Linux", 3, 40), on("Darwin", 2, 60)])
    (row,) = result.rows
    assert row.pooled is not None
    assert (row.pooled.k, row.pooled.n) == (5, 100)
    assert (row.pooled.low, row.pooled.high) == wilson(5, 100)
    assert [cell.distinct for cell in row.cells if cell] == [20, 20]
    assert not row.differ
    assert [item.name for item in result.systems] == ["Linux 1 x ptrace", "Darwin 1 x ptrace"]


def test_systems_that_differ_have_no_one_rate() -> None:
    result = pool([on("Linux", 30, 40), on("Darwin", 2, 60), on("Windows", 3, 60)])
    (row,) = result.rows
    assert {pair[:2] for pair in row.differ} == {
        ("Linux 1 x ptrace", "Darwin 1 x ptrace"),
        ("Linux 1 x ptrace", "Windows 1 x ptrace"),
    }
    assert result.tests == 3
    assert "systems differ" in pooled_markdown(result)


def test_what_one_system_did_not_try() -> None:
    result = pool([on("Linux", 1, 10), run(case(line("errno", runs=5)), started=started("B", system="Darwin"))])
    assert [row.cells.count(None) for row in result.rows] == [1, 1]
    assert result.tests == 0


def test_findings_name_their_systems() -> None:
    result = pool([on("Linux", 1, 10, findings=(finding(),)), on("Darwin", 0, 10)])
    (found,) = result.findings
    assert found.systems == ("Linux 1 x ptrace",)
    stream = io.StringIO()
    print_pooled(console_for(stream, width=80), result)
    assert "[UNEXPECTED; on A]" in stream.getvalue()
    table = [row for row in stream.getvalue().splitlines() if " kill " in row or row.startswith("writer")]
    assert len(table) == 2
    assert all(len(row) <= 80 for row in table)


def test_two_runs_of_one_system_and_what_makes_sums_questionable() -> None:
    interrupted = run(case(line(runs=1)), finished=None, started=started("C", system="L"))
    short = run(case(line(runs=1)), started=started("D", system="L", shards_missing=["shard 2/3: missing"]))
    result = pool([interrupted, short])
    assert [item.name for item in result.systems] == ["L (1)", "L (2)"]
    assert any("interrupted" in text for text in result.notices)
    assert any("shard 2/3: missing" in text for text in result.notices)


def test_the_worst_exit_code() -> None:
    assert pooled_exit_code([on("a", 0, 1), on("b", 1, 1, code=1), on("c", 0, 1, code=3)]) == 1
    assert pooled_exit_code([on("a", 0, 1, code=4), on("b", 1, 1, code=1)]) == 4
    assert pooled_exit_code([on("a", 0, 1), on("b", 0, 1)]) == 0
    assert pooled_exit_code([on("a", 0, 1), run(case(line()), finished=None)]) == 3
