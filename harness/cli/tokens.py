"""What a token and the words beside it name: a target of tornwrite, or the command of a probe, which is given again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from harness.cli.given import Given

if TYPE_CHECKING:
    from harness.campaign.probe import Probe
    from harness.campaign.token import ReplayRecord
    from harness.catalog import Subject
    from harness.sandbox.workspace import Workspace


def given_probe(record: ReplayRecord, given: Given) -> Probe:
    """Return the probe of a token, whose command is given again."""
    from harness.campaign.examine import CHECK_INVARIANT

    in_a_test = "of a test: pytest --tornwrite-replay TOKEN"
    if not given.words:
        raise click.UsageError(f"this token is of a probe: give its command again after '--'; {in_a_test}")
    if record.invariant == CHECK_INVARIANT and not given.check:
        raise click.UsageError(f"this token is of a state that --check rejected: give --check again; {in_a_test}")
    return given.probe()


def probe_of_token(record: ReplayRecord, workspace: Workspace, given: Given) -> tuple[Subject, tuple[str, ...]]:
    """Return the command as the subject of a probe's token, and what is to be noted about it."""
    from harness.campaign.probe import probe_subject

    probe = given_probe(record, given)
    subject = probe_subject(probe, workspace, record.seed)
    other = (
        "note: not the command and check this token was made for, or another --torn-tail, --instances or --readers"
    )
    notes = () if probe.digest == record.digest else (other,)
    return msgspec.structs.replace(subject, variant=record.variant), notes


def refuse_command(record: ReplayRecord, given: Given) -> None:
    """Refuse words that belong to a probe where the token names a target."""
    if given.says_anything:
        raise click.UsageError(
            f"this token names the target {record.target!r}: no command, --check, --torn-tail, --env, --ack, "
            "--instances or --readers is taken"
        )
