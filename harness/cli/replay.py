"""``tornwrite replay``: a finding again, from its token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import msgspec

from harness.cli.options import Number, chosen_engine, engine_option, jobs_option, own_profile_option
from harness.cli.output import json_option, print_line, say
from harness.cli.probe import ack_option, check_option, env_option, timeout_option, torn_tail_option

if TYPE_CHECKING:
    from harness.checks.binding import TornTail
    from harness.core.profile import Profile

EXIT_CODES = {"REPRODUCED": 1, "FIXED": 0, "CHANGED": 3}
_CONTEXT = {"ignore_unknown_options": False, "allow_interspersed_args": True}


@click.command("replay", context_settings=_CONTEXT)
@click.argument("token")
@click.option("--times", type=Number(1, 10_000), default=3, show_default=True, help="Runs of the real target.")
@check_option
@torn_tail_option
@env_option
@ack_option
@timeout_option
@jobs_option
@engine_option
@own_profile_option
@json_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD …]")
def command(
    token: str,
    times: int,
    check: tuple[str, ...],
    torn_tail: TornTail | None,
    env: tuple[str, ...],
    ack: str | None,
    timeout: float,
    jobs: int | None,
    engine_name: str | None,
    profile: Profile | None,
    as_json: bool,
    words: tuple[str, ...],
) -> int:
    """Reproduce a finding: REPRODUCED k/N (exit 1), FIXED (exit 0) or CHANGED (exit 3).

    A token names a target of tornwrite; the token of a probe needs the command again after "--". Another command than
    the one it was made for is allowed, with a warning: that is how a fix is tested.
    """
    from harness.campaign.examine import CHECK_INVARIANT
    from harness.campaign.executor import Executor
    from harness.campaign.probe import Probe, ack_pattern, environment_of, probe_subject
    from harness.campaign.replay import replay, subject_of
    from harness.campaign.run import worker_count
    from harness.campaign.scratch import scratch_workspace
    from harness.campaign.token import decode
    from harness.core.run import DEFAULT_ACK
    from harness.report.escape import plain
    from harness.report.json_document import result_document

    record = decode(token)
    in_a_test = "of a test: pytest --tornwrite-replay TOKEN"
    notes: tuple[str, ...] = ()
    engine_name = chosen_engine(engine_name)
    with scratch_workspace() as workspace:
        if record.kind == "probe":
            if not words:
                raise click.UsageError(f"this token is of a probe: give its command again after '--'; {in_a_test}")
            if record.invariant == CHECK_INVARIANT and not check:
                raise click.UsageError(
                    f"this token is of a state that --check rejected: give --check again; {in_a_test}"
                )
            probe = Probe(
                command=words,
                check=check,
                torn_tail=torn_tail or "violation",
                environment=environment_of(env),
                ack=ack_pattern(ack) if ack else DEFAULT_ACK,
                timeout_s=timeout,
            )
            subject = probe_subject(probe, workspace, record.seed)
            if probe.digest != record.digest:
                notes = ("note: not the command and check this token was made for, or another --torn-tail",)
            subject = msgspec.structs.replace(subject, variant=record.variant)
        else:
            if words or check or torn_tail or env or ack:
                raise click.UsageError(
                    f"this token names the target {record.target!r}: no command, --check, --torn-tail, --env or --ack "
                    "is taken"
                )
            subject = subject_of(record, workspace)
        begun = time.monotonic()
        with Executor(worker_count(jobs or 0), workspace.base) as executor:
            result = replay(executor, subject, record, times, engine_name, profile)
    code = EXIT_CODES[result.answer]
    if as_json:
        print_line(result_document("replay", code, msgspec.to_builtins(result), notes))
        return code
    for note in notes:
        say(note)
    what = plain(f"{result.text}  ({subject.label}, {record.invariant}")
    print_line(f"{what}, {time.monotonic() - begun:.1f} s)")
    return code
