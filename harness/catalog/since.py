"""What changes with the version of a package: a variant at the version that is there.

A variant says how its oldest version is started and driven; each ``[[variant.since]]`` says what is otherwise from one
version on. They apply in the order of their versions, so what a later one does not say stays.

Non-goals: the order of pre-releases among themselves; versions without numbers.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import msgspec

from harness.catalog.headless import Headless, overridden

_NUMBER = re.compile(r"\d+")


class Since(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[variant.since]]``: what is otherwise from ``version`` on; what is empty is not."""

    version: str
    run: tuple[str, ...] = ()
    headless: Headless = Headless()
    repeats_ids: bool | None = None


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[variant.known]]``: what measurements of ``version`` have shown: the verdict of each dialogue, by its name."""

    version: str = ""
    dialogues: dict[str, Literal["held", "violated"]] = {}


def known_verdict(known: tuple[Known, ...], version: str, dialogue: str) -> Literal["held", "violated", ""]:
    """Return what is known of a dialogue with a version; empty where nothing is."""
    return next(
        (each.dialogues[dialogue] for each in known if each.version == version and dialogue in each.dialogues), ""
    )


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparing: ``2.1.113`` is (2, 1, 113), ``2.1`` comes before ``2.1.0``."""
    head = re.split(r"[-+]", version, maxsplit=1)[0]
    return tuple(int(found[0]) for part in head.split(".") if (found := _NUMBER.match(part)))


class Changed(NamedTuple):
    """How one version is started and driven, and whether it sends the ids of calls again and again."""

    run: tuple[str, ...]
    headless: Headless | None
    repeats_ids: bool


def changed(version: str, oldest: Changed, since: tuple[Since, ...]) -> Changed:
    """Return how ``version`` is started and driven. One that has no number is as the oldest."""
    run, headless, repeats_ids = oldest
    have = release(version)
    for change in sorted(since, key=lambda each: release(each.version)):
        if have >= release(change.version):
            run = change.run or run
            headless = None if headless is None else overridden(headless, change.headless)
            repeats_ids = repeats_ids if change.repeats_ids is None else change.repeats_ids
    return Changed(run, headless, repeats_ids)
