"""``python -m harness.seeds [FILE]``: run the campaigns and write the page, atomically."""

from __future__ import annotations

import importlib.resources
import sys
import tomllib

import msgspec

from harness import __version__
from harness.campaign.durable import write_whole
from harness.campaign.store import DEFAULT_REPORTS
from harness.sandbox.machine import machine
from harness.seeds.claim import Claim, answer, problems
from harness.seeds.measuring import measure
from harness.seeds.page import page

DEFAULT_PAGE = "reports/SEEDS.md"


def load_claims() -> tuple[Claim, ...]:
    """Return the claims of ``claims.toml``. Raises ``ValueError`` where they contradict themselves."""
    text = importlib.resources.files("harness.seeds").joinpath("claims.toml").read_text(encoding="utf-8")
    claims = msgspec.convert(tomllib.loads(text)["claim"], tuple[Claim, ...])
    wrong = problems(claims)
    if wrong:
        raise ValueError("; ".join(wrong))
    return claims


def environment() -> str:
    """Return, in one line, where the page was measured."""
    here = machine(".")
    return f"tornwrite {__version__}, {here['system']} {here['kernel']}, Python {here['python']}."


def main() -> int:
    """Measure and write; 1 if a claim could not be measured that should be."""
    claims = load_claims()
    measured = measure(claims, DEFAULT_REPORTS)
    rows = [answer(claim, measured.get((claim.variant, claim.setting))) for claim in claims]
    target = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_PAGE
    write_whole(target, page(rows, environment()).encode("utf-8"))
    print(f"{len(rows)} claims: {target}")
    missing = [row.claim.id for row in rows if row.answer == "not measured"]
    if missing:
        print(f"not measured: {', '.join(missing)}", file=sys.stderr)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
