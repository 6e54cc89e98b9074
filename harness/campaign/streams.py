"""Named streams of pseudo-random numbers from one seed.

Each use of chance has a stream of its own, named by what it is for ("timed", target, index), so a further use
or another order of execution changes no other. The stream is seeded by a hash of seed and names and is the
Mersenne Twister of :mod:`random`, whose ``random()``, ``getrandbits()`` and ``randrange()`` give the same numbers
on every platform and supported version (a golden test holds them).
"""

from __future__ import annotations

import hashlib
import random
import secrets

SEED_MAX = (1 << 64) - 1


class SeedError(ValueError):
    """A text that spells no seed; one line with what is valid."""


def stream(seed: int, *names: str | int) -> random.Random:
    """Return the stream of ``seed`` with these names. ("a", "b") and ("ab",) are two streams."""
    raw = "\0".join((str(seed), *(f"{len(str(name))}:{name}" for name in names)))
    digest = hashlib.blake2b(
        raw.encode("utf-8", "surrogatepass"), digest_size=16, person=b"tornwrite-rng"
    ).digest()
    return random.Random(int.from_bytes(digest, "big"))


def new_seed() -> int:
    """Return a fresh seed of 32 bits: short enough to be typed."""
    return secrets.randbits(32)


def parse_seed(text: str) -> int:
    """Return the seed that ``text`` spells, decimal or ``0x`` hexadecimal. Raises :class:`SeedError`."""
    try:
        seed = int(text, 16) if text.lower().startswith("0x") else int(text, 10)
    except ValueError:
        seed = -1
    if not 0 <= seed <= SEED_MAX:
        raise SeedError(f"not a seed: {text[:40]!r}; valid are 0 to {SEED_MAX}, decimal or 0x hexadecimal")
    return seed


def spell_seed(seed: int) -> str:
    """Return the text that :func:`parse_seed` reads and every report prints."""
    return str(seed)
