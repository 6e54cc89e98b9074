"""A worker without a supervisor, for systems without subreapers (macOS, Windows): best effort.

The worker is spawned, not forked; a thread in it waits for the end of main and then kills what psutil sees below
it. Daemonised processes whose parent is gone escape (a Job Object would hold them).
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import multiprocess
from multiprocess.connection import Connection, Pipe

from harness.campaign.seat import REPLACED, Answered, Died
from harness.campaign.worker import serve
from harness.sandbox import processes


def _end_with_main(sentinel: Any) -> None:
    """Wait until main is gone, then take everything below this process along."""
    multiprocess.connection.wait([sentinel])
    with contextlib.suppress(Exception):
        processes.kill_descendants()
    os._exit(1)


def _spawned(connection: Connection, canonical: str) -> None:
    parent = multiprocess.parent_process()
    threading.Thread(target=_end_with_main, args=(parent.sentinel,), daemon=True).start()
    serve(connection, canonical, canonical)


class SpawnedSeat:
    """Implements :class:`~harness.campaign.seat.Seat` with one spawned process."""

    def __init__(self, canonical: str) -> None:
        self._canonical = canonical
        self._start()

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        context = multiprocess.get_context("spawn")
        self._process = context.Process(target=_spawned, args=(theirs, self._canonical), daemon=True)
        self._process.start()
        theirs.close()
        self._replaced = False

    def waitables(self) -> list[Any]:
        """Return what becomes ready when :meth:`collect` has something to do."""
        return [self._connection, self._process.sentinel]

    def collect(self) -> list[Answered | Died]:
        """Return what happened since the last call, in order."""
        events: list[Answered | Died] = []
        alive = self._process.is_alive()
        try:
            while not self._replaced and self._connection.poll():
                events.append(Answered(self._connection.recv_bytes()))
        except (EOFError, OSError):
            alive = False
        if not alive:
            self._process.join()
            events.append(Died(REPLACED if self._replaced else f"exited with {self._process.exitcode}"))
            self._connection.close()
            self._start()
        return events

    def is_ready(self) -> bool:
        """Return whether a worker is there to be sent a call."""
        return not self._replaced

    def send(self, payload: bytes) -> None:
        """Send a packed call; a worker that dies meanwhile shows up in :meth:`collect`."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(payload)

    def replace(self) -> None:
        """End the worker and all psutil sees below it; another takes its place."""
        self._replaced = True
        processes.kill_tree(int(self._process.pid))

    def close(self) -> None:
        """End the worker and all psutil sees below it."""
        processes.kill_tree(int(self._process.pid))

    def join(self, deadline_s: float) -> None:
        """Wait until the worker is gone."""
        self._process.join(deadline_s)
        self._connection.close()
