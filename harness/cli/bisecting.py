"""``tornwrite replay TOKEN --bisect PKG``: the first published version that fixed a finding, or that broke it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from harness.cli.options import chosen_engine
from harness.cli.output import print_folded, print_line, say

if TYPE_CHECKING:
    from harness.campaign.token import ReplayRecord
    from harness.core.bisected import Tried
    from harness.core.profile import Profile

EXIT_CODES = {"fixed": 0, "broken": 1, "undecided": 3, "same": 5}


class Range(NamedTuple):
    """Which versions are searched, as the options say it."""

    name: str
    oldest: str
    newest: str
    pre: bool


class How(NamedTuple):
    """How a token is replayed, as the options say it."""

    times: int
    jobs: int | None
    engine: str | None
    profile: Profile | None
    as_json: bool


def bisect_command(record: ReplayRecord, asked: Range, how: How) -> int:
    """Search, print a line per version and the answer, and return the exit code."""
    from harness.campaign.bisecting import attempt_with, bisect, check_decidable, published, versions_between
    from harness.campaign.replay import finding_of
    from harness.campaign.run import worker_count
    from harness.campaign.scratch import scratch_workspace
    from harness.catalog import cache_directory
    from harness.catalog.published import split_version
    from harness.explore.bisection import most_tries
    from harness.report.bisection import bisection_result, go_on, range_line
    from harness.report.json_document import result_document

    name, version = split_version(asked.name)
    if version:
        raise click.UsageError(f"--bisect takes no version: give --bisect {name}, and --from or --to {version}")
    found = published(record, name)
    check_decidable(record)
    versions = versions_between(found, asked.oldest, asked.newest, pre=asked.pre)
    engine = chosen_engine(how.engine)
    heard = _Heard(max(map(len, versions)), how.as_json)
    heard.line(range_line(found.package.name, found.made_with, versions, most_tries(len(versions))))
    with scratch_workspace() as workspace:
        attempt = attempt_with(
            workspace,
            found,
            record,
            times=how.times,
            jobs=worker_count(how.jobs or 0),
            engine=engine,
            profile=how.profile,
            begin=lambda version: say(f"installing {found.package.name} {version} …"),
        )
        try:
            result = bisect(found, versions, attempt, heard.tried)
        except KeyboardInterrupt:
            raise heard.interrupted() from None
    code = EXIT_CODES[result.turn]
    answer = bisection_result(result, finding_of(record))
    if how.as_json:
        print_line(result_document("replay", code, answer))
        return code
    print_line(answer.text)
    if options := go_on(result):
        say(f"note: not all versions between them were tried; go on with {options}")
    if answer.installs:
        say(f"note: what was installed stays in {cache_directory()}")
    return code


class _Heard:
    """Prints each version as it is tried, and knows them if the search is interrupted."""

    def __init__(self, width: int, silent: bool) -> None:
        self._width = width
        self._silent = silent
        self._versions: list[str] = []

    def line(self, text: str) -> None:
        if not self._silent:
            print_folded("", text)

    def tried(self, item: Tried) -> None:
        from harness.report.bisection import tried_line

        self._versions.append(item.version)
        if not self._silent:
            label, text = tried_line(item, self._width)
            print_folded(label, text)

    def interrupted(self) -> KeyboardInterrupt:
        from harness.cli.failures import InterruptedRunError

        done = f"versions tried: {len(self._versions)}; they stay in the cache and need no second install"
        return InterruptedRunError(done) if self._versions else KeyboardInterrupt()
