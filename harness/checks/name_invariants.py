"""W2 and W3 on the names of a tree: sessions nobody finished, temporary files, names that should not be there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.checks.binding import DOCUMENT_FORMATS, RECORD_FORMATS, SESSION_FORMATS
from harness.checks.invariant import check
from harness.checks.lister import lists_session
from harness.checks.view import FileView, TreeView
from harness.core.role import path_role
from harness.core.verdict import Damage, Violation


def _is_new(file: FileView) -> bool:
    return file.binding.format in SESSION_FORMATS and file.path not in file.expectation.names.start


@check("W2", "file", RECORD_FORMATS & SESSION_FORMATS)
def new_transcript_is_whole(file: FileView) -> Sequence[Violation]:
    """A new transcript holds at least what the run had written when it first let go of one of that name.

    "torn" is a partial session that a reader shows, "unreadable" one that no reader of heads and tails shows.
    """
    if not _is_new(file):
        return ()
    first = file.records.first_count if file.records is not None else 1
    # A start that heals goes on with the name of a session that has not begun; after an error the run itself ended.
    begun = file.content.size or file.fault_class != "errno"
    if file.lines.complete >= first or (file.binding.torn_tail == "healed" and first <= 1 and begun):
        return ()
    shown = file.lines.shown
    listed = shown == "yes" or (shown == "unknown" and lists_session(file.content))
    damage: Damage = "torn" if listed else "unreadable" if file.content.size else "empty"
    return (
        Violation(
            invariant="W2",
            path=file.path,
            damage=damage,
            message=f"a new session name holds {file.lines.complete} of {first} records, {file.content.size} bytes, "
            f"{'listed' if listed else 'not listed'} by a reader of heads and tails",
            offset=file.lines.tail_start,
        ),
    )


@check("W2", "file", DOCUMENT_FORMATS & SESSION_FORMATS)
def new_registry_entry_is_whole(file: FileView) -> Sequence[Violation]:
    """A new registry entry, until it is acknowledged, is an object whenever it can be seen."""
    if not _is_new(file) or file.is_container():
        return ()
    if file.document is not None and not file.document.absence_allowed(file.acked):
        return ()  # no longer new: M1 judges it
    return (
        Violation(
            invariant="W2",
            path=file.path,
            damage="torn" if file.content.size else "empty",
            message=f"a new session name holds {file.content.size} bytes that are no document",
        ),
    )


@check("W2", "names")
def no_extra_sessions(view: TreeView) -> Iterator[Violation]:
    """No session under a name the undisturbed run never published."""
    for path in _extra_names(view):
        binding = view.expectation.bindings.of(path)
        if binding is not None and binding.names_session:
            yield _extra("W2", path, "a session name that the undisturbed run does not have")


@check("W3", "names")
def only_litter_is_extra(view: TreeView) -> Iterator[Violation]:
    """Temporary files are information, unless a reader shows them; any other extra name is damage."""
    for path in _litter(view):
        binding = view.expectation.bindings.of(path)
        if binding is not None and binding.names_session:
            yield _extra("W3", path, "a temporary file has a name that readers show as a session")
            continue
        yield Violation(
            invariant="W3",
            path=path,
            damage="litter",
            severity="information",
            message="a temporary file is left",
        )
    for path in _extra_names(view):
        binding = view.expectation.bindings.of(path)
        if binding is None or not binding.names_session:
            yield _extra("W3", path, "a name that the undisturbed run neither publishes nor removes")


def _extra(invariant: str, path: str, message: str) -> Violation:
    return Violation(invariant=invariant, path=path, damage="extra", message=message)


def _litter(view: TreeView) -> Iterator[str]:
    names = view.expectation.names
    for path in view.tree.names:
        if path not in names.published and is_litter(view, path):
            yield path


def is_litter(view: TreeView, path: str) -> bool:
    """Whether a name is a temporary file: the run removes such names itself, or a binding says so."""
    binding = view.expectation.bindings.of(path)
    return (binding is not None and binding.litter) or view.expectation.names.is_litter(path)


def _extra_names(view: TreeView) -> Iterator[str]:
    names = view.expectation.names
    for path in view.tree.names:
        if path in names.published or is_litter(view, path):
            continue
        if view.expectation.masked and path_role(path) in names.published_roles:
            continue
        yield path
