"""Values of options as people type them: durations, lists of fault classes, splitting a command line."""

from __future__ import annotations

import difflib
import math
import os
import shlex
from typing import Any

import click

from harness.core.duration import seconds
from harness.core.fault import FAULT_CLASSES
from harness.core.schedule import POLICIES
from harness.core.shard import Shard, ShardError, parse_shard

TIMEOUT_MAX_S = 120.0
"""Longest run in seconds: a call to a worker holds two of them, and has 300 s."""


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return ``30s``, ``5m``, ``1.5h`` or a bare number of seconds, in seconds."""
    if value is None:
        return None
    try:
        return seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _fault_list(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the fault classes of a comma-separated list, each once, in the order given."""
    if not values:
        return None
    if len(values) > 1:
        raise click.BadParameter(f"given {len(values)} times; one list holds all: {','.join(values)}")
    words = [word.strip() for word in values[0].split(",") if word.strip()]
    if not words:
        raise click.BadParameter(f"an empty list; valid: {', '.join(FAULT_CLASSES)}")
    for word in words:
        if word not in FAULT_CLASSES:
            close = difflib.get_close_matches(word.lower(), FAULT_CLASSES, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise click.BadParameter(f"no fault class {word!r}{hint}; valid: {', '.join(FAULT_CLASSES)}")
    return tuple(dict.fromkeys(words))


def version_list(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return the versions of a comma-separated list, each once, in the order given."""
    words = [word.strip() for word in value.split(",")] if value is not None else []
    if not all(words):
        what = "an empty list" if not any(words) else f"{value!r} has an empty place"
        raise click.BadParameter(f"{what}; give versions with commas between, such as 2.1.85,latest")
    return tuple(dict.fromkeys(words))


def split_words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return the words of a command given in one argument, split as a shell splits them; no shell runs it."""
    if value is None:
        return ()
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None
    if not words:
        raise click.BadParameter("an empty command")
    return words


ALLOW_COMMAND = {"ignore_unknown_options": False, "allow_interspersed_args": False}
"""Settings of a command whose last words are the user's command: options behind its first word are that command's."""


class Number(click.ParamType):  # type: ignore[type-arg]
    """A number between two bounds, both allowed; whole unless ``fraction``."""

    name = "N"

    def __init__(self, low: float, high: float, fraction: bool = False) -> None:
        self._low = low
        self._high = high
        self._fraction = fraction

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; anything else is a usage error that names the bounds."""
        try:
            if not str(value).isascii() or "_" in str(value):
                raise ValueError
            number = float(value) if self._fraction else int(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not self._low <= number <= self._high:
            kind = "a number" if self._fraction else "a whole number"
            self.fail(f"{str(value)[:40]!r} is not {kind} from {self._low} to {self._high}", param, ctx)
        return number


engine_option = click.option(
    "--engine",
    "engine_name",
    type=click.Choice(["ptrace", "shim"]),
    help="What watches the operations: ptrace (any program), shim (Python and Node). [default: ptrace, else shim]",
)


def chosen_engine(asked: str | None) -> str:
    """Return the engine to use, and say where it is not the first choice. Raises ``NoEngineError``."""
    from harness.campaign.plan import choose_engine
    from harness.cli.output import say

    name, why = choose_engine(asked)
    if why:
        say(f"note: {why}")
    return name


seed_option = click.option("--seed", type=Number(0, (1 << 63) - 1), help="Seed of every random choice.")
jobs_option = click.option("--jobs", type=Number(1, 256), help="Workers; default: one per processor.")
baseline_option = click.option(
    "--baseline",
    metavar="FILE",
    help="Known findings, no failure until they expire; 'tornwrite baseline RUN' begins one.",
)
budget_option = click.option(
    "--budget", callback=duration, metavar="TIME", help="Wall time for what is optional, e.g. 30s or 5m."
)
faults_option = click.option(
    "--faults",
    callback=_fault_list,
    multiple=True,
    metavar="LIST",
    help=f"Fault classes, with commas between: any of {', '.join(FAULT_CLASSES)}.",
)


def _profile_list(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the profiles of a comma-separated list, each once, in the order given; files as absolute paths."""
    if not values:
        return None
    from harness.catalog import ManifestError
    from harness.catalog.profiles import ALL, beside, list_profiles, load_profiles

    if len(values) > 1:
        raise click.BadParameter(f"given {len(values)} times; one list holds all: {','.join(values)}")
    words = [word.strip() for word in values[0].split(",") if word.strip()]
    if not words:
        raise click.BadParameter(f"an empty list; valid: {', '.join((*list_profiles(), ALL))}, or a .toml file")
    names = tuple(dict.fromkeys(beside(word, os.getcwd()) for word in words))
    try:
        load_profiles(names)
    except ManifestError as error:
        raise click.BadParameter(str(error)) from None
    return names


schedules_option = click.option(
    "--schedules",
    type=click.Choice(POLICIES),
    help="Search orders of the target's own operations, under concurrency.",
)


profile_option = click.option(
    "--profile",
    "profiles",
    callback=_profile_list,
    multiple=True,
    metavar="LIST",
    help="File systems that the power goes on, with commas between: names of profiles, .toml files, or all.",
)


confirm_power_option = click.option(
    "--confirm-power/--no-confirm-power",
    default=None,
    help="Try power losses on real file systems (Linux, root). [default: where that is possible]",
)


block_vm_option = click.option(
    "--block-vm",
    is_flag=True,
    help="Try them inside a virtual machine (User-Mode Linux), which needs no root.",
)


def _own_profile(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Return the one profile that a file or a name stands for."""
    names = _profile_list(ctx, param, (value,) if value is not None else ())
    if names is None:
        return None
    from harness.catalog.profiles import load_profiles

    profiles = load_profiles(names)
    if len(profiles) != 1:
        raise click.BadParameter(f"{value!r} is not one profile")
    return profiles[0]


own_profile_option = click.option(
    "--profile",
    callback=_own_profile,
    metavar="FILE",
    help="The profile of a token of a power loss, where it is one of your own.",
)


def _directory(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("an empty name; valid: a directory, made where it is missing")
    return value


out_option = click.option(
    "--out",
    default="reports",
    show_default=True,
    type=click.Path(file_okay=False),
    callback=_directory,
    help="Where runs are kept.",
)
content_option = click.option(
    "--show-content", is_flag=True, help="Let evidence quote bytes of files. Off: ids, sizes, offsets, hashes."
)


def _shard(ctx: click.Context, param: click.Parameter, value: str | None) -> Shard | None:
    try:
        return None if value is None else parse_shard(value)
    except ShardError as error:
        raise click.BadParameter(str(error)) from None


shard_option = click.option(
    "--shard",
    callback=_shard,
    metavar="K/N",
    help="Only the K-th of N shares of the run; 'tornwrite report RUN RUN …' adds the shares up.",
)
command_words = click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- CMD …")
