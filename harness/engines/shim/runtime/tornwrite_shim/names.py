"""``os`` functions on names and metadata: rename, link, unlink, mkdir, chmod, utime, owners and attributes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .channel import LINK, REAL
from .files import IGNORED, kind, place, replace


def _rename(name: str) -> Callable[..., None]:
    def call(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        LINK.operate(
            (b"rename", b"rename", *place(src, src_dir_fd), *place(dst, dst_dir_fd)),
            lambda: REAL[name](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd),
            path=src,
        )

    return call


def _link(
    src: Any,
    dst: Any,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool | None = None,
) -> None:
    given = {} if follow_symlinks is None else {"follow_symlinks": follow_symlinks}
    LINK.operate(
        (b"link", b"link", *place(src, src_dir_fd), *place(dst, dst_dir_fd), int(bool(follow_symlinks))),
        lambda: REAL["link"](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **given),
        path=src,
    )


def _symlink(src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None) -> None:
    LINK.operate(
        (b"symlink", b"symlink", *place(dst, dir_fd), os.fspath(src)),
        lambda: REAL["symlink"](src, dst, target_is_directory, dir_fd=dir_fd),
        path=src,
    )


def _gone(name: str) -> Callable[..., None]:
    syscall = "rmdir" if name == "rmdir" else "unlink"

    def call(path: Any, *, dir_fd: int | None = None) -> None:
        LINK.operate(
            (b"unlink", syscall, *place(path, dir_fd)), lambda: REAL[name](path, dir_fd=dir_fd), path=path
        )

    return call


def _mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    LINK.operate(
        (b"mkdir", b"mkdir", *place(path, dir_fd)), lambda: REAL["mkdir"](path, mode, dir_fd=dir_fd), path=path
    )


def _mkfifo(path: Any, mode: int = 0o666, *, dir_fd: int | None = None) -> None:
    LINK.operate(
        (b"mknod", b"mknod", *place(path, dir_fd), 0o010000),
        lambda: REAL["mkfifo"](path, mode, dir_fd=dir_fd),
        path=path,
    )


def _mknod(path: Any, mode: int = 0o600, device: int = 0, *, dir_fd: int | None = None) -> None:
    LINK.operate(
        (b"mknod", b"mknod", *place(path, dir_fd), mode),
        lambda: REAL["mknod"](path, mode, device, dir_fd=dir_fd),
        path=path,
    )


def _about(
    path: Any, fields: tuple[Any, ...], real: Callable[[], Any], dir_fd: int | None = None, follow: bool = True
) -> Any:
    """Do what changes the metadata of a path or of a descriptor."""
    if isinstance(path, int):
        if kind(path) == IGNORED:
            return real()
        where: tuple[Any, ...] = (b"fd", path, b"")
    else:
        where = (b"path" if follow else b"link", *place(path, dir_fd))

    def now(_: Any) -> tuple[Any, ...]:
        info = REAL["stat"](path, dir_fd=dir_fd, follow_symlinks=follow)
        return (info.st_mtime_ns if fields[0] == b"utime" else info.st_mode,)

    return LINK.operate((fields[0], fields[1], *where, *fields[2:]), real, path=path, facts=now)


def _chmod(path: Any, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    given = {} if follow_symlinks else {"follow_symlinks": False}
    _about(
        path,
        (b"chmod", b"chmod", mode),
        lambda: REAL["chmod"](path, mode, dir_fd=dir_fd, **given),
        dir_fd,
        follow_symlinks,
    )


def _fchmod(fd: int, mode: int) -> None:
    _about(fd, (b"chmod", b"fchmod", mode), lambda: REAL["fchmod"](fd, mode))


def _utime(
    path: Any, times: Any = None, *, ns: Any = None, dir_fd: int | None = None, follow_symlinks: bool = True
) -> None:
    given = {"ns": ns} if ns is not None else {}
    now = int(times is None and ns is None)
    _about(
        path,
        (b"utime", b"utimensat", now),
        lambda: REAL["utime"](path, times, dir_fd=dir_fd, follow_symlinks=follow_symlinks, **given),
        dir_fd,
        follow_symlinks,
    )


def _chown(path: Any, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    _about(
        path,
        (b"attribute", b"chown", b"owner"),
        lambda: REAL["chown"](path, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks),
        dir_fd,
        follow_symlinks,
    )


def _fchown(fd: int, uid: int, gid: int) -> None:
    _about(fd, (b"attribute", b"fchown", b"owner"), lambda: REAL["fchown"](fd, uid, gid))


def _lchown(path: Any, uid: int, gid: int) -> None:
    _about(path, (b"attribute", b"lchown", b"owner"), lambda: REAL["lchown"](path, uid, gid), follow=False)


def _setxattr(path: Any, attribute: Any, value: Any, flags: int = 0, *, follow_symlinks: bool = True) -> None:
    what = f"xattr {os.fsdecode(attribute)} set"
    _about(
        path,
        (b"attribute", b"setxattr", what),
        lambda: REAL["setxattr"](path, attribute, value, flags, follow_symlinks=follow_symlinks),
        follow=follow_symlinks,
    )


def _removexattr(path: Any, attribute: Any, *, follow_symlinks: bool = True) -> None:
    what = f"xattr {os.fsdecode(attribute)} removed"
    _about(
        path,
        (b"attribute", b"removexattr", what),
        lambda: REAL["removexattr"](path, attribute, follow_symlinks=follow_symlinks),
        follow=follow_symlinks,
    )


def patch() -> None:
    """Watch what this process does with names."""
    replace(
        {
            "rename": _rename("rename"),
            "replace": _rename("replace"),
            "link": _link,
            "symlink": _symlink,
            "unlink": _gone("unlink"),
            "remove": _gone("remove"),
            "rmdir": _gone("rmdir"),
            "mkdir": _mkdir,
            "mkfifo": _mkfifo,
            "mknod": _mknod,
            "chmod": _chmod,
            "fchmod": _fchmod,
            "utime": _utime,
            "chown": _chown,
            "fchown": _fchown,
            "lchown": _lchown,
            "setxattr": _setxattr,
            "removexattr": _removexattr,
        }
    )
