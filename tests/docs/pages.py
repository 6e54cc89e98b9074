"""The pages as their readers and the tests meet them: fenced blocks, the commands in them, links.

A block tagged ``sh`` holds commands, one a line, continued by a backslash; of one tagged ``console`` the lines behind
``$``. A comment before a block says what a test needs to know, parts separated by semicolons:

    <!-- test: file NAME -->        the block is the content of a file
    <!-- test: skip REASON -->      not run
    <!-- test: slow -->             run with --evidence only
    <!-- test: exit 1 -->           exit code of every command of the block (0 if not said)
    <!-- test: with --budget 5s --> words that every tornwrite command of the block gets
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LINKING = (*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "targets" / "README.md", ROOT / "scenarios" / "README.md")
COMMANDS = ("sh", "console")
_FENCE = re.compile(r"^```(\w*)\s*$")
_HINT = re.compile(r"<!-- test:(.*?)-->")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: its tag, its text, the hints before it, and the number of its first line."""

    tag: str
    text: str
    hints: dict[str, str]
    line: int

    @property
    def commands(self) -> list[str]:
        """The commands of the block, as a shell gets them."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.tag == "console":
            return [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]

    def with_words(self, command: str) -> str:
        """Return ``command`` with the words that its hints add, if it is one of tornwrite."""
        words = self.hints.get("with", "")
        return re.sub(r"^(tornwrite [\w-]+)", rf"\1 {words}", command) if words else command


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = next(index for index in range(number + 1, len(lines)) if lines[index].strip() == "```")
        before = _HINT.fullmatch(lines[number - 1].strip()) if number else None
        hints = dict(_hints(before[1])) if before else {}
        yield Block(fence[1], "\n".join(lines[number + 1 : end]) + "\n", hints, number + 2)
        number = end + 1


def _hints(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        name, _, value = part.strip().partition(" ")
        if name:
            yield name, value.strip()


def links(text: str) -> list[str]:
    """Return the targets of a page's links that lead to files of the project."""
    return [link for link in _LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]


def anchors(text: str) -> set[str]:
    """Return the names of a page's headings, as links to them are written."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
