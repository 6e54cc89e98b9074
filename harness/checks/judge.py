"""Judge a tree: which invariants does it break, after so many acknowledgements, under this class of fault?

Made for long sequences of trees that differ by little: a file is judged again only when its content changed since
the tree before (or what it owes did), and its summary is folded from its prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from harness.checks.binding import Bindings, FileBinding
from harness.checks.expectation import Expectation
from harness.checks.invariant import Check, Invariant, Scope, checks_of, select
from harness.checks.measure import FURTHER_SCOPES, why_not_measured
from harness.checks.rules import DEFAULT_RULES, Rules
from harness.checks.summary import NO_LINES, LineFold
from harness.checks.versions import held_by
from harness.checks.view import Facts, FileView, TreeView
from harness.core.content import EMPTY, Content
from harness.core.fault import FAULT_CLASSES, FaultClass
from harness.core.role import path_role
from harness.core.tree import File, Symlink, Tree
from harness.core.verdict import Violation

_JUDGED_KEPT = 4096
"""Contents whose judgement is remembered while nothing more is owed: states of a power loss share them."""


class _Entry:
    """A bound file of the tree before, and what was wrong with it."""

    __slots__ = ("content", "owed", "view", "violations")

    def __init__(self, content: Content, owed: int, view: FileView, violations: tuple[Violation, ...]) -> None:
        self.content: Content | None = content
        self.owed = owed
        self.view = view
        self.violations = violations


def _under_all(row: Invariant, further: frozenset[str]) -> Invariant:
    return msgspec.structs.replace(row, fault_classes=frozenset(FAULT_CLASSES)) if row.id in further else row


class Judge:
    """Judge trees against an expectation by the invariants chosen (all for ``None``).

    ``further``: invariants that are judged under every class, whatever their rows say.
    """

    def __init__(
        self,
        bindings: Iterable[FileBinding] | Bindings,
        expectation: Expectation,
        invariants: Iterable[str] | None = None,
        rules: Rules = DEFAULT_RULES,
        further: frozenset[str] = frozenset(),
    ) -> None:
        self._bindings = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
        self._expectation = expectation
        self._rules = rules
        self._rows: tuple[Invariant, ...] = tuple(_under_all(row, further) for row in select(invariants))
        self._folds: dict[tuple[str, bool], LineFold] = {}
        self._links: dict[str, Content] = {}
        self._facts = Facts()
        self._fault_class: FaultClass | None = None
        self._file_checks: dict[str, tuple[Check, ...]] = {}
        self._forget("none", None)

    def _forget(self, fault_class: FaultClass, acked_ids: tuple[str, ...] | None) -> None:
        """Drop what was kept of the tree before: it was judged under other rules."""
        if fault_class != self._fault_class:
            self._fault_class = fault_class
            self._file_checks = {}
            self._tree_checks = checks_of(self._rows, "tree", fault_class)
            self._name_checks = checks_of(self._rows, "names", fault_class)
        self._acked_ids = acked_ids
        self._acked = -1
        self._names: Mapping[str, int] | None = None
        self._nodes: Mapping[int, object] | None = None
        self._entries: dict[str, _Entry] = {}
        self._views: dict[str, FileView] = {}
        self._lines: dict[str, FileView] = {}
        self._judged: dict[tuple[str, bytes], _Entry] = {}
        self._wrong: dict[str, tuple[Violation, ...]] = {}
        self._wrong_names: tuple[Violation, ...] = ()

    def judge(
        self, tree: Tree, acked: int | Sequence[str], fault_class: FaultClass, *, deviates: bool = False
    ) -> tuple[Violation, ...]:
        """Return what is wrong with ``tree``.

        ``acked`` counts the acknowledgements so far; give their ids instead for the tree of another run: if they
        are not the first ones of the undisturbed run (some were withheld), records are judged by id and what
        only order could tell is not judged. ``deviates``: the other run did more than the undisturbed one, though
        its acknowledgements do not show it.
        """
        ids: tuple[str, ...] | None = None
        if not isinstance(acked, int):
            ids = None if self._on_script(acked) and not deviates else tuple(acked)
            acked = len(acked)
        if fault_class != self._fault_class or ids != self._acked_ids:
            self._forget(fault_class, ids)
        if acked != self._acked:
            self._owe(acked)
        if tree.nodes is not self._nodes or tree.names is not self._names:
            self._look_at_files(tree)
        view = TreeView(tree, self._views, self._lines, acked, ids, fault_class, self._expectation, self._rules)
        if tree.names is not self._names:
            self._names = tree.names
            self._wrong_names = tuple(v for check in self._name_checks for v in check(view))
        found = self._wrong_names
        for wrong in self._wrong.values():
            found += wrong
        for check in self._tree_checks:
            more = check(view)
            if more:
                found += tuple(more)
        return found

    def _on_script(self, acked: Sequence[str]) -> bool:
        """Whether these are the first acknowledgements of the undisturbed run."""
        expected = self._expectation.ack_ids[: len(acked)]
        if self._expectation.masked:
            return [path_role(name) for name in acked] == [path_role(name) for name in expected]
        return tuple(acked) == expected

    def measured(self, invariant: str, fault_class: FaultClass, also: Iterable[Scope] = FURTHER_SCOPES) -> str:
        """Return why ``invariant`` is *not* measured under ``fault_class``; empty if it is.

        ``also``: the scopes judged besides trees, by ``judge_trace``, ``judge_outcome``, ``judge_recovery`` and
        ``judge_listing``. The default takes all of them as judged: pass those that really were.
        """
        return why_not_measured(select((invariant,))[0], fault_class, self._expectation, also)

    def _owe(self, acked: int) -> None:
        """More (or less) is owed than before: judge again the files whose debt changed, and the names."""
        self._acked = acked
        self._names = self._nodes = None
        self._judged = {}
        for entry in self._entries.values():
            view = entry.view
            if view.records is not None or (view.document is not None and view.document.owed(acked) != entry.owed):
                entry.content = None

    def _look_at_files(self, tree: Tree) -> None:
        nodes, entries = tree.nodes, self._entries
        for path, ino in tree.names.items():
            node = nodes[ino]
            if type(node) is File:
                entry = entries.get(path)
                if entry is None or entry.content is not node.content:
                    self._look_at(path, node.content, self._bindings.of(path))
            elif type(node) is Symlink:
                self._look_at_link(path, node)
        if len(entries) > len(tree.names) or tree.names is not self._names:
            for path in [path for path in entries if type(tree.node_at(path)) not in (File, Symlink)]:
                self._drop(path)
        self._nodes = nodes

    def _drop(self, path: str) -> None:
        self._entries.pop(path, None)
        self._views.pop(path, None)
        self._lines.pop(path, None)
        self._wrong.pop(path, None)

    def _look_at_link(self, path: str, node: Symlink) -> None:
        """Judge a symbolic link where documents may stand: it is one, and where it leads is its version."""
        binding = self._bindings.of(path)
        if binding is None or not binding.holds_document:
            self._drop(path)
            return
        content = self._links.get(node.destination)
        if content is None:
            content = self._links[node.destination] = held_by(node) or EMPTY
        entry = self._entries.get(path)
        if entry is None or entry.content is not content:
            self._look_at(path, content, msgspec.structs.replace(binding, format="document", json=False))

    def _look_at(self, path: str, content: Content, binding: FileBinding | None) -> None:
        if binding is None or binding.litter:
            return
        key = (path, content.digest)
        entry = self._judged.get(key)
        if entry is None or entry.view.binding is not binding:
            entry = self._entry(path, content, binding)
            if len(self._judged) == _JUDGED_KEPT:
                self._judged = {}
            self._judged[key] = entry
        self._entries[path] = entry
        self._views[path] = entry.view
        if binding.holds_lines:
            self._lines[path] = entry.view
        else:
            self._lines.pop(path, None)  # a link may have stood there, which is judged as text
        if entry.violations:
            self._wrong[path] = entry.violations
        elif path in self._wrong:
            del self._wrong[path]

    def _entry(self, path: str, content: Content, binding: FileBinding) -> _Entry:
        view = self._view(path, content, binding)
        checks = self._file_checks.get(binding.format)
        if checks is None:
            checks = checks_of(self._rows, "file", self._fault_class or "none", binding.format)
            self._file_checks[binding.format] = checks
        violations: tuple[Violation, ...] = ()
        for check in checks:
            found = check(view)
            if found:
                violations += tuple(found)
        owed = view.document.owed(self._acked) if view.document is not None else 0
        return _Entry(content, owed, view, violations)

    def _view(self, path: str, content: Content, binding: FileBinding) -> FileView:
        expectation = self._expectation
        key = expectation.key_of(path)
        records = document = None
        lines, is_prefix = NO_LINES, False
        if binding.holds_records:
            lines = self._fold(binding).of(content)
            records = expectation.records.get(key)
            is_prefix = records is not None and bool(records.prefix.of(content))
        elif binding.holds_document:
            document = expectation.documents.get(key)
        return FileView(
            path,
            binding,
            content,
            lines,
            records,
            document,
            self._acked,
            self._fault_class or "none",
            expectation,
            is_prefix,
            self._acked_ids is not None,
            self._facts,
            {},
        )

    def _fold(self, binding: FileBinding) -> LineFold:
        kind = (binding.format, binding.json)
        fold = self._folds.get(kind)
        if fold is None:
            fold = LineFold(parse=binding.json, transcript=binding.format == "transcript")
            self._folds[kind] = fold
        return fold
