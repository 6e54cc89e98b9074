"""What a search through the published versions of a package showed: which were tried, and where the answer turns.

Non-goals: which version to try next (:mod:`harness.explore.bisection`), and trying it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Standing = Literal["shows", "lacks", "unknown"]
"""Of one version: it shows what is looked for, it does not, or it could not be run to an answer."""
Turn = Literal["fixed", "broken", "same", "undecided"]
"""Which way the answer turns in a range, oldest version first; ``same``: it does not, ``undecided``: not known."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One version that was tried. ``text`` is what its replay said, or why there was none; ``seconds`` of wall time.

    ``installed``: it was not in the cache, so an installation was attempted.
    """

    version: str
    standing: Standing
    text: str
    times: int = 0
    reproduced: int = 0
    installed: bool = False
    seconds: float = 0.0


class Bisected(msgspec.Struct, frozen=True, kw_only=True):
    """The search as a whole; ``tried`` in the order of trying, ``versions`` the range, oldest first.

    Of a turn ``before`` and ``after`` are the nearest versions that answer differently, and ``between`` those inside
    that gave no answer; ``untried`` of them were not tried because ``limit`` installations were used up.
    """

    package: str
    made_with: str
    versions: tuple[str, ...]
    tried: tuple[Tried, ...]
    limit: int
    turn: Turn
    before: str = ""
    after: str = ""
    between: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()

    @property
    def installs(self) -> int:
        """How many installations were attempted."""
        return sum(item.installed for item in self.tried)
