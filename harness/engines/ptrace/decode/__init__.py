"""From system calls to operations: one decoder per family, found by system call number."""

from __future__ import annotations

from harness.engines.ptrace import abi
from harness.engines.ptrace.decode import (
    attributes,
    copying,
    lifecycle,
    naming,
    opening,
    sizing,
    submitting,
    syncing,
    tables,
    writing,
)
from harness.engines.ptrace.decode.call import Decoder

_BY_NAME: dict[str, Decoder] = {
    **writing.DECODERS,
    **opening.DECODERS,
    **tables.DECODERS,
    **naming.DECODERS,
    **sizing.DECODERS,
    **copying.DECODERS,
    **attributes.DECODERS,
    **syncing.DECODERS,
    **submitting.DECODERS,
    **lifecycle.DECODERS,
}

DECODERS: dict[int, tuple[str, Decoder]] = {
    abi.SYSCALLS[name]: (name, decoder) for name, decoder in _BY_NAME.items()
}
"""System call number → its name and decoder."""

__all__ = ["DECODERS"]
