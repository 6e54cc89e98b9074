"""A writer or a check of a test as a command: a list of words as it stands, a callable packed for a child process."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

import msgspec

from harness.campaign.probe import DIRECTORY_WORD
from harness.sandbox.forked import standing_in
from harness.testing import child
from harness.testing.callables import CHILD, arguments_of, identity, name_of, pack
from harness.testing.errors import UsageError

Writer = Callable[..., object] | Sequence[str | os.PathLike[str]]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """``command`` starts it; ``function`` is what it was made of, if it was a callable; ``identity`` is for tokens."""

    command: tuple[str, ...]
    name: str = ""
    identity: str = ""
    function: Callable[..., object] | None = None
    arguments: int = 1

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[None]:
        """Let workers that are forked inside the block call a check instead of starting its command."""
        if self.function is None:
            yield
            return
        function, arguments = self.function, self.arguments

        def judge(argv: Sequence[str]) -> int:
            return child.judge(function, arguments, argv[-2], argv[-1])

        with standing_in(self.command[-3], judge):
            yield


def program_of(given: Writer, what: str, directory: str) -> Program:
    """Return the program that ``given`` is, as a *writer*, *recovery* or *check*. Its payload is kept in ``directory``.

    Raises :class:`UsageError` for what is neither a callable nor a command, and for a callable that cannot travel.
    """
    if callable(given):
        return _of_callable(given, what, directory)
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        hint = f": {shlex.split(given)}" if isinstance(given, str) else ""
        raise UsageError(f"the {what} is a callable or a command, a list of words with {{dir}}{hint}")
    words = tuple(os.fspath(word) if isinstance(word, str | os.PathLike) else repr(word) for word in given)
    if not any(DIRECTORY_WORD in word for word in words):
        raise UsageError(f"the {what} does not mention {{dir}}, the state directory: {shlex.join(words)}")
    return Program(command=words, identity="\0".join(words))


def _of_callable(given: Callable[..., object], what: str, directory: str) -> Program:
    if any(is_one(given) for is_one in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)):
        raise UsageError(f"the {what} {name_of(given)} is a coroutine or a generator: calling it runs none of it")
    arguments = arguments_of(given, what, "acked" if what == "check" else "ack")
    payload = os.path.join(directory, f"{what}.pickle")
    mode, rest = ("check", (DIRECTORY_WORD, "{acks}")) if what == "check" else ("write", (DIRECTORY_WORD,))
    if what != "check" or sys.platform != "linux":  # a check is called by forks of this process, which has it
        pack(given, arguments, what, payload)
    return Program(
        command=(sys.executable, CHILD, mode, payload, *rest),
        name=name_of(given),
        identity=identity(given),
        function=given if what == "check" else None,
        arguments=arguments,
    )
