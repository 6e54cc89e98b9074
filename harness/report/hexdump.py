"""Bytes of a damaged file around the damage. Shown only when the user asked for content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ROW_BYTES = 16
WINDOW_BYTES_MAX = 4096
"""More than this of one window is not shown."""


def hexdump(data: bytes, offset: int = 0) -> str:
    """Return rows of ``offset  hex  |text|``; everything that is not printable ASCII is a dot."""
    rows = []
    for start in range(0, len(data), _ROW_BYTES):
        piece = data[start : start + _ROW_BYTES]
        pairs = " ".join(f"{byte:02x}" for byte in piece)
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        rows.append(f"{offset + start:08x}  {pairs:<{_ROW_BYTES * 3 - 1}}  |{text}|")
    return "\n".join(rows)


def window(evidence: Mapping[str, Any], which: str = "window") -> str:
    """Return the dump of ``evidence[which + "_hex"]`` at ``which + "_offset"``; empty where there is none."""
    raw, offset = evidence.get(f"{which}_hex"), evidence.get(f"{which}_offset", 0)
    if not isinstance(raw, str) or not isinstance(offset, int):
        return ""
    try:
        data = bytes.fromhex(raw)
    except ValueError:
        return ""
    return hexdump(data[:WINDOW_BYTES_MAX], max(offset, 0))
