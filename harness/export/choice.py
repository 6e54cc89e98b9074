"""Which check goes into an exported file: the simplest that sees the damage, and nothing where there is none. Pure.

The checks are the functions of ``parts.damage`` themselves, so what is chosen here has told the two apart before
anybody else runs it. Of a finding on one file only that file is looked at; where the file is intact and the finding
is about what hides it, the other files that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from harness.checks.binding import FileBinding
from harness.core.role import path_role
from harness.core.run import Recording
from harness.core.tree import Tree
from harness.core.verdict import Finding
from harness.export.document import Check
from harness.export.parts import damage
from harness.export.parts.tracer import is_like
from harness.report.escape import plain

_FIRST: Mapping[str, tuple[str, ...]] = {
    "lost": ("saved_records_are_there", "saved_ids_are_there"),
    "missing": ("saved_records_are_there", "files_are_there"),
    "rejected": ("calls_are_answered",),
    "unlinked": ("records_are_linked",),
    "silent": ("success_is_true",),
}
"""By damage, what is looked at first."""
_ORDER = (
    "documents_are_whole",
    "lines_are_whole",
    "files_hold_something",
    "saved_records_are_there",
    "saved_ids_are_there",
    "calls_are_answered",
    "records_are_linked",
    "files_are_there",
    "success_is_true",
    "files_are_not_these",
)
_BY_OTHERS = frozenset({"unreadable", "silent"})
"""Damage of which the file that it names may be intact."""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What a run left: its files, what it said to have saved, and its exit code (-1: a signal ended it)."""

    files: dict[str, bytes]
    saved: Sequence[str] = ()
    exit_code: int = 0


def left_by(recording: Recording) -> Left:
    """Return what a run left."""
    code = recording.exit_code if recording.signal is None and recording.exit_code is not None else -1
    return Left(files=files_of(recording.final), saved=recording.acks, exit_code=code)


def files_of(tree: Tree) -> dict[str, bytes]:
    """Return the files of a tree as an exported file reads them."""
    return {path: file.content.to_bytes() for path, file in tree.files()}


def means_the_same(role: str, paths: Iterable[str]) -> bool:
    """Whether the simpler rule of an exported file finds, among these paths, those that play a role."""
    return all(is_like(role, path) == (path_role(path) == role) for path in paths)


def found_by(check: Check, left: Left) -> list[str]:
    """Return what a check finds."""
    given = {"saved": (list(left.saved),), "exit_code": (left.exit_code,)}.get(check.given, ())
    found: list[str] = getattr(damage, check.function)(left.files, *check.fixed, *given)
    return found


def candidates(
    finding: Finding,
    path: str,
    binding: FileBinding | None,
    masked: bool,
    left: Left,
    whole: Left,
    paths: Iterable[str],
) -> Iterator[Check]:
    """Yield the checks of a run that left a finding in ``path``, the most telling first; hashes come last.

    ``whole`` is what an undisturbed run leaves, ``masked`` whether two of them differ, ``paths`` all there ever were.
    """
    first = _FIRST.get(finding.damage, ())
    changed = sorted(each for each in {*left.files, *whole.files} if left.files.get(each) != whole.files.get(each))
    others = [path_role(each) for each in changed] if finding.damage in _BY_OTHERS else []
    paths = tuple(paths)
    roles = [role for role in dict.fromkeys((finding.role, *others)) if role and means_the_same(role, paths)]
    for name in (*first, *(name for name in _ORDER if name not in first)):
        if name == "files_are_there":
            if path in whole.files:
                yield Check(function=name, fixed=([path],))
        elif name == "success_is_true":
            if path in whole.files and not masked and finding.fault_class in ("errno", "short"):
                yield Check(function=name, fixed=({path: damage.hash_of(whole.files, path)},), given="exit_code")
        elif name == "files_are_not_these":
            if path and not masked:
                yield Check(function=name, fixed=({path: damage.hash_of(left.files, path)},))
        elif name == "saved_records_are_there":
            if binding is not None and binding.id_key and binding.holds_records and finding.role in roles:
                yield Check(function=name, fixed=(finding.role, binding.id_key), given="saved")
        elif name == "saved_ids_are_there":
            if binding is not None and binding.holds_document and finding.role in roles:
                yield Check(function=name, fixed=(finding.role,), given="saved")
        else:
            yield from (Check(function=name, fixed=(role,)) for role in roles)


def choose(able: Iterable[Check], left: Left, alone: Sequence[Left]) -> Check | None:
    """Return the first check that finds something in ``left`` and nothing in one of those where nothing was done."""
    for check in able:
        if found_by(check, left) and not all(found_by(check, each) for each in alone):
            return check
    return None


def expectation(check: Check) -> str:
    """Return in words what a check expects of which files."""
    text = str(getattr(damage, check.function).__doc__).splitlines()[0].rstrip(".")
    (where, *_) = check.fixed
    return (
        f"{text[0].lower()}{text[1:]}: {plain(where) if isinstance(where, str) else ', '.join(map(ascii, where))}"
    )
