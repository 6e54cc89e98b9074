"""The shim of Python targets: every mutating file operation is reported to the engine, and waits for its answer.

Standard library only, any Python from 3.10; imports as little as it can, for it is part of every start of a target.
"""

from __future__ import annotations

from typing import Any


def install(birth: str = "") -> Any:
    """Connect to the engine that the environment names and watch this process from now on; return the channel."""
    from . import channel, files, names, processes, streams

    channel.LINK.connect(birth)
    processes.watch_signals()
    for module in (files, names, streams, processes):
        module.patch()
    return channel.LINK
