"""What a campaign will do: scenario and options → cases, controls included. Starts nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from harness import __version__
from harness.campaign.context import Case, Control
from harness.campaign.dialogue_case import dialogue_case, dialogue_controls, why_silent
from harness.campaign.probe import PROBE_TARGET, Probe, probe_subject
from harness.campaign.schedules import DEFAULT_SCHEDULES
from harness.catalog import (
    ManifestError,
    Scenario,
    Selected,
    Subject,
    Workload,
    compile_lives,
    compile_subject,
    load_target,
    select,
)
from harness.catalog.parts import narrowed, refuse_twice
from harness.catalog.profiles import ALL, DEFAULT_PROFILES, load_profiles
from harness.catalog.scenario import DEFAULT_FAULTS
from harness.catalog.selection import at_versions
from harness.checks import INVARIANTS
from harness.checks.dialogue import DIALOGUE_ROWS
from harness.core.fault import FaultClass
from harness.core.json_record import encode_record
from harness.core.profile import Profile
from harness.core.run import RunSpec
from harness.core.shard import Shard
from harness.engines import engine
from harness.sandbox.workspace import Workspace

MEASURABLE: tuple[FaultClass, ...] = ("kill", "signal", "short", "errno", "concurrency", "damage", "power")
"""The fault classes that this version can explore or inject."""

DEFAULT_SIGNALS = 30
"""Signals per variant where the class is asked for and nobody says how many."""
DEFAULT_RUNS = 30
"""As many runs without a fault under concurrency."""

_TALKS_ONLY = "it holds conversations, and only a scenario with [[turn]] tables does: "
_SILENT = "it holds no conversation, which is what this scenario is about"
CONTROL_TARGET = "reference"
_CERTAIN: tuple[FaultClass, ...] = ("kill", "short", "errno", "damage", "power")
"""The classes that are explored or injected exactly: only there is a writer sure to be caught in every campaign."""
_CONTROLS: tuple[tuple[str, Control, tuple[FaultClass, ...]], ...] = (
    ("durable", "must_hold", MEASURABLE),
    ("buggy", "must_violate", _CERTAIN),
    ("no_dir_fsync", "must_violate", ("power",)),
)
_CONTROL_ERRNO_RUNS = 8
_CONTROL_SIGNALS = 12
_CONTROL_RUNS = 4
_CONTROL_STARTS = 4
_PROBE_ERRNO_RUNS = 60
DEFAULT_PROBE_BUDGET_S = 20.0
_BESIDE_A_CHECK = frozenset({"W1", "W8"})
"""What is judged of a probe that has a check of its own: nothing that is only inferred from the null run's files."""
_CONTROL_WORKLOAD = Workload(sessions=2, updates=2, record_bytes=(60, 5_000))
"""Small, because every campaign pays for it, with one record that spans a page, because tears need one."""
_BRIEF_WORKLOAD = msgspec.structs.replace(_CONTROL_WORKLOAD, sessions=1, updates=1)
_BRIEF_ERRNO_RUNS = 3
_BRIEF_CHECKED = 16


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line may change about a scenario; ``None`` leaves it as the scenario says.

    ``jobs`` 0: one worker per processor. ``content``: evidence may quote bytes of files.
    ``confirm_power``: power losses are tried on real file systems, where that is possible; ``block_vm``: inside a
    virtual machine, which needs no root. ``shard``: the share of the whole run that is done. ``schedules``: the policy
    by which orders of operations are searched.
    """

    seed: int | None = None
    faults: tuple[FaultClass, ...] | None = None
    timed: int | None = None
    budget_s: float | None = None
    jobs: int = 0
    engine: str = "ptrace"
    content: bool = False
    require_all: bool = False
    profiles: tuple[str, ...] | None = None
    confirm_power: bool = True
    block_vm: bool = False
    shard: Shard = Shard()
    schedules: str = ""
    versions: tuple[str, ...] = ()
    """Versions of the published packages among the targets, in place of those that their manifests name."""


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """Something asked for that will not be measured, and why."""

    what: str
    reason: str


class PlannedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario in a campaign, as reports tell it."""

    name: str
    story: str = ""
    seed_story: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The cases of a campaign, and what it leaves out."""

    name: str
    cases: tuple[Case, ...]
    controls: tuple[Case, ...]
    not_available: tuple[Unmeasured, ...] = ()
    not_measured: tuple[Unmeasured, ...] = ()
    seed: int = 1
    budget_s: float = 0.0
    kind: str = "run"
    """The command it is the plan of: only a run can be resumed."""
    names: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    digest: str = ""
    """What the tokens of a probe carry in place of its command."""
    replay: str = ""
    """What follows a probe's token on the command line that replays it."""
    requested: tuple[str, ...] = ()
    """Invariants asked for by id: one that nothing measures makes a campaign without violations inconclusive."""
    parts: tuple[PlannedPart, ...] = ()

    @property
    def identity(self) -> str:
        """What two runs have in common that did the same work: the digest of cases, faults, numbers and seed."""
        asked = [
            [
                *(
                    case.id,
                    case.faults,
                    sorted(case.invariants),
                    case.timed,
                    case.signals,
                    case.runs,
                    len(case.lives),
                    case.dialogues,
                ),
                *(case.errno_max, case.check_max, case.sample_max, case.confirmations, case.profiles),
                *(sorted(case.subject.expect.items()), case.subject.seed, case.subject.workload),
            ]
            for case in self.cases
        ]
        raw = encode_record([__version__, self.name, self.kind, self.digest, self.seed, asked])
        return hashlib.blake2b(raw.encode("ascii"), digest_size=16).hexdigest()

    @property
    def everything(self) -> tuple[Case, ...]:
        """Cases and controls."""
        return (*self.cases, *self.controls)


