"""``tornwrite replay``: a finding again, from its token; on the version it was made with, on another, or on all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from harness.cli.bisecting import How, Range, bisect_command
from harness.cli.given import Given, takes_command
from harness.cli.options import Number, chosen_engine, engine_option, jobs_option, own_profile_option
from harness.cli.output import json_option, print_line, say
from harness.cli.tokens import probe_of_token, refuse_command

if TYPE_CHECKING:
    from harness.campaign.token import ReplayRecord
    from harness.catalog import Subject
    from harness.core.profile import Profile
    from harness.sandbox.workspace import Workspace

EXIT_CODES = {"REPRODUCED": 1, "FIXED": 0, "CHANGED": 3}
_CONTEXT = {"ignore_unknown_options": False, "allow_interspersed_args": True}


@click.command("replay", context_settings=_CONTEXT)
@click.argument("token")
@click.option("--times", type=Number(1, 10_000), default=3, show_default=True, help="Runs of the real target.")
@click.option("--target", metavar="PKG@VERSION", help="Run another published version of the token's target.")
@click.option(
    "--bisect", "package", metavar="PKG", help="Find the first published version that fixed it, or that broke it."
)
@click.option(
    "--from", "oldest", metavar="VERSION", help="With --bisect: the oldest version. [default: the first]"
)
@click.option("--to", "newest", metavar="VERSION", help="With --bisect: the newest version. [default: the last]")
@click.option("--pre", is_flag=True, help="With --bisect: pre-releases too.")
@takes_command
@jobs_option
@engine_option
@own_profile_option
@json_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD …]")
def command(
    token: str,
    times: int,
    target: str | None,
    package: str | None,
    oldest: str | None,
    newest: str | None,
    pre: bool,
    given: Given,
    jobs: int | None,
    engine_name: str | None,
    profile: Profile | None,
    as_json: bool,
) -> int:
    """Reproduce a finding: REPRODUCED k/N (exit 1), FIXED (exit 0) or CHANGED (exit 3).

    A token names a target of tornwrite; the token of a probe needs the command again after "--". Another command than
    the one it was made for is allowed, with a warning: that is how a fix is tested.

    Of a published package, --target runs the token on another version, and --bisect searches the versions that the
    registry of your pip or npm has: fixed in VERSION (exit 0), broken in VERSION (exit 1), not decided (exit 3), or
    both ends of the range answer the same (exit 5). Both put versions into the cache; a search of n versions
    installs at most 2 + log2 n of them (rounded up). Where a version cannot be run, one beside it is tried, and the
    answer may be a range.
    """
    from harness.campaign.token import decode

    record = decode(token)
    _check_choice(record, target, package, bounded=oldest is not None or newest is not None or pre)
    how = How(times, jobs, engine_name, profile, as_json)
    if record.kind == "probe":
        return _replay(record, how, lambda workspace: probe_of_token(record, workspace, given))
    refuse_command(record, given)
    if package is not None:
        return bisect_command(record, Range(package, oldest or "", newest or "", pre), how)
    return _replay_target(record, how, target)


def _check_choice(record: ReplayRecord, target: str | None, package: str | None, *, bounded: bool) -> None:
    if package is None and bounded:
        raise click.UsageError("--from, --to and --pre go with --bisect")
    if package is not None and target is not None:
        raise click.UsageError("either --target, which runs one version, or --bisect, which searches for one")
    if record.kind == "probe" and (package is not None or target is not None):
        option = "--target" if package is None else "--bisect"
        raise click.UsageError(
            f"{option}: this token is of a probe: its versions are commands; "
            "replay it with another command after '--'"
        )


def _replay_target(record: ReplayRecord, how: How, target: str | None) -> int:
    """Replay the token of a target: at its own version, or at the one that ``target`` names."""
    from harness.campaign.bisecting import installed_version
    from harness.campaign.replay import subject_of
    from harness.report.escape import plain

    version = ""
    if target is not None:
        found, version = installed_version(
            record, target, lambda package: say(f"installing {package.name} {package.version} …")
        )
        if not how.as_json:
            print_line(plain(f"{found.package.name} {version}, with a token made with {found.made_with}:"))
    return _replay(record, how, lambda workspace: (subject_of(record, workspace, version), ()))


def _replay(record: ReplayRecord, how: How, make: Callable[[Workspace], tuple[Subject, tuple[str, ...]]]) -> int:
    """Replay a token against what ``make`` returns, print the answer and return the exit code."""
    from harness.campaign.executor import Executor
    from harness.campaign.replay import replay
    from harness.campaign.run import worker_count
    from harness.campaign.scratch import scratch_workspace
    from harness.report.escape import plain
    from harness.report.json_document import ReplayResult, result_document

    engine = chosen_engine(how.engine)
    with scratch_workspace() as workspace:
        subject, notes = make(workspace)
        begun = time.monotonic()
        with Executor(worker_count(how.jobs or 0), workspace.base) as executor:
            result = replay(executor, subject, record, how.times, engine, how.profile)
    code = EXIT_CODES[result.answer]
    if how.as_json:
        fields = {name: getattr(result, name) for name in result.__struct_fields__}
        values = ReplayResult(**fields, made_with=record.version, version=subject.version)
        print_line(result_document("replay", code, values, notes))
        return code
    for note in notes:
        say(note)
    # What a dialogue is called stands behind its variant.
    who = subject.label.replace(f"/{subject.variant}", f"/{record.variant}", 1)
    what = plain(f"{result.text}  ({who}, {record.invariant}")
    print_line(f"{what}, {time.monotonic() - begun:.1f} s)")
    return code
