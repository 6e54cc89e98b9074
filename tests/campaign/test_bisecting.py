"""The search through versions: how many are installed, what is told, and the sentence at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import pytest

from harness.campaign import bisecting
from harness.campaign.bisecting import Published, bisect, check_decidable, published, versions_between
from harness.campaign.replay import Replay, finding_of
from harness.campaign.token import ReplayRecord
from harness.catalog import ManifestError, NotAvailableError, Package
from harness.core.bisected import Bisected, Standing, Tried
from harness.core.fault import CrashPoint, FaultPlan, Kill, Timed
from harness.report.bisection import conclusion, go_on, range_line, tried_line

AT = CrashPoint(operation="open", role="agent.json", occurrence=1, phase="after")
RECORD = ReplayRecord(
    target="published",
    variant="strands_in_place",
    version="1.14.0",
    plan=FaultPlan(faults=(Kill(at=AT),)),
    fault_class="kill",
    invariant="M1",
    role="agent.json",
    damage="empty",
)
DOES = "leaves agent.json empty when it is killed after its 1st opening of agent.json (M1)"
VERSIONS = tuple(f"1.{minor}.0" for minor in range(40))


def history(first_fixed: int, *silent: int) -> dict[str, Standing]:
    found: dict[str, Standing] = {}
    for minor, version in enumerate(VERSIONS):
        found[version] = "unknown" if minor in silent else "shows" if minor < first_fixed else "lacks"
    return found


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bisected]:
    """Search a made-up history; ``here``: what is in the cache before."""

    def go(answers: Mapping[str, Standing], here: tuple[str, ...] = (), made_with: str = "1.14.0") -> Bisected:
        cache, told = set(here), list[Tried]()
        monkeypatch.setattr(bisecting, "is_installed", lambda package: package.version in cache)

        def attempt(version: str, install: bool) -> Tried:
            assert install == (version not in cache)
            cache.add(version)
            return Tried(version=version, standing=answers[version], text="", times=3, installed=install)

        found = published(msgspec.structs.replace(RECORD, version=made_with), "strands-agents")
        result = bisect(found, tuple(answers), attempt, told.append)
        assert tuple(told) == result.tried
        return result

    return go


def said(result: Bisected) -> str:
    return conclusion(result, finding_of(RECORD))


def test_a_fix_is_found_and_told_in_one_sentence(search: Callable[..., Bisected]) -> None:
    result = search(history(15))
    assert (result.turn, result.before, result.after, result.between) == ("fixed", "1.14.0", "1.15.0", ())
    assert result.installs == len(result.tried) <= result.limit == 8
    counts = f"(40 versions, {result.installs} installs)"
    assert said(result) == f"strands-agents: 1.14.0 {DOES}, 1.15.0 does not: fixed in 1.15.0 {counts}"
    assert go_on(result) == ""


def test_a_version_that_broke_it_is_found(search: Callable[..., Bisected]) -> None:
    turned: dict[str, Standing] = {
        version: "shows" if standing == "lacks" else "lacks" for version, standing in history(9).items()
    }
    result = search(turned)
    assert (result.turn, result.before, result.after) == ("broken", "1.8.0", "1.9.0")
    assert f"1.9.0 {DOES}, 1.8.0 does not: broken in 1.9.0 (" in said(result)


def test_what_is_in_the_cache_costs_no_install(search: Callable[..., Bisected]) -> None:
    result = search(history(15), here=VERSIONS)
    assert (result.turn, result.installs) == ("fixed", 0)
    assert said(result).endswith("(40 versions, 0 installs)")
    assert search(history(15), here=("1.14.0",)).installs == len(search(history(15)).tried) - 1


def test_versions_that_do_not_answer_make_the_answer_a_range(search: Callable[..., Bisected]) -> None:
    result = search(history(17, 15, 16))
    assert (result.turn, result.before, result.after) == ("fixed", "1.14.0", "1.17.0")
    assert (result.between, result.untried) == (("1.15.0", "1.16.0"), ())
    assert "fixed after 1.14.0, in 1.17.0 at the latest (40 versions" in said(result)
    assert said(result).endswith("could not be run to an answer: 1.15.0, 1.16.0)") or "1.16.0, 1.15.0" in said(
        result
    )


def test_the_installs_end_whatever_happens(search: Callable[..., Bisected]) -> None:
    result = search(history(38, *range(15, 38)))
    assert result.installs == result.limit == 8
    assert (result.turn, result.before) == ("fixed", "1.14.0")
    assert result.untried
    assert "not tried: " in said(result)
    assert go_on(result) == f"--from {result.before} --to {result.after}"
    nothing = search(dict.fromkeys(VERSIONS, "unknown"))
    assert (nothing.turn, nothing.installs <= 8) == ("undecided", True)
    assert f"whether a version {DOES} is not decided: too few could be run (40 versions" in said(nothing)


def test_ends_that_answer_the_same_are_said_so(search: Callable[..., Bisected]) -> None:
    result = search(dict.fromkeys(VERSIONS, "shows"))
    assert (result.turn, [item.version for item in result.tried]) == ("same", ["1.39.0", "1.0.0"])
    same = "the ends of the range answer the same, nothing found (40 versions, 2 installs)"
    assert said(result) == f"strands-agents: 1.39.0 {DOES}, and so does 1.0.0: {same}"
    result = search(dict.fromkeys(VERSIONS, "lacks"), made_with="2.0.0")
    assert result.turn == "same"
    assert f"no version tried {DOES}: 1.39.0, 1.0.0 answer the same, nothing found (" in said(result)


def test_a_token_that_its_own_version_does_not_show_is_told(search: Callable[..., Bisected]) -> None:
    result = search(dict.fromkeys(VERSIONS, "lacks"))
    assert (result.turn, [item.version for item in result.tried]) == ("same", ["1.39.0", "1.14.0", "1.0.0"])
    assert said(result).endswith("; 1.14.0, with which the token was made, does not show it here)")
    result = search(history(10))
    assert (result.turn, result.after) == ("fixed", "1.10.0")
    assert said(result).endswith("; 1.14.0, with which the token was made, does not show it here)")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Published:
    monkeypatch.setattr(bisecting, "published_versions", lambda package, pre=False, also=(): VERSIONS)
    return published(RECORD, "strands-agents")


def test_the_range_is_bounded_by_published_versions(found: Published) -> None:
    assert versions_between(found, "", "", pre=False) == VERSIONS
    assert versions_between(found, "1.38.0", "", pre=False) == ("1.38.0", "1.39.0")
    assert versions_between(found, "", "1.1.0", pre=False) == ("1.0.0", "1.1.0")


@pytest.mark.parametrize(
    ("oldest", "newest", "words"),
    [
        ("1.38", "", "--from: strands-agents has no version '1.38'; did you mean '1.38.0'?"),
        ("", "nine", "--to: strands-agents has no version 'nine'; the newest are 1.39.0, 1.38.0, "),
        ("1.9.0", "1.8.0", "--from 1.9.0 is newer than --to 1.8.0"),
        ("1.9.0", "1.9.0", "1.9.0 alone is no range"),
    ],
)
def test_a_range_that_is_none_is_one_line(found: Published, oldest: str, newest: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        versions_between(found, oldest, newest, pre=False)
    assert words in str(caught.value)


def test_chance_cannot_be_bisected() -> None:
    check_decidable(RECORD)
    timed = msgspec.structs.replace(RECORD, plan=FaultPlan(faults=(Timed(delay_us=1),)))
    with pytest.raises(ManifestError, match="a kill at a random moment cannot show that a version is fixed"):
        check_decidable(timed)


def test_an_attempt_that_cannot_be_made_says_why(found: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(package: Package) -> None:
        raise NotAvailableError(f"{package} cannot be installed: no")

    monkeypatch.setattr(bisecting, "install_package", refuses)
    attempt = bisecting.attempt_with(None, found, RECORD, times=3, jobs=1, engine="ptrace")  # type: ignore[arg-type]
    item = attempt("1.15.0", True)
    assert (item.standing, item.installed, item.times) == ("unknown", True, 0)
    assert tried_line(item, 8) == ("1.15.0    ", "skipped: strands-agents@1.15.0 cannot be installed: no (0.0 s)")


@pytest.mark.parametrize(
    ("answer", "reproduced", "text", "line"),
    [
        ("REPRODUCED", 2, "REPRODUCED 2/3", "REPRODUCED 2/3 (4.0 s)"),
        (
            "REPRODUCED",
            0,
            "REPRODUCED at another point: open #2",
            "REPRODUCED 0/3 at another point: open #2 (4.0 s)",
        ),
        ("FIXED", 0, "FIXED: crash point gone; 9 states", "FIXED 0/3: crash point gone; 9 states (4.0 s)"),
        ("FIXED", 0, "FIXED 0/3, the point was reached", "FIXED 0/3: the point was reached (4.0 s)"),
        ("CHANGED", 0, "CHANGED: the run failed", "skipped: the run failed (4.0 s)"),
    ],
)
def test_a_version_is_one_line(answer: str, reproduced: int, text: str, line: str) -> None:
    result = Replay(
        answer=answer,  # type: ignore[arg-type]
        times=3,
        reached=3,
        reproduced=reproduced,
        text=text,
        finding=finding_of(RECORD),
    )
    item = Tried(
        version="1.0",
        standing=bisecting._STANDINGS[answer],
        text=bisecting._without_answer(result),
        times=3,
        reproduced=reproduced,
        seconds=4.0,
    )
    assert tried_line(item) == ("1.0  ", line)


def test_the_range_is_told_before_it_is_searched() -> None:
    line = range_line("strands-agents", "1.14.0", VERSIONS, 8)
    assert line.startswith("strands-agents: 40 versions from 1.0.0 to 1.39.0, at most 8 installs; the token")