WATCHING = ("ptrace", "shim")
"""The engines that watch operations, the one that sees more first."""


class NoEngineError(Exception):
    """No engine of this machine can watch file operations; the message says why."""


def require_engine(name: str = "ptrace") -> None:
    """Raise :class:`NoEngineError` where the engine does not work on this machine."""
    reason = engine(name).available()
    if reason:
        raise NoEngineError(f"no engine can watch file operations here: {name}: not available: {reason}")


def choose_engine(asked: str | None = None) -> tuple[str, str]:
    """Return the engine that a command uses, and why not the first choice, in one line; that is empty where it is.

    ``asked`` is the one that the command line names. Raises :class:`NoEngineError` where none works.
    """
    if asked is not None:
        require_engine(asked)
        return asked, ""
    first, second = WATCHING
    try:
        require_engine(first)
        return first, ""
    except NoEngineError as error:
        missing = error
    try:
        require_engine(second)
    except NoEngineError as error:
        reason = str(error).partition(": ")[2]
        raise NoEngineError(f"{missing}; {reason}") from None
    why = str(missing).rpartition("not available: ")[2]
    return second, f"{first} is not available here ({why}); the {second} engine is used"


def _split_classes(asked: Iterable[FaultClass]) -> tuple[tuple[FaultClass, ...], tuple[Unmeasured, ...]]:
    asked = tuple(asked)
    kept = tuple(name for name in asked if name in MEASURABLE)
    missing = tuple(
        Unmeasured(what=name, reason="this version has no engine for it") for name in asked if name not in kept
    )
    return kept, missing


def known_invariants(asked: Iterable[str]) -> tuple[frozenset[str], tuple[Unmeasured, ...]]:
    """Return the invariants that can be judged, and those asked for that cannot. Nothing asked: all."""
    asked = tuple(asked)
    if not asked:
        return frozenset(INVARIANTS), ()
    known = {*INVARIANTS, *DIALOGUE_ROWS}
    missing = tuple(Unmeasured(what=name, reason="no check for it yet") for name in asked if name not in known)
    return frozenset(name for name in asked if name in known), missing


def control_cases(
    workspace: Workspace,
    faults: tuple[FaultClass, ...],
    profiles: tuple[Profile, ...] = (),
    *,
    brief: bool = False,
) -> tuple[Case, ...]:
    """Return the reference writers that test the harness: one must hold, one must be caught.

    What chance decides (a signal at some moment, threads that meet) can miss the one that must be caught, so that one
    is tried under the exact classes only, and under kill where none of those is asked for: no campaign goes without.
    Under power a third one must be caught, which lacks a single barrier: under the shipped profiles, for one of a
    user's own may be of a file system on which that barrier does nothing. ``brief``: less of each.
    """
    target = load_target(CONTROL_TARGET)
    workload = _BRIEF_WORKLOAD if brief else _CONTROL_WORKLOAD
    shipped = tuple(each for each in profiles if each in load_profiles((ALL,)))
    of_variant = {"no_dir_fsync": shipped if "power" in faults else ()}
    return tuple(
        Case(
            subject=compile_subject(target, variant, workspace, workload),
            faults=tuple(name for name in faults if name in classes) or ("kill",),
            invariants=frozenset(INVARIANTS),
            control=role,
            signals=_CONTROL_SIGNALS if "signal" in faults and "signal" in classes else 0,
            runs=_CONTROL_RUNS if "concurrency" in faults and "concurrency" in classes else 0,
            errno_max=_BRIEF_ERRNO_RUNS if brief else _CONTROL_ERRNO_RUNS,
            sample_max=_CONTROL_STARTS if "damage" in faults else 0,
            confirmations=0 if brief else 1,
            profiles=of_variant.get(variant, profiles),
        )
        for variant, role, classes in _CONTROLS
        if variant not in of_variant or of_variant[variant]
    )


