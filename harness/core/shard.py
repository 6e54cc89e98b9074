"""A share of a campaign: the k-th of n, and how work is dealt so that n shares together are the whole, each once."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import TypeVar

import msgspec

MOST_SHARDS = 1_000
_FORM = re.compile(r"([0-9]{1,6})/([0-9]{1,6})", re.ASCII)

K = TypeVar("K", bound=Hashable)


class ShardError(ValueError):
    """A text that names no shard; one line with what is valid."""


class Shard(msgspec.Struct, frozen=True):
    """The ``number``-th of ``of`` shards, counted from 1; 1 of 1 is the whole."""

    number: int = 1
    of: int = 1

    @property
    def whole(self) -> bool:
        """Whether nothing is left to others."""
        return self.of == 1

    def takes(self, index: int) -> bool:
        """Whether the ``index``-th of numbered trials is of this shard.

        Each round of as many trials as there are shards gives every shard one, and begins with another shard than the
        round before: kinds of trials that take turns in the numbers do not all fall into one shard.
        """
        return (index + index // self.of) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Return the shard that ``2/4`` names. Raises :class:`ShardError`."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ShardError(f"{text[:40]!r} is not a shard; valid: K/N, as in 1/4")
    number, of = int(match[1]), int(match[2])
    if not 1 <= of <= MOST_SHARDS:
        raise ShardError(f"{text!r}: there can be 1 to {MOST_SHARDS:,} shards")
    if not 1 <= number <= of:
        raise ShardError(f"{text!r}: the shards of {of} are 1/{of} to {of}/{of}")
    return Shard(number, of)


def deal(weights: Sequence[tuple[K, int]], of: int) -> dict[K, int]:
    """Return which shard (from 1) has each indivisible piece: the heaviest first, each to the one with least so far.

    The same on every machine: nothing but the weights and their order decides.
    """
    loads = [0] * of
    homes: dict[K, int] = {}
    for _, (key, weight) in sorted(enumerate(weights), key=lambda item: (-item[1][1], item[0])):
        home = min(range(of), key=lambda number: (loads[number], number))
        loads[home] += weight
        homes[key] = home + 1
    return homes
