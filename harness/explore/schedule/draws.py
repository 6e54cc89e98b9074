"""Numbers from a seed, the same on every platform: splitmix64 (Steele, Lea, Flood 2014). Pure."""

from __future__ import annotations

_MASK = (1 << 64) - 1


class Draws:
    """A stream of numbers."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next(self) -> int:
        """Return 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """Return a number from 0 to ``bound`` - 1; the bias of the division is below 2**-40 for what is drawn here."""
        return self.next() % bound

    def sample(self, count: int, bound: int) -> list[int]:
        """Return ``count`` different numbers below ``bound``, all of them where there are fewer, in random order."""
        left = list(range(bound))
        return [left.pop(self.below(len(left))) for _ in range(min(count, bound))]
