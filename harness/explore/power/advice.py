"""Repair advice: the cheapest changes of a writer after which no crash state is violated any more.

Changes are tried level by level, as dear as they are to a maintainer: barriers inserted; rewriting in place replaced
by temporary, fsync, rename, fsync of the directory; acknowledgements moved; writes merged; the two together. At the
first level whose changes *all made* leave nothing violated, under every profile and under a kill, every change is
left out again, the dearest first, and stays out where nothing comes back. What remains is a smallest set (no single
one of it can be spared, not: no smaller set exists), and for each of it is said what would come back without it.

Where no level is enough, a second predicate may help, under which the next start cuts damaged tails off record files;
if that helps it is part of the advice, for the files that need it. Else the level that leaves the fewest kinds of
damage, first of all of lost updates, is offered as *partly*, if it leaves no more than half of all states violated.

Writers that replace one file by turns without waiting for each other are not repaired by edits of a trace: what they
would have written after one another is not in it. There the answer is *serialise*, and what barriers alone would
leave is counted as the reason.

Pure. Every exploration judges edited traces by what the *recorded* run owes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from harness.core.advice import KILL, LOST, Advice, AnyEdit, Heal, ReplaceInPlace, Serialise, Step, SyncFile
from harness.core.apply import replay
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.explore.power.candidates import Change, Places
from harness.explore.power.edits import EditError
from harness.explore.power.measure import LIMIT, CauseKey, LimitReachedError, Measured, Meter, Predicate, key_of

_DEAREST_FIRST = ("merge_writes", "move_ack", "replace_in_place", "fsync_directory", "fsync_file")
_AT_THE_END = "the recorded run itself ends violated, without any fault: no barrier is about that"
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
            yield msgspec.structs.replace(known, outcome="nothing", after=known.before)
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
        if self.ends_violated:
            known = msgspec.structs.replace(known, note=_AT_THE_END)
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
        return self.places.shared() if self.ends_violated else None

    @cached_property
    def ends_violated(self) -> bool:
        """Whether the run as it was recorded ends in a state that is violated: it takes no fault."""
        trace = self.meter.trace
        end = self.predicate(replay(trace.start, trace.operations), len(trace.acks), "kill")
        return any(item.severity == "violation" for item in end)

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
        for predicate, healed in judges:
            for level in levels:
                try:
                    left = self.meter.measure(_edits(level), predicate)
                except EditError:
                    continue
                if (
                    left.keys < self.before.keys
                    and self._is_worth_it(left)
                    and (best is None or _badness(left.keys) < _badness(best.allowed))
                ):
                    best = _Plan(level, predicate, left.keys, healed)
        return best

    def _is_worth_it(self, left: Measured) -> bool:
        """Whether a change that leaves some states violated leaves few of them, or far fewer than there were."""
        return _share(left) <= max(0.5, _share(self.before) / 2)

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
        if after.violated and not self._is_worth_it(after):
            yield msgspec.structs.replace(known, outcome="none", after=known.before)
            return
        made = frozenset(_edits(chosen))
        told = [change for change in chosen if not made.isdisjoint(change.edits)]
        steps = [self._step(change, made) for change in told]
        advice = msgspec.structs.replace(
            known,
            outcome="partly" if after.violated else "repaired",
            after=after.tallies,
            steps=tuple(steps),
            heals=self._needed_heals(chosen) if plan.healed else (),
            remains=after.causes,
        )
        yield advice
        for number, change in enumerate(told):
            rest = tuple(other for other in chosen if other is not change)
            try:
                left = self.meter.measure(_edits(rest), plan.predicate)
            except EditError:
                continue
            causes = tuple(cause for cause in left.causes if key_of(cause) not in plan.allowed)
            states = left.violated - after.violated if plan.allowed else left.violated
            steps[number] = msgspec.structs.replace(steps[number], without=causes, without_states=max(0, states))
            yield msgspec.structs.replace(advice, steps=tuple(steps))

    def _needed_heals(self, chosen: Level) -> tuple[Heal, ...]:
        """Return what the next start has to heal: the files that the writer still leaves damaged."""
        left = self.meter.measure(_edits(chosen), self.predicate).causes
        found = []
        for heal in self.heals:
            damages = {cause.damage for cause in left if cause.role == heal.role}
            if damages:
                turns = heal.closes_turns and "rejected" in damages
                found.append(msgspec.structs.replace(heal, closes_turns=turns))
        return tuple(found)

    def _step(self, change: Change, made: frozenset[AnyEdit]) -> Step:
        operations = self.meter.trace.operations
        edits = tuple(edit for edit in change.edits if edit in made)
        first = edits[0]
        at = first.after if change.kind == "move_ack" and hasattr(first, "after") else first.at
        until = change.leads_to
        return Step(
            kind=change.kind,
            edits=edits,
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


def _is_within(edit: AnyEdit, replaced: Sequence[ReplaceInPlace]) -> bool:
    if not isinstance(edit, SyncFile):
        return any(edit.at == other.at and edit is not other for other in replaced)
    return any(other.ino == edit.ino and other.at <= edit.at <= other.until for other in replaced)


def _badness(causes: frozenset[CauseKey]) -> tuple[int, int]:
    """Return how bad it is that these remain: what was acknowledged and is gone counts before all else."""
    return sum(key.damage in LOST for key in causes), len(causes)


def _share(measured: Measured) -> float:
    return measured.violated / max(1, sum(tally.distinct for tally in measured.tallies))


def _under_kill(measured: Measured) -> int:
    return sum(tally.violated for tally in measured.tallies if tally.under == KILL)
