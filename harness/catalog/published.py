"""A target at a published version that its manifest does not name: how people call it, and the variant that it is.

Non-goals: which versions are published (:mod:`harness.catalog.registry`), and installing one.
"""

from __future__ import annotations

import re

import msgspec

from harness.catalog.cache import installed_versions
from harness.catalog.manifest import VERSION, Package, Target, Variant
from harness.catalog.schema import ManifestError, suggestion
from harness.catalog.since import release

_SEPARATORS = re.compile(r"[-_.]+")


def split_version(text: str) -> tuple[str, str]:
    """Return name and version of ``NAME@VERSION``; the name of an npm package may begin with ``@`` itself."""
    name, at, version = text.rpartition("@")
    return (name, version) if at and name else (text, "")


def package_of(target: Target, variant: Variant) -> Package:
    """Return the package that a variant is. Raises :class:`ManifestError` for a writer that comes with its target."""
    if variant.package is None:
        raise ManifestError(
            f"{target.name}/{variant.name} is no published package: it comes with its target, in one version"
        )
    return variant.package


def check_name(name: str, target: Target, variant: Variant) -> None:
    """Raise :class:`ManifestError` unless ``name`` is one by which this variant's package may be called."""
    package = package_of(target, variant)
    names = [package.name, f"{target.name}/{variant.name}", target.name]
    if name not in names and _canonical(package, name) != _canonical(package, package.name):
        raise ManifestError(
            f"the token is of {target.name}/{variant.name}, a package {package.name!r}, not of "
            f"{name!r}{suggestion(name, names)}"
        )


def _canonical(package: Package, name: str) -> str:
    """Return the name as its registry compares it."""
    return _SEPARATORS.sub("-", name).lower() if package.registry == "pypi" else name


def at_version(target: Target, variant: Variant, version: str) -> Variant:
    """Return the variant at another version of its package, of which nothing is expected."""
    package = package_of(target, variant)
    if not VERSION.fullmatch(version):
        raise ManifestError(f"{version!r} is not a version")
    return msgspec.structs.replace(variant, package=msgspec.structs.replace(package, version=version), expect={})


def with_installed(target: Target) -> tuple[Variant, ...]:
    """Return the variants of a target; of what is to be had on request the other installed versions too."""
    found = {variant.label: variant for variant in target.variants}
    for variant in target.variants:
        if variant.package is not None and variant.package.on_request:
            for version in sorted(installed_versions(variant.package), key=release):
                other = at_version(target, variant, version)
                found.setdefault(other.label, other)
    return tuple(found.values())


def named_variant(target: Target, name: str, version: str) -> Variant:
    """Return the variant of that name, in that version if the manifest has it, else in any.

    Raises :class:`ManifestError` where no version of it is there.
    """
    named = [variant for variant in target.variants if variant.name == name]
    if not named:
        known = {variant.name for variant in target.variants}
        raise ManifestError(f"target {target.name!r} has no variant {name!r}{suggestion(name, known)}")
    return next((variant for variant in named if variant.version == version), named[0])
