"""``python -m harness.seeds [FILE] [--only ID … [--update]]``: measure the claims and write the page, atomically.

With ``--only`` the rows of these claims are measured and printed, and no page is written; with ``--update`` they take
their places in the page that is there.
"""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from harness import __version__
from harness.campaign.durable import write_whole
from harness.campaign.store import DEFAULT_REPORTS
from harness.seeds.claim import Claim, Row, answer, problems
from harness.seeds.measuring import RACE_RUNS, RATE_RUNS, measure
from harness.seeds.page import Header, Line, line_of, lines_in, page

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


def measured_rows(claims: Iterable[Claim], reports: str = DEFAULT_REPORTS) -> list[Row]:
    """Return the claims with their verdicts."""
    claims = list(claims)
    found = measure(claims, reports)
    return [answer(claim, found.get(claim.id)) for claim in claims]


def page_of(claims: Iterable[Claim], rows: Iterable[Row], kept: Mapping[str, Line]) -> str:
    """Return the page of all claims: their rows where they were measured, else the lines that were ``kept``."""
    lines = {**kept, **{row.claim.id: line_of(row) for row in rows}}
    header = Header(version=__version__, rate_runs=RATE_RUNS, race_runs=RACE_RUNS)
    return page((lines[claim.id] for claim in claims if claim.id in lines), header)


def main() -> int:
    """Measure and write; 1 if a claim could not be measured that should be."""
    words = argparse.ArgumentParser(prog="python -m harness.seeds")
    words.add_argument("file", nargs="?", default=DEFAULT_PAGE)
    words.add_argument("--only", nargs="+", metavar="ID", default=[])
    words.add_argument("--update", action="store_true")
    asked = words.parse_args()
    every = load_claims()
    claims = [claim for claim in every if not asked.only or claim.id in asked.only]
    unknown = set(asked.only) - {claim.id for claim in claims}
    if unknown:
        words.error(f"no claim {', '.join(sorted(unknown))}")
    if asked.update and not asked.only:
        words.error("--update goes with --only: without it the whole page is measured")
    kept: Mapping[str, Line] = {}
    if asked.update:
        try:
            kept = lines_in(Path(asked.file).read_text(encoding="utf-8"))
        except OSError as error:
            words.error(f"{asked.file}: {error.strerror}")
    rows = measured_rows(claims)
    if asked.only:
        for row in rows:
            print(f"{row.claim.id} {row.answer}: {row.shown}")
    if asked.update or not asked.only:
        write_whole(asked.file, page_of(every, rows, kept).encode("utf-8"))
        print(f"{len(rows)} claims: {asked.file}")
    missing = [row.claim.id for row in rows if row.answer == "not measured"]
    if missing:
        print(f"not measured: {', '.join(missing)}", file=sys.stderr)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
