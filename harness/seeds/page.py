"""``reports/SEEDS.md``: one row per claim, by document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.seeds.claim import Row

TITLES = {
    "000": "A transcript that loses one tool result in 1 of 10 sessions",
    "001": "An interrupt that makes a conversation unusable",
    "002": "A registry file of 144,258 NUL bytes",
    "003": "An index 93 days behind",
    "004": "A fork with a torn-file window",
}


def page(rows: Iterable[Row], environment: str) -> str:
    """Return the page as Markdown. ``environment`` is the line that says where it was measured."""
    rows = list(rows)
    counted = Counter(row.answer for row in rows)
    out = [
        "# What the five documents claim, and what was measured",
        "",
        "Made by `make seeds`; every figure is computed from the rows of that run. "
        + ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
        + f". {environment}",
        "",
    ]
    for seed, title in TITLES.items():
        mine = [row for row in rows if row.claim.seed == seed]
        if not mine:
            continue
        out += [f"## {seed}: {title}", "", "| | kind | the document says | verdict | measured | shown by |"]
        out += ["|---|---|---|---|---|---|", *map(_line, mine), ""]
    return "\n".join(out)


def _line(row: Row) -> str:
    claim = row.claim
    shown = row.shown + (f". {claim.note}" if claim.note else "")
    by = f"`{row.command}`" if row.command else ""
    cells = (claim.id, claim.kind, claim.says, f"**{row.answer}**", shown, by)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
