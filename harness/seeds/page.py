"""``reports/SEEDS.md``: one row per claim, by document. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from textwrap import fill
from typing import NamedTuple

import msgspec

from harness.seeds.claim import Row

WIDTH = 100
TITLES = {
    "000": "A transcript that loses one tool result in 1 of 10 sessions",
    "001": "An interrupt that makes a conversation unusable",
    "002": "A registry file of 144,258 NUL bytes",
    "003": "An index 93 days behind",
    "004": "A fork with a torn-file window",
}


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the page says of its runs: nothing that belongs to a machine."""

    version: str
    rate_runs: int
    race_runs: int
    seed: int = 1


class Line(NamedTuple):
    """One line of the table: the claim that it is about, its answer, and the line itself."""

    id: str
    answer: str
    text: str


_LINE = re.compile(r"^\| (\d{3}\.\d+) \|.*? \| \*\*([a-z ]+)\*\* \|.*\|$", re.MULTILINE)


def lines_in(text: str) -> dict[str, Line]:
    """Return the lines of a page, by claim."""
    return {found[1]: Line(found[1], found[2], found[0]) for found in _LINE.finditer(text)}


def line_of(row: Row) -> Line:
    """Return the line of a row."""
    claim = row.claim
    shown = row.shown + (f". {row.note}" if row.note else "")
    by = f"`{row.command}`" if row.command else ""
    cells = (claim.id, claim.kind, claim.says, f"**{row.answer}**", shown, by)
    text = "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    return Line(claim.id, row.answer, text)


def page(lines: Iterable[Line], header: Header) -> str:
    """Return the page as Markdown."""
    lines = list(lines)
    counted = Counter(line.answer for line in lines)
    out = ["# What the five documents claim, and what was measured", ""]
    counts = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
    out += [fill(_of_run(header, len(lines), counts), WIDTH), ""]
    out += [fill(_HOW_TO_READ, WIDTH), ""]
    for seed, title in TITLES.items():
        mine = [line.text for line in lines if line.id.startswith(f"{seed}.")]
        if not mine:
            continue
        out += [f"## {seed}: {title}", "", "| | kind | the document says | verdict | measured | shown by |"]
        out += ["|---|---|---|---|---|---|", *mine, ""]
    return "\n".join(out)


def _of_run(header: Header, rows: int, counts: str) -> str:
    return (
        f"Made by `make seeds` with tornwrite {header.version}, seed {header.seed}. {rows} claims: {counts}. Every "
        "figure is computed from the rows of a campaign that was run for it, or by the named measurement that the last "
        "column runs; a row can be measured anew by itself (`--only ID --update`). The rate is of "
        f"{header.rate_runs} plain runs, other races of {header.race_runs} each; nothing strikes in them, and "
        "intervals are Wilson's at 95 %. How often chance meets something belongs to the workload, the machine and its "
        "load, and so do times in milliseconds: a rerun moves these, and nothing else. The verdicts on a rate, on a "
        "time and on what two windows at once do to an index move with them: they are those of the machine that made "
        "this page. So do the counts of power losses, a little: samples of states go by the names that a run gives its "
        "temporary files, cuts of a real disk by when the kernel wrote."
    )


_HOW_TO_READ = (
    "Confirmed: measured as the document says. Contradicted: measured, and otherwise. Kills are process kills: they "
    "lose nothing that write() accepted. Power losses are told apart from them: states are those that a persistence "
    "profile allows of a recorded run, every one or a sample; cuts are disks of a run on a real file system, whose "
    "journal is committed after each operation or at the end alone, mounted and read (root on Linux; else not "
    "available). "
    "What no cut shows may happen all the same. ntfs and apfs are profiles from documents: neither has run here. The "
    "writers are ours, built as the documents describe; fork_session is the published SDK, and where a row says 'the "
    "application' it is the published program, isolated and against a scripted API."
)
