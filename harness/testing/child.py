"""What runs in a child process for a test: the user's writer, or the user's check, unpacked from a file.

Started by its path, once per run of a writer, so it imports nothing but what the payload needs:

    python child.py write PAYLOAD DIRECTORY
    python child.py check PAYLOAD DIRECTORY ACKS

A payload is a pickle of ``format``, ``path`` (the import path), ``modules`` (files of modules that the path may not
find), ``arguments`` (1 or 2) and ``function`` (bytes, by pickle or dill). Exit code 0: written, or held; 1: the writer
raised, or the check rejects. A check may raise what it likes: all of it means that the state is bad, only what skips
a test does not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import pickle
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any

HELD, REJECTED, NO_ANSWER = 0, 1, 3
_TEXT_MAX = 400
_NO_JUDGEMENT = ("Skipped", "Exit", "KeyboardInterrupt")


def acknowledge(name: object) -> None:
    """Say on standard output that ``name`` is saved: one line, at once."""
    text = str(name)
    if not text or text.split() != [text] or not text.isprintable():
        raise ValueError(f"ack({name!r}): an acknowledgement is one word")
    sys.stdout.flush()
    os.write(1, f"ACK {text}\n".encode("utf-8", "surrogateescape"))


def write(function: Callable[..., object], arguments: int, directory: str) -> int:
    """Run a writer on ``directory``; what it raises is printed as Python does it."""
    try:
        function(pathlib.Path(directory), *([acknowledge] if arguments > 1 else []))
    except Exception:
        traceback.print_exc()
        return REJECTED
    return HELD


def judge(function: Callable[..., object], arguments: int, directory: str, acks: str) -> int:
    """Return the exit code of a check; why it rejects is printed as one line of JSON."""
    with open(acks, encoding="utf-8", errors="surrogateescape") as stream:
        acked = stream.read().split()
    try:
        answer = function(pathlib.Path(directory), *([acked] if arguments > 1 else []))
    except BaseException as error:
        if type(error).__name__ in _NO_JUDGEMENT:
            print(f"the check gave no judgement: {type(error).__name__}: {error}", file=sys.stderr)
            return NO_ANSWER
        if isinstance(error, SystemExit) and not error.code:
            return HELD
        return _reject(_in_a_line(error))
    # What a lambda happens to return judges nothing: only a false *answer* does.
    if type(answer).__name__ in ("bool", "bool_") and not answer:
        return _reject("it returned False")
    return HELD


def _in_a_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _reject(why: str) -> int:
    print()  # whatever the check printed, this stands in a line of its own
    print(json.dumps({"verdict": "violated", "why": why[:_TEXT_MAX]}))
    print(why[:_TEXT_MAX], file=sys.stderr)
    return REJECTED


def unpack(path: str) -> tuple[Callable[..., object], int]:
    """Return the function of a payload, and how many arguments it takes."""
    with open(path, "rb") as stream:
        payload: dict[str, Any] = pickle.load(stream)
    sys.path[:] = payload["path"]
    sys.meta_path.append(_ByFile(payload["modules"]))
    for name, file in payload["modules"].items():
        if payload["format"] == "pickle":
            _provide(name, file)
    if payload["format"] == "dill":
        import dill  # noqa: PLC0415 -- only a lambda or a closure needs it

        return dill.loads(payload["function"]), payload["arguments"]
    return pickle.loads(payload["function"]), payload["arguments"]


class _ByFile:
    """Finds modules whose names lead nowhere: a function that travels by value may still refer to its module."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        file = self._modules.get(name)
        return importlib.util.spec_from_file_location(name, file) if file else None


def _provide(name: str, file: str) -> None:
    """Load a module from its file where its name leads to no file, or to another one: as test runners import."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is not None and spec.origin and os.path.realpath(spec.origin) == os.path.realpath(file):
        return
    parent = name.rpartition(".")[0]
    while parent:
        sys.modules.setdefault(parent, types.ModuleType(parent))
        parent = parent.rpartition(".")[0]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def before_forks(words: Sequence[str]) -> None:
    """Import what the payload refers to, once for all the trials that a fork server is going to fork."""
    unpack(words[1])


def main(words: Sequence[str]) -> int:
    """Do what the words of the command line say."""
    what, payload, *rest = words
    function, arguments = unpack(payload)
    if what == "write":
        return write(function, arguments, *rest)
    return judge(function, arguments, *rest)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(code)
