"""The table of what each kind of end leaves of an index: rows, both renderers, and nothing where there is no index."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from harness.core.drift import IndexFigures, LifeFigures
from harness.core.event import CampaignFinished, CampaignStarted
from harness.report.ends import end_tables, span
from harness.report.markdown import report
from harness.report.terminal import console_for, print_view
from harness.report.view import RunView, collect

DAY = 86_400_000
LIVES = (
    LifeFigures(exit="sigkill", now_ms=0, written=2, stale=1, missing=1, behind_ms=93 * DAY),
    LifeFigures(exit="graceful", now_ms=0, writes_at_end=14, written=15, current=15),
    LifeFigures(exit="sigkill", now_ms=0, written=3, stale=3, behind_ms=2 * DAY),
    LifeFigures(
        exit="graceful",
        now_ms=0,
        instances=2,
        writes_at_end=14,
        written=17,
        current=15,
        missing=1,
        stale=1,
        behind_ms=41 * DAY,
        lost=("x",),
        rolled_back_ms=41 * DAY,
    ),
    LifeFigures(exit="power", now_ms=0, measured=False),
)


def view(lives: tuple[LifeFigures, ...] | None) -> RunView:
    case: dict[str, Any] = {
        "id": "i/cached_snapshot",
        "target": "sessions_index",
        "variant": "seed003_rebuild_24h",
    }
    if lives is not None:
        case["index"] = msgspec.to_builtins(IndexFigures(lives=lives))
    start = CampaignStarted(run_id="r", scenario="s", targets=(), seed=1, directory="", planned_trials=0)
    end = CampaignFinished(verdict="held", exit_code=0, summary={"cases": [case]})
    return collect([start, end])


def test_a_row_per_kind_of_end_as_a_user_asks_for_them() -> None:
    (table,) = end_tables(view(LIVES))
    assert table.writer == "sessions_index/seed003_rebuild_24h"
    assert table.rows == (
        ("exit", "1", "14", "0", "15 of 15", "0", "0", "", "0", ""),
        ("exit, 2 at once", "1", "14", "0", "15 of 17", "1", "1", "41 d", "1", "41 d"),
        ("SIGKILL", "2", "0", "0", "0 of 5", "1", "4", "93 d", "0", ""),
        ("power loss", "1", "-", "-", "-", "-", "-", "-", "-", "-"),
    )


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_sets_them_side_by_side_within_its_width(width: int) -> None:
    stream = io.StringIO()
    print_view(console_for(stream, width), view(LIVES))
    lines = stream.getvalue().splitlines()
    at = next(n for n, text in enumerate(lines) if text.startswith("What each end leaves of the index"))
    first = next(n for n, text in enumerate(lines) if n > at and text.startswith("end "))
    table = lines[first:]
    assert table[0].split() == "end lives at end alive current missing stale by lost back".split()  # noqa: SIM905
    assert [text.split()[0] for text in table[1:5]] == ["exit", "exit,", "SIGKILL", "power"]
    assert max(map(len, table[:5])) <= width
    assert max(map(len, lines[at:first])) <= 100


def test_markdown_has_the_same_rows() -> None:
    text = report(view(LIVES))
    assert "## What each end leaves of the index" in text
    assert "| SIGKILL | 2 | 0 | 0 | 0 of 5 | 1 | 4 | 93 d | 0 |  |" in text


def test_a_writer_without_an_index_has_no_table() -> None:
    assert end_tables(view(None)) == []
    assert "each end" not in report(view(None))


def test_times_as_people_say_them() -> None:
    assert [span(ms) for ms in (0, 7_200, 60_000, 5 * 3_600_000, 93 * DAY)] == [
        "0 s",
        "7 s",
        "1 min",
        "5 h",
        "93 d",
    ]
