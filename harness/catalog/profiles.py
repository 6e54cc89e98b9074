"""Persistence profiles: files with switches → values.

The shipped ones stand in ``harness/profiles``; a path to a ``.toml`` file is a profile of one's own, whose name is the
file's. ``extends`` names a shipped profile whose switches hold where the file says nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from harness.catalog.schema import ManifestError, convert, read_toml, suggestion
from harness.core.profile import Profile

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "profiles")
_SUFFIX = ".toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_LEAST_BLOCK, _MOST_BLOCK = 64, 1 << 20
ALL = "all"
DEFAULT_PROFILES = ("posix", "ext4", "xfs", "btrfs")
"""What a power loss is explored under where nobody chose: the weakest sane file system, and three that run here."""


def is_file(name: str) -> bool:
    """Return whether a profile is named by its file, and not by the name of a shipped one."""
    return name.endswith(_SUFFIX)


def beside(name: str, directory: str) -> str:
    """Return a profile's name; one of a file, which is looked for in ``directory``, as an absolute path."""
    return os.path.abspath(os.path.join(directory, name)) if is_file(name) else name


def list_profiles() -> tuple[str, ...]:
    """Return the names of the shipped profiles, sorted."""
    return tuple(sorted(file.removesuffix(_SUFFIX) for file in os.listdir(_FOLDER) if file.endswith(_SUFFIX)))


@cache
def load_profile(name: str) -> Profile:
    """Return the profile called ``name``, or that of the file ``name`` where it ends in ``.toml``.

    Raises :class:`ManifestError`: no such profile, an unknown key, a value that is none.
    """
    if is_file(name):
        return _from_file(name, os.path.basename(name).removesuffix(_SUFFIX))
    if name not in list_profiles():
        raise ManifestError(f"no profile {name!r}{suggestion(name, (*list_profiles(), ALL))}")
    return _from_file(os.path.join(_FOLDER, name + _SUFFIX), name)


def _from_file(path: str, name: str) -> Profile:
    profile = convert(path, _tables(path, name, ()), Profile)
    if not _NAME.fullmatch(profile.name):
        raise ManifestError(f"{path}: name: {profile.name!r} is not of the form {_NAME.pattern}")
    if not _LEAST_BLOCK <= profile.block_bytes <= _MOST_BLOCK:
        raise ManifestError(
            f"{path}: block_bytes: {profile.block_bytes} is not between {_LEAST_BLOCK} and {_MOST_BLOCK}"
        )
    return profile


def _tables(path: str, name: str, before: tuple[str, ...]) -> dict[str, Any]:
    tables = read_toml(path)
    tables.setdefault("name", name)
    base = tables.pop("extends", None)
    if base is None:
        return tables
    if base in before or base == name or base not in list_profiles():
        raise ManifestError(f"{path}: extends: no other profile {base!r}{suggestion(str(base), list_profiles())}")
    return _tables(os.path.join(_FOLDER, base + _SUFFIX), base, (*before, name)) | tables


def load_profiles(names: Iterable[str]) -> tuple[Profile, ...]:
    """Return the profiles of a list in its order, each once; ``all`` stands for every shipped one.

    Raises :class:`ManifestError` for a profile that is none, and where two different ones have one name.
    """
    wanted: dict[str, None] = {}
    for name in names:
        wanted |= dict.fromkeys(list_profiles() if name == ALL else (name,))
    found: dict[str, Profile] = {}
    for name in wanted:
        profile = load_profile(name)
        if found.setdefault(profile.name, profile) != profile:
            raise ManifestError(f"two profiles are called {profile.name!r}; give the one in {name} another name")
    return tuple(found.values())
