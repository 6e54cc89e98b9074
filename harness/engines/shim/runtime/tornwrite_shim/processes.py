"""Forks, programs started, signals, and the blind spots that announce themselves (sqlite3, mmap)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from .channel import LINK, REAL, VARIABLE
from .command import booted
from .files import is_watched, watched

_BIRTH = VARIABLE + "_BIRTH"
_ENVIRONMENT_AT = {"fork_exec": 5, "CreateProcess": 6}
"""Where the environment stands among the arguments of the function that starts a program."""

INHERITED = (VARIABLE, "PYTHONPATH", "NODE_OPTIONS")
_ours = {name: os.environ[name] for name in INHERITED if name in os.environ}


def _fork(name: str) -> Callable[[], Any]:
    def call() -> Any:
        birth = LINK.ask(b"born", b"fork", b"")[1:].decode()
        try:
            pid = REAL[name]()
        except OSError:
            LINK.note(b"unborn", birth)
            raise
        if (pid[0] if isinstance(pid, tuple) else pid) == 0:
            LINK.connect(birth)
        return pid

    return call


def _birth_of(program: Any) -> str:
    return LINK.ask(b"born", b"exec", os.path.basename(os.fsencode(program)))[1:].decode()


def _program(args: tuple[Any, ...], name: str) -> Any:
    if name == "fork_exec":
        candidates = args[1] or args[0]
        return next((path for path in candidates if os.path.exists(path)), candidates[0])
    return args[0] or (args[1] or "?").split()[0]


def _start(module: Any, name: str) -> None:
    """Have every program that this process starts know the engine, and its own number."""
    real = getattr(module, name)
    at = _ENVIRONMENT_AT[name]

    def call(*args: Any, **more: Any) -> Any:
        if len(args) <= at:
            return real(*args, **more)
        added = {**_ours, _BIRTH: _birth_of(_program(args, name))}
        given = args[at]
        if name == "CreateProcess":
            environment: Any = {**(os.environ if given is None else given), **added}
        else:
            pairs = [key + b"=" + value for key, value in os.environb.items()] if given is None else list(given)
            have = {pair.split(b"=", 1)[0] for pair in pairs}
            pairs = [pair for pair in pairs if not pair.startswith(os.fsencode(_BIRTH) + b"=")]
            environment = pairs + [
                os.fsencode(f"{key}={value}")
                for key, value in added.items()
                if key == _BIRTH or os.fsencode(key) not in have
            ]
        if name == "fork_exec":
            args = (_past_flags(args[0]), *args[1:])
        return real(*args[:at], environment, *args[at + 1 :], **more)

    setattr(module, name, call)


def _past_flags(argv: Any) -> list[bytes]:
    """Return a command that loads the shim although its flags would keep it out."""
    return [os.fsencode(word) for word in booted([os.fsdecode(word) for word in argv])]


def _exec(name: str) -> Callable[..., Any]:
    def call(path: Any, argv: Any, *environment: Any) -> Any:
        closed = [fd for fd in watched() if not REAL["get_inheritable"](fd)]
        LINK.note(b"exec", os.path.basename(os.fsencode(path)), *closed)
        if environment:
            environment = ({**_ours, **environment[0]},)
        return REAL[name](path, _past_flags(argv), *environment)

    return call


# -- signals ----------------------------------------------------------------------------------------------------


def watch_signals() -> None:
    """Let handlers run between operations only, never while one is on its way to the engine."""
    real_signal, real_get = signal.signal, signal.getsignal
    given: dict[int, Any] = {}

    def deferring(handler: Any) -> Any:
        def call(number: int, frame: Any) -> Any:
            if LINK.busy:
                LINK.waiting.append(lambda: handler(number, frame))
                return None
            return handler(number, frame)

        return call

    def set_handler(number: int, handler: Any) -> Any:
        previous = real_get(number)
        previous = given.pop(int(number), previous)
        if callable(handler) and not isinstance(handler, signal.Handlers):
            real_signal(number, deferring(handler))
            given[int(number)] = handler
        else:
            real_signal(number, handler)
        return previous

    def get_handler(number: int) -> Any:
        return given.get(int(number), real_get(number))

    module: Any = signal
    module.signal, module.getsignal = set_handler, get_handler
    if real_get(signal.SIGINT) is signal.default_int_handler:
        set_handler(signal.SIGINT, signal.default_int_handler)


# -- blind spots ------------------------------------------------------------------------------------------------

_READ_ONLY_MAPS = (1, 3)
"""ACCESS_READ and ACCESS_COPY of mmap."""


_STARTS = ("os.exec", "os.posix_spawn", "os.system")
"""Events of programs that no function of :func:`_start` starts. One without the shim never says hello."""
_OF_FILES = frozenset(
    (
        *(
            "write",
            "writev",
            "pwrite",
            "open",
            "openat",
            "creat",
            "fopen",
            "fwrite",
            "rename",
            "renameat",
            "renameat2",
        ),
        *("unlink", "unlinkat", "truncate", "ftruncate", "link", "symlink", "mkdir", "syscall", "copy_file_range"),
    )
)
"""Functions of the C library that change files: whoever asks ctypes for one may go round the shim."""


def _heard(event: str, args: tuple[Any, ...]) -> None:
    if not LINK.active:
        return
    if event in _STARTS:
        program = "sh" if event == "os.system" else os.path.basename(os.fsdecode(args[0]))
        if event != "os.exec" or not program.startswith(("python", "pypy", "node")):
            _birth_of(program)
    elif event == "ctypes.dlsym" and args[1] in _OF_FILES:
        LINK.note(b"blind", b"ctypes", b"")
    elif event == "sqlite3.connect":
        name = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes)) else ""
        if name and name != ":memory:" and LINK.pid == REAL["getpid"]():
            LINK.note(b"blind", b"sqlite3", os.path.abspath(name))
    elif event == "mmap.__new__" and args[0] >= 0 and args[2] not in _READ_ONLY_MAPS and is_watched(args[0]):
        LINK.operate((b"map", args[0]), lambda: None)


def patch() -> None:
    """Watch processes from their birth, and hear of what cannot be seen."""
    from .files import replace

    replace({name: _fork(name) for name in ("fork", "forkpty") if name in REAL})
    replace({name: _exec(name) for name in ("execv", "execve") if name in REAL})
    if os.name == "nt":
        import _winapi

        _start(_winapi, "CreateProcess")
    else:
        import _posixsubprocess

        _start(_posixsubprocess, "fork_exec")
    sys.addaudithook(_heard)
