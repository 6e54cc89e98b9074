"""One place at which a worker serves, as the executor sees it; what implements it is a matter of the platform."""

from __future__ import annotations

from typing import NamedTuple, Protocol

REPLACED = "replaced"
"""The ``detail`` of a worker that was ended on request."""


class Answered(NamedTuple):
    """The worker sent a packed answer."""

    payload: bytes


class Died(NamedTuple):
    """The worker is gone, and everything it started; ``detail`` says how. Another takes its place."""

    detail: str


class Seat(Protocol):
    """A worker and its replacement after it died. No method blocks for longer than a process takes to start."""

    def waitables(self) -> list[int]:
        """Return the descriptors that become readable when :meth:`collect` has something to do."""

    def collect(self) -> list[Answered | Died]:
        """Return what happened since the last call, in order."""

    def is_ready(self) -> bool:
        """Return whether a worker is there to be sent a call."""

    def send(self, payload: bytes) -> None:
        """Send a packed call; a worker that dies meanwhile shows up in :meth:`collect`."""

    def replace(self) -> None:
        """End the worker and all it started, whatever it is doing; another takes its place."""

    def close(self) -> None:
        """Ask the worker to end, without waiting."""

    def join(self, deadline_s: float) -> None:
        """Wait until everything that was started here is gone; by force when the deadline passes."""
