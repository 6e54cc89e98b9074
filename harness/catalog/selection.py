"""Names of targets and variants: ``reference``, ``reference/durable``, ``fork_session@0.1.72``, a directory.

The grammar is ``TARGET[/VARIANT][@VERSION]``; VARIANT and TARGET may hold ``*`` and ``?``. What contains a
path separator and is a directory with a ``target.toml`` is that target. A package that is to be had on request only is
in no pattern of targets; whoever names its target may name any version.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable
from typing import NamedTuple

from harness.catalog.data import target_directories
from harness.catalog.manifest import MANIFEST_NAME, Target, Variant, load_manifest
from harness.catalog.published import at_version, package_of
from harness.catalog.schema import ManifestError, suggestion


class Selected(NamedTuple):
    """One variant that a selector names."""

    target: Target
    variant: Variant

    @property
    def label(self) -> str:
        """``target/variant[@version]``."""
        return f"{self.target.name}/{self.variant.label}"


def load_target(name_or_dir: str) -> Target:
    """Return a shipped target by its name, or the target in a directory. Raises :class:`ManifestError`."""
    if os.path.isfile(os.path.join(name_or_dir, MANIFEST_NAME)) if "\0" not in name_or_dir else False:
        return load_manifest(name_or_dir)
    known = target_directories()
    if name_or_dir in known:
        return load_manifest(known[name_or_dir])
    if "\0" not in name_or_dir and os.path.isdir(name_or_dir):
        raise ManifestError(f"{name_or_dir}: holds no {MANIFEST_NAME}")
    raise ManifestError(f"no target {name_or_dir!r}{suggestion(name_or_dir, known)}")


def list_targets() -> tuple[Target, ...]:
    """Return every shipped target, by name. Raises :class:`ManifestError` if a file is wrong."""
    return tuple(load_manifest(directory) for directory in target_directories().values())


def find_variant(target: Target, label: str) -> Variant:
    """Return the variant that ``label`` names exactly: ``name`` or ``name@version``."""
    exact = [variant for variant in target.variants if variant.label == label]
    named = exact or [variant for variant in target.variants if variant.name == label]
    if len(named) == 1:
        return named[0]
    labels = [variant.label for variant in target.variants]
    if named:
        choices = ", ".join(variant.label for variant in named)
        raise ManifestError(f"{target.name}/{label} names several versions: {choices}")
    raise ManifestError(f"target {target.name!r} has no variant {label!r}{suggestion(label, labels)}")


def select(selectors: Iterable[str]) -> tuple[Selected, ...]:
    """Return the variants that the selectors name, in that order, each once. Raises :class:`ManifestError`."""
    chosen: dict[str, Selected] = {}
    for selector in selectors:
        for each in _select_one(selector):
            chosen.setdefault(f"{each.target.directory}\0{each.variant.label}", each)
    return tuple(chosen.values())


def at_versions(chosen: tuple[Selected, ...], versions: Iterable[str]) -> tuple[Selected, ...]:
    """Return the variants at each of ``versions``, in place of those that manifests name; all as they are for none.

    Raises :class:`ManifestError` for a writer that is no published package.
    """
    versions = tuple(dict.fromkeys(versions))
    if not versions:
        return chosen
    named = {(each.target.name, each.variant.name): each for each in chosen}
    known = {(each.target.name, each.variant.label): each for each in chosen}
    found = []
    for each in named.values():
        package_of(each.target, each.variant)
        for version in versions:
            label = f"{each.variant.name}@{version}"
            same = known.get((each.target.name, label))
            found.append(same or Selected(each.target, at_version(each.target, each.variant, version)))
    return tuple(found)


def _select_one(selector: str) -> list[Selected]:
    name, _, version = selector.partition("@")
    targets, pattern = _targets(name)
    chosen = [
        Selected(target, variant)
        for target in targets
        for variant in target.variants
        if fnmatch.fnmatchcase(variant.name, pattern)
    ]
    if _is_pattern(name.partition("/")[0]):
        chosen = [each for each in chosen if not _on_request(each.variant)]
    found = [each for each in chosen if version in ("", each.variant.version)]
    if not found and version:
        requested = {each.variant.name: each for each in chosen if _on_request(each.variant)}
        found = [
            Selected(each.target, at_version(each.target, each.variant, version)) for each in requested.values()
        ]
    if found:
        return found
    labels = [variant.label for target in targets for variant in target.variants]
    wanted = (pattern if pattern != "*" else "") + (f"@{version}" if version else "")
    names = ", ".join(target.name for target in targets)
    raise ManifestError(f"target {names!r} has no variant {wanted!r}{suggestion(wanted.lstrip('@'), labels)}")


def _is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def _on_request(variant: Variant) -> bool:
    return variant.package is not None and variant.package.on_request


def _targets(name: str) -> tuple[list[Target], str]:
    """Return the targets of a selector without its version, and the pattern of its variants."""
    if "\0" not in name and os.path.isfile(os.path.join(name, MANIFEST_NAME)):
        return [load_manifest(name)], "*"
    head, _, pattern = name.partition("/")
    known = target_directories()
    matching = fnmatch.filter(known, head) if head else []
    if matching:
        return [load_manifest(known[each]) for each in matching], pattern or "*"
    return [load_target(name)], "*"
