"""Where targets and scenarios lie: inside the installed package, or in the checkout that is being worked on."""

from __future__ import annotations

import os

import harness
from harness.catalog.schema import ManifestError

_PACKAGE = os.path.dirname(os.path.abspath(harness.__file__))


def data_directory(kind: str) -> str:
    """Return the directory of ``targets`` or ``scenarios``. Raises :class:`ManifestError` if there is none.

    The package's own data wins: beside an installed package lie other people's directories.
    """
    shipped = os.path.join(_PACKAGE, "_data", kind)
    if os.path.isdir(shipped):
        return shipped
    checkout = os.path.dirname(_PACKAGE)
    beside = os.path.join(checkout, kind)
    if os.path.isfile(os.path.join(checkout, "pyproject.toml")) and os.path.isdir(beside):
        return beside
    raise ManifestError(f"this installation carries no {kind}; name one by its path")


def target_directories() -> dict[str, str]:
    """Return the shipped targets: folder name → directory."""
    base = data_directory("targets")
    found = {}
    for name in sorted(os.listdir(base)):
        if os.path.isfile(os.path.join(base, name, "target.toml")):
            found[name] = os.path.join(base, name)
    return found


def scenario_files() -> dict[str, str]:
    """Return the shipped scenarios: name → file."""
    base = data_directory("scenarios")
    return {
        name.removesuffix(".toml"): os.path.join(base, name)
        for name in sorted(os.listdir(base))
        if name.endswith(".toml")
    }
