"""What a crash leaves of a client's files, judged by themselves, predicted from the recording of its life.

Documents are their old or their new version, files have no holes: under kills, short writes and, on each file system
asked for, power losses. Findings are predictions: they have no proof, and no token. That a reply was printed promises
nothing of the client's documents, so nothing counts as acknowledged here.

Non-goals: what a resume makes of such files (:mod:`harness.campaign.cutting`).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.campaign.context import Case, Context, Measured
from harness.campaign.executor import Call
from harness.campaign.power import power_phase, settle_profiles
from harness.campaign.record import explore_request, judges_states, state_rows
from harness.campaign.trials import harness_failure
from harness.campaign.work import explore_recording, judged_of
from harness.checks import INVARIANTS
from harness.core.operation import Ack, Outside
from harness.core.run import Recording

_OF_CONVERSATIONS = frozenset("GT")
"""Families of rows that judge what a resume leaves: a conversation that is cut may be open."""


def explore_recordings(ctx: Context, recorded: Iterable[tuple[Case, Recording]]) -> None:
    """Judge what crashes leave of each recording by the rows of files among those asked for."""
    asked = [(of_files(case), without_acks(recording)) for case, recording in recorded]
    asked = [(case, recording) for case, recording in asked if case.invariants]
    calls = []
    for place, (case, recording) in enumerate(asked):
        trace = recording.trace
        assert trace is not None
        request = explore_request(case)
        judged = judged_of(trace, request)
        calls.append(Call(explore_recording, (recording, judged, request), place, needs_workspace=False))
    if not calls:
        return
    ctx.ledger.begin_phase()
    measured, index = [], 0
    for outcome in sorted(ctx.executor.run(calls), key=lambda each: int(each.key)):
        case = asked[outcome.key][0]
        failure = harness_failure(outcome)
        if failure:
            ctx.notice(f"what crashes leave of its files was not judged: {failure}", case)
            continue
        measured.append(Measured(case, outcome.value))
        index = state_rows(ctx, case, outcome.value, index)
        mute = [name for name in ("kill", "short", "power") if not judges_states(case, outcome.value, name)]
        if mute:
            ctx.notice(f"no file that could be judged under {', '.join(mute)}", case)
    power_phase(ctx, measured)
    settle_profiles(ctx, measured)


def of_files(case: Case) -> Case:
    """Return the case as it is judged here: by rows of files alone, and nothing of it is run."""
    rows = frozenset(name for name in case.invariants if name in INVARIANTS and name[0] not in _OF_CONVERSATIONS)
    return msgspec.structs.replace(case, invariants=rows, sample_max=0, errno_max=0)


def without_acks(recording: Recording) -> Recording:
    """Return the recording with each printed reply as what it is here: something written elsewhere."""
    trace = recording.trace
    if trace is None:
        return recording
    operations = tuple(
        Outside(seq=op.seq, actor=op.actor, at_ns=op.at_ns, syscall=op.syscall, path="standard output")
        if isinstance(op, Ack)
        else op
        for op in trace.operations
    )
    return msgspec.structs.replace(recording, trace=msgspec.structs.replace(trace, operations=operations), acks=())
