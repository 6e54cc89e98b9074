"""Writers for the state machine, in a module that imports little: each machine's fork server begins by importing it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def _journal(directory: Path, ack: Callable[[object], None], mode: str) -> None:
    """Append a record in two writes; first cut off what a crash left of one, by way of a copy opened with ``mode``."""
    journal, copy = directory / "journal", directory / "journal.new"
    old = journal.read_text() if journal.exists() else ""
    if not old.endswith("\n") and old:
        with open(copy, mode) as stream:
            stream.write(old[: old.rfind("\n") + 1])
        os.rename(copy, journal)
        old = journal.read_text()
    number = old.count("\n") + 1
    log = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{number} ".encode())
    os.write(log, b"record\n")
    os.close(log)
    ack(number)


def appends(directory: Path, ack: Callable[[object], None]) -> None:
    _journal(directory, ack, "w")


def repairs_into_what_a_crash_left(directory: Path, ack: Callable[[object], None]) -> None:
    _journal(directory, ack, "a")


def saves(directory: Path, ack: Callable[[object], None], update: str) -> None:
    (directory / "new").write_text(update * 3000)
    ack(update)


def recovers(directory: Path) -> None:
    if (directory / "new").exists():
        (directory / "new").rename(directory / "document")


def does_nothing(directory: Path) -> None:
    del directory


def lets_a_shell_write(directory: Path) -> None:
    os.system(f"echo x > {directory}/f")


def fails(directory: Path) -> None:
    raise OSError("no")


def fails_on_what_it_finds(directory: Path) -> None:
    assert not (directory / "lock").exists(), "locked"
    (directory / "lock").touch()
    (directory / "data").write_text("x")
    (directory / "lock").unlink()


def waits_for_what_it_finds(directory: Path) -> None:
    while (directory / "lock").exists():
        time.sleep(0.05)
    (directory / "lock").touch()
    (directory / "data").write_text("x")
    (directory / "lock").unlink()
