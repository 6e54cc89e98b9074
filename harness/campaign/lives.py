"""The phase of lives: the target is started again and again on the tree that its life before left.

Lives of one target follow each other; targets live side by side. Every life has a row, judged under the class of its
end, and a line that says what its end left. The whole of it stands in ``lives/<case>.json``.

What a life violates is confirmed by living it again, on the tree that it began on.

Non-goals: replaying a life from a token.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.campaign.context import Context, Measured, case_id
from harness.campaign.executor import Call
from harness.campaign.living import LifeRequest, Lived, class_of, live
from harness.campaign.observe import Observation, evidence_of
from harness.campaign.proof import match
from harness.campaign.trials import harness_failure
from harness.catalog.lives import LifeRun
from harness.checks.index_figures import Stage, entries_in, has_index, index_figures
from harness.core.drift import IndexFigures
from harness.core.json_record import encode_document
from harness.core.tree import Tree
from harness.core.verdict import Confirmation, Finding, TrialRow

LIVES_FORMAT_VERSION = 1
_OF_LIFE = "/life/"
_SHOWN = 4
_TIMEOUT_S = 600.0


def of_life(finding: Finding) -> bool:
    """Whether a finding was seen in a life: no single run of a workload shows it again."""
    return _OF_LIFE in str(finding.evidence.get("trial", ""))


def lives_phase(ctx: Context, cases: Iterable[Measured]) -> dict[str, tuple[Lived, ...]]:
    """Live the lives of each case; return them by case id."""
    cases = [item for item in ctx.split.of(cases, "states") if item.case.lives]
    lived: dict[str, list[Lived]] = {item.case.id: [] for item in cases}
    for item in cases:
        ctx.phase("lives", item.case, len(item.case.lives))
    ctx.ledger.begin_phase()
    for index in range(max((len(item.case.lives) for item in cases), default=0)):
        calls = []
        for number, item in enumerate(cases):
            if index < len(item.case.lives) and len(lived[item.case.id]) == index:
                calls.append(Call(live, (_request(ctx, item, index, lived[item.case.id]),), number, _TIMEOUT_S))
        for outcome in ctx.executor.run(calls):
            item = cases[outcome.key]
            place = outcome.key * len(item.case.lives) + index
            failure = harness_failure(outcome)
            if failure:
                _keep(ctx, item, index, place, Lived(verdict="broken", note=f"the harness failed: {failure}"))
            else:
                lived[item.case.id].append(outcome.value)
                _keep(ctx, item, index, place, outcome.value)
    _confirm(ctx, cases, lived)
    for item in cases:
        _tell(ctx, item, lived[item.case.id])
    return {name: tuple(each) for name, each in lived.items()}


def _request(ctx: Context, item: Measured, index: int, before: list[Lived]) -> LifeRequest:
    start = before[-1].tree if before else item.case.subject.spec.start
    return LifeRequest(engine=ctx.engine, life=item.case.lives[index], start=start, judged=item.explored.judged)


def _keep(ctx: Context, item: Measured, index: int, place: int, lived: Lived) -> None:
    """Keep the row of a life, and before it what it found."""
    life, trial_id = item.case.lives[index], f"{item.case.id}{_OF_LIFE}{index}"
    seen = [
        Observation(violation=violation, fault_class=class_of(life), runs=1, tree=lived.tree)
        for violation in lived.violations
    ]
    names = ctx.ledger.observe(item.case, seen, trial_id, place)
    ctx.ledger.save(names)
    row: TrialRow = msgspec.structs.replace(
        item.case.row("life", trial_id, lived.verdict, class_of(life)),
        findings=names,
        delivered=life.exit,
        died_by=lived.died_by,
        engine="timed",
        wall_ms=lived.wall_ms,
        cpu_ms=lived.cpu_ms,
        note=lived.note,
    )
    ctx.record(row)


def _confirm(ctx: Context, cases: list[Measured], lived: dict[str, list[Lived]]) -> None:
    """Live the first life that shows each finding again, ``confirmations`` times, and say how often it shows there."""
    calls: list[Call] = []
    asked: dict[tuple[int, int], list[Finding]] = {}
    for finding in ctx.ledger:
        if not of_life(finding) or finding.control or finding.confirmation.attempts:
            continue
        number = next((n for n, item in enumerate(cases) if item.case.id == case_id(finding)), -1)
        if number >= 0:
            index = int(str(finding.evidence["trial"]).rpartition("/")[2])
            asked.setdefault((number, index), []).append(finding)
    for number, index in asked:
        item = cases[number]
        request = _request(ctx, item, index, lived[item.case.id][:index])
        for attempt in range(item.case.confirmations):
            calls.append(Call(live, (request,), (number, index, attempt), _TIMEOUT_S))
    shown: dict[str, list[Lived]] = {}
    for outcome in ctx.executor.run(calls):
        if harness_failure(outcome):
            continue
        for finding in asked[outcome.key[:2]]:
            if match(finding, outcome.value.violations) is not None:
                shown.setdefault(finding.key, []).append(outcome.value)
    for (number, _), findings in asked.items():
        for finding in findings:
            again, attempts = shown.get(finding.key, []), cases[number].case.confirmations
            _keep_confirmation(ctx, finding, attempts, again)


def _keep_confirmation(ctx: Context, finding: Finding, attempts: int, again: list[Lived]) -> None:
    proof: dict[str, Any] = {}
    violation = match(finding, again[0].violations) if again else None
    if violation is not None:
        proof = evidence_of(again[0].tree, violation, ctx.ledger.content) | {"died_by": again[0].died_by}
    confirmation = Confirmation(
        attempts=attempts, confirmed=len(again), method="lived again on the same tree", evidence=proof
    )
    ctx.ledger.replace(msgspec.structs.replace(finding, confirmation=confirmation))
    ctx.ledger.write(finding.key)


def life_document(life: LifeRun, lived: Lived) -> dict[str, Any]:
    """Return a life as plain data: its end, what it wrote and when, what it left, what that violates."""
    return {
        "index": life.index,
        "exit": life.exit,
        "instances": len(life.specs),
        "now_ms": life.now_ms,
        "verdict": lived.verdict,
        "note": lived.note,
        "died_by": lived.died_by,
        "acknowledged": len(lived.acks),
        "tree": tree_digest(lived.tree),
        "files": {path: file.content.size for path, file in sorted(lived.tree.files())},
        "alive": {path: list(sizes) for path, sizes in lived.alive.items()},
        "at_end": {path: list(sizes) for path, sizes in lived.at_end.items()},
        "violations": [msgspec.to_builtins(item) for item in lived.violations],
    }


def tree_digest(tree: Tree) -> str:
    """Return what names a tree by its names and contents."""
    return f"{tree.key:032x}"


def figures_of(item: Measured, lived: Iterable[Lived]) -> IndexFigures | None:
    """Return what the lives of a case did to its indexes; ``None`` if it keeps none."""
    bindings = item.explored.judged.bindings
    if not has_index(bindings):
        return None
    return index_figures([_stage(*pair) for pair in zip(item.case.lives, lived, strict=False)], bindings)


def entries_by_index(item: Measured, lived: Lived) -> dict[str, list[dict[str, Any]]]:
    """Return what the indexes that a life left say of their sessions, by path; nothing of a life that was not lived."""
    found: dict[str, list[dict[str, Any]]] = {}
    if lived.died_by:
        for entry in entries_in(lived.tree, item.expectation.bindings).values():
            found.setdefault(entry.index, []).append(msgspec.to_builtins(entry))
    return found


def _stage(life: LifeRun, lived: Lived) -> Stage:
    ended = (*lived.between, lived.tree) if lived.died_by else ()
    return Stage(life.exit, life.now_ms, len(life.specs), lived.start, lived.idle, ended)


def _tell(ctx: Context, item: Measured, lived: list[Lived]) -> None:
    """Write the lives of a case down, and say what each end left."""
    pairs = list(zip(item.case.lives, lived, strict=False))
    figures = figures_of(item, lived)
    documents = [life_document(life, each) for life, each in pairs]
    for told, each, mine in zip(documents, lived, figures.lives if figures is not None else (), strict=False):
        told |= {"indexes": entries_by_index(item, each), "rolled_back_ms": mine.rolled_back_ms}
    document = {
        "format_version": LIVES_FORMAT_VERSION,
        "case": item.case.id,
        "lives": documents,
        **({"index": msgspec.to_builtins(figures)} if figures is not None else {}),
    }
    ctx.store.write_artifact(f"lives/{item.case.file_name}.json", encode_document(document).encode("ascii"))
    for life, each in pairs:
        ctx.notice(spell_life(life, each), item.case)


def spell_life(life: LifeRun, lived: Lived) -> str:
    """Return one line: the end of a life, what it wrote alive and because of its end, what that violates."""
    day = time.strftime("%Y-%m-%d", time.gmtime(life.now_ms / 1000))
    many = f", {len(life.specs)} instances" if len(life.specs) > 1 else ""
    invariants = ", ".join(dict.fromkeys(item.invariant for item in lived.violations))
    verdict = f"{lived.verdict} ({invariants})" if invariants else lived.verdict
    while_it_ran = f"{len(lived.alive)} file{'' if len(lived.alive) == 1 else 's'}"
    parts = [
        f"life {life.index + 1} on {day} ended by {life.exit.replace('_', '/')}{many}: {verdict}",
        lived.note or f"it wrote {while_it_ran} while it ran, and {_spell(lived.at_end)} because of its end",
    ]
    return "; ".join(parts)


def _spell(changed: Mapping[str, tuple[int | None, int | None]]) -> str:
    if not changed:
        return "nothing"
    shown = [
        f"{path.rpartition('/')[2]} ({'removed' if after is None else f'{before or 0:,} to {after:,} bytes'})"
        for path, (before, after) in list(changed.items())[:_SHOWN]
    ]
    more = len(changed) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
