"""How a conversational program is driven in a terminal, as its manifest says it by version: ``[variant.terminal]``.

Files stand in its state directory before its first life, so that it asks for nothing that no script answers: which
theme, whether the directory is trusted, which key. In their keys and texts ``{version}`` and ``{cwd}`` are filled in.
Of the files with one path each adds to what those of earlier versions say.

Non-goals: typing (:mod:`harness.engines.strokes`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from harness.catalog.placeholder import check_placeholders, expand
from harness.catalog.schema import ManifestError
from harness.catalog.since import release
from harness.core.content import content_of
from harness.core.tree import EMPTY_TREE, Directory, File, Node, Tree

_NAMES = frozenset({"version", "cwd"})
KEY_NAMES = ("up", "down", "enter", "escape")


class StartFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[variant.terminal.start]]``: a JSON file at ``path`` below the state directory, from ``version`` on."""

    path: str
    json: dict[str, Any]
    version: str = "0"


class Rewind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[variant.terminal.rewind]]``: from ``version`` on, the command, and the keys that choose the last prompt."""

    command: str
    keys: tuple[str, ...] = ()
    version: str = "0"


class Terminal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[variant.terminal]``. ``leave`` is the command that ends the program."""

    leave: str = "/exit"
    start: tuple[StartFile, ...] = ()
    rewind: tuple[Rewind, ...] = ()

    def at(self, version: str, cwd: str) -> InTerminal:
        """Return how ``version`` is driven when it works in ``cwd``."""
        have = release(version) or (0,)
        fitting = [each for each in self.rewind if have >= release(each.version)]
        newest = max(fitting, key=lambda each: release(each.version), default=Rewind(command=""))
        return InTerminal(
            leave=self.leave, rewind=newest.command, rewind_keys=newest.keys, start=self._begun(have, version, cwd)
        )

    def _begun(self, have: tuple[int, ...], version: str, cwd: str) -> Tree:
        values = {"version": version, "cwd": cwd}
        files: dict[str, dict[str, Any]] = {}
        for each in sorted(self.start, key=lambda each: release(each.version)):
            if have >= release(each.version):
                _add(files.setdefault(each.path, {}), _filled(each.json, values))
        tree = EMPTY_TREE
        for path, value in files.items():
            for parent in _parents(path):
                if parent not in tree.names:
                    tree = _with(tree, parent, Directory())
            data = json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
            tree = _with(tree, path, File(content_of(data)))
        return tree


class InTerminal(msgspec.Struct, frozen=True, kw_only=True):
    """How one version is driven: the command that ends it, the one that goes back, if there is one, and the keys that
    then choose the last prompt; and the state directory of its first life."""

    leave: str = "/exit"
    rewind: str = ""
    rewind_keys: tuple[str, ...] = ()
    start: Tree = EMPTY_TREE


def _with(tree: Tree, path: str, node: Node) -> Tree:
    number = len(tree.nodes) + 1
    return tree.with_node(number, node).with_name(path, number)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: index + 1]) for index in range(len(parts))]


def _add(have: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(have.get(key), dict):
            _add(have[key], value)
        else:
            have[key] = value


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return expand(value, values)
    if isinstance(value, dict):
        return {expand(key, values): _filled(item, values) for key, item in value.items()}
    return [_filled(item, values) for item in value] if isinstance(value, list) else value


def check_terminal(where: str, terminal: Terminal) -> None:
    """Raise :class:`ManifestError` where a file cannot stand where it is to, or a key is none."""
    for number, each in enumerate(terminal.start, 1):
        there = f"{where} start {number}"
        parts = each.path.split("/")
        if not all(parts) or ".." in parts or "\0" in each.path:
            raise ManifestError(f"{there} path: {each.path!r} is not a path below the state directory")
        if not release(each.version):
            raise ManifestError(f"{there} version: {each.version!r}: needs numbers")
        for text in _texts(each.json):
            check_placeholders(f"{there} json", text, _NAMES)
    for number, rewind in enumerate(terminal.rewind, 1):
        unknown = [key for key in rewind.keys if key not in KEY_NAMES]
        if unknown:
            raise ManifestError(
                f"{where} rewind {number} keys: {unknown[0]!r} is not one of {', '.join(KEY_NAMES)}"
            )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in _texts(item))]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []
