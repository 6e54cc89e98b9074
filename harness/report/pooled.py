"""Runs of several systems side by side: a row per writer and fault class, a column per system, and the pooled runs.

Pure. Pooled are real runs: their counts add up to one rate with its interval, *if* the systems have one rate. Where two
of them differ by more than chance explains (Fisher's exact test of every pair, Holm's correction over all of them), the
row says so, and its pooled rate is nobody's. Crash states are enumerated on each system anew, so they are never added.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import combinations

import msgspec

from harness.core.fault import FAULT_CLASSES, FaultClass
from harness.core.proportion import wilson
from harness.core.significance import LEVEL, fisher_exact, holm
from harness.core.verdict import Finding, Verdict
from harness.report.sentence import headline
from harness.report.view import ClassLine, Rate, RunView


class System(msgspec.Struct, frozen=True, kw_only=True):
    """One column: the runs of one system, shards added up."""

    name: str
    run_id: str
    scenario: str
    seed: int
    verdict: Verdict
    exit_code: int | None


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What one system measured of a row."""

    verdict: Verdict
    distinct: int = 0
    bad_states: int = 0
    runs: int = 0
    bad: int = 0


class PooledRow(msgspec.Struct, frozen=True, kw_only=True):
    """One writer under one class. ``differ``: pairs of systems whose rates differ, with their corrected p."""

    writer: str
    fault_class: FaultClass
    profile: str
    cells: tuple[Cell | None, ...]
    pooled: Rate | None = None
    differ: tuple[tuple[str, str, float], ...] = ()


class PooledFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, and the systems that show it."""

    key: str
    summary: str
    expected: bool
    systems: tuple[str, ...]


class PooledResult(msgspec.Struct, frozen=True, kw_only=True):
    """The ``result`` of ``report`` for several systems."""

    systems: tuple[System, ...]
    tests: int
    level: float
    rows: tuple[PooledRow, ...] = ()
    findings: tuple[PooledFinding, ...] = ()
    notices: tuple[str, ...] = ()


def system_name(view: RunView) -> str:
    """Return platform, kernel, architecture and engine of a run."""
    facts = view.started.environment
    return " ".join(str(facts[name]) for name in ("system", "kernel", "architecture", "engine") if facts.get(name))


def _names(views: Sequence[RunView]) -> list[str]:
    """Return the names of the columns; runs of one system are told apart by number."""
    names = [system_name(view) or "unknown system" for view in views]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def page_names(path: str, views: Sequence[RunView]) -> list[str]:
    """Return the file for the page of each system: ``path`` alone for one, else ``stem-linux.html`` and so on."""
    if len(views) == 1:
        return [path]
    stem, suffix = os.path.splitext(path)
    kinds = [str(view.started.environment.get("system") or "unknown").split()[0].lower() for view in views]
    numbers = [f"-{kinds[: at + 1].count(kind)}" if kinds.count(kind) > 1 else "" for at, kind in enumerate(kinds)]
    plain = ["".join(letter if letter.isalnum() else "_" for letter in kind) for kind in kinds]
    return [f"{stem}-{kind}{number}{suffix}" for kind, number in zip(plain, numbers, strict=True)]


def _cells(views: Sequence[RunView]) -> dict[tuple[str, FaultClass, str], list[ClassLine | None]]:
    rows: dict[tuple[str, FaultClass, str], list[ClassLine | None]] = {}
    for index, view in enumerate(views):
        for case in view.cases:
            for line in case.classes:
                rows.setdefault((case.name, line.fault_class, line.profile), [None] * len(views))[index] = line
    return rows


def _cell(line: ClassLine | None) -> Cell | None:
    if line is None:
        return None
    return Cell(
        verdict=line.verdict,
        distinct=line.distinct,
        bad_states=line.bad_states,
        runs=line.runs,
        bad=line.bad,
    )


def _pooled(lines: Iterable[ClassLine | None]) -> Rate | None:
    counted = [line for line in lines if line is not None and line.runs]
    k, n = sum(line.bad for line in counted), sum(line.runs for line in counted)
    if not n:
        return None
    low, high = wilson(k, n)
    return Rate(k=k, n=n, rate=k / n, low=low, high=high)


def pool(views: Sequence[RunView]) -> PooledResult:
    """Return several runs, each of a system, as one table."""
    names = _names(views)
    rows = _cells(views)
    tests: list[tuple[tuple[str, FaultClass, str], str, str]] = []
    values: list[float] = []
    for key, lines in rows.items():
        for (name_a, a), (name_b, b) in combinations(zip(names, lines, strict=True), 2):
            if a is not None and b is not None and a.runs and b.runs:
                tests.append((key, name_a, name_b))
                values.append(fisher_exact(a.bad, a.runs, b.bad, b.runs))
    differ: dict[tuple[str, FaultClass, str], list[tuple[str, str, float]]] = {}
    for (key, name_a, name_b), p in zip(tests, holm(values), strict=True):
        if p < LEVEL:
            differ.setdefault(key, []).append((name_a, name_b, p))
    order = ("none", *FAULT_CLASSES)
    return PooledResult(
        systems=tuple(
            System(
                name=name,
                run_id=view.started.run_id,
                scenario=view.started.scenario,
                seed=view.started.seed,
                verdict=view.verdict,
                exit_code=view.finished.exit_code if view.finished else None,
            )
            for name, view in zip(names, views, strict=True)
        ),
        tests=len(values),
        level=LEVEL,
        rows=tuple(
            PooledRow(
                writer=key[0],
                fault_class=key[1],
                profile=key[2],
                cells=tuple(map(_cell, lines)),
                pooled=_pooled(lines),
                differ=tuple(differ.get(key, ())),
            )
            for key, lines in sorted(rows.items(), key=lambda row: (row[0][0], order.index(row[0][1]), row[0][2]))
        ),
        findings=_findings(views, names),
        notices=tuple(_notices(views, names)),
    )


def _findings(views: Sequence[RunView], names: Sequence[str]) -> tuple[PooledFinding, ...]:
    found: dict[str, list[tuple[str, Finding]]] = {}
    for view, name in zip(views, names, strict=True):
        for finding in view.findings:
            found.setdefault(finding.key, []).append((name, finding))
    pooled = [
        PooledFinding(
            key=key,
            summary=headline(same[0][1], str),
            expected=all(finding.expected for _, finding in same),
            systems=tuple(name for name, _ in same),
        )
        for key, same in found.items()
    ]
    return tuple(sorted(pooled, key=lambda item: (item.expected, len(item.systems) == len(names), item.summary)))


def _notices(views: Sequence[RunView], names: Sequence[str]) -> Iterable[str]:
    """Yield what makes a sum questionable: different scenarios, and runs without a verdict."""
    scenarios = dict.fromkeys(view.started.scenario for view in views)
    if len(scenarios) > 1:
        yield f"the runs are of different scenarios: {', '.join(scenarios)}"
    versions = dict.fromkeys(str(view.started.environment.get("tornwrite", "?")) for view in views)
    if len(versions) > 1:
        yield f"the runs were made by different versions of tornwrite: {', '.join(versions)}"
    for view, name in zip(views, names, strict=True):
        for line in view.started.environment.get("shards_missing", ()):
            yield f"{name}: {line}: what it would have measured is in no sum"
        if view.finished is None:
            yield f"{name}: interrupted before it had a verdict"
        elif view.control_problem:
            yield f"{name}: the harness failed its own control: {view.control_problem}"


def pooled_exit_code(views: Sequence[RunView]) -> int:
    """Return the worst exit code of the runs: broken, then unexpected, then what was not measured."""
    codes = [view.finished.exit_code if view.finished else 3 for view in views]
    return next((code for code in (4, 1, 3, 5) if code in codes), max(codes, default=0))
