"""M9 and W10 on what a repair made of a damaged state: the user's settings kept or reported, a repair that may repeat.

M9: a pin, a custom title or an archived flag that was acknowledged is there after recovery, with the value acknowledged
or a later one, or recovery said that it is lost. A setting nobody set is nothing to lose.

W10: a second recovery changes nothing but the record it appends, and at no moment of a recovery is something destroyed
of which there is no copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from harness.checks.documents import RegistryEntry, registry_entry, setting_name
from harness.checks.expectation import Expectation, ExpectedDocument
from harness.checks.flight import stem
from harness.checks.invariant import check
from harness.checks.recovery import RecoveryView, only_copies_survive
from harness.checks.summary import parse_json
from harness.core.role import path_role
from harness.core.tree import File, Tree
from harness.core.verdict import Violation


@check("M9", "recovery")
def settings_survive_or_are_reported(view: RecoveryView) -> Iterator[Violation]:
    """Pin, custom title and archived flag equal the last acknowledged value, or recovery reports each as lost."""
    entries = _registry_after(view)
    for document in view.expectation.documents.values():
        history = document.histories[0]
        if history.binding.format != "registry" or len(document.histories) > 1:
            continue
        owed = _owed(document, view.acked)
        if owed is None:
            continue
        ids = {stem(history.path), *(name for name in (owed[0].session_id, owed[0].cli_session_id) if name)}
        now = next((entry for path, entry in entries if _is_of(view, path, entry, document, ids)), None)
        for name in sorted({name for entry in owed for name in entry.kept}):
            allowed = {entry.kept.get(name, "") for entry in owed}
            value = now.kept.get(name, "") if now is not None else ""
            if value not in allowed and not _is_reported(view, name, history.path, ids):
                how = (
                    "is set to another value"
                    if value
                    else "is gone"
                    if now is not None
                    else "is gone with its entry"
                )
                yield Violation(
                    invariant="M9",
                    path=history.path,
                    damage="reset" if now is not None else "lost",
                    message=f"after recovery the {name} {how}, and recovery does not report it as lost",
                    ids=(name, *sorted(ids)),
                )


def _registry_after(view: RecoveryView) -> list[tuple[str, RegistryEntry]]:
    found = []
    for path, file in sorted(view.after.files()):
        binding = view.binding_of(path)
        if binding is not None and binding.format == "registry" and not view.is_temporary(path):
            entry = registry_entry(file.content)
            if entry is not None:
                found.append((path, entry))
    return found


def _owed(document: ExpectedDocument, acked: int) -> list[RegistryEntry] | None:
    """Return the versions of an entry that are allowed after so many acknowledgements; ``None`` if none is owed."""
    if document.absence_allowed(acked):
        return None
    versions = document.histories[0].versions[document.owed(acked) :]
    return [entry for version in versions if (entry := registry_entry(version)) is not None] or None


def _is_of(view: RecoveryView, path: str, entry: RegistryEntry, document: ExpectedDocument, ids: set[str]) -> bool:
    if view.expectation.key_of(path) == view.expectation.key_of(document.histories[0].path):
        return True
    return bool(ids & {entry.session_id, entry.cli_session_id} - {""})


def _is_reported(view: RecoveryView, name: str, path: str, ids: set[str]) -> bool:
    """Whether a report names the setting and the session: by an id of it, or by its file."""
    file_name = path.rsplit("/", 1)[-1]
    return any(
        setting_name(report.field) == name and (report.id in ids or report.id in (path, file_name))
        for report in view.lost
    )


@check("W10", "recovery")
def repair_is_idempotent(view: RecoveryView) -> Iterator[Violation]:
    """A second recovery adds its record, and changes and makes nothing else."""
    if view.again is None:
        return
    yield from _names_stay(view, view.again)
    yield from _contents_stay(view, view.again)
    first, second = _added(view, view.before, view.after), _added(view, view.after, view.again)
    if second > first:
        yield _violation("", "extra", f"a second recovery appends {second} lines, the first appended {first}")


def _violation(path: str, damage: str, message: str) -> Violation:
    return Violation(invariant="W10", path=path, damage=damage, message=message)  # type: ignore[arg-type]


def _named(tree: Tree) -> set[str]:
    return {path for path, _ in tree.files()}


def _names_stay(view: RecoveryView, again: Tree) -> Iterator[Violation]:
    """A name more is a second backup or a second stub, unless the appended record has a file of its own each time."""
    before, after = _named(view.before), _named(view.after)
    made = {path_role(path) for path in after - before}
    for path in sorted(_named(again) - after):
        binding = view.binding_of(path)
        kept = binding is not None and (binding.holds_records or binding.holds_document)
        if not view.is_temporary(path) and not (kept and path_role(path) in made):
            yield _violation(path, "extra", "a second recovery makes a further file")
    for path in sorted(after - _named(again)):
        binding = view.binding_of(path)
        if binding is not None and binding.format != "opaque" and not view.is_temporary(path):
            yield _violation(path, "missing", "a second recovery removes a file that the first one left")


def _contents_stay(view: RecoveryView, again: Tree) -> Iterator[Violation]:
    for path, file in sorted(view.after.files()):
        binding, now = view.binding_of(path), again.node_at(path)
        if binding is None or not isinstance(now, File) or now.content == file.content:
            continue
        old, new = file.content.to_bytes(), now.content.to_bytes()
        if binding.holds_records:
            gone = 0 if new.startswith(old) else sum((_lines(old) - _all_lines(view, again)).values())
            if gone:
                yield _violation(path, "lost", f"a second recovery removes {gone} lines that the first one left")
        elif binding.holds_document and binding.json and _keys(old) and not _keys(new) & _keys(old):
            yield _violation(path, "reset", "a second recovery resets a document that the first one left")


def _keys(data: bytes) -> set[str]:
    try:
        value = parse_json(data)
    except ValueError:
        return set()
    return set(value) if isinstance(value, dict) else set()


def _lines(data: bytes) -> Counter[bytes]:
    return Counter(line for line in data.split(b"\n")[:-1] if line)


def _all_lines(view: RecoveryView, tree: Tree) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for path, file in tree.files():
        binding = view.binding_of(path)
        if binding is not None and binding.holds_records:
            found += _lines(file.content.to_bytes())
    return found


def _added(view: RecoveryView, one: Tree, other: Tree) -> int:
    return sum((_all_lines(view, other) - _all_lines(view, one)).values())


def judge_cut_repair(
    damaged: Tree, tree: Tree, expectation: Expectation, acked: int, invariants: Iterable[str] | None = None
) -> tuple[Violation, ...]:
    """Return what a repair of ``damaged`` has destroyed that was cut short and left ``tree``: a copy comes first."""
    if invariants is not None and "W10" not in invariants:
        return ()
    view = RecoveryView(damaged, tree, None, expectation, acked, "")
    return tuple(
        _violation(item.path, item.damage, f"cut short, {item.message}") for item in only_copies_survive(view)
    )
