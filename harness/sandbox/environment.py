"""What a target inherits (almost nothing) and which program a command really names.

Interpreter shims (pyenv, asdf, volta) are passed over: each start of one runs dozens of processes, which would
all be part of the recording.
"""

from __future__ import annotations

import difflib
import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping

_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_SHIM_DIRECTORIES = frozenset({"shims", ".volta"})
_NODE_ASK_TIMEOUT_S = 10.0


class ProgramNotFoundError(Exception):
    """A command names no program that can be started. The message says why, and what may be meant."""


def real_python() -> str:
    """Return the interpreter behind the running one: no virtual environment, no shim."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    return os.path.realpath(base)


def _is_shim_directory(directory: str) -> bool:
    return not _SHIM_DIRECTORIES.isdisjoint(os.path.normpath(directory).split(os.sep)[-2:])


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return False


def _search_path() -> list[str]:
    """Return the caller's PATH: absolute directories only, those of shims last."""
    entries = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)]
    return sorted(dict.fromkeys(entries), key=_is_shim_directory)


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join(_search_path()))


@functools.lru_cache(maxsize=1)
def real_node() -> str | None:
    """Return the Node executable itself, or ``None`` where there is none.

    A shim is asked for the path of the program it starts.
    """
    found = _which("node")
    if found is None:
        return None
    real = os.path.realpath(found)
    if os.path.basename(real).startswith("node") and not _is_script(real):
        return real
    try:
        answer = subprocess.run(
            [found, "-p", "process.execPath"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_NODE_ASK_TIMEOUT_S,
            check=True,
            text=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return os.path.realpath(answer) if os.path.isfile(answer) else None


def npm_platform() -> str:
    """Return what packages of npm call this platform: ``linux-x64``, ``linux-arm64-musl``, ``darwin-arm64``."""
    system = "win32" if os.name == "nt" else sys.platform
    processor = platform.machine().lower()
    known = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
    musl = "-musl" if system == "linux" and not platform.libc_ver()[0] else ""
    return f"{system}-{known.get(processor, processor)}{musl}"


@functools.lru_cache(maxsize=1)
def minimal_path() -> str:
    """Return the PATH of every target: the real Python and Node, then the system's directories."""
    directories = [os.path.dirname(real_python())]
    node = real_node()
    if node is not None:
        directories.append(os.path.dirname(node))
    if os.name == "nt":
        root = os.environ.get("SYSTEMROOT", r"C:\Windows")
        directories += [os.path.join(root, "System32"), root]
    else:
        directories += [directory for directory in _SYSTEM_PATH if os.path.isdir(directory)]
    return os.pathsep.join(dict.fromkeys(directories))


def scrubbed(home: str, tmp: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a target's complete environment. Nothing is inherited, so no credential can leak into a target.

    ``extra`` wins over what is set here.
    """
    environment = {
        "PATH": minimal_path(),
        "HOME": home,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if os.name == "nt":
        # Without SYSTEMROOT sockets and random numbers fail; TEMP and USERPROFILE are TMPDIR and HOME there.
        environment |= {
            "SYSTEMROOT": os.environ.get("SYSTEMROOT", r"C:\Windows"),
            "TEMP": tmp,
            "TMP": tmp,
            "USERPROFILE": home,
        }
    environment.update(extra or {})
    return environment


def _suggestion(name: str) -> str:
    known: set[str] = set()
    for directory in _search_path():
        try:
            known.update(os.listdir(directory))
        except OSError:
            continue
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_file(path: str, shown: str) -> str:
    if os.path.isdir(path):
        raise ProgramNotFoundError(f"{shown}: is a directory, not a program")
    if not os.path.exists(path):
        raise ProgramNotFoundError(f"{shown}: no such file")
    if not os.access(path, os.X_OK):
        hint = "; name its interpreter first" if path.endswith((".py", ".js", ".mjs", ".cjs", ".sh")) else ""
        raise ProgramNotFoundError(f"{shown}: is not executable{hint}")
    return os.path.abspath(path)


def resolve_program(argv0: str) -> str:
    """Return the absolute path of the program that ``argv0`` names.

    ``python`` and ``python3`` are the interpreter behind the running one, ``node`` the Node executable itself; a
    name with a slash is taken as it stands, relative to the current directory; any other name is looked up
    along the caller's PATH, past directories of shims where that is possible. Raises
    :class:`ProgramNotFoundError`.
    """
    if not argv0 or "\0" in argv0:
        raise ProgramNotFoundError("the command is empty" if not argv0 else "the command holds a NUL byte")
    if os.path.dirname(argv0):
        return _check_file(argv0, argv0)
    if argv0 in ("python", "python3"):
        return real_python()
    found = real_node() if argv0 == "node" else _which(argv0)
    if found is not None:
        return os.path.abspath(found)
    for directory in _search_path():
        if os.path.isfile(os.path.join(directory, argv0)):
            raise ProgramNotFoundError(f"{argv0}: found in {directory}, but is not executable")
    raise ProgramNotFoundError(f"{argv0}: command not found{_suggestion(argv0)}")
