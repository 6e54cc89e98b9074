"""The page without a browser: what it says, what it never contains, and that nothing in it can be forgotten."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from campaign_sample import sample_events
from hypothesis import given
from hypothesis import strategies as st
from run_sample import (
    ATTACK,
    LONG,
    SECRET,
    every_kind_events,
    every_kind_view,
    findings_of_every_kind,
    recorded_run,
    write_large_run,
    write_run,
)

from harness.campaign.store import RunStore
from harness.cli.reports import StoredEvidence
from harness.core.event import FindingConfirmed
from harness.core.schedule import Schedule
from harness.core.strip import PlaceTally, Strip, StripRow
from harness.report.html.evidence import walk
from harness.report.html.lanes import lanes_of, mark_of
from harness.report.html.page import MOST_BYTES, page
from harness.report.html.strip import COLUMNS, lines_of, picture
from harness.report.html.text import environment, name, prose, show
from harness.report.html.trees import left_tree, trees_of
from harness.report.replay import replay_events
from harness.report.sentence import headline, plan_of
from harness.report.view import RunView, collect

_TAGS = {
    *("html", "head", "meta", "link", "title", "style", "body", "header", "nav", "main", "section", "article"),
    *(
        "a",
        "p",
        "div",
        "span",
        "b",
        "strong",
        "code",
        "pre",
        "kbd",
        "wbr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "ul",
        "ol",
    ),
    *("li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "form", "label"),
    *("input", "select", "option", "button", "svg", "path", "rect", "text", "script", "footer"),
}
_VOID = {"meta", "link", "input", "wbr"}


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.scripts += tag == "script"
        self.attributes |= {key for key, _ in attrs}
        self.addresses += [value or "" for key, value in attrs if key in ("href", "src")]
        self.ids += [value or "" for key, value in attrs if key == "id"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())


def _seen(text: str) -> _Seen:
    parser = _Seen()
    parser.feed(text)
    parser.close()
    return parser


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_run(tmp_path_factory.mktemp("page"), every_kind_events())


def _page(directory: str, content: bool = False) -> str:
    store = RunStore.open(directory, writable=False)
    view = collect(replay_events(store.read_run(), store.rows(), store.findings().values()))
    return page(view, StoredEvidence(store), content=content)


def test_it_is_one_file_that_asks_for_nothing(run: str) -> None:
    text = _page(run)
    seen = _seen(text)
    assert seen.open == []
    assert all(address.startswith("#") or address == "data:," for address in seen.addresses)
    assert not {key for key in seen.attributes if key.startswith("on") or key in ("style", "srcset", "action")}
    assert seen.scripts == 1
    assert "@import" not in text
    assert "url(" not in text


def test_the_policy_names_the_style_and_the_script_by_hash(run: str) -> None:
    text = _page(run)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert "</" not in inside


def test_what_a_target_wrote_is_inert(run: str) -> None:
    text = _page(run, content=True)
    seen = _seen(text)
    assert seen.tags <= _TAGS
    assert "img" not in seen.tags
    assert "\\x1b[31m\\u202egnp.exe\\u2066\\udcff" in text, "visible, not gone"
    assert not set(text) & {*map(chr, range(9)), "\x1b", "\x7f", "\u202e", "\u2066", "\udcff"}
    assert max(map(len, re.findall("n+", text))) < 5_000, "long names are cut"
    assert LONG not in text
    text.encode("utf-8")


@pytest.mark.parametrize("values", [sample_events(), sample_events()[:3]], ids=["whole", "interrupted"])
def test_views_without_recordings(values: list[object]) -> None:
    view = collect(values)  # type: ignore[arg-type]
    assert _seen(page(view)).open == []


def test_content_stands_there_only_if_asked_for(run: str) -> None:
    assert SECRET not in _page(run)
    assert b"secret".hex(" ") not in _page(run)
    shown = _page(run, content=True)
    assert b"secret".hex(" ") in shown, "the window of the evidence"
    assert b"private"[:5].hex(" ") in shown, "the bytes of the recording"


def test_findings_are_told_in_full(run: str) -> None:
    text = _page(run)
    for words in (
        *("What you can do now", "tornwrite replay tw1.", "Operations around the fault", "Before and after"),
        *("killed here, 4,096 bytes into this write", "fails here with ENOSPC", "SIGTERM", "comes here"),
        *("the power goes here", "lost: data 0–8,192", "these met by chance", "at a random moment of the run"),
        *(
            "is damaged (nul)",
            "the undisturbed run does this",
            "operations not shown",
            "Where in the run it breaks",
        ),
        *("17/120 (9–22 %) runs", "control", "What each end leaves", "trials are summarised here"),
    ):
        assert words in text, words


def test_ids_are_unique_and_every_link_has_its_place(run: str) -> None:
    seen = _seen(_page(run))
    assert len(seen.ids) == len(set(seen.ids))
    assert {address[1:] for address in seen.addresses if address.startswith("#")} <= set(seen.ids)


def test_a_long_run_is_cut_to_the_neighbourhood_of_the_fault() -> None:
    recorded = walk(recorded_run())
    for finding in findings_of_every_kind():
        lanes = lanes_of(finding, recorded, mark_of(finding, recorded))
        shown = [row for row in lanes.rows if row.step is not None]
        assert len(shown) + sum(row.gap for row in lanes.rows) == lanes.total
        assert len(shown) < 40
        assert sum(bool(row.fault) for row in lanes.rows) == 1, finding.fault_class


def test_after_a_kill_nothing_happens_and_after_an_error_it_goes_on() -> None:
    recorded = walk(recorded_run())
    kill, short, error = findings_of_every_kind()[:3]
    for finding, stops in ((kill, True), (short, True), (error, False)):
        lanes = lanes_of(finding, recorded, mark_of(finding, recorded))
        assert any(row.state == "never" for row in lanes.rows) == stops


def test_a_kill_within_another_order_is_drawn_at_no_operation_of_the_recording() -> None:
    recorded, finding = walk(recorded_run()), findings_of_every_kind()[0]
    plan = msgspec.structs.replace(plan_of(finding), schedule=Schedule(actors=("p0", "p1"), turns=(0, 1, 1, 2)))
    finding = msgspec.structs.replace(finding, fault=msgspec.to_builtins(plan))
    lanes = lanes_of(finding, recorded, mark_of(finding, recorded))
    assert [row.fault for row in lanes.rows if row.fault] == [
        "the fault strikes in another order of these operations: its token has both"
    ]
    assert not any(row.state == "never" for row in lanes.rows)
    assert left_tree(finding, recorded) is None
    assert headline(finding, str).endswith("in an order of its own operations in which the turn passes once (B1).")


def test_the_state_of_a_torn_kill_comes_from_the_recording() -> None:
    recorded = walk(recorded_run())
    trees = trees_of(findings_of_every_kind()[0], recorded, None)
    assert trees is not None
    row = trees.rows[0]
    assert row.focus
    assert row.began is not None and row.left is not None and row.ends is not None
    assert row.began.size < row.left.size < row.ends.size
    assert row.left.records[-1].state == "torn"


def test_shapes_tell_verdicts_apart_and_long_runs_share_columns() -> None:
    tallies = (PlaceTally(0, "after", 2, 2), PlaceTally(1, "after", 2, 1), PlaceTally(2, "after", 2, 0))
    strip = Strip(operations=5000, rows=(StripRow(fault_class="power", profile="ext4", tallies=tallies),))
    few = picture(3, lines_of(strip, (), None), None, mark=1)
    assert few.bad and few.part and few.held
    assert len({few.bad, few.part, few.held}) == 3
    assert [title for _, _, title in few.columns][2].endswith("nothing violated")
    many = picture(strip.operations, lines_of(strip, (), None), None)
    assert len(many.columns) <= COLUMNS
    assert many.per_column > 1
    assert many.part and not many.held, "the worst of a column shows"


def test_before_an_operation_is_after_the_one_before_it() -> None:
    tallies = (PlaceTally(0, "before", 1, 0), PlaceTally(0, "after", 1, 1), PlaceTally(1, "torn", 3, 3))
    strip = Strip(operations=2, rows=(StripRow(fault_class="kill", tallies=tallies),))
    before, torn, after = lines_of(strip, (), None)
    assert before.cells == {0: (0, 1, 0), 1: (1, 0, 0)}
    assert torn.cells == {1: (3, 0, 0)}
    assert after.cells == {0: (1, 0, 0)}


@given(st.text(alphabet=st.characters(), max_size=300))
def test_no_text_gets_through_a_template(text: str) -> None:
    template = environment().from_string('<p title="{{ a }}">{{ a }}{{ a | name }}{{ b | prose }}</p>')
    out = template.render(a=text, b=f"x {show(text)} {text}")
    assert _seen(out).tags <= {"p", "code", "wbr"}
    assert not any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 or char in "\u202e\u2066" for char in out)


def test_names_in_sentences_are_code() -> None:
    assert str(prose(f"leaves {show('a<b')} torn")) == "leaves <code>a&lt;b</code> torn"
    assert str(prose(f"leaves {show('')} torn")) == "leaves  torn"
    assert "…" in str(name(LONG)) and len(str(name(LONG))) < 800
    assert show(ATTACK).count("\ue000") == 1


def test_many_trials_and_findings_stay_small(tmp_path: Path) -> None:
    text = _page(write_large_run(tmp_path, 3_000, 400))
    assert len(text.encode()) < MOST_BYTES
    assert "3,000 trials are summarised here" in text
    assert "further findings are summarised here" in text
    assert _seen(text).open == []


def test_a_view_of_nothing() -> None:
    assert "nothing was found before it stopped" in page(RunView(started=every_kind_view().started))


def test_a_long_replay_command_is_whole(tmp_path: Path) -> None:
    events = every_kind_events()
    finding = msgspec.structs.replace(findings_of_every_kind()[0], token="tw1." + "Q" * 9_000)
    assert "Q" * 9_000 in page(collect([*events, FindingConfirmed(finding=finding)]))


def test_a_recording_that_contradicts_itself_is_not_drawn(tmp_path: Path) -> None:
    directory = write_run(tmp_path, every_kind_events())
    (trace,) = Path(directory, "traces").iterdir()
    lines = (trace / "trace.jsonl").read_bytes().splitlines(keepends=True)
    (trace / "trace.jsonl").write_bytes(
        b"".join(lines[:3]) + lines[3].replace(b'"ino":2', b'"ino":77') + b"".join(lines[4:])
    )
    assert "Operations are not drawn" in _page(directory)
    (trace / "trace.jsonl").write_bytes(b"nonsense")
    assert "its recording cannot be read" in _page(directory)
    for damaged in (*Path(directory).glob("strips/*"), *Path(directory).glob("findings/*/state.json")):
        damaged.write_bytes(b"{")
    assert "Operations are not drawn" in _page(directory)


@pytest.mark.real
def test_the_report_command_makes_the_page_anew(run: str, tmp_path: Path) -> None:
    def report(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", "report", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    made = Path(run, "report.html")
    made.unlink(missing_ok=True)
    told = report(run)
    assert (told.returncode, told.stderr) == (0, "")
    assert SECRET.encode() not in made.read_bytes()
    elsewhere = tmp_path / "page.html"
    told = report(run, "--html", str(elsewhere))
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{elsewhere}\n", "")
    assert elsewhere.read_bytes() == made.read_bytes()
    link, pipe = tmp_path / "link.html", tmp_path / "pipe.html"
    link.symlink_to(elsewhere)
    os.mkfifo(pipe)
    for place in (link, pipe, tmp_path, tmp_path / "no" / "page.html", Path(run, "run.json")):
        told = report(run, "--html", str(place))
        assert told.returncode == 2, place
        assert len(told.stderr.strip().splitlines()) <= 3
    assert link.is_symlink() and pipe.is_fifo()
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "report.html").unlink()
    (copy / "report.html" / "in the way").mkdir(parents=True)
    told = report(str(copy))
    assert told.returncode == 0
    assert "was not made anew" in told.stderr
