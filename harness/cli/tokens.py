"""What a token and the words beside it name: a target of tornwrite, or the command of a probe, which is given again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

if TYPE_CHECKING:
    from harness.campaign.probe import Probe
    from harness.campaign.token import ReplayRecord
    from harness.catalog import Subject
    from harness.checks.binding import TornTail
    from harness.sandbox.workspace import Workspace


class Given(NamedTuple):
    """What the command line says of a probe's command."""

    words: tuple[str, ...]
    check: tuple[str, ...]
    torn_tail: TornTail | None
    env: tuple[str, ...]
    ack: str | None
    timeout: float
    instances: int


def given_probe(record: ReplayRecord, given: Given) -> Probe:
    """Return the probe of a token, whose command is given again."""
    from harness.campaign.examine import CHECK_INVARIANT
    from harness.campaign.probe import Probe, ack_pattern, environment_of
    from harness.core.run import DEFAULT_ACK

    in_a_test = "of a test: pytest --tornwrite-replay TOKEN"
    if not given.words:
        raise click.UsageError(f"this token is of a probe: give its command again after '--'; {in_a_test}")
    if record.invariant == CHECK_INVARIANT and not given.check:
        raise click.UsageError(f"this token is of a state that --check rejected: give --check again; {in_a_test}")
    return Probe(
        command=given.words,
        check=given.check,
        torn_tail=given.torn_tail or "violation",
        environment=environment_of(given.env),
        ack=ack_pattern(given.ack) if given.ack else DEFAULT_ACK,
        timeout_s=given.timeout,
        instances=given.instances,
    )


def probe_of_token(record: ReplayRecord, workspace: Workspace, given: Given) -> tuple[Subject, tuple[str, ...]]:
    """Return the command as the subject of a probe's token, and what is to be noted about it."""
    from harness.campaign.probe import probe_subject

    probe = given_probe(record, given)
    subject = probe_subject(probe, workspace, record.seed)
    other = "note: not the command and check this token was made for, or another --torn-tail or --instances"
    notes = () if probe.digest == record.digest else (other,)
    return msgspec.structs.replace(subject, variant=record.variant), notes


def refuse_command(record: ReplayRecord, given: Given) -> None:
    """Refuse words that belong to a probe where the token names a target."""
    if given.words or given.check or given.torn_tail or given.env or given.ack or given.instances > 1:
        raise click.UsageError(
            f"this token names the target {record.target!r}: no command, --check, --torn-tail, --env, --ack or "
            "--instances is taken"
        )
