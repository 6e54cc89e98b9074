"""M9, W9 and M3 on a registry entry and the transcript that it names: an acknowledged update is in both, or in neither.

An update is acknowledged by the uuid of its message, so an entry whose last activity is before the newest acknowledged
message lacks what that update set: a pin, a title, the archived flag. After several writers at once the title stands
for the rest: one that the transcript was given last, and the entry does not have, was overwritten.

The two stamps of one update need not be equal: an entry may be behind as far as the undisturbed run left it, and a
second.

Non-goals: entries that cannot be read (M1, and M9 after recovery); transcripts without uuids or times.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.documents import TITLE, RegistryEntry, registry_entry
from harness.checks.flight import is_agent, stem
from harness.checks.invariant import check
from harness.checks.transcripts import SAVED, TITLES
from harness.checks.view import FileView, TreeView
from harness.core.content import Content
from harness.core.verdict import Damage, Violation

_STAMPS_APART_MS = 1_000

Pair = tuple[FileView, RegistryEntry, FileView]


def _pairs(view: TreeView) -> Iterator[Pair]:
    """Yield each readable registry entry with the transcript that it names."""
    transcripts: dict[str, FileView] | None = None
    for file in view.files.values():
        if file.binding.format != "registry" or view.expectation.names.is_litter(file.path):
            continue
        entry = registry_entry(file.content)
        if entry is None or not entry.cli_session_id:
            continue
        if transcripts is None:
            transcripts = {
                stem(path): each
                for path, each in view.files.items()
                if each.binding.format == "transcript" and not is_agent(path)
            }
        transcript = transcripts.get(entry.cli_session_id)
        if transcript is not None:
            yield file, entry, transcript


def _habit_ms(view: TreeView, file: FileView, transcript: FileView) -> int:
    """Return how far the entry may be behind: as far as at the end of the undisturbed run, and a little."""
    histories = view.expectation.histories
    ours, theirs = histories.get(file.path), histories.get(transcript.path)
    if ours is None or theirs is None or not isinstance(theirs.last, Content):
        return _STAMPS_APART_MS
    entry = registry_entry(ours.last) if isinstance(ours.last, Content) else None
    if entry is None or entry.active_ms < 0:
        return _STAMPS_APART_MS
    _, newest = _newest_acknowledged(theirs.last, frozenset(view.expectation.ack_ids))
    return max(0, newest - entry.active_ms) + _STAMPS_APART_MS


def _newest_acknowledged(transcript: Content, acked: frozenset[str]) -> tuple[str, int]:
    """Return id and time of the newest record that was acknowledged, an empty id if none was."""
    best, record = ("", -1), SAVED.of(transcript)
    left = len(acked)
    while record is not None and left:
        if record.name in acked:
            left -= 1
            if record.time_ms > best[1]:
                best = record.name, record.time_ms
        record = record.before
    return best


def _behind(view: TreeView, invariant: str) -> Iterator[Violation]:
    acked = frozenset(view.acked_ids if view.acked_ids is not None else view.expectation.ack_ids[: view.acked])
    if not acked:
        return
    for file, entry, transcript in _pairs(view):
        name, newest = _newest_acknowledged(transcript.content, acked)
        behind = newest - entry.active_ms
        # The bound comes last: it is asked of every state, and costs a look at the end of the run.
        if entry.active_ms >= 0 and behind > _STAMPS_APART_MS and behind > _habit_ms(view, file, transcript):
            message = f"the entry is {behind} ms behind the newest acknowledged message"
            yield _violation(invariant, file.path, "stale", message, name)


def _violation(invariant: str, path: str, damage: Damage, message: str, name: str) -> Violation:
    return Violation(invariant=invariant, path=path, damage=damage, message=message, ids=(name,))


@check("M9", "tree")
def entry_has_what_was_acknowledged(view: TreeView) -> Iterator[Violation]:
    """The settings of an acknowledged update are in the entry once its message is in the transcript."""
    yield from _behind(view, "M9")


@check("W9", "tree")
def entry_is_saved_before_the_signal(view: TreeView) -> Iterator[Violation]:
    """After a signal an entry is as new as the newest message that was acknowledged before it."""
    if view.fault_class == "signal":
        yield from _behind(view, "W9")


@check("M3", "tree")
def entry_has_the_last_title(view: TreeView) -> Iterator[Violation]:
    """After several writers at once an entry has the last activity, and the title last given to its transcript."""
    if view.fault_class != "concurrency":
        return
    yield from _behind(view, "M3")
    for file, entry, transcript in _pairs(view):
        given = TITLES.of(transcript.content)
        title = entry.kept.get(TITLE, "")
        if given and title and title != given[-1]:
            message = "the entry has not the title that its transcript was given last"
            yield _violation("M3", file.path, "stale", message, stem(transcript.path))
