"""A private view of the file system per worker, so that every worker's target sees the same absolute path.

Absolute paths get into what programs write (and into the trace), so a recording is compared and replayed at the
path it was made at. A worker therefore mounts its own directory over the campaign's canonical one, in a mount
namespace that nobody else sees. Linux; as root, or as an ordinary user where user namespaces are allowed. Where
neither works (:func:`private_mounts_available` says why) one worker at a time uses the canonical directory.

Uses ctypes: ``os.unshare`` exists only since Python 3.12.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
import tempfile

from harness.sandbox.processes import deferring_interrupts

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000


class NamespaceError(Exception):
    """The private mount could not be made. The message says which step failed and why, in one line."""


def reason_of(number: int) -> str:
    """Return what an error of a call for namespaces means, in words."""
    return "no more namespaces are allowed" if number == errno.ENOSPC else os.strerror(number)


def _call(step: str, result: int) -> None:
    if result != 0:
        raise NamespaceError(f"{step}: {reason_of(ctypes.get_errno())}")


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NamespaceError(f"{path}: {error.strerror}") from error


def enter_user_namespace(flags: int, error: type[Exception] = NamespaceError) -> None:
    """Enter new namespaces (``flags`` of ``unshare``) inside a new user namespace of the same user.

    Raises ``error`` with one line.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare of user and other namespaces", libc.unshare(_CLONE_NEWUSER | flags))
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    except NamespaceError as refused:
        raise error(str(refused)) from refused


def bind_private(base: str, canonical: str) -> None:
    """Make ``canonical`` show ``base`` for this process and what it starts from now on; both must exist.

    Irrevocable for the process, which must have a single thread. Raises :class:`NamespaceError`.
    """
    if sys.platform != "linux":
        raise NamespaceError(f"no mount namespaces on {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    # Without the privilege, inside a user namespace.
    if libc.unshare(_CLONE_NEWNS):
        enter_user_namespace(_CLONE_NEWNS)
    # Without this the mount would travel to every other namespace that shares the mount point.
    _call("making mounts private", libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))
    source, target = os.fsencode(base), os.fsencode(canonical)
    _call("bind mount", libc.mount(source, target, None, ctypes.c_ulong(_MS_BIND), None))
    # The working directory still shows what is below the mount.
    if os.path.realpath(os.getcwd()) == os.path.realpath(canonical):
        os.chdir(canonical)


def _try_in_child(directory: str) -> str:
    """Bind one directory over another in a child; return "" or why that failed."""
    base, canonical = os.path.join(directory, "base"), os.path.join(directory, "canonical")
    os.mkdir(base)
    os.mkdir(canonical)
    open(os.path.join(base, "seen"), "x").close()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        reason = "the self-test failed"
        try:
            bind_private(base, canonical)
            if os.path.exists(os.path.join(canonical, "seen")):
                reason = ""
        except Exception as error:  # the child must never return into the caller's code
            reason = str(error)
        finally:
            os.write(writing, reason.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        reason = stream.read().decode(errors="replace")
    os.waitpid(child, 0)
    if not reason and os.path.exists(os.path.join(canonical, "seen")):
        return "the self-test's mount was visible outside its namespace"
    return reason


@functools.lru_cache(maxsize=1)
def private_mounts_available(within: str | None = None) -> str:
    """Return "" if :func:`bind_private` works here, else the reason it does not. Tried once, in a child.

    ``within`` is where the directories of the trial are made: where they go with the rest if this process is killed.
    """
    if sys.platform != "linux":
        return f"no mount namespaces on {sys.platform}"
    try:
        with tempfile.TemporaryDirectory(prefix="mounts-", dir=within) as directory, deferring_interrupts():
            return _try_in_child(os.path.realpath(directory))
    except OSError as error:
        return f"the self-test could not run: {error.strerror}"
