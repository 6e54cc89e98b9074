"""Repair advice: the cheapest changes of a writer after which no crash state is violated any more.

Changes are tried level by level, as dear as they are to a maintainer: barriers inserted; rewriting in place replaced
by temporary, fsync, rename, fsync of the directory; acknowledgements moved; writes merged; the two together. At the
first level whose changes *all made* leave nothing violated, under every profile and under a kill, every change is
left out again, the dearest first, and stays out where nothing comes back. What remains is a smallest set (no single
one of it can be spared, not: no smaller set exists), and for each of it is said what would come back without it.

Where no level is enough, a second predicate may help, under which the next start cuts damaged tails off record files;
if that helps it is part of the advice. Else the level that leaves the fewest kinds of damage is offered as *partly*.

Writers that replace one file by turns without waiting for each other are not repaired by edits of a trace: what they
would have written after one another is not in it. There the answer is *serialise*, and what barriers alone would
leave is counted as the reason.

Pure. Every exploration judges edited traces by what the *recorded* run owes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from harness.core.advice import KILL, Advice, AnyEdit, Heal, ReplaceInPlace, Serialise, Step, SyncFile
from harness.core.apply import replay
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.explore.power.candidates import Change, Places
from harness.explore.power.edits import EditError
from harness.explore.power.measure import LIMIT, CauseKey, LimitReachedError, Measured, Meter, Predicate, key_of

_DEAREST_FIRST = ("merge_writes", "move_ack", "replace_in_place", "fsync_directory", "fsync_file")
NOT_NEEDED = "nothing is violated"
Level = tuple[Change, ...]


class _Plan(NamedTuple):
    """A level that is enough, or the best there is: its changes, how it is judged, what it leaves."""

    level: Level
    predicate: Predicate
    allowed: frozenset[CauseKey]
    healed: bool


def advise(
    trace: Trace,
    profiles: Sequence[Profile],
    predicate: Predicate,
    *,
    healing: Predicate | None = None,
    heals: tuple[Heal, ...] = (),
    seed: int = 0,
    limit: int = LIMIT,
) -> Advice:
    """Return what would repair the writer of ``trace``.

    ``healing`` judges as ``predicate`` does, but as if the next start had done what ``heals`` says. A predicate may
    raise :class:`LimitReachedError`; ``limit`` counts judgements. Then the advice is *unfinished*, with what was found
    by then. Raises ``ReplayError`` where the trace contradicts itself.
    """
    names = tuple(profile.name for profile in profiles)
    meter = Meter(trace, profiles, seed, limit)
    advice = Advice(outcome="unfinished", profiles=names)
    try:
        before = meter.measure((), predicate)
        advice = msgspec.structs.replace(advice, before=before.tallies, remains=before.causes)
        for better in _Search(meter, predicate, healing, heals, before).advice(advice):
            advice = better
    except LimitReachedError as reached:
        note = str(reached) or "the search ended before it was through"
        return msgspec.structs.replace(advice, outcome="unfinished", judged=meter.judged, note=note)
    return msgspec.structs.replace(advice, judged=meter.judged)


class _Search:
    """One search for advice. Yields better and better advice, so that what is known is not lost at a limit."""

    def __init__(
        self,
        meter: Meter,
        predicate: Predicate,
        healing: Predicate | None,
        heals: tuple[Heal, ...],
        before: Measured,
    ) -> None:
        self.meter = meter
        self.predicate = predicate
        self.healing = healing if heals else None
        self.heals = heals
        self.before = before
        self.places = Places(meter.trace)

    def advice(self, known: Advice) -> Iterator[Advice]:
        """Yield the advice as it is found, the last one complete."""
        if not self.before.violated:
            yield msgspec.structs.replace(known, outcome="nothing", after=known.before, note=NOT_NEEDED)
            return
        barriers = tuple(self.places.file_syncs() + self.places.directory_syncs())
        rivals = self._rivals()
        if rivals is not None:
            left = self.meter.measure(_edits(barriers), self.predicate)
            yield msgspec.structs.replace(
                known,
                outcome="serialise",
                serialise=rivals,
                barriers_leave=left.violated,
                barriers_leave_kill=_under_kill(left),
                remains=left.causes,
            )
            return
        plan = self._plan(barriers)
        if plan is None:
            yield msgspec.structs.replace(known, outcome="none", after=known.before)
            return
        shared = self.places.shared()
        if shared is not None:
            known = msgspec.structs.replace(known, shared=shared)
        if any(change.kind not in ("fsync_file", "fsync_directory") for change in plan.level):
            left = self.meter.measure(_edits(barriers), plan.predicate)
            known = msgspec.structs.replace(
                known, barriers_leave=left.violated, barriers_leave_kill=_under_kill(left)
            )
        chosen = self._smallest(plan)
        yield from self._told(known, plan, chosen)

    def _rivals(self) -> Serialise | None:
        """Return the file that several actors replace: where they met, or where the outcome shows that they did."""
        met = self.places.rivals()
        if met is not None:
            return met
        trace = self.meter.trace
        end = self.predicate(replay(trace.start, trace.operations), len(trace.acks), "kill")
        return self.places.shared() if any(item.severity == "violation" for item in end) else None

    def _levels(self, barriers: Level) -> list[Level]:
        replaced, moved = tuple(self.places.replacements()), tuple(self.places.moved_acks())
        merged = tuple(self.places.merges())
        levels = [barriers, barriers + replaced, barriers + moved, barriers + replaced + moved]
        levels.append(barriers + replaced + moved + merged)
        return [level for level in dict.fromkeys(levels) if level]

    def _plan(self, barriers: Level) -> _Plan | None:
        """Return the first level that is enough, else the one that leaves the fewest kinds of damage."""
        levels = self._levels(barriers)
        judges = [(self.predicate, False)] + ([(self.healing, True)] if self.healing is not None else [])
        for predicate, healed in judges:
            for level in levels:
                if self._fits(level, predicate, frozenset()):
                    return _Plan(level, predicate, frozenset(), healed)
        best: _Plan | None = None
        predicate, healed = judges[-1]
        at_first = self.meter.measure((), predicate).keys
        for level in levels:
            try:
                left = self.meter.measure(_edits(level), predicate).keys
            except EditError:
                continue
            if left < at_first and (best is None or len(left) < len(best.allowed)):
                best = _Plan(level, predicate, left, healed)
        return best

    def _fits(self, level: Level, predicate: Predicate, allowed: frozenset[CauseKey]) -> bool:
        try:
            return self.meter.within(_edits(level), predicate, allowed)
        except EditError:
            return False

    def _smallest(self, plan: _Plan) -> Level:
        """Return the changes that cannot be spared; the dearest are tried first."""
        chosen = plan.level
        # Of one kind those that were found last are the least usual: they go first.
        numbered = [(_DEAREST_FIRST.index(change.kind), -number, change) for number, change in enumerate(chosen)]
        for _, _, change in sorted(numbered, key=lambda item: item[:2]):
            rest = tuple(other for other in chosen if other is not change)
            if self._fits(rest, plan.predicate, plan.allowed):
                chosen = rest
        return chosen

    def _told(self, known: Advice, plan: _Plan, chosen: Level) -> Iterator[Advice]:
        """Yield the advice with its figures; at the end with what would come back without each step."""
        after = self.meter.measure(_edits(chosen), plan.predicate)
        steps = [self._step(change) for change in chosen if _of(change, chosen)]
        advice = msgspec.structs.replace(
            known,
            outcome="partly" if after.violated else "repaired",
            after=after.tallies,
            steps=tuple(steps),
            heals=self.heals if plan.healed else (),
            remains=after.causes,
        )
        yield advice
        for number, change in enumerate(change for change in chosen if _of(change, chosen)):
            rest = tuple(other for other in chosen if other is not change)
            try:
                left = self.meter.measure(_edits(rest), plan.predicate)
            except EditError:
                continue
            causes = tuple(cause for cause in left.causes if key_of(cause) not in plan.allowed)
            states = left.violated - after.violated if plan.allowed else left.violated
            steps[number] = msgspec.structs.replace(steps[number], without=causes, without_states=max(0, states))
            yield msgspec.structs.replace(advice, steps=tuple(steps))

    def _step(self, change: Change) -> Step:
        operations = self.meter.trace.operations
        first = change.edits[0]
        at = first.after if change.kind == "move_ack" and hasattr(first, "after") else first.at
        until = change.leads_to
        return Step(
            kind=change.kind,
            edits=change.edits,
            at=at,
            at_kind=operations[at].kind,
            path=change.path,
            until=until,
            until_kind=operations[until].kind if until >= 0 else "",
        )


def _edits(level: Level) -> tuple[AnyEdit, ...]:
    """Return the edits of a level; a barrier within a rewrite that is replaced is the replacement's own."""
    replaced = [edit for change in level for edit in change.edits if isinstance(edit, ReplaceInPlace)]
    return tuple(edit for change in level for edit in change.edits if not _is_within(edit, replaced))


def _of(change: Change, level: Level) -> bool:
    """Whether anything of a change is left beside the replacements of a level."""
    return not set(change.edits).isdisjoint(_edits(level))


def _is_within(edit: AnyEdit, replaced: Sequence[ReplaceInPlace]) -> bool:
    if not isinstance(edit, SyncFile):
        return any(edit.at == other.at and edit is not other for other in replaced)
    return any(other.ino == edit.ino and other.at <= edit.at <= other.until for other in replaced)


def _under_kill(measured: Measured) -> int:
    return sum(tally.violated for tally in measured.tallies if tally.under == KILL)
