"""The directories one execution may use, and putting them into their starting state.

A workspace is marked as one when it is made, and only directories inside a marked workspace are ever emptied:
a wrong path in a specification cannot cost anybody their files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

from harness.core.run import RunSpec
from harness.sandbox import cell
from harness.sandbox.environment import scrubbed
from harness.sandbox.materialise import empty_directory, remove_directory, write_tree

MARKER = ".tornwrite-workspace"
"""The file in a workspace's base that says its directories are ours to empty."""


class WorkspaceError(Exception):
    """A directory is not one that may be emptied, or cannot be made."""


class Workspace:
    """The directories of one worker under ``base``: ``state``, ``cwd``, ``home`` and ``tmp``.

    Paths are absolute and free of symbolic links. The directories exist after construction, unless somebody else is to
    make them, elsewhere (``make`` is false).
    """

    def __init__(self, base: str, *, make: bool = True) -> None:
        if not make:
            self._name(base)
            return
        try:
            os.makedirs(base, mode=0o755, exist_ok=True)
            self._name(os.path.realpath(base))
            marker = os.path.join(self.base, MARKER)
            if not os.path.exists(marker):
                if os.listdir(self.base):
                    raise WorkspaceError(f"{self.base}: not empty and not a workspace; choose an empty directory")
                with open(marker, "x", encoding="ascii") as stream:
                    stream.write("Directories beside this file are emptied without asking.\n")
            for directory in (self.root, self.cwd, self.home, self.tmp):
                os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"cannot use {base} as a workspace: {error.strerror}") from error

    def _name(self, base: str) -> None:
        self.base = base
        self.root = os.path.join(base, "state")
        self.cwd = os.path.join(base, "cwd")
        self.home = os.path.join(base, "home")
        self.tmp = os.path.join(base, "tmp")

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the complete environment of a target here: scrubbed, plus ``extra``."""
        return scrubbed(self.home, self.tmp, extra)

    def remove(self) -> None:
        """Remove the workspace and everything in it."""
        remove_workspace(self.base)


def remove_workspace(base: str) -> None:
    """Remove a workspace; what is no workspace only if it is empty.

    The mark goes last, as it came first: whoever is killed meanwhile leaves something that can still be removed.
    """
    marker = os.path.join(base, MARKER)
    if os.path.isfile(marker):
        for name in os.listdir(base):
            path = os.path.join(base, name)
            if os.path.isdir(path) and not os.path.islink(path):
                remove_directory(path)
        remove_directory(base)
    elif os.path.lexists(base):
        os.rmdir(base)


def temporary_workspace(prefix: str = "tornwrite-") -> Workspace:
    """Return a workspace in a new directory below the system's temporary directory; the caller removes it."""
    return Workspace(tempfile.mkdtemp(prefix=prefix))


def in_workspace(directory: str) -> bool:
    """Return whether ``directory`` lies directly in the base of a workspace."""
    absolute = os.path.abspath(directory)
    base = os.path.dirname(absolute)
    return base != absolute and os.path.isfile(os.path.join(base, MARKER)) and os.path.realpath(base) == base


def prepare(spec: RunSpec) -> None:
    """Put the directories of ``spec`` into their starting state.

    ``root`` then holds exactly ``spec.start``; ``cwd`` is empty, and so are HOME and TMPDIR where they lie in a
    workspace (a caller may point them elsewhere; what is elsewhere is left alone). Raises :class:`WorkspaceError`
    when ``root`` or ``cwd`` is outside any workspace, or the run may only be in a cell and this process is in none.
    """
    if spec.isolation is not None and not cell.inside():
        raise WorkspaceError("this target runs in full isolation only, and was to be started without")
    for directory in (spec.root, spec.cwd):
        if not in_workspace(directory):
            raise WorkspaceError(f"{directory}: not a directory of a workspace, so it is not emptied")
    for path, data in spec.files.items():
        if not in_workspace(path):
            raise WorkspaceError(f"{path}: not directly in a workspace, so it is not written")
        with open(path, "wb") as stream:
            stream.write(data)
    write_tree(spec.start, spec.root)
    empty_directory(spec.cwd)
    for variable in ("HOME", "TMPDIR"):
        directory = spec.environment.get(variable, "")
        if directory and directory not in (spec.root, spec.cwd) and in_workspace(directory):
            empty_directory(directory)
