"""``python -m harness.seeds [FILE] [--only ID …]``: measure the claims and write the page, atomically.

With ``--only`` the rows of these claims are measured and printed, and no page is written.
"""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import tomllib
from collections.abc import Iterable

import msgspec

from harness import __version__
from harness.campaign.durable import write_whole
from harness.campaign.store import DEFAULT_REPORTS
from harness.seeds.claim import Claim, Measured, Row, answer, problems
from harness.seeds.measuring import RACE_RUNS, RATE_RUNS, measure
from harness.seeds.page import Header, page

DEFAULT_PAGE = "reports/SEEDS.md"


def load_claims() -> tuple[Claim, ...]:
    """Return the claims of all documents, in order. Raises ``ValueError`` where they contradict themselves."""
    files = importlib.resources.files("harness.seeds").joinpath("claims").iterdir()
    texts = [path.read_text(encoding="utf-8") for path in sorted(files, key=lambda path: path.name)]
    tables = [table for text in texts for table in tomllib.loads(text)["claim"]]
    claims = msgspec.convert(tables, tuple[Claim, ...])
    wrong = problems(claims)
    if wrong:
        raise ValueError("; ".join(wrong))
    return claims


def measured_rows(claims: Iterable[Claim], reports: str = DEFAULT_REPORTS) -> tuple[list[Row], int]:
    """Return the claims with their verdicts, and of how many rows of campaigns these were made."""
    claims = list(claims)
    found = measure(claims, reports)
    kept = {id(item): item.rows for item in found.values() if isinstance(item, Measured)}
    return [answer(claim, found.get(claim.id)) for claim in claims], sum(kept.values())


def main() -> int:
    """Measure and write; 1 if a claim could not be measured that should be."""
    words = argparse.ArgumentParser(prog="python -m harness.seeds")
    words.add_argument("file", nargs="?", default=DEFAULT_PAGE)
    words.add_argument("--only", nargs="+", metavar="ID", default=[])
    asked = words.parse_args()
    claims = [claim for claim in load_claims() if not asked.only or claim.id in asked.only]
    unknown = set(asked.only) - {claim.id for claim in claims}
    if unknown:
        words.error(f"no claim {', '.join(sorted(unknown))}")
    rows, count = measured_rows(claims)
    if asked.only:
        for row in rows:
            print(f"{row.claim.id} {row.answer}: {row.shown}")
    else:
        header = Header(version=__version__, trials=count, rate_runs=RATE_RUNS, race_runs=RACE_RUNS)
        write_whole(asked.file, page(rows, header).encode("utf-8"))
        print(f"{len(rows)} claims: {asked.file}")
    missing = [row.claim.id for row in rows if row.answer == "not measured"]
    if missing:
        print(f"not measured: {', '.join(missing)}", file=sys.stderr)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
