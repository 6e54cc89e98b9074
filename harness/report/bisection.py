"""A search through published versions in words: what is searched, a line per version, and one sentence to paste."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.core.bisected import Bisected, Tried
from harness.core.verdict import Finding
from harness.report.escape import plain
from harness.report.sentence import what_breaks

_WORDS = {"shows": "REPRODUCED", "lacks": "FIXED"}
_SHOWN = 6


class BisectionResult(msgspec.Struct, frozen=True, kw_only=True):
    """The ``result`` of ``replay --bisect``: the answer as a sentence, how many installs it took, what was tried."""

    text: str
    installs: int
    search: Bisected


def bisection_result(result: Bisected, finding: Finding) -> BisectionResult:
    """Return a search as the ``result`` of the command."""
    return BisectionResult(text=conclusion(result, finding), installs=result.installs, search=result)


def range_line(package: str, made_with: str, versions: Sequence[str], limit: int) -> str:
    """Return what is about to be searched."""
    made = f"; the token was made with {made_with}" if made_with else ""
    return plain(
        f"{package}: {len(versions)} versions from {versions[0]} to {versions[-1]}, at most {limit} installs{made}"
    )


def tried_line(item: Tried, width: int = 0) -> tuple[str, str]:
    """Return the label of a version's line, and what is said behind it."""
    seconds = f"{item.seconds:.{0 if item.seconds >= 10 else 1}f} s"
    if item.standing == "unknown":
        return f"{plain(item.version):{width}}  ", plain(f"skipped: {item.text} ({seconds})")
    answer = f"{_WORDS[item.standing]} {item.reproduced}/{item.times}"
    rest = (
        f": {item.text}" if item.text and not item.text.startswith("at ") else f" {item.text}" if item.text else ""
    )
    return f"{plain(item.version):{width}}  ", plain(f"{answer}{rest} ({seconds})")


def conclusion(result: Bisected, finding: Finding) -> str:
    """Return the answer in one sentence."""
    does = what_breaks(finding, str)
    counts = f"{len(result.versions)} versions, {_counted(result.installs, 'install')}"
    return plain(f"{result.package}: {_answer(result, does)} ({'; '.join((counts, *_gaps(result)))})")


def go_on(result: Bisected) -> str:
    """Return the options that go on where the installations were used up; empty where nothing is left to try."""
    return plain(f"--from {result.before} --to {result.after}") if result.untried else ""


def _answer(result: Bisected, does: str) -> str:
    before, after = result.before, result.after
    if result.turn in ("fixed", "broken"):
        has, has_not = (before, after) if result.turn == "fixed" else (after, before)
        where = f"in {after}" if not result.between else f"after {before}, in {after} at the latest"
        return f"{has} {does}, {has_not} does not: {result.turn} {where}"
    answered = [item for item in result.tried if item.standing != "unknown"]
    shows = [item.version for item in answered if item.standing == "shows"]
    if result.turn == "same" and shows:
        others = f"so {'do' if len(shows) > 2 else 'does'} {_listed(shows[1:])}"
        return f"{shows[0]} {does}, and {others}: the ends of the range answer the same, nothing found"
    lacks = _listed([item.version for item in answered])
    if result.turn == "same":
        return f"no version tried {does}: {lacks} answer the same, nothing found"
    others = f"; {lacks} answered" if lacks else ""
    return f"whether a version {does} is not decided: too few could be run{others}"


def _gaps(result: Bisected) -> list[str]:
    """Return which versions gave no answer or were not tried, and whether the token shows nothing where it must."""
    parts = []
    skipped = [item.version for item in result.tried if item.standing == "unknown"]
    if skipped:
        parts.append(f"could not be run to an answer: {_listed(skipped)}")
    if result.untried:
        parts.append(f"not tried: {_listed(result.untried)}")
    if any(item.version == result.made_with and item.standing == "lacks" for item in result.tried):
        parts.append(f"{result.made_with}, with which the token was made, does not show it here")
    return parts


def _listed(versions: Sequence[str]) -> str:
    more = len(versions) - _SHOWN
    return ", ".join(versions[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
