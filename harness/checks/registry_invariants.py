"""M5 on any tree: what a registry entry or a lease points at exists.

An entry in flight may point at what is not there yet, and one that pointed nowhere when the run began is not the
run's doing. Whether the thing pointed at is whole is for others to say: here its name is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from harness.checks.documents import leases, registry_entry
from harness.checks.flight import QUIET, held_at, is_agent, position, stem
from harness.checks.invariant import check
from harness.checks.versions import Version
from harness.checks.view import FileView, TreeView
from harness.core.content import Content
from harness.core.tree import Directory
from harness.core.verdict import Violation

_IDS_SHOWN = 8
References = Callable[[Content | None], Mapping[str, str]]
"""What a document points at: by the place inside it, the id that stands there."""


def _transcript_of(content: Content | None) -> Mapping[str, str]:
    entry = registry_entry(content)
    return {"cliSessionId": entry.cli_session_id} if entry is not None and entry.cli_session_id else {}


def _holders_of(content: Content | None) -> Mapping[str, str]:
    return leases(content) or {}


@check("M5", "tree")
def references_are_there(view: TreeView) -> Iterator[Violation]:
    """``cliSessionId`` names a transcript on disk; ``leasedBy`` names a registry entry."""
    sources = [file for file in view.files.values() if file.binding.format in ("registry", "lease")]
    if not sources:
        return
    transcripts = _names(view, "transcript") if _binds(view, "transcript") else None
    entries = _names(view, "registry") if _binds(view, "registry") else None
    for file in sources:
        is_registry = file.binding.format == "registry"
        targets = transcripts if is_registry else entries
        if targets is None or view.expectation.names.is_litter(file.path):
            continue
        references = _transcript_of if is_registry else _holders_of
        lost = {
            place: name
            for place, name in references(file.content).items()
            if name not in targets and _is_owed(view, file, references, place, name)
        }
        if lost:
            what = (
                "names a transcript"
                if is_registry
                else f"has {len(lost)} lease{'s that name' if len(lost) > 1 else ' that names'} registry entries"
            )
            yield Violation(
                invariant="M5",
                path=file.path,
                damage="other",
                message=f"the {'registry entry' if is_registry else 'lease file'} {what} not there",
                ids=tuple(sorted(lost.values()))[:_IDS_SHOWN],
            )


def _binds(view: TreeView, file_format: str) -> bool:
    return any(binding.format == file_format for binding in view.expectation.bindings.all)


def _names(view: TreeView, file_format: str) -> frozenset[str]:
    """Return the ids that the files of a format have: their stems, and what a readable registry entry calls itself."""
    found = set()
    for path, file in view.files.items():
        if file.binding.format == file_format and not is_agent(path):
            found.add(stem(path))
            entry = registry_entry(file.content) if file_format == "registry" else None
            if entry is not None and entry.session_id:
                found.add(entry.session_id)
    return frozenset(found)


def _is_owed(view: TreeView, file: FileView, references: References, place: str, name: str) -> bool:
    """Whether the reference was acknowledged, and was not as empty when the run began."""
    start = view.expectation.histories.get(file.path)
    if start is not None and _has(references, start.versions[0], place, name):
        return _was_good(view, name)
    if view.fault_class in QUIET:
        return True
    held = held_at(view.expectation, file.path, position(view.acked, view.acked_ids))
    if held is None:
        return False
    return _has(references, held.now, place, name) and _has(references, held.later, place, name)


def _has(references: References, version: Version, place: str, name: str) -> bool:
    return references(version).get(place) == name


def _was_good(view: TreeView, name: str) -> bool:
    """Whether something with this name was there when the run began."""
    return any(stem(path) == name for path in view.expectation.names.start if not _is_directory(view, path))


def _is_directory(view: TreeView, path: str) -> bool:
    return isinstance(view.tree.node_at(path), Directory)
