"""How the shim gets into a target: by environment variables, and by the command line where flags keep those out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

RUNTIME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtime")
BOOT = os.path.join(RUNTIME, "boot.py")
NODE_SHIM = os.path.join(RUNTIME, "node_shim.cjs")
VARIABLE = "TORNWRITE_SHIM"

_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*(?:\.exe)?", re.IGNORECASE)
_WITH_ARGUMENT = "WX"
_KEEP_OUT = "ISE"
"""Flags of Python that keep ``sitecustomize`` or PYTHONPATH out."""


def is_python(program: str) -> bool:
    """Whether a program is a Python interpreter, by its name."""
    return _PYTHON.fullmatch(os.path.basename(program)) is not None


class PythonCommand:
    """A Python command line taken apart: ``flags``, then ``kind`` (file, -c, -m), ``what``, ``rest``.

    ``kind`` is empty where the interpreter runs nothing that can be wrapped (standard input, ``--version``).
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.program = argv[0]
        self.flags: list[str] = []
        self.kind = self.what = ""
        self.rest: list[str] = []
        words = list(argv[1:])
        while words:
            word = words.pop(0)
            if not word.startswith("-") or word == "-":
                if word != "-":
                    self.kind, self.what, self.rest = "file", word, words
                return
            if self._option(word, words):
                return

    def _option(self, word: str, words: list[str]) -> bool:
        """Take in one option; return whether it is the last."""
        if word.startswith("--"):
            self.flags.append(word)
            if word == "--check-hash-based-pycs" and words:
                self.flags.append(words.pop(0))
            return False
        for index, letter in enumerate(word[1:], 1):
            if letter in "cm":
                if word[1:index]:
                    self.flags.append(word[:index])
                attached = word[index + 1 :]
                if attached or words:
                    self.kind, self.what = f"-{letter}", attached or words.pop(0)
                    self.rest = words
                return True
            if letter in _WITH_ARGUMENT:
                self.flags.append(word)
                if not word[index + 1 :] and words:
                    self.flags.append(words.pop(0))
                return False
        self.flags.append(word)
        return False

    @property
    def keeps_out(self) -> bool:
        """Whether its flags keep out what the environment would load."""
        return any(
            not flag.startswith("--") and not set(flag[1:]).isdisjoint(_KEEP_OUT)
            for flag in self.flags
            if flag[:1] == "-" and flag[1:2] not in _WITH_ARGUMENT
        )


def command(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs ``argv`` with the shim."""
    if not argv or not is_python(argv[0]):
        return tuple(argv)
    python = PythonCommand(argv)
    if not python.kind or not python.keeps_out:
        return tuple(argv)
    return (python.program, *python.flags, BOOT, python.kind, python.what, *python.rest)


def environment(given: Mapping[str, str], address: str) -> dict[str, str]:
    """Return the environment in which Python and Node load the shim, and find the engine at ``address``."""
    quoted = NODE_SHIM.replace("\\", "\\\\").replace('"', '\\"')
    return {
        **given,
        VARIABLE: address,
        "PYTHONPATH": os.pathsep.join(filter(None, (RUNTIME, given.get("PYTHONPATH", "")))),
        "NODE_OPTIONS": " ".join(filter(None, (f'"--require={quoted}"', given.get("NODE_OPTIONS", "")))),
    }
