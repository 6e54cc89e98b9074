"""Putting published packages into the cache: whole or not at all, one installer at a time.

A package is built in a temporary directory beside its place, its marker is written last, and one rename makes it
visible. An installer that is killed leaves a directory that the next one removes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable

import msgspec

from harness.catalog.cache import (
    MARKER_FORMAT_VERSION,
    MARKER_NAME,
    InstalledPackage,
    Marker,
    NotAvailableError,
    cache_directory,
    find_installed,
    read_marker,
    resolve_latest,
    runtime_tag,
    slot,
    slot_name,
)
from harness.catalog.installer import fetch
from harness.catalog.lock import LockTimeoutError, locked
from harness.catalog.manifest import LATEST, VERSION, Package, Target
from harness.catalog.schema import ManifestError, suggestion

INSTALL_TIMEOUT_S = 300.0
_BUILDING = ".building-"

Fetch = Callable[[Package, str, float], str]


def install(
    target: Target, version: str = "", *, refresh: bool = False, timeout_s: float = INSTALL_TIMEOUT_S
) -> tuple[InstalledPackage, ...]:
    """Put the packages of a target, or only ``version``, into the cache; nothing is done for those already there.

    A package that is to be had on request is installed in any version. ``refresh`` asks again what "latest" is.
    Raises :class:`NotAvailableError` for the first that cannot be had, :class:`ManifestError` if the target has no
    such version.
    """
    packages = dict.fromkeys(variant.package for variant in target.variants if variant.package is not None)
    chosen = [package for package in packages if version in ("", package.version)]
    if version and not chosen and VERSION.fullmatch(version):
        requested = (msgspec.structs.replace(each, version=version) for each in packages if each.on_request)
        chosen = list(dict.fromkeys(requested))
    if version and not chosen:
        known = sorted({package.version for package in packages})
        raise ManifestError(f"target {target.name!r} has no version {version!r}{suggestion(version, known)}")
    return tuple(install_package(package, refresh=refresh, timeout_s=timeout_s) for package in chosen)


def install_package(
    package: Package, *, refresh: bool = False, timeout_s: float = INSTALL_TIMEOUT_S, fetcher: Fetch = fetch
) -> InstalledPackage:
    """Put one package into the cache unless it is there. Raises :class:`NotAvailableError`."""
    if not (refresh and package.version == LATEST):
        try:
            return find_installed(package)
        except NotAvailableError:
            pass
    base = os.path.join(cache_directory(), "targets")
    try:
        os.makedirs(base, exist_ok=True)
        # One lock for all versions: "latest" and a pinned version may turn out to be the same directory.
        with locked(os.path.join(base, f".{slot_name(package).partition('@')[0]}.lock"), timeout_s):
            return _install_locked(package, base, refresh, timeout_s, fetcher)
    except LockTimeoutError:
        raise NotAvailableError(f"{package}: another installer has been at it for {timeout_s:g} s") from None
    except OSError as error:
        raise NotAvailableError(
            f"{package} cannot be installed into the cache: {error.strerror or error}"
        ) from None


def _install_locked(
    package: Package, base: str, refresh: bool, timeout_s: float, fetcher: Fetch
) -> InstalledPackage:
    current = resolve_latest(package)
    if current is not None and read_marker(current) is not None and not (refresh and package.version == LATEST):
        return find_installed(package)  # the installer we waited for has done it
    prefix = f".{slot_name(package)}{_BUILDING}"
    for name in os.listdir(base):
        if name.startswith(prefix):
            shutil.rmtree(os.path.join(base, name), ignore_errors=True)
    building = tempfile.mkdtemp(prefix=prefix, dir=base)
    try:
        os.chmod(building, 0o755)  # mkdtemp's 0700 would shut out a target that runs as somebody else
        version = fetcher(package, building, timeout_s)
        actual = msgspec.structs.replace(package, version=version)
        _write_marker(actual, building)
        _publish(building, slot(actual), whole=read_marker(actual) is not None)
        if package.version == LATEST:
            _write_pointer(slot(package), version)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return msgspec.structs.replace(find_installed(package), fresh=True)


def _write_marker(package: Package, directory: str) -> None:
    marker = Marker(
        format_version=MARKER_FORMAT_VERSION,
        registry=package.registry,
        name=package.name,
        version=package.version,
        runtime=runtime_tag(package.registry),
    )
    with open(os.path.join(directory, MARKER_NAME), "wb") as stream:
        stream.write(msgspec.json.encode(marker) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _publish(building: str, place: str, *, whole: bool) -> None:
    """Move a finished build to its place, unless a whole one stands there already (then programs may be using it)."""
    if whole:
        return
    if os.path.lexists(place):
        broken = f"{building}.broken"
        os.rename(place, broken)
        shutil.rmtree(broken, ignore_errors=True)
    os.rename(building, place)


def _write_pointer(path: str, version: str) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(version + "\n")
    os.replace(temporary, path)
