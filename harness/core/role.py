"""Path roles and masks: what stays the same when names and values carry ids, pids or random infixes.

A *role* groups the paths that play one part ("projects/<name>/<uuid>.jsonl"), so that a crash point found in
one run can be found again in the next. The rule: extension and depth stay; uuids become ``<uuid>``, the names
that ``mkstemp`` invents ``<tmp>``, and every other hex run, digit run or random infix ``<n>`` — one placeholder,
because a random infix is now and then all digits or all hex.

A random infix without a digit looks like a word. It is masked only where a random infix is usual: last in the
name, or last before ``.tmp`` and the like, after a data extension or ``tmp`` (``state.json.aBcDeF``), or eight
characters behind a dash or underscore (``.state-abcdefgh.tmp``, as Python's ``mkstemp`` makes with a prefix and a
suffix); never a word of :data:`_WORDS`. Elsewhere it stays, and such a run has a role of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = (
    "actual|archive|attempt|backup|blake|bundle|cached|checkpoint|compact|corrupt|corrupted|current|damaged|default"
    "|deleted|deprecated|expired|failed|history|index|idx|invalid|journal|latest|legacy|locked|manifest|master"
    "|message|messages|migrated|obsolete|original|orphaned|partial|pending|previous|record|recovered|registry"
    "|replaced|rollback|rotated|saved|segment|session|sessions|shadow|shard|snapshot|sqlite|staged|staging|state"
    "|temporary|thread|update|updated|upload|version|worker|working|base|part|sha|step|turn"
)
_WORD = re.compile(rf"(?:{_WORDS})_?[0-9]*", re.IGNORECASE)
_EXTENSIONS = "bin|cfg|conf|csv|dat|db|idx|ini|json|jsonl|lock|log|md|ndjson|sqlite3?|toml|txt|xml|ya?ml"

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_MKSTEMP = re.compile(r"(?<![A-Za-z0-9])te?mp(?!_[a-z]+(?:[./]|$))[a-z0-9_]{8}(?=[./]|$)")
_HEX = re.compile(r"(?<![A-Za-z0-9])(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}(?![A-Za-z0-9])")
_RANDOM = re.compile(r"(?<=[._-])(?=[A-Za-z_]*[0-9])(?=[0-9_]*[A-Za-z])([A-Za-z0-9_]{6,16})(?=[./~]|$)")
_INFIX = re.compile(
    rf"(?:(?<=\.)(?:{_EXTENSIONS})|(?<![A-Za-z0-9])te?mp)[._-]([A-Za-z0-9_]{{6,16}})"
    r"(?=(?:\.(?:tmp|temp|part|partial|new|swp))?(?:/|~|$))"
)
_BEFORE_TMP = re.compile(r"(?<=[-_])([a-z0-9_]{8})(?=\.(?:tmp|temp|part|partial|new|swp)(?:/|~|$))")
_ENCODED = re.compile(r"(?<=projects/)-[A-Za-z0-9-]+(?=/)")
"""A working directory as the name of a directory, as transcripts are filed: it differs from machine to machine."""
_DIGITS = re.compile(r"[0-9]+")
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_UUID_BYTES = re.compile(_UUID.pattern.encode())


def _unless_a_word(match: re.Match[str]) -> str:
    token = match.group(1)
    if _WORD.fullmatch(token):
        return match.group()
    return match.group()[: match.start(1) - match.start()] + "<n>"


@lru_cache(maxsize=4096)
def path_role(path: str) -> str:
    """Return the role of a path: ``a/3f2…-uuid.jsonl`` → ``a/<uuid>.jsonl``, ``s.tmp.4711`` → ``s.tmp.<n>``."""
    masked = _UUID.sub("<uuid>", _ENCODED.sub("<cwd>", path))
    masked = _MKSTEMP.sub("<tmp>", masked)
    masked = _HEX.sub("<n>", masked)
    masked = _INFIX.sub(_unless_a_word, masked)
    masked = _BEFORE_TMP.sub(_unless_a_word, masked)
    masked = _RANDOM.sub(_unless_a_word, masked)
    return _DIGITS.sub("<n>", masked)


def mask_bytes(data: bytes) -> bytes:
    """Return ``data`` with uuids and timestamps replaced: what two runs of one program have in common."""
    return _TIMESTAMP.sub(b"<time>", _UUID_BYTES.sub(b"<uuid>", data))
