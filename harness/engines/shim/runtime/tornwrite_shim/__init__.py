"""The shim of Python targets: every mutating file operation is reported to the engine, and waits for its answer.

Standard library only, any Python from 3.10; imports as little as it can, for it is part of every start of a target.
"""

from __future__ import annotations

import os
from typing import Any


def install(connect: bool = True, began: int = 0) -> Any:
    """Watch this process from now on, for the engine that the environment names; return the connection.

    Without ``connect`` all goes on as if nobody watched, until it is connected. Where only times are asked for, they
    are told without what it took to load all this, which ``began`` then.
    """
    from . import channel

    times = None
    if os.environ.get(channel.VARIABLE, "").startswith("times:"):
        from .times import Clock

        channel.LINK = times = Clock()
    from . import files, names, processes, streams

    if connect:
        channel.LINK.connect()
    processes.watch_signals()
    for module in (files, names, streams, processes):
        module.patch()
    if times is not None:
        times.ready(began)
    return channel.LINK
