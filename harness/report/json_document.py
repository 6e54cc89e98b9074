"""The one object that ``--json`` prints, what a campaign puts into it, and events as JSON lines.

The shapes are those of ``harness/schemas``; a test holds them together. ASCII only: whatever a target is called,
the output is valid JSON and moves no cursor.
"""

from __future__ import annotations

from typing import IO, Any

import msgspec

from harness.core.baseline import BaselineResult
from harness.core.event import AnyEvent
from harness.core.json_record import encode_record
from harness.core.verdict import Finding, Verdict
from harness.report.remedy import remedy
from harness.report.sentence import headline, replay_command, state_in_words
from harness.report.view import CaseView, PartView, Rate, RunView, rate_of

FORMAT_VERSION = 1


class ResultDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints, for every command. ``errors`` are lines; ``result`` is the command's own."""

    command: str
    exit_code: int
    format_version: int = FORMAT_VERSION
    result: Any = None
    errors: tuple[str, ...] = ()


class FindingResult(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with its sentence, what a user can do now, and the command that replays it.

    ``state``: of a power loss, what is lost in the smallest state that shows it, and under which profiles.
    """

    summary: str
    finding: Finding
    confirmed: bool
    replay: str = ""
    remedy: str = ""
    state: str = ""


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """A variant and the rate of its timed kills."""

    case: CaseView
    as_expected: bool
    timed: Rate | None = None


class CampaignResult(msgspec.Struct, frozen=True, kw_only=True):
    """The ``result`` of ``run``, ``probe``, ``demo`` and ``report``."""

    run_id: str
    scenario: str
    seed: int
    directory: str
    verdict: Verdict
    finished: bool
    states: int
    distinct: int
    inconclusive: int
    cases: tuple[CaseResult, ...] = ()
    controls: tuple[CaseResult, ...] = ()
    findings: tuple[FindingResult, ...] = ()
    notices: tuple[str, ...] = ()
    control_problem: str = ""
    environment: dict[str, Any] = {}
    parts: tuple[PartView, ...] = ()
    baseline: BaselineResult | None = None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a token showed again: ``reproduced`` of ``times`` runs, the fault delivered in ``reached`` of them."""

    answer: str
    times: int
    reached: int
    reproduced: int
    text: str


class ReplayResult(Verified, frozen=True, kw_only=True):
    """The ``result`` of ``replay``. ``made_with`` is the version of the package that the token is of, ``version`` the
    one that ran; empty for a writer that has none.
    """

    finding: Finding
    made_with: str = ""
    version: str = ""


class ShrinkResult(msgspec.Struct, frozen=True, kw_only=True):
    """The ``result`` of ``shrink``. ``verified`` is the replay that came last, of the finding that the token names.

    ``before`` and ``after`` are measures by name; ``token`` is empty where the finding did not show; ``done``: nothing
    smaller was left to try, else the bound on runs or the budget ended it.
    """

    token: str
    verified: Verified
    before: dict[str, int]
    after: dict[str, int]
    attempts: int
    runs: int
    done: bool


def _case(case: CaseView) -> CaseResult:
    return CaseResult(case=case, as_expected=all(line.as_expected for line in case.classes), timed=rate_of(case))


def campaign_result(view: RunView) -> CampaignResult:
    """Return a campaign as the ``result`` of a command."""
    states, distinct = view.states
    return CampaignResult(
        run_id=view.started.run_id,
        scenario=view.started.scenario,
        seed=view.started.seed,
        directory=view.started.directory,
        verdict=view.verdict,
        finished=view.finished is not None,
        states=states,
        distinct=distinct,
        inconclusive=view.inconclusive,
        cases=tuple(_case(case) for case in view.cases),
        controls=tuple(_case(case) for case in view.controls),
        findings=tuple(
            FindingResult(
                summary=headline(finding, str),
                finding=finding,
                confirmed=finding.is_confirmed,
                replay=replay_command(finding, view),
                remedy=remedy(finding, str),
                state=state_in_words(finding, str),
            )
            for finding in view.findings
        ),
        notices=tuple(f"{item.target}: {item.text}" if item.target else item.text for item in view.notices),
        control_problem=view.control_problem,
        environment=view.started.environment,
        parts=view.parts,
        baseline=view.baseline,
    )


def result_document(command: str, exit_code: int, result: Any = None, errors: tuple[str, ...] = ()) -> str:
    """Return the object as one line of ASCII JSON; ``result`` is plain data or a struct."""
    return encode_record(ResultDocument(command=command, exit_code=exit_code, result=result, errors=errors))


class JsonLines:
    """Subscriber that writes each event as one line to ``stream`` and flushes it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __call__(self, event: AnyEvent) -> None:
        """Write one event."""
        self._stream.write(encode_record(event) + "\n")
        self._stream.flush()
