"""``tornwrite export``: a finding as one file that reproduces it without tornwrite."""

from __future__ import annotations

import hashlib
import os
import stat

import click

from harness.cli.given import Given, takes_command
from harness.cli.output import json_option, print_bytes, print_line, say
from harness.cli.tokens import given_probe, refuse_command

_STDOUT = "-"
_CONTEXT = {"ignore_unknown_options": False, "allow_interspersed_args": True}


@click.command("export", context_settings=_CONTEXT)
@click.argument("token")
@click.option("--to", "path", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@click.option("--force", is_flag=True, help="Write over a regular file that is there.")
@takes_command
@json_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD …]")
def command(
    token: str,
    path: str,
    force: bool,
    given: Given,
    as_json: bool,
) -> int:
    """Write a finding as one Python file that reproduces it where there is no tornwrite.

    The file needs nothing but Python 3.11 on Linux (and the package under test): it starts the writer, kills it at that
    operation or lets its threads go in that order, and says what it expected and what it observed. Its exit code is
    1: reproduced, 0: not reproduced, 3: changed, so nothing is said, 2: cannot run. It is run once here before it is
    written. A probe's token needs its command again after "--".
    """
    from harness.campaign.durable import write_whole
    from harness.campaign.executor import Executor
    from harness.campaign.scratch import scratch_workspace
    from harness.campaign.token import decode
    from harness.cli.failures import NothingToMeasureError
    from harness.engines import engine
    from harness.export.exporting import exported
    from harness.report.json_document import result_document

    record = decode(token)
    if reason := engine("ptrace").available():
        raise NothingToMeasureError(f"export runs the writer under ptrace, which is not available: {reason}")
    probe = given_probe(record, given) if record.kind == "probe" else None
    if probe is None:
        refuse_command(record, given)
    _must_be_free(path, force)
    if as_json and path == _STDOUT:
        raise click.UsageError("--json prints its object where --to - would print the file; name a file")
    with scratch_workspace() as workspace, Executor(1, workspace.base) as executor:
        made = exported(executor, workspace, record, token, probe)
    note = (
        "note: not the command and check this token was made for, or another --torn-tail, --instances or --readers"
    )
    notes = () if made.same_command else (note,)
    data, lines = made.text.encode("utf-8"), len(made.text.splitlines())
    if path == _STDOUT:
        print_bytes(data)
    else:
        _must_be_free(path, force)  # a run takes its time: it may be there by now
        write_whole(path, data)
    if as_json:
        result = {"path": path, "lines": lines, "sha256": hashlib.sha256(data).hexdigest(), "said": made.said}
        print_line(result_document("export", 0, result, notes))
        return 0
    for text in (
        *notes,
        f"{path if path != _STDOUT else 'standard output'}: {lines:,} lines, run here: {made.said}",
    ):
        say(text)
    return 0


def _must_be_free(path: str, force: bool) -> None:
    """Refuse a place that nothing can be written to, before anything is run."""
    if path == _STDOUT:
        return
    if not path or os.path.isdir(path):
        raise click.UsageError(f"--to {path!r} is no name of a file")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise click.UsageError(f"--to {path!r}: its directory does not exist")
    try:
        mode = os.lstat(path.rstrip("/")).st_mode  # itself, not where a link leads: it is what would be replaced
    except OSError:
        return  # nothing is there, or writing says what is wrong
    if not stat.S_ISREG(mode):
        raise click.UsageError(f"--to {path!r} is there and is no regular file: it is not written over")
    if not force:
        raise click.UsageError(f"--to {path!r} is there already; --force writes over it")
