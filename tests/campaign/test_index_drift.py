"""The scenario ``index_drift``, lived by the real keepers: the figures of seed 003, and what each proposal closes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.campaign.plan import Options, Plan, plan_scenario
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import Scenario, load_scenario
from harness.core.drift import EndFigures, EntryFigures, IndexFigures, LifeFigures
from harness.core.event import AnyEvent
from harness.core.json_record import parse_json
from harness.engines import engine
from harness.sandbox.workspace import Workspace

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
DAY_MS = 86_400_000
CACHED, REBUILD, MERGE, DURABLE = "cached_snapshot", "seed003_rebuild_24h", "seed003_merge", "durable"
INDEX_0 = "projects/-srv-p00/sessions-index.json"
JANUARY_20, APRIL_23 = 1_768_867_200_000, 1_776_902_400_000


class Lived(msgspec.Struct):
    """A keeper after all lives: its figures, and what the campaign says of each life."""

    figures: IndexFigures
    lives: list[dict[str, Any]]

    @property
    def pair_at(self) -> int:
        """Which life it is in which two instances exit gracefully, one after the other."""
        return next(at for at, life in enumerate(self.figures.lives) if life.instances == 2)

    @property
    def pair(self) -> LifeFigures:
        return self.figures.lives[self.pair_at]

    @property
    def lag_days(self) -> float:
        return self.figures.lag_ms[INDEX_0] / DAY_MS

    def entry(self, **wanted: object) -> EntryFigures:
        """Return the oldest entry of project 0 with these values."""
        mine = [each for each in self.figures.entries if each.index == INDEX_0]
        fit = [each for each in mine if all(getattr(each, name) == value for name, value in wanted.items())]
        return max(fit, key=lambda each: each.messages)

    def end(self, name: str, several: bool = False) -> EndFigures:
        return next(each for each in self.figures.ends if (each.exit, each.several) == (name, several))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lived]:
    """Every keeper after its lives. Crash states and controls are other tests' business."""
    scenario: Scenario = msgspec.structs.replace(
        load_scenario("index_drift"), samples=0, attempts=1, invariants=("M6",)
    )
    options = Options(jobs=2)
    out, seen = {}, list[AnyEvent]()

    def make_plan(workspace: Workspace) -> Plan:
        return msgspec.structs.replace(plan_scenario(scenario, options, workspace), controls=())

    with RunStore.create(str(tmp_path_factory.mktemp("drift"))) as store:
        finished = run_campaign(make_plan, store, options, seen.append, "-")
        for case in finished.summary["cases"]:
            name = case["id"].replace("/", "-")
            document = parse_json(store.read_artifact(f"lives/{name}.json") or b"{}")
            figures = msgspec.convert(document["index"], IndexFigures)
            assert figures == msgspec.convert(case["index"], IndexFigures)
            out[case["variant"]] = Lived(figures, document["lives"])
    return out


def test_every_life_that_can_be_lived_was(lived: dict[str, Lived]) -> None:
    assert set(lived) == {CACHED, REBUILD, MERGE, DURABLE}
    for each in lived.values():
        assert {life["exit"] for life in each.lives if life["note"]} == {"power"}
        assert [life.measured for life in each.figures.lives] == [life["exit"] != "power" for life in each.lives]
        assert each.lives[each.pair_at]["died_by"] == "exit 0"
        assert APRIL_23 <= each.lives[-1]["now_ms"] < APRIL_23 + DAY_MS


@pytest.mark.parametrize("keeper", [CACHED, MERGE])
def test_an_entry_stays_at_nine_messages_while_its_index_falls_93_days_behind(
    lived: dict[str, Lived], keeper: str
) -> None:
    """Merging at the exit does nothing about exits that do not come."""
    keeps = lived[keeper]
    frozen = keeps.entry(count=9)
    assert frozen.messages > 90
    assert JANUARY_20 <= frozen.modified_ms < JANUARY_20 + DAY_MS
    assert 92 <= frozen.behind_ms / DAY_MS <= 94
    assert 92 <= keeps.lag_days <= 94


def test_two_instances_that_exit_gracefully_lose_an_entry_and_roll_one_back(lived: dict[str, Lived]) -> None:
    pair = lived[CACHED].pair
    assert (pair.exit, pair.instances) == ("graceful", 2)
    assert (len(pair.lost), pair.missing) == (1, 1)
    assert pair.rolled_back_ms >= 14 * DAY_MS
    assert "M6" in {item["invariant"] for item in lived[CACHED].lives[lived[CACHED].pair_at]["violations"]}


@pytest.mark.parametrize("keeper", [MERGE, DURABLE])
def test_merged_both_exits_are_kept(lived: dict[str, Lived], keeper: str) -> None:
    pair = lived[keeper].pair
    assert (pair.lost, pair.rolled_back_ms, pair.current) == ((), 0, pair.written)
    assert lived[keeper].lives[lived[keeper].pair_at]["verdict"] == "held"


def test_a_rebuild_at_the_start_closes_the_months_and_the_lost_entry_but_no_end(lived: dict[str, Lived]) -> None:
    """What is left: the life that was killed last, which only the next start would see.

    What two instances do to each other is for the moments of their starts to say: one that sees what the other has
    appended makes the index anew. What they lose comes back with a later start.
    """
    keeps = lived[REBUILD]
    assert all(each.found for each in keeps.figures.entries if each.session in keeps.pair.lost)
    assert 0 < keeps.lag_days < 7
    killed = keeps.end("sigkill")
    assert (killed.current, killed.writes_at_end, killed.missing) == (0, 0, killed.lives)
    assert killed.writes_alive > 0
    assert [life["verdict"] for life in keeps.lives if life["exit"] == "sigkill"] == ["violated"] * killed.lives


def test_without_a_rebuild_the_lost_entry_never_comes_back(lived: dict[str, Lived]) -> None:
    keeps = lived[CACHED]
    assert not next(each for each in keeps.figures.entries if each.session == keeps.pair.lost[0]).found


def test_durable_closes_all_of_it(lived: dict[str, Lived]) -> None:
    keeps = lived[DURABLE]
    assert all(entry.is_current for entry in keeps.figures.entries)
    assert set(keeps.figures.lag_ms.values()) == {0}
    assert all(
        (end.lost, end.rolled_back_ms, end.missing, end.stale) == (0, 0, 0, 0) for end in keeps.figures.ends
    )
    assert {life["verdict"] for life in keeps.lives if life["exit"] != "power"} == {"held"}


def test_which_ends_write_the_index(lived: dict[str, Lived]) -> None:
    """The open question of the seed: of ``/exit``, the window closed, signals and SIGKILL only an exit writes it."""
    for keeper in (CACHED, REBUILD, MERGE):
        ends = {(end.exit, end.several): end for end in lived[keeper].figures.ends if end.measured}
        wrote = {name for name, end in ends.items() if end.writes_at_end}
        assert wrote == {name for name in ends if name[0] in ("graceful", "suspend_resume")}
        assert all(end.current == 0 for name, end in ends.items() if name not in wrote)
        assert {name for name, _ in ends} >= {"sighup", "sigterm", "sigint", "sigkill"}
    for end in lived[DURABLE].figures.ends:
        assert end.writes_at_end == 0 and (end.writes_alive > 0) == (end.measured > 0)
