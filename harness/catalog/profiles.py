"""Persistence profiles: files with switches → values.

The shipped ones stand in ``harness/profiles``; a path to a ``.toml`` file is a profile of one's own, whose name is the
file's. ``extends`` names a shipped profile whose switches hold where the file says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from harness.catalog.schema import ManifestError, convert, read_toml, suggestion
from harness.core.profile import Profile

_FOLDER = Path(__file__).parent.parent / "profiles"
_SUFFIX = ".toml"
ALL = "all"
DEFAULT_PROFILES = ("posix", "ext4", "xfs", "btrfs")
"""What a power loss is explored under where nobody chose: the weakest sane file system, and three that run here."""


def list_profiles() -> tuple[str, ...]:
    """Return the names of the shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob(f"*{_SUFFIX}")))


@cache
def load_profile(name: str) -> Profile:
    """Return the profile called ``name``, or that of the file ``name`` where it ends in ``.toml``.

    Raises :class:`ManifestError`: no such profile, an unknown key, a value that is none.
    """
    if name.endswith(_SUFFIX):
        return _from_file(name, Path(name).stem)
    if name not in list_profiles():
        raise ManifestError(f"no profile {name!r}{suggestion(name, (*list_profiles(), ALL))}")
    return _from_file(str(_FOLDER / (name + _SUFFIX)), name)


def _from_file(path: str, name: str) -> Profile:
    return convert(path, _tables(path, name, ()), Profile)


def _tables(path: str, name: str, before: tuple[str, ...]) -> dict[str, Any]:
    tables = read_toml(path)
    tables.setdefault("name", name)
    base = tables.pop("extends", None)
    if base is None:
        return tables
    if base in before or base == name or base not in list_profiles():
        raise ManifestError(f"{path}: extends: no other profile {base!r}{suggestion(str(base), list_profiles())}")
    return _tables(str(_FOLDER / (base + _SUFFIX)), base, (*before, name)) | tables


def load_profiles(names: Iterable[str]) -> tuple[Profile, ...]:
    """Return the profiles of a list in its order, each once; ``all`` stands for every shipped one."""
    wanted: dict[str, None] = {}
    for name in names:
        wanted |= dict.fromkeys(list_profiles() if name == ALL else (name,))
    return tuple(load_profile(name) for name in wanted)
