"""Whether two paths are one: the file system's case rule as a value, not as a fact of this machine.

A worktree opened as ``/srv/Repo`` and again as ``/srv/repo`` is one directory where names are kept without regard
to case, and two where they are not. What a document says of paths is therefore compared under a rule that its judge
is given. Spelling is evened out first: separators, a slash at the end, composed and decomposed letters.

Non-goals: symbolic links, short names, the case table of one file system in particular.
"""

from __future__ import annotations

import unicodedata


def path_key(path: str, case_sensitive: bool = True) -> str:
    """Return what ``path`` is compared by under a case rule."""
    plain = unicodedata.normalize("NFC", path.replace("\\", "/")).rstrip("/") or path[:1]
    return plain if case_sensitive else plain.casefold()


def same_path(one: str, other: str, case_sensitive: bool = True) -> bool:
    """Whether two paths name one file under a case rule."""
    return path_key(one, case_sensitive) == path_key(other, case_sensitive)


def directory_of(path: str) -> str:
    """Return the directory a path lies in; empty for a name at the top."""
    return path.rpartition("/")[0]
