"""The pointer to the newest run, and from what a user types to a run directory."""

from __future__ import annotations

import contextlib
import os

from harness.campaign.durable import StoreError, replace, storing, sync_directory, temporary_name, write_whole

LATEST = "latest"


def point_latest(reports: str, run_id: str) -> None:
    """Point ``reports``/latest at a run: a symbolic link where the system allows one, else a file with its path.

    Replaced atomically either way; a reader sees the old run or the new one.
    """
    pointer = os.path.join(os.path.abspath(reports), LATEST)
    target = f"runs/{run_id}"
    temporary = temporary_name(os.path.dirname(pointer))
    try:
        os.symlink(target, temporary, target_is_directory=True)
    except (OSError, NotImplementedError):
        write_whole(pointer, (target + "\n").encode("ascii"))
        return
    with storing("write", pointer):
        try:
            replace(temporary, pointer)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(os.path.dirname(pointer))


def find_run(text: str, reports: str) -> str:
    """Return the directory of the run that ``text`` names: ``latest``, a run id, its beginning, or a directory.

    Raises :class:`StoreError` where it names none, or more than one.
    """
    reports = os.path.abspath(reports)
    if text == LATEST:
        return _latest(reports)
    runs = os.path.join(reports, "runs")
    names = sorted(os.listdir(runs)) if os.path.isdir(runs) else []
    if text in names:
        return os.path.join(runs, text)
    if os.path.isdir(text):
        return os.path.abspath(text)
    found = [name for name in names if text and name.startswith(text)]
    if len(found) == 1:
        return os.path.join(runs, found[0])
    if found:
        raise StoreError(f"{text!r} names {len(found)} runs: {', '.join(found[:5])}")
    known = f"newest: {', '.join(names[-3:])}" if names else "there is none yet"
    raise StoreError(f"no run {text!r} below {runs!r}; {known}")


def _latest(reports: str) -> str:
    pointer = os.path.join(reports, LATEST)
    if os.path.isfile(pointer):
        with storing("read", pointer), open(pointer, encoding="utf-8", errors="replace") as file:
            target = os.path.join(reports, *file.read(4096).strip().split("/"))
    else:
        target = os.path.realpath(pointer)
    if not os.path.isdir(target):
        raise StoreError(f"no run yet: {pointer!r} leads nowhere")
    return target