def _kills(faults: tuple[FaultClass, ...], options: Options, timed: int = 0) -> int:
    """Return how many timed kills a case gets."""
    return (timed if options.timed is None else options.timed) if "kill" in faults else 0


def _signals(faults: tuple[FaultClass, ...], options: Options, timed: int = 0) -> int:
    """Return how many signals a case gets: as many as timed kills, and some where nobody said how many."""
    return ((timed or DEFAULT_SIGNALS) if options.timed is None else options.timed) if "signal" in faults else 0


def _runs(faults: tuple[FaultClass, ...], options: Options, runs: int = 0) -> int:
    """Return how many runs without a fault a case gets."""
    return ((runs or DEFAULT_RUNS) if options.timed is None else options.timed) if "concurrency" in faults else 0


def _searched(faults: tuple[FaultClass, ...], options: Options, policy: str = "") -> dict[str, Any]:
    """Return how a case's orders of operations are searched, if its classes and somebody ask for it."""
    policy = options.schedules or policy
    if not policy or "concurrency" not in faults:
        return {}
    return {"policy": policy, "schedules": DEFAULT_SCHEDULES if options.timed is None else options.timed}


def _asked(faults: tuple[FaultClass, ...], options: Options) -> tuple[FaultClass, ...]:
    """Return the classes asked for: a search of schedules asks for concurrency."""
    more = options.schedules and "concurrency" not in faults
    return (*faults, "concurrency") if more else faults


