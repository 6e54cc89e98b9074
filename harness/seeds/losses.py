"""What a power loss leaves of a variant: predicted from one recording, and seen on real file systems.

A *state* is one that a profile allows at some moment of the recorded run; every distinct one is judged, or so many as
the exploration's own bounds let it (then the row says that they are a sample). A *cut* is a disk as a power loss may
leave it, of a run on a real file system (Linux, root), mounted and read: once with the journal committed after each
operation of the writer, once at its end alone. What no cut shows may happen all the same.

Whether a state is of the kind that a claim is about is decided by the invariants (:func:`of_finds`) or by a family's
own measurement.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from harness.campaign.work import Judged, expectation_for, judge_for
from harness.catalog import Workload
from harness.catalog.profiles import load_profiles
from harness.catalog.steps import Tools
from harness.core.fault import FaultClass
from harness.core.profile import Profile
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.core.verdict import Violation
from harness.engines.block import why_not_available
from harness.engines.block.observe import observe
from harness.explore.power.exploration import PowerPredicate, explore_power
from harness.seeds.bench import Bench, NotThereError, NotThisMachineError, bench
from harness.seeds.claim import Claim, Fact

WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        "transcript": Workload(sessions=1, updates=2, record_bytes=(200, 9_000), tools=Tools(parallel=1)),
        "registry": Workload(sessions=1, updates=1, record_bytes=(60, 300)),
        "sessions_index": Workload(sessions=2, updates=4, record_bytes=(60, 1_500)),
        "fork_session": Workload(sessions=1, updates=4, record_bytes=(600, 12_000)),
    }
)
"""One each: what a power loss can leave grows with all that is not synced yet, so that little work has many states."""

CUTS = 300
"""Cuts of one recording that are looked at, at most."""

Look: TypeAlias = Callable[[Bench, Recording], PowerPredicate]
"""What makes the judge of one recording."""


class Counted(NamedTuple):
    """How many of how many states or cuts, and of which profile, are of the kind in question.

    ``missing``: why this machine has none of its cuts.
    """

    profile: str
    bad: int
    total: int
    sampled: bool = False
    missing: str = ""


def of_finds(claim: Claim) -> Look:
    """Return what judges states by the claim's invariants, damage and file alone."""

    def look(here: Bench, recording: Recording) -> PowerPredicate:
        subject = here.subject
        judged = Judged(
            bindings=tuple(subject.bindings),
            inferred=False,
            masked=subject.random_names,
            invariants=frozenset(claim.finds),
        )
        judge = judge_for(expectation_for(recording, judged), judged)

        def wrong(tree: Tree, acked: int, fault_class: FaultClass) -> list[Violation]:
            return [
                item
                for item in judge.judge(tree, acked, fault_class)
                if item.severity == "violation"
                and item.invariant in claim.finds
                and (not claim.damage or item.damage in claim.damage)
                and claim.where in item.path
            ]

        return wrong

    return look


def recorded(here: Bench) -> tuple[Recording, Trace]:
    """Record the writer. Raises :class:`NotThereError` where it acknowledged nothing: then nothing can be lost."""
    recording = here.record()
    if recording.trace is None or not recording.acks:
        raise NotThereError(f"{here.subject.label}: its run acknowledged nothing, so it has nothing to lose")
    return recording, recording.trace


def explored(trace: Trace, profiles: Iterable[Profile], wrong: PowerPredicate) -> list[Counted]:
    """Count the states that each profile allows, and those among them that are wrong."""
    found = []
    for profile in profiles:
        done = explore_power(trace, profile, wrong)
        found.append(Counted(profile.name, done.violated, done.distinct, not done.exhaustive))
    return found


def states_with(claim: Claim, look: Look) -> list[Counted]:
    """Return, per profile of the claim, the predicted states that ``look`` finds wrong."""
    with bench(claim.variant, workload_of(claim)) as here:
        recording, trace = recorded(here)
        return explored(trace, load_profiles(claim.profiles), look(here, recording))


def workload_of(claim: Claim) -> Workload:
    """Return the work of the claim's family under power losses."""
    return WORKLOADS[claim.variant.partition("/")[0]]


def cuts_with(claim: Claim, look: Look, before: Callable[[Tree], Tree] = lambda tree: tree) -> list[Counted]:
    """Return, per profile of the claim, the cuts of a real disk that ``look`` finds wrong.

    ``before`` changes what the writer starts from. A profile that this machine cannot mount is left out; raises
    :class:`NotThisMachineError` where none is left.
    """
    wanted = load_profiles(claim.profiles)
    missing = {profile.name: why_not_available(profile.filesystem) for profile in wanted}
    here_now = [profile for profile in wanted if not missing[profile.name]]
    if not here_now:
        raise NotThisMachineError(next(iter(missing.values())))
    found = []
    with bench(claim.variant, workload_of(claim)) as here:
        here.change_start(before)
        for profile in here_now:
            bad = total = 0
            for commit in ("each", "end"):
                disk = here.record_on_disk(profile, commit)
                wrong = look(here, disk.recording)
                for state in observe(disk, CUTS):
                    total += 1
                    bad += state.tree is not None and bool(wrong(state.tree, state.acked, "power"))
            found.append(Counted(profile.name, bad, total))
    found += [Counted(name, 0, 0, missing=reason) for name, reason in missing.items() if reason]
    return found


def spell_states(found: Iterable[Counted]) -> str:
    """Say of how many states under which profiles, and of which profiles the states are a sample."""
    found = list(found)
    whole = [each.profile for each in found if not each.sampled]
    if len(whole) == len(found):
        return f"{_spell(found, 'states', 'under')}; every state"
    return f"{_spell(found, 'states', 'under')}; samples" + (
        f", but every state of {_and(whole)}" if whole else ""
    )


def spell_cuts(found: Iterable[Counted]) -> str:
    """Say of how many cuts on which file system, and on which kernel."""
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{_spell(found, 'cuts', 'on')}; Linux {kernel}"


def _spell(found: Iterable[Counted], things: str, at: str) -> str:
    """Say the counts, the greatest share first; profiles with the same counts together."""
    same: dict[tuple[int, int], list[str]] = {}
    missing = []
    for each in found:
        if each.missing:
            missing.append(f"{each.profile} {each.missing}")
        else:
            same.setdefault((each.bad, each.total), []).append(each.profile)
    ordered = sorted(same.items(), key=lambda item: -item[0][0] / max(1, item[0][1]))
    counts = [f"{bad:,} of {total:,} {things} {at} {_and(names)}" for (bad, total), names in ordered]
    return "; ".join(counts + missing)


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _named(claim: Claim) -> str:
    damage = f" ({' or '.join(claim.damage)})" if claim.damage else ""
    return f"{', '.join(claim.finds)}{damage}"


def in_states(claim: Claim) -> Fact:
    """Whether a power loss can leave what the claim looks for under any of its profiles."""
    found = states_with(claim, of_finds(claim))
    return Fact(value=any(each.bad for each in found), shown=f"{_named(claim)}: {spell_states(found)}")


def in_cuts(claim: Claim) -> Fact:
    """Whether a cut of a real disk shows what the claim looks for on any of its file systems."""
    found = cuts_with(claim, of_finds(claim))
    return Fact(value=any(each.bad for each in found), shown=f"{_named(claim)}: {spell_cuts(found)}")


SETTINGS: Mapping[str, Callable[[Claim], Fact]] = MappingProxyType({"states": in_states, "cuts": in_cuts})
"""What answers a claim about findings of a power loss, by its setting."""
