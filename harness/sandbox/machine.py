"""Facts about the machine that a report states: kernel, processors, load, file system.

Plain data, no identity: host name, user and paths stay out.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from typing import Any

import psutil


def _mounted_at(path: str) -> tuple[str, str] | None:
    """Return (type, options) of the file system ``path`` lies on, from ``/proc/self/mountinfo``."""
    best: tuple[int, str, str] | None = None
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.readlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) < 6 or not rest:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[4])
        below = path == point or path.startswith(point.rstrip("/") + "/")
        # Of two mounts at one point the later one is on top.
        if below and (best is None or len(point) >= best[0]):
            best = (len(point), rest[0], fields[5])
    return None if best is None else (best[1], best[2])


def filesystem(path: str) -> dict[str, str]:
    """Return ``{"type": "ext4", "options": "rw,relatime"}`` of the file system ``path`` lies on."""
    path = os.path.realpath(path)
    if sys.platform == "linux":
        found = _mounted_at(path)
    else:
        mounts = [
            mount
            for mount in psutil.disk_partitions(all=True)
            if path.lower().startswith(mount.mountpoint.lower().rstrip(os.sep))
        ]
        best = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
        found = None if best is None else (best.fstype, best.opts)
    return {"type": "unknown", "options": ""} if found is None else {"type": found[0], "options": found[1]}


def is_case_sensitive(directory: str) -> bool:
    """Return whether two names that differ in case alone are two files in ``directory``, which must be writable.

    Asked of the file system, not of the platform's name: macOS has both kinds, Windows too since 1803 and Linux with
    casefold directories. Raises ``OSError``.
    """
    descriptor, path = tempfile.mkstemp(prefix="Case-", dir=directory)
    try:
        head, name = os.path.split(path)
        return not os.path.exists(os.path.join(head, name.swapcase()))
    finally:
        os.close(descriptor)
        os.unlink(path)


def machine(path: str) -> dict[str, Any]:
    """Return what a report says about this machine; ``path`` is where states are written.

    ``memory_bytes`` is physical memory; ``load_average`` holds the 1, 5 and 15 minute figures, empty where the
    system has none; ``root`` says whether the harness runs with the super-user's rights.
    """
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "load_average": load,
        "root": hasattr(os, "geteuid") and os.geteuid() == 0,
        "filesystem": filesystem(path),
    }