def plan_scenario(
    scenario: Scenario,
    options: Options,
    workspace: Workspace,
    selected: Iterable[Selected] | None = None,
    asked: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> Plan:
    """Return the plan of a scenario, or of all its parts. Raises :class:`harness.catalog.ManifestError`.

    ``selected`` are the variants to run; of a scenario with parts each must belong to one. ``asked`` are the words of
    the command line (names, selectors); a resumed run finds them in ``run.json``.
    """
    seed = options.seed if options.seed is not None else scenario.seed
    parts = scenario.parts or (scenario,)
    chosen = {
        part.name: at_versions(select(part.targets), options.versions)
        if scenario.parts or selected is None
        else ()
        for part in parts
    }
    if selected is not None:
        selected = at_versions(tuple(selected), options.versions)
        chosen = narrowed(chosen, tuple(selected)) if scenario.parts else {scenario.name: tuple(selected)}
    refuse_twice({part.name: chosen[part.name] for part in parts if not part.dialogue})
    cases: list[Case] = []
    unavailable: list[Unmeasured] = []
    missing: dict[str, Unmeasured] = {}
    requested: dict[str, None] = {}
    for part in parts:
        faults, not_measured = _split_classes(_asked(options.faults or part.faults, options))
        invariants, unknown = known_invariants(part.invariants)
        missing |= {item.what: item for item in (*not_measured, *unknown)}
        profiles = profiles_for(faults, options, part.profiles)
        for each in chosen[part.name]:
            case = _case(part, each, faults, invariants, options, workspace, seed)
            if isinstance(case, Unmeasured):
                unavailable.append(case)
            else:
                cases.append(msgspec.structs.replace(case, profiles=profiles))
                # A part that asks for less than its scenario does cannot miss what only the rest can violate.
                judged = (name for name in part.invariants if name in invariants)
                requested |= dict.fromkeys(name for name in judged if not scenario.parts or _can(name, faults))
    classes = tuple(name for name in MEASURABLE if any(name in case.faults for case in cases))
    refuse_unused_profiles(options, classes if cases else ("power",))
    return Plan(
        name=scenario.name,
        cases=tuple(cases),
        controls=_controls(workspace, cases, classes),
        not_available=tuple(unavailable),
        not_measured=tuple(missing.values()),
        requested=tuple(requested),
        seed=seed,
        budget_s=scenario.budget_s if options.budget_s is None else options.budget_s,
        names=asked[0],
        selectors=asked[1],
        parts=tuple(
            PlannedPart(name=part.name, story=part.story, seed_story=part.seed_story)
            for part in parts
            if chosen[part.name]
        ),
    )


def _controls(workspace: Workspace, cases: list[Case], classes: tuple[FaultClass, ...]) -> tuple[Case, ...]:
    """Return what tests the harness: reference writers for what is recorded, stand-in clients for dialogues."""
    recorded = any(case.dialogue is None for case in cases)
    talking = any(case.dialogue is not None for case in cases)
    return (
        *(control_cases(workspace, classes, profiles_of(cases)) if recorded else ()),
        *(dialogue_controls(workspace) if talking else ()),
    )


def profiles_for(
    faults: tuple[FaultClass, ...], options: Options, named: tuple[str, ...] = ()
) -> tuple[Profile, ...]:
    """Return the profiles to explore: those of the command line, else those ``named``, else the default ones."""
    return load_profiles(options.profiles or named or DEFAULT_PROFILES) if "power" in faults else ()


def profiles_of(cases: Iterable[Case]) -> tuple[Profile, ...]:
    """Return the profiles of several cases, each once. Raises :class:`ManifestError` where two have one name."""
    found: dict[str, Profile] = {}
    for profile in (profile for case in cases for profile in case.profiles):
        if found.setdefault(profile.name, profile) != profile:
            raise ManifestError(f"two profiles of this campaign are called {profile.name!r}")
    return tuple(found.values())


def refuse_unused_profiles(options: Options, faults: tuple[FaultClass, ...]) -> None:
    """Raise :class:`ManifestError` where profiles were chosen and nobody asks for a power loss."""
    if options.profiles and "power" not in faults:
        raise ManifestError(
            f"--profile: only a power loss has profiles, and the faults are {', '.join(faults)}; add power to --faults"
        )


def _can(invariant: str, faults: tuple[FaultClass, ...]) -> bool:
    return invariant in DIALOGUE_ROWS or any(INVARIANTS[invariant].judges(name) for name in faults)


def _case(
    part: Scenario,
    chosen: Selected,
    faults: tuple[FaultClass, ...],
    invariants: frozenset[str],
    options: Options,
    workspace: Workspace,
    seed: int,
) -> Case | Unmeasured:
    """Return one variant under the faults of its part, or why it cannot run here."""
    subject: Subject = compile_subject(chosen.target, chosen.variant, workspace, part.workload, seed)
    talks = subject.headless is not None
    reason = subject.not_available or ("" if talks == bool(part.dialogue) else _TALKS_ONLY if talks else _SILENT)
    if reason:
        return Unmeasured(what=subject.label, reason=reason)
    if part.cuts and (reason := engine("ptrace").available()):
        return Unmeasured(what=subject.label, reason=f"a life is recorded by the ptrace engine: {reason}")
    if part.dialogue:
        if reason := why_silent(part, subject):
            return Unmeasured(what=f"{subject.label}, {part.name}", reason=reason)
        return dialogue_case(part, subject, chosen.variant.known, invariants, options.timed)
    return Case(
        subject=subject,
        faults=faults,
        invariants=invariants,
        timed=_kills(faults, options, part.timed),
        signals=_signals(faults, options, part.timed),
        runs=_runs(faults, options, part.runs),
        **_searched(faults, options, part.schedules),
        lives=compile_lives(chosen.target, chosen.variant, workspace, part.workload, seed, part.life),
        sample_max=part.samples,
        confirmations=part.attempts,
        part=part.name,
        story=chosen.variant.story,
    )


def _beside(checked: bool) -> frozenset[str]:
    return _BESIDE_A_CHECK if checked else frozenset()


def probe_case(
    variant: str, options: Options, workspace: Workspace, *, checked: bool, healed: bool, seed: int
) -> Case:
    """Return the case of a probe that nobody is to run again: how the states of its recording are judged."""
    faults, _ = _split_classes(options.faults or DEFAULT_FAULTS)
    spec = RunSpec(argv=(), root=workspace.root, cwd=workspace.cwd, environment={})
    subject = Subject(
        target=PROBE_TARGET,
        variant=variant,
        version="",
        spec=spec,
        torn_tail="healed" if healed else "violation",
        seed=seed,
    )
    profiles = profiles_for(faults, options)
    return Case(subject=subject, faults=faults, invariants=_beside(checked), profiles=profiles)


def plan_probe(probe: Probe, options: Options, workspace: Workspace, *, brief: bool = False) -> Plan:
    """Return the plan for a command that nobody described: its files are inferred, its names may be random.

    ``brief``: one confirming run for each finding and the least of the controls, for a test that is run often.
    """
    faults, not_measured = _split_classes(_asked(options.faults or DEFAULT_FAULTS, options))
    refuse_unused_profiles(options, faults)
    case = Case(
        subject=probe_subject(probe, workspace, options.seed or 1),
        faults=faults,
        invariants=_beside(bool(probe.check)),
        timed=_kills(faults, options),
        signals=_signals(faults, options),
        runs=_runs(faults, options),
        **_searched(faults, options),
        errno_max=_PROBE_ERRNO_RUNS,
        profiles=profiles_for(faults, options),
    )
    if brief:
        case = msgspec.structs.replace(case, confirmations=1, sample_max=0, checked=_BRIEF_CHECKED)
    return Plan(
        name=f"probe {probe.name}",
        cases=(case,),
        controls=control_cases(workspace, faults, case.profiles, brief=brief),
        not_measured=not_measured,
        seed=case.subject.seed,
        budget_s=DEFAULT_PROBE_BUDGET_S if options.budget_s is None else options.budget_s,
        digest=probe.digest,
        kind="probe",
        replay=probe.replay_words,
    )
