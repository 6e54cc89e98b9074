"""Structs ⇄ one line of JSON, for names that are not UTF-8.

A path that is not UTF-8 carries lone surrogates (:mod:`harness.core.tree`); msgspec's own JSON refuses them, so
the text goes through the standard library with every non-ASCII character escaped, and only the shape is
msgspec's. Unknown members are ignored: a reader of an earlier version accepts additions.

Non-goals: bytes with meaning of their own (:mod:`harness.core.trace_codec` has blobs).
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


class RecordError(ValueError):
    """A text is not the record it should be; the message is one line that says where and why."""


def encode_record(value: Any) -> str:
    """Return ``value`` (a struct or plain data) as one line of ASCII JSON without its newline."""
    return encode_plain(msgspec.to_builtins(value))


def encode_plain(value: Any) -> str:
    """Return plain data as one line of ASCII JSON without its newline."""
    return _ENCODER.encode(value)


def encode_document(value: Any) -> str:
    """Return ``value`` as indented ASCII JSON with a final newline: for files that people open."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=True, indent=2) + "\n"


def parse_json(text: str | bytes) -> Any:
    """Return the JSON value of ``text``. Raises :class:`RecordError` for anything that is none."""
    try:
        return json.loads(text)
    except RecursionError:
        raise RecordError("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise RecordError(f"not JSON: {_one_line(error)}") from None


def convert_record(value: Any, type_: type[_T] | Any) -> Any:
    """Return plain data as a ``type_``. Raises :class:`RecordError` where it does not fit."""
    try:
        return msgspec.convert(value, type_)
    except UnicodeError:
        raise RecordError("a member or tag is not valid Unicode") from None
    except RecursionError:
        raise RecordError("nested too deeply") from None
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError) as error:
        raise RecordError(_one_line(error)) from None


def decode_record(text: str | bytes, type_: type[_T]) -> _T:
    """Return ``text`` as a ``type_``. Raises :class:`RecordError` for anything else."""
    decoded: _T = convert_record(parse_json(text), type_)
    return decoded


def _one_line(error: Exception) -> str:
    """Return a message without line breaks and without quoting more than a line of what it is about."""
    return " ".join(str(error).encode("ascii", "backslashreplace").decode().split())[:200]
