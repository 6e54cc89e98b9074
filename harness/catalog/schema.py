"""From a TOML file to a checked value: every mistake in it becomes one line.

A :class:`ManifestError` names the file, the section, the key and what would be valid there. Unknown keys are
errors, with the nearest valid key as a suggestion, so a typo is never a silently ignored setting.

Non-goals: TOML beyond ``tomllib``; rules across keys (the modules that own a section check those).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

MANIFEST_BYTES = 1 << 20
"""A manifest is a page of text; what is larger than this is not one."""

_AT = re.compile(r"^(?P<what>.*?) - at `(?P<key>key in )?`?\$?(?P<path>[^`]*)`?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"`([^`]*)`")
_TYPE_NAMES = {"str": "a string", "int": "an integer", "float": "a number", "bool": "true or false"}
_TYPE_NAMES |= {"array": "a list", "object": "a table", "null": "nothing"}

T = TypeVar("T")


class ManifestError(Exception):
    """A target or scenario file is wrong, or a name leads to none. The message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: object, limit: int = 400) -> str:
    """Return ``text`` as one line without control characters, cut to ``limit`` characters."""
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest of ``known``, else the list of what is valid."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""


def read_toml(path: str, shown: str = "") -> dict[str, Any]:
    """Return the tables of a TOML file; messages call it ``shown``. Raises :class:`ManifestError`."""
    shown = shown or path
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise ManifestError(f"{shown}: not a regular file")  # a FIFO that nobody writes to would be waited for
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MANIFEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ManifestError(f"{shown}: cannot be read: {reason}") from None
    if len(raw) > MANIFEST_BYTES:
        raise ManifestError(f"{shown}: larger than {MANIFEST_BYTES} bytes")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ManifestError(f"{shown}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ManifestError(f"{shown}: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{shown}: not TOML: {error}") from None
    except ValueError:  # int() on thousands of digits
        raise ManifestError(f"{shown}: not TOML: a number of thousands of digits") from None


def convert(path: str, tables: dict[str, Any], kind: type[T]) -> T:
    """Return ``tables`` as a ``kind`` (a msgspec struct). Raises :class:`ManifestError` on the first mistake."""
    _refuse_unknown(path, "", tables, msgspec.inspect.type_info(kind))
    try:
        return msgspec.convert(tables, kind)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{path}: {_explain(str(error), tables, kind)}") from None
    except RecursionError:
        raise ManifestError(f"{path}: nested too deeply") from None


def _refuse_unknown(path: str, where: str, value: Any, info: msgspec.inspect.Type) -> None:
    """Raise on the first key of ``value`` that no struct of ``info`` has."""
    if isinstance(info, msgspec.inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in info.fields}
        for key, item in value.items():
            if key not in fields:
                place = f"[{where}]: " if where else ""
                word = "key" if where or not _has_sections(info) else "section"
                raise ManifestError(f"{path}: {place}unknown {word} {key!r}{suggestion(key, fields)}")
            _refuse_unknown(path, f"{where}.{key}" if where else key, item, fields[key])
    elif isinstance(info, msgspec.inspect.VarTupleType) and isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unknown(path, f"{where} {index + 1}", item, info.item_type)


def _has_sections(info: Any) -> bool:
    """Whether a file of this shape has tables, and not only keys."""
    return any(isinstance(field.type, msgspec.inspect.StructType) for field in getattr(info, "fields", ()))


def _explain(message: str, tables: Any, kind: Any) -> str:
    """Return msgspec's complaint in the words of the file."""
    found = _AT.match(message)
    what, trail = (found["what"], _STEP.findall(found["path"])) if found else (message, [])
    info, value = msgspec.inspect.type_info(kind), tables
    where: list[str] = []
    for name, index in trail:
        info, value = _descend(info, value, name, index)
        if name:
            where.append(name)
        elif where and index.isdigit():
            where[-1] += f" {int(index) + 1}"
    what = _in_words(what)
    if missing := re.match(r"Object missing required field `([^`]*)`", what):
        section = f"[{'.'.join(where)}]" if where else "the file"
        return f"{section} lacks {'the key' if where or not _has_sections(info) else 'the section'} {missing[1]!r}"
    if isinstance(info, msgspec.inspect.LiteralType):
        names = [str(item) for item in info.values]
        hint = suggestion(value, names) if isinstance(value, str) else ""
        shown = "" if hint.startswith("; valid") else hint
        return f"{_place(where)}{value!r} is not valid{shown}; valid: {', '.join(names)}"
    return f"{_place(where)}{what}"


def _place(where: list[str]) -> str:
    if not where:
        return ""
    return f"[{'.'.join(where[:-1])}] {where[-1]}: " if len(where) > 1 else f"{where[0]}: "


def _descend(info: Any, value: Any, name: str, index: str) -> tuple[Any, Any]:
    """Return the type and the value one step further down; ``None`` where that is not known."""
    if name:
        fields = {field.encode_name: field.type for field in getattr(info, "fields", ())}
        value = value.get(name) if isinstance(value, dict) else None
        return fields.get(name, getattr(info, "value_type", None)), value
    item = int(index) if index.isdigit() else None
    known = isinstance(value, list) and item is not None and item < len(value)
    return getattr(info, "item_type", getattr(info, "value_type", None)), value[item] if known else None


def _in_words(what: str) -> str:
    """Return msgspec's "Expected `x`, got `y`" with the names TOML uses for types."""
    what = re.sub(r" \| null", "", what)
    return (
        _FIELD.sub(lambda m: " or ".join(_TYPE_NAMES.get(t, t) for t in m[1].split(" | ")), what)
        if (what.startswith("Expected"))
        else what
    )


def in_checkout(path: str) -> str:
    """Return ``path`` relative to the current directory where that is shorter; messages quote it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return relative if len(relative) < len(path) else path
