"""M1: a document is its old or its new version, in any tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.checks.binding import DOCUMENT_FORMATS
from harness.checks.invariant import check
from harness.checks.versions import ExpectedDocument, is_link
from harness.checks.view import FileView, TreeView
from harness.core.verdict import Damage, Violation


@check("M1", "file", DOCUMENT_FORMATS)
def is_old_or_new(file: FileView) -> Sequence[Violation]:
    """The content is a version the run published, and not older than the last acknowledged one."""
    expected = file.document
    if file.expectation.names.is_litter(file.path):
        return ()  # a temporary file is not the document: W2 and W3 judge it
    if expected is None:
        return _stranger(file)
    index = expected.index(file.expectation.document_digest(file.content))
    if index >= 0:
        if file.binding.json and not file.parses():
            return (_violation(file, "unreadable", "a version the program itself published is not JSON"),)
        if index >= expected.owed(file.acked):
            return ()
        newest = expected.owed(file.acked)
        return (
            _violation(
                file, "stale", f"version {index} is there, version {newest} was acknowledged; {_size(file)}"
            ),
        )
    if file.off_script and file.binding.json and file.parses():
        return ()  # after a refused operation the program may go on to versions that the null run never had
    if file.binding.json and file.may_be_container() and _is_version_but_for_space(file, expected):
        return ()
    damage, what = _damage(file)
    return (_violation(file, damage, f"{what}: {_size(file)}, none of {expected.count} versions of the run"),)


def _is_version_but_for_space(file: FileView, expected: ExpectedDocument) -> bool:
    """Whether only white space at the end (a torn final newline) tells the document from an allowed version."""
    data = file.content.to_bytes().rstrip()
    return any(
        version is not None and version.to_bytes().rstrip() == data
        for history in expected.histories
        for version in history.versions[expected.owed(file.acked) :]
    )


def _stranger(file: FileView) -> Sequence[Violation]:
    """A document under a name the run never had: all that can be said is whether it is one."""
    if not file.binding.json or file.parses():
        return ()
    damage, what = _damage(file)
    return (_violation(file, damage, f"{what}: {_size(file)}, under a name the undisturbed run never had"),)


def _size(file: FileView) -> str:
    return f"{file.content.size} bytes, digest {file.content.digest.hex()[:16]}"


def _damage(file: FileView) -> tuple[Damage, str]:
    if is_link(file.content):
        return "other", "the symbolic link leads where the run never let it lead"
    if not file.content.size:
        return "empty", "the document is empty"
    if file.nul_at() >= 0 and file.binding.json:
        return "nul", f"the document has NUL bytes from offset {file.nul_at()}"
    if file.binding.json and file.is_container():
        return "reset", "the document parses and is a version nobody wrote"
    return "torn", "the document is torn"


def _violation(file: FileView, damage: Damage, message: str) -> Violation:
    return Violation(invariant="M1", path=file.path, damage=damage, message=message)


@check("M1", "names")
def documents_are_there(view: TreeView) -> Iterator[Violation]:
    """A document that was acknowledged, or was there at the start, has not vanished."""
    for key, expected in view.expectation.documents.items():
        there = len(view.keyed(key)) if view.expectation.masked else key in view.tree.names
        if there or view.acked_ids is not None or expected.absence_allowed(view.acked):
            continue
        yield Violation(
            invariant="M1",
            path=key,
            damage="missing",
            message=f"the document is gone after {view.acked} acknowledgements; "
            f"{expected.count} versions of it were published",
        )
