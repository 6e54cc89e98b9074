"""Values and errors on their way between processes: pickled by pickle, which is fast; else by dill, which carries more.

Non-goals: values from elsewhere. What is unpacked here was packed by a process that was forked from this program.
"""

from __future__ import annotations

import contextlib
import pickle
import traceback
from typing import Any


class CallFailedError(Exception):
    """A call raised something that cannot travel between processes; the message holds its type and text."""


def dumps(value: object) -> bytes:
    """Return ``value`` pickled: by pickle, which is fast, else by dill, which carries closures too."""
    try:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:  # pickle raises PicklingError, TypeError, AttributeError, … depending on what it meets
        from multiprocess.reduction import ForkingPickler  # noqa: PLC0415 - dill takes long to load, and is rarely needed

        return bytes(ForkingPickler.dumps(value))


def loads(payload: bytes) -> Any:
    """Return what :func:`dumps` packed."""
    return pickle.loads(payload)


def portable(error: BaseException) -> BaseException:
    """Return ``error`` with its traceback as a note, in a form that survives the journey."""
    text = "".join(traceback.format_exception(error)).rstrip()
    with contextlib.suppress(Exception):
        error.__traceback__ = None
        error.__cause__ = error.__context__ = None
        error.add_note(text)
        loads(dumps(error))
        return error
    failed = CallFailedError(f"{type(error).__name__}: {error}")
    failed.add_note(text)
    return failed
