"""The case of a client that holds the dialogue of a scenario, and the two clients that test the harness.

One variant can hold several dialogues in one campaign, so a case is called after both: ``cli:effects``. Starts nothing.
"""

from __future__ import annotations

import msgspec

from harness.campaign.context import Case, Control
from harness.campaign.dialoguing import DialogueOrder
from harness.campaign.telling import cannot
from harness.catalog import Scenario, Subject, compile_subject, load_scenario, load_target
from harness.catalog.api_script import script_of
from harness.catalog.profiles import DEFAULT_PROFILES, load_profiles
from harness.catalog.since import Known, known_verdict
from harness.core.dialogue import SEPARATOR
from harness.engines.screen import why_unavailable
from harness.sandbox.workspace import Workspace
from harness.services.messages_api.serving import why_not_available

DEFAULT_DIALOGUES = 15
CONTROL_TARGET = "stand_in_client"
_CONTROL_SCENARIO = "resumed_client"
_CONTROLS: tuple[tuple[str, Control], ...] = (("durable", "must_hold"), ("lossy", "must_violate"))
_CONTROL_DIALOGUES = 3


def why_silent(part: Scenario, subject: Subject) -> str:
    """Return why a client cannot hold the dialogue of ``part`` here, or an empty string."""
    if subject.headless is None:
        return "it holds no dialogues"
    if any(life.mode == "terminal" for life in part.dialogue) and (reason := why_unavailable()):
        return reason
    mcp = script_of(part).uses_mcp
    if reason := why_not_available(mcp=mcp):
        return reason
    lacks = (cannot(life, subject.headless, subject.terminal, mcp=mcp) for life in part.dialogue)
    return next(filter(None, lacks), "")


def dialogue_case(
    part: Scenario,
    subject: Subject,
    known: tuple[Known, ...],
    invariants: frozenset[str],
    dialogues: int | None = None,
) -> Case:
    """Return the case of a client that holds the dialogue of ``part``, as often as that says where nobody else does."""
    assert subject.headless is not None
    number = (part.cuts or part.dialogues or DEFAULT_DIALOGUES) if dialogues is None else dialogues
    name = part.name.removeprefix(f"{subject.target}_")
    verdict = known_verdict(known, subject.version, name)
    script = script_of(part)
    if subject.repeats_ids:
        script = msgspec.structs.replace(script, api=msgspec.structs.replace(script.api, unique_ids=False))
    typed = any(life.mode == "terminal" for life in part.dialogue)
    spec = msgspec.structs.replace(subject.spec, start=subject.terminal.start) if typed else subject.spec
    return Case(
        subject=msgspec.structs.replace(
            subject,
            variant=f"{subject.variant}{SEPARATOR}{name}",
            expect=dict.fromkeys(part.faults, verdict) if verdict else {},
        ),
        faults=part.faults,
        invariants=invariants,
        dialogue=DialogueOrder(
            spec=spec,
            headless=subject.headless,
            terminal=subject.terminal,
            lives=part.dialogue,
            script=script,
        ),
        dialogues=0 if part.cuts else number,
        cuts=number if part.cuts else 0,
        confirmations=part.attempts,
        profiles=tuple(load_profiles(part.profiles or DEFAULT_PROFILES)) if "power" in part.faults else (),
        part=part.name,
        story=part.story,
    )


def dialogue_controls(workspace: Workspace) -> tuple[Case, ...]:
    """Return the stand-in clients that test the harness: one must hold, one must be caught."""
    target, part = load_target(CONTROL_TARGET), load_scenario(_CONTROL_SCENARIO)
    cases = []
    for variant, role in _CONTROLS:
        subject = compile_subject(target, variant, workspace)
        case = dialogue_case(part, subject, (), frozenset(part.invariants), _CONTROL_DIALOGUES)
        cases.append(msgspec.structs.replace(case, control=role))
    return tuple(cases)
