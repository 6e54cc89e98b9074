"""What a run of the scenario of lives says of the drift of its indexes: facts from the lives document that it kept.

Pure: a function of the document (``lives/<case>.json``: per life its end, how far an entry went back, and per index
what every entry said and what its transcript had by then).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from harness.seeds.claim import Claim, Fact

DAY_MS = 86_400_000
STALE_DAYS = 7
"""From how many days on the seed counts a project as drifting."""

Life = Mapping[str, Any]
Lives = list[dict[str, Any]]


def _lag_ms(entries: list[dict[str, Any]]) -> int:
    """Return how far an index is behind the newest transcript of its project."""
    newest = max((entry["newest_ms"] for entry in entries), default=0)
    return int(newest - max((entry["modified_ms"] for entry in entries), default=0))


def _lags(life: Life) -> list[int]:
    """Return the lag of every index in whole days, the greatest first."""
    return sorted((round(_lag_ms(entries) / DAY_MS) for entries in life["indexes"].values()), reverse=True)


def _judged(lives: Lives) -> Iterator[dict[str, Any]]:
    """Yield the lives that were measured: of a power loss nothing is known."""
    return (life for life in lives if life["indexes"])


def _last(lives: Lives) -> dict[str, Any]:
    return list(_judged(lives))[-1]


def _when(lives: Lives) -> str:
    return f"after {len(list(_judged(lives)))} measured lives of {len(lives)}"


def lag_days(lives: Lives, _claim: Claim) -> Fact:
    """The greatest lag of an index at the end of all lives."""
    lags = _lags(_last(lives))
    return Fact(value=lags[0], shown=f"{lags[0]} days {_when(lives)}, the greatest of {len(lags)} projects")


def all_lags(lives: Lives, _claim: Claim) -> Fact:
    """The lags of all indexes at the end of all lives."""
    text = " ".join(map(str, _lags(_last(lives))))
    return Fact(value=text, shown=f"{text} days {_when(lives)}")


def stale_projects(lives: Lives, _claim: Claim) -> Fact:
    """How many indexes are more than a week behind."""
    lags = _lags(_last(lives))
    count = sum(lag > STALE_DAYS for lag in lags)
    return Fact(
        value=count, shown=f"{count} of {len(lags)} projects more than {STALE_DAYS} days behind {_when(lives)}"
    )


def frozen_count(lives: Lives, _claim: Claim) -> Fact:
    """The ``messageCount`` of the entry that is furthest behind its transcript, of those that have one."""
    entries = [entry for found in _last(lives)["indexes"].values() for entry in found if entry["modified_ms"] >= 0]
    # Of the project that is furthest behind, the session that is still at work.
    worst = max(entries, key=lambda entry: (entry["newest_ms"], entry["newest_ms"] - entry["modified_ms"]))
    behind = round((worst["newest_ms"] - worst["modified_ms"]) / DAY_MS)
    count = worst["count"]
    return Fact(
        value=count, shown=f"the entry of the session last at work says {count} messages, {behind} days behind"
    )


def lost_after_graceful(lives: Lives, _claim: Claim) -> Fact:
    """How many transcripts have no entry after a life whose instances, several at once, all ended gracefully."""
    mine = [life for life in _judged(lives) if life["exit"] == "graceful" and life["instances"] > 1]
    lost = sum(_without_entry(life) for life in mine)
    return Fact(value=lost, shown=f"{lost} transcripts without an entry after {_spell(mine)}")


def lost_for_good(lives: Lives, _claim: Claim) -> Fact:
    """How many of these still have none at the end of all lives."""
    mine = [life for life in _judged(lives) if life["exit"] == "graceful" and life["instances"] > 1]
    gone = {name for life in mine for name in _names_without_entry(life)}
    left = gone & _names_without_entry(_last(lives))
    back = f"{len(gone - left)} of {len(gone)} lost entries came back"
    return Fact(value=len(left), shown=f"{back}, {_when(lives)}")


def rolled_back_days(lives: Lives, _claim: Claim) -> Fact:
    """How far a graceful exit took an entry back that the index already had, at most."""
    mine = [life for life in _judged(lives) if life["exit"] == "graceful"]
    most = max((life["rolled_back_ms"] for life in mine), default=0)
    return Fact(value=round(most / DAY_MS), shown=f"{round(most / DAY_MS)} days by {_spell(mine)}")


def written_by_exit(lives: Lives, claim: Claim) -> Fact:
    """Whether an end of the kind ``of`` makes the keeper write an index that it had not written while it ran."""
    mine = [life for life in _judged(lives) if life["exit"] == claim.of]
    wrote = sum(any(_is_index(path) for path in life["at_end"]) for life in mine)
    alive = sum(any(_is_index(path) for path in life["alive"]) for life in mine)
    shown = f"{claim.of}: {wrote} of {len(mine)} ends wrote an index, {alive} of {len(mine)} lives while they ran"
    return Fact(value=bool(mine) and wrote == len(mine), shown=shown)


def exits_that_write(lives: Lives, claim: Claim) -> Fact:
    """Which of the ends in ``of`` make the keeper write an index; in words, what every end of the scenario did."""
    told = []
    for kind in dict.fromkeys(life["exit"] for life in lives):
        mine = [life for life in _judged(lives) if life["exit"] == kind]
        wrote = sum(any(_is_index(path) for path in life["at_end"]) for life in mine)
        told.append((kind, wrote, len(mine)))
    words = [f"{kind} {wrote} of {count}" if count else f"{kind} not measured" for kind, wrote, count in told]
    value = [kind for kind, wrote, count in told if kind in claim.of.split() and 0 < wrote == count]
    return Fact(value=" ".join(value), shown=f"ends that wrote an index: {', '.join(words)}")


def written_alive(lives: Lives, _claim: Claim) -> Fact:
    """In how many lives an index was written while the program ran, before its end."""
    mine = list(_judged(lives))
    count = sum(any(_is_index(path) for path in life["alive"]) for life in mine)
    return Fact(value=count, shown=f"{count} of {len(mine)} lives wrote an index before their end")


def update_kept(lives: Lives, claim: Claim) -> Fact:
    """Whether the index knows all messages of every life that ended in the way ``of``."""
    mine = [life for life in _judged(lives) if life["exit"] == claim.of]
    kept = sum(not _behind(life) for life in mine)
    whole = f"{kept} of {len(mine)} ends left every entry up to date with its transcript"
    behind = f"{len(mine) - kept} of {len(mine)} ends left entries behind their transcripts"
    return Fact(
        value=bool(mine) and kept == len(mine), shown=f"{claim.of}: {behind if kept < len(mine) else whole}"
    )


def _behind(life: Life) -> int:
    return sum(entry["newest_ms"] > entry["modified_ms"] for found in life["indexes"].values() for entry in found)


def _names_without_entry(life: Life) -> set[str]:
    return {
        entry["session"]
        for found in life["indexes"].values()
        for entry in found
        if entry["newest_ms"] >= 0 and entry["modified_ms"] < 0
    }


def _without_entry(life: Life) -> int:
    return len(_names_without_entry(life))


def _is_index(path: str) -> bool:
    return path.endswith("sessions-index.json")


def _spell(lives: Lives) -> str:
    instances = ", ".join(f"{life['instances']}" for life in lives)
    return f"{len(lives)} graceful exits (instances at once: {instances})"


MEASUREMENTS: Mapping[str, Callable[[Lives, Claim], Fact]] = MappingProxyType(
    {
        "all_lags": all_lags,
        "exits_that_write": exits_that_write,
        "frozen_count": frozen_count,
        "lag_days": lag_days,
        "lost_after_graceful": lost_after_graceful,
        "lost_for_good": lost_for_good,
        "rolled_back_days": rolled_back_days,
        "stale_projects": stale_projects,
        "update_kept": update_kept,
        "written_alive": written_alive,
        "written_by_exit": written_by_exit,
    }
)
"""By the name that a claim gives."""
