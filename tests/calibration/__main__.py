"""Hold the profiles to real file systems: ``python -m tests.calibration [--write] [PROFILE…]`` (root, Linux).

Every writer of :mod:`tests.block.pattern` and a number of random ones runs on the file system of each profile, with a
commit at the end and with one after each operation; the power is cut at every flush epoch. Every disk seen must be in
the profile's set (soundness). Of the named writers, the share of the predicted trees that were seen is compared with
``shares.json``: a drop of more than a fifth fails, for then the set has grown or the recorder sees less. ``--write``
writes that file anew. The states that must not be in a set are ``forbidden.py``, and a test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence

from harness.catalog.profiles import list_profiles, load_profile
from harness.core.profile import Profile
from harness.engines.block import why_not_available
from tests.block.pattern import PATTERNS
from tests.calibration.measure import COMMITS, Measured, measure

SHARES = os.path.join(os.path.dirname(__file__), "shares.json")
RANDOM_WRITERS = 40
LEAST_STATES = 3_000
"""Distinct trees per writer and profile, whatever the commit mode, added up: fewer prove little."""
DROP = 0.2


def observable() -> tuple[Profile, ...]:
    """Return the profiles that some file system of this machine can be held to."""
    profiles = (load_profile(name) for name in list_profiles())
    return tuple(item for item in profiles if item.filesystem and not why_not_available(item.filesystem))


def share_of(runs: Sequence[Measured]) -> float:
    """Return, of what the runs of one writer under one profile predict, the share that any of them saw."""
    observed = frozenset[int]().union(*(run.observed for run in runs))
    predicted = frozenset[int]().union(*(run.predicted for run in runs))
    return round(len(observed & predicted) / max(1, len(predicted)), 3)


def _line(runs: Sequence[Measured]) -> str:
    first = runs[0]
    observed = frozenset[int]().union(*(run.observed for run in runs))
    predicted = frozenset[int]().union(*(run.predicted for run in runs))
    strange = sum(len(run.strange) for run in runs)
    cuts = sum(run.cuts for run in runs)
    return (
        f"{first.profile:<38} {first.pattern:<19} {cuts:>6} cuts {len(observed):>4} of {len(predicted):>5} "
        f"predicted trees seen, {strange} outside the set"
    )


def _run(profiles: Iterable[Profile], writers: Sequence[str], seed: int) -> list[list[Measured]]:
    rows = []
    for profile in profiles:
        for writer in writers:
            runs = [measure(writer, profile, commit, seed) for commit in COMMITS]
            rows.append(runs)
            print(_line(runs), flush=True)
            for item in (item for run in runs for item in run.strange[:2]):
                print(f"    {item.where}\n    {item.what[:400]}", flush=True)
    return rows


def dropped(rows: Sequence[Sequence[Measured]], known: dict[str, float]) -> list[str]:
    """Return what fell by more than a fifth against the calibration file, or is not in it, in a sentence each."""
    out = []
    for runs in rows:
        name, share = f"{runs[0].profile}/{runs[0].pattern}", share_of(runs)
        before = known.get(name)
        if before is None:
            out.append(
                f"{name}: {share:.3f} of the predicted trees seen, and no share is kept to hold it to (--write)"
            )
        elif share < before * (1 - DROP):
            out.append(f"{name}: {share:.3f} of the predicted trees seen, {before:.3f} before")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit 1 for a strange or unmountable disk or a share that fell, 5 where nothing can run."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration")
    parser.add_argument("profiles", nargs="*")
    parser.add_argument("--write", action="store_true", help="write the shares anew")
    parser.add_argument("--seed", type=int, default=0, help="of the subsets of an epoch's writes")
    parser.add_argument("--first", type=int, default=1, help="number of the first random writer")
    parser.add_argument("--random", type=int, default=RANDOM_WRITERS, help="how many random writers")
    asked = parser.parse_args(arguments)
    profiles = [item for item in observable() if not asked.profiles or item.name in asked.profiles]
    if not profiles:
        print("not available: no profile's file system can be cut here", file=sys.stderr)
        return 5
    begun = time.monotonic()
    named = _run(profiles, list(PATTERNS), asked.seed)
    numbers = [str(number) for number in range(asked.first, asked.first + asked.random)]
    rows = named + _run(profiles, numbers, asked.seed)
    known = {}
    if os.path.exists(SHARES):
        with open(SHARES, encoding="utf-8") as stream:
            known = json.load(stream)
    fallen = [] if asked.write else dropped(named, known)
    unmountable = sum(run.unmountable for runs in rows for run in runs)
    distinct = sum(len(frozenset[int]().union(*(run.observed for run in runs))) for runs in rows)
    strange = sum(len(run.strange) for runs in rows for run in runs)
    cuts = sum(run.cuts for runs in rows for run in runs)
    print(
        f"Linux {platform.release()}: {cuts:,} cuts, {distinct:,} distinct states, {strange} outside their profile's "
        f"set, {unmountable} disks that could not be mounted, in {time.monotonic() - begun:.0f} s"
    )
    if not asked.profiles and asked.random >= RANDOM_WRITERS and distinct < LEAST_STATES:
        fallen.append(
            f"{distinct:,} distinct states of all writers and profiles, and at least {LEAST_STATES:,} count"
        )
    for line in fallen:
        print(f"fallen: {line}")
    if asked.write:
        known |= {f"{runs[0].profile}/{runs[0].pattern}": share_of(runs) for runs in named}
        with open(SHARES, "w", encoding="utf-8") as stream:
            json.dump(dict(sorted(known.items())), stream, indent=1)
            stream.write("\n")
    return 1 if strange or fallen or unmountable else 0


if __name__ == "__main__":
    sys.exit(main())
