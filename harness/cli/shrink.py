"""``tornwrite shrink``: the smallest case that still shows what a token names."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import click
import msgspec

from harness.cli.given import Given, takes_command
from harness.cli.options import Number, chosen_engine, duration, engine_option, jobs_option
from harness.cli.output import json_option, print_folded, print_line, say
from harness.cli.replay import EXIT_CODES
from harness.cli.tokens import given_probe, probe_of_token, refuse_command
from harness.report.escape import plain

if TYPE_CHECKING:
    from harness.campaign.shrinking import Shrinking
    from harness.campaign.token import ReplayRecord
    from harness.catalog import Subject

Tell: TypeAlias = Callable[[Mapping[str, int], Mapping[str, int]], None]

_NOT_VERIFIED = 3
_ALWAYS = frozenset({"preemptions"})
"""Measures that are told even where they are nothing."""


@click.command("shrink")
@click.argument("token")
@click.option(
    "--budget", callback=duration, default="60s", show_default=True, metavar="TIME", help="Time for trying."
)
@click.option(
    "--times", type=Number(1, 10_000), default=5, show_default=True, help="Replays of what was found, at the end."
)
@click.option("--quiet", is_flag=True, help="Print the new token alone.")
@takes_command
@jobs_option
@engine_option
@json_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD …]")
def command(
    token: str,
    budget: float,
    times: int,
    quiet: bool,
    given: Given,
    jobs: int | None,
    engine_name: str | None,
    as_json: bool,
) -> int:
    """Make a finding smaller: fewer tools, updates, sessions and bytes, fewer preemptions, the earliest operation.

    Whatever is printed was shown by real runs of the target: the same invariant, path, damage and kind of operation. A
    preemption takes the turn from an actor that could go on; all other switches are the program's own. The token of a
    probe needs the command again after "--"; its workload is that command, so only its order can be made simpler.

    Exit codes: 0 a token that replays, the same one where nothing is smaller; 2 usage; 3 what was found did not replay.
    A token that shows nothing is answered as by "replay".

    \b
    tornwrite shrink tw1.… --budget 5m --times 20
    TOKEN=$(tornwrite shrink --quiet tw1.…)
    """
    from harness.campaign.shrinking import check_shrinkable
    from harness.campaign.token import decode

    record = decode(token)
    check_shrinkable(record)
    if record.kind != "probe":
        refuse_command(record, given)
    begun = time.monotonic()

    def told(before: Mapping[str, int], after: Mapping[str, int]) -> None:
        if not (quiet or as_json):
            print_folded(f"{time.monotonic() - begun:6.1f} s  ", _changes(before, after))

    result, notes = _shrink(record, given, budget, times, jobs or 0, chosen_engine(engine_name), told)
    code = EXIT_CODES[result.verified.answer]
    if result.token:
        code = 0 if result.verified.reproduced else _NOT_VERIFIED
    if as_json:
        _print_json(result, code, notes)
        return code
    for note in notes:
        say(note)
    seconds = time.monotonic() - begun
    if quiet:
        if code or not result.token:
            say(f"{result.verified.text}: no smaller token")
    else:
        _print_text(record, result, seconds)
    if result.token and not code:
        print_line(result.token if quiet else _replay_line(record, given, result.token))
    return code


def _shrink(
    record: ReplayRecord, given: Given, budget: float, times: int, jobs: int, engine: str, told: Tell
) -> tuple[Shrinking, tuple[str, ...]]:
    """Return what came of a token, and what is to be noted about the command that was given for it."""
    from harness.campaign.executor import Executor
    from harness.campaign.replay import subject_of
    from harness.campaign.run import worker_count
    from harness.campaign.scratch import scratch_workspace
    from harness.campaign.shrinking import shrink_token

    with scratch_workspace() as workspace:

        def named(record: ReplayRecord) -> tuple[Subject, tuple[str, ...]]:
            if record.kind == "probe":
                return probe_of_token(record, workspace, given)
            return subject_of(record, workspace), ()

        _, notes = named(record)  # what is wrong with it is said before anything is started
        with Executor(worker_count(jobs), workspace.base) as executor:
            result = shrink_token(executor, record, lambda of: named(of)[0], times, budget, engine, told)
    return result, notes


def _print_text(record: ReplayRecord, result: Shrinking, seconds: float) -> None:
    replayed, took = result.verified, f"{seconds:.1f} s"
    if not result.token:
        print_line(f"{replayed.text}: nothing to shrink ({took})")
        return
    why = "nothing smaller shows it" if result.done else "the budget or the bound on runs is used up"
    print_folded("smallest  ", _measures(result.after))
    print_folded("tried     ", f"{_count(result.attempts, 'smaller case')}, {_count(result.runs, 'run')}: {why}")
    where = plain(f"{record.target}/{record.variant}, {record.invariant}")
    print_line(f"verified  {replayed.text}  ({where}, {took})")


def _print_json(result: Shrinking, code: int, notes: tuple[str, ...]) -> None:
    from harness.report.json_document import ShrinkResult, result_document

    values = msgspec.convert(result, ShrinkResult, from_attributes=True)
    print_line(result_document("shrink", code, values, notes))


def _replay_line(record: ReplayRecord, given: Given, token: str) -> str:
    words = f" {plain(given_probe(record, given).replay_words)}" if record.kind == "probe" else ""
    return f"tornwrite replay {token}{words}"


def _changes(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    names = dict.fromkeys((*before, *after))
    changed = [name for name in names if before.get(name) != after.get(name)]
    return ", ".join(f"{_word(name)} {before.get(name, 0):,} → {after.get(name, 0):,}" for name in changed)


def _measures(after: Mapping[str, int]) -> str:
    least = {"instances": 1}
    return ", ".join(
        f"{_word(name)} {number:,}"
        for name, number in after.items()
        if number > least.get(name, 0) or name in _ALWAYS
    )


def _word(name: str) -> str:
    return name.replace("_", " ")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
