"""A user's callable as a command: packed into a file that :mod:`harness.testing.child` runs, or why that cannot be.

What can be imported travels by name; a lambda or a function of a function travels by value, through dill, with
whatever it refers to.

Non-goals: callables of other languages; what a function does once it runs.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

import dill

from harness.core.json_record import encode_record
from harness.testing import child
from harness.testing.errors import UsageError

CHILD = os.path.abspath(child.__file__)
_SAID_MAX = 160


def name_of(function: Callable[..., object]) -> str:
    """Return what people call a callable: the end of its qualified name."""
    inner = _inner(function)
    return str(getattr(inner, "__qualname__", "") or type(inner).__qualname__).rpartition("<locals>.")[2]


def identity(function: Callable[..., object]) -> str:
    """Return what a token remembers of a callable: its name, not its code, so that a fix keeps the token."""
    inner = _inner(function)
    return encode_record([_module(function), getattr(inner, "__qualname__", type(inner).__qualname__)])


def arguments_of(function: Callable[..., object], what: str, second: str) -> int:
    """Return whether ``function`` takes the directory alone (1) or ``second`` as well (2); else raise.

    A second parameter with a default is not ours, unless it is called ``second``.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1  # a builtin that does not say
    places = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    needed = [item for item in places if item.default is item.empty]
    many = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    named = len(places) > 1 and places[1].name == second
    if (
        len(needed) > 2
        or not (places or many)
        or any(item.kind is item.KEYWORD_ONLY and item.default is item.empty for item in parameters)
    ):
        raise UsageError(
            f"the {what} {name_of(function)} takes {_counted(needed)}; it gets (dir) or (dir, {second}): "
            "bind the others with functools.partial"
        )
    return 2 if len(needed) == 2 or named else 1


def _counted(needed: list[inspect.Parameter]) -> str:
    if not needed:
        return "no argument"
    return f"the arguments ({', '.join(item.name for item in needed)})"


def pack(function: Callable[..., object], arguments: int, what: str, path: str) -> None:
    """Write the payload of ``function`` to ``path``. Raises :class:`UsageError` where it cannot travel, and why."""
    format_, data = _travelling(function, what)
    payload = {
        "format": format_,
        "path": [os.path.abspath(item or os.curdir) for item in sys.path],
        "modules": _modules(function),
        "arguments": arguments,
        "function": data,
    }
    with open(path, "wb") as stream:
        pickle.dump(payload, stream)


def _travelling(function: Callable[..., object], what: str) -> tuple[str, bytes]:
    if _module(function) != "__main__":  # the child's own __main__ is another
        with contextlib.suppress(Exception):  # pickle raises PicklingError, TypeError, AttributeError, …
            return "pickle", pickle.dumps(function)
    try:
        return "dill", bytes(dill.dumps(function, recurse=True))
    except Exception as error:
        raise UsageError(
            f"the {what} {name_of(function)} cannot be run in a child process: {_culprit(function)}{_said(error)}; "
            "use a function of a module, or a command (a list of words with {dir})"
        ) from None


def _culprit(function: Callable[..., object]) -> str:
    """Return which thing that the function refers to cannot travel, or an empty string."""
    try:
        found = inspect.getclosurevars(inspect.unwrap(function))
        things = {**found.globals, **found.nonlocals}
    except TypeError:
        things = {"__self__": getattr(function, "__self__", None)}
    for name, value in things.items():
        try:
            dill.dumps(value, recurse=True)
        except Exception:
            return f"it refers to {name!r}, a {type(value).__module__}.{type(value).__qualname__}: "
    return ""


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SAID_MAX else text[: _SAID_MAX - 1] + "…"


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _module(function: Callable[..., Any]) -> str:
    inner = _inner(function)
    return str(getattr(inner, "__module__", None) or type(inner).__module__)


def _modules(function: Callable[..., Any]) -> dict[str, str]:
    """Return the file of the module that the function is from: a test's module may not be found by its name."""
    name = _module(function)
    file = getattr(sys.modules.get(name), "__file__", None)
    return {name: os.path.abspath(file)} if file and file.endswith(".py") and name != "__main__" else {}
