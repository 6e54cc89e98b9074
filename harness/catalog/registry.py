"""Which versions of a package are published: asked of the registry that this machine's pip or npm is set up with.

``pip index versions`` and ``npm view`` answer in order of versions, so nothing here compares two of them. Both get the
user's own configuration, as installers do; what they print may name hosts and is not repeated.

Non-goals: dates of publication; versions for other platforms and Pythons (pip leaves them out).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection
from typing import Any

from harness.catalog.cache import NotAvailableError
from harness.catalog.installer import failure_in_words, find_npm, find_pip, install_environment
from harness.catalog.manifest import VERSION, Package
from harness.sandbox.command import run_command
from harness.sandbox.environment import real_python

LIST_TIMEOUT_S = 60.0
_LIST_BYTES = 1 << 20
_LINE = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_INDEX = ("index", "versions", "--no-input", "--disable-pip-version-check")


def published_versions(
    package: Package, *, pre: bool = False, also: Collection[str] = (), timeout_s: float = LIST_TIMEOUT_S
) -> tuple[str, ...]:
    """Return the published versions of a package, oldest first; pre-releases if asked for, and those in ``also``.

    Raises :class:`NotAvailableError` where the registry does not say.
    """
    if package.registry == "npm":
        versions = _npm_versions(package, timeout_s)
        return tuple(item for item in versions if pre or "-" not in item or item in also)
    versions = _pip_versions(package, pre, timeout_s)
    missing = {*also} - {*versions}
    if pre or not missing:
        return versions
    kept = {*versions, *missing}
    return tuple(item for item in _pip_versions(package, True, timeout_s) if item in kept)


def _pip_versions(package: Package, pre: bool, timeout_s: float) -> tuple[str, ...]:
    words = [*_INDEX, *(["--no-binary", package.name] if package.sdist else []), *(["--pre"] if pre else [])]
    if python := find_pip():
        command = [python, "-m", "pip", *words, package.name]
    elif uv := shutil.which("uv"):
        command = [uv, "tool", "run", "--quiet", "--python", real_python(), "pip", *words, package.name]
    else:
        raise NotAvailableError(f"{package.name}: its versions cannot be listed: neither pip nor uv is there")
    found = _LINE.search(_asked(package, command, timeout_s).decode("utf-8", "replace"))
    versions = [word.strip() for word in found[1].split(",")] if found else []
    return _checked(package, versions[::-1])


def _npm_versions(package: Package, timeout_s: float) -> tuple[str, ...]:
    command = [find_npm(package.name), "view", package.name, "versions", "--json", "--loglevel=error"]
    try:
        answer: Any = json.loads(_asked(package, command, timeout_s))
    except ValueError:
        answer = None
    versions = [answer] if isinstance(answer, str) else answer if isinstance(answer, list) else []
    return _checked(package, [str(item) for item in versions])


def _asked(package: Package, command: list[str], timeout_s: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tornwrite-") as nowhere:  # no project's settings
        result = run_command(
            command,
            cwd=nowhere,
            environment=install_environment(os.environ),
            timeout_s=timeout_s,
            output_bytes=_LIST_BYTES,
        )
    if result.exit_code != 0:
        who = "npm" if package.registry == "npm" else "pip"
        reason = failure_in_words(result, timeout_s, who, "the package index does not have it")
        raise NotAvailableError(f"{package.name}: its versions cannot be listed: {reason}")
    return result.stdout


def _checked(package: Package, versions: list[str]) -> tuple[str, ...]:
    """Return the versions, each once; anything that is none would be a word of an installer's command."""
    kept = tuple(dict.fromkeys(item for item in versions if VERSION.fullmatch(item)))
    if not kept:
        raise NotAvailableError(f"{package.name}: its versions cannot be listed: none was named")
    return kept
