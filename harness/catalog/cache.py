"""Where published packages under test are kept, and which of them are there.

Each version has a directory of its own, outside every project environment; a marker written last says that it is
complete. ``<package>@latest`` is only a pointer to the version that was newest when it was asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Literal

import msgspec

from harness.catalog.manifest import LATEST, Package

MARKER_NAME = "tornwrite-install.json"
MARKER_FORMAT_VERSION = 1
CACHE_VARIABLE = "TORNWRITE_CACHE"


class NotAvailableError(Exception):
    """A target cannot be had here. The message is one line: why, and what would help."""


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the marker of an installation."""

    format_version: int
    registry: Literal["pypi", "npm"]
    name: str
    version: str
    runtime: str


class InstalledPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package in the cache. ``directory`` is what ``{package}`` stands for; ``version`` is never "latest"."""

    package: Package
    version: str
    directory: str
    fresh: bool = False
    """Whether this call put it there."""


def cache_directory(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """Return the cache's directory, absolute: ``TORNWRITE_CACHE``, else the platform's own place."""
    if chosen := environment.get(CACHE_VARIABLE):
        return os.path.abspath(chosen)
    home = os.path.expanduser("~")
    if platform == "darwin":
        return os.path.join(home, "Library", "Caches", "tornwrite")
    if platform == "win32":
        base = environment.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
        return os.path.join(base, "tornwrite", "Cache")
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and is ignored.
    return os.path.join(base if os.path.isabs(base) else os.path.join(home, ".cache"), "tornwrite")


def runtime_tag(registry: str) -> str:
    """Return what an installation depends on beside its version: compiled parts fit one Python only."""
    if registry == "npm":
        return "node"
    return f"{sys.implementation.cache_tag}-{sys.platform}"


def slot_name(package: Package) -> str:
    """Return the name of a package version in the cache: ``name@version``, with what compiled parts depend on."""
    name = f"{package.name.replace('/', '__').lstrip('@')}@{package.version}"
    return f"{name}-{sys.implementation.cache_tag}" if package.registry == "pypi" else name


def slot(package: Package) -> str:
    """Return the directory of a package version in the cache; of ``latest``, the pointer file."""
    return os.path.join(cache_directory(), "targets", slot_name(package))


def read_marker(package: Package) -> Marker | None:
    """Return the marker of an installation, or ``None`` if it is not complete or not this package."""
    try:
        with open(os.path.join(slot(package), MARKER_NAME), "rb") as stream:
            marker = msgspec.json.decode(stream.read(1 << 16), type=Marker)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    wanted = (
        MARKER_FORMAT_VERSION,
        package.registry,
        package.name,
        package.version,
        runtime_tag(package.registry),
    )
    found = (marker.format_version, marker.registry, marker.name, marker.version, marker.runtime)
    return marker if found == wanted else None


def installed_versions(package: Package) -> tuple[str, ...]:
    """Return the versions of a package that are in the cache, whatever version is asked for, in no order."""
    try:
        names = os.listdir(os.path.join(cache_directory(), "targets"))
    except OSError:
        return ()
    versions = (name.rpartition("@")[2] for name in names)
    of_each = {version: msgspec.structs.replace(package, version=version) for version in versions}
    return tuple(version for version, each in of_each.items() if slot_name(each) in names and read_marker(each))


def resolve_latest(package: Package) -> Package | None:
    """Return ``package`` at the version its pointer names, or ``None`` if it was never asked for."""
    if package.version != LATEST:
        return package
    try:
        with open(slot(package), encoding="utf-8") as stream:
            version = stream.read(256).strip()
    except (OSError, UnicodeDecodeError):
        return None
    return msgspec.structs.replace(package, version=version) if version and os.sep not in version else None


def find_installed(package: Package, target: str = "") -> InstalledPackage:
    """Return a package that is in the cache. Raises :class:`NotAvailableError` if it is not.

    ``target`` is the one whose package it is: the message says how it would be installed.
    """
    actual = _in_cache(package)
    if actual is None:
        words = f"tornwrite targets install {f'{target}@{package.version}' if target else ''}".rstrip()
        raise NotAvailableError(f"{package} is not installed; {words} puts it into the cache")
    directory = os.path.join(slot(actual), "site" if actual.registry == "pypi" else "")
    return InstalledPackage(package=package, version=actual.version, directory=directory.rstrip(os.sep))


def is_installed(package: Package) -> bool:
    """Return whether a package is in the cache."""
    return _in_cache(package) is not None


def _in_cache(package: Package) -> Package | None:
    """Return a package that is in the cache, at the version that it is; ``None`` for one that is not."""
    actual = resolve_latest(package)
    return actual if actual is not None and read_marker(actual) is not None else None
