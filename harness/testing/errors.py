"""How a check of a writer ends when it does not hold. Light: the pytest plugin imports it to tell them apart."""

from __future__ import annotations


class NotCrashSafeError(AssertionError):
    """The writer leaves a state that its check, or the rules for its files, reject. The message is a report."""


class NotMeasuredError(Exception):
    """Nothing can be said about the writer: not measured is never held. The message says why, and what to do."""


class NoEngineError(NotMeasuredError):
    """No engine of this machine can watch file operations."""


class OtherTestError(NotMeasuredError):
    """A token that is to be replayed is of another test, writer or check."""


class UsageError(ValueError):
    """What was asked for makes no sense; one line with what would."""
