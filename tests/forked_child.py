"""A body that runs in a forked child: what it gives up (mounts, privileges) cannot be had back."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_a_child(body: Callable[[], str]) -> str:
    """Return what ``body`` returns in a forked child, or what it raises as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = "died"
        try:
            text = body()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, text.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return text
