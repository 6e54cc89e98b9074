"""What an exception means to the person who typed the command: one line and an exit code.

Wrong input is 2, a missing engine 5, a failure of tornwrite's own machinery 4, an interrupt 130. Errors that come
back from a worker process carry its traceback as a note; it is not part of the line.
"""

from __future__ import annotations

from typing import NamedTuple

import click

from harness.cli.output import OutputLostError
from harness.report.escape import plain

EXIT_USAGE, EXIT_BROKEN, EXIT_NOTHING, EXIT_INTERRUPTED = 2, 4, 5, 130


class Failure(NamedTuple):
    """How a command failed. ``is_bug``: nobody foresaw it, so the traceback is worth showing. ``is_mute``: standard
    output takes nothing, not even an error in JSON."""

    text: str
    exit_code: int
    is_bug: bool = False
    is_mute: bool = False


class InterruptedRunError(KeyboardInterrupt):
    """A campaign was interrupted; the message says where its results are and how to go on."""


class NothingToMeasureError(Exception):
    """Nothing of what was asked for can be measured here; the message says what can."""


def _usage_errors() -> tuple[type[BaseException], ...]:
    """Return the errors that mean: the input was wrong. Loaded only when something has failed."""
    from harness.campaign.durable import StoreError
    from harness.campaign.merging import MergeError
    from harness.campaign.shrinking import NotShrinkableError
    from harness.campaign.token import TokenError
    from harness.campaign.work import SetupError
    from harness.catalog import ManifestError, NotAvailableError
    from harness.checks.invariant import UnknownInvariantError
    from harness.core.trace_codec import TraceFormatError
    from harness.engines.acks import AckPatternError
    from harness.engines.base import TargetNotStartedError, UnsupportedFaultError
    from harness.export.sources import NotExportableError
    from harness.report.replay import StoredRunError
    from harness.sandbox.environment import ProgramNotFoundError
    from harness.sandbox.workspace import WorkspaceError
    from harness.services.messages_api.serving import ApiServiceError

    return (
        StoreError,
        StoredRunError,
        MergeError,
        NotExportableError,
        TokenError,
        NotShrinkableError,
        SetupError,
        ManifestError,
        NotAvailableError,
        UnknownInvariantError,
        AckPatternError,
        TraceFormatError,
        TargetNotStartedError,
        UnsupportedFaultError,
        ProgramNotFoundError,
        WorkspaceError,
        ApiServiceError,
    )


def _machinery_errors() -> tuple[type[BaseException], ...]:
    """Return the errors that mean: tornwrite, or the system under it, could not do its part."""
    from harness.campaign.executor import CallTimeoutError, ExecutorError, WorkerDiedError
    from harness.engines.base import EngineError
    from harness.sandbox.cell import CellEndedError
    from harness.sandbox.isolation import IsolationError
    from harness.sandbox.portable import CallFailedError
    from harness.sandbox.processes import ProcessesSurvivedError

    return (
        ExecutorError,
        WorkerDiedError,
        CallTimeoutError,
        CallFailedError,
        CellEndedError,
        IsolationError,
        EngineError,
        ProcessesSurvivedError,
    )


def one_line(text: str) -> str:
    """Return ``text`` as one line that moves no cursor: it may quote a name that a target chose."""
    return plain(" ".join(text.split()))


def _of_click(error: click.ClickException) -> Failure:
    context = getattr(error, "ctx", None)
    where = f" (see '{context.command_path} --help')" if context else ""
    text = error.format_message().rstrip(".")
    return Failure(one_line(text) + where, EXIT_USAGE)


def _of_system(error: OSError) -> Failure:
    reason = error.strerror or type(error).__name__
    name = error.filename if isinstance(error.filename, str) else ""
    return Failure(one_line(f"{name!r}: {reason}" if name else reason), EXIT_USAGE)


def failure_of(error: BaseException) -> Failure:
    """Return what ``error`` means."""
    from harness.campaign.plan import NoEngineError
    from harness.services.messages_api.serving import ApiNotAvailableError

    if isinstance(error, click.Abort | KeyboardInterrupt):
        cause = error.__cause__ if isinstance(error, click.Abort) else error
        rest = f"; {cause}" if isinstance(cause, InterruptedRunError) else ""
        return Failure("interrupted" + rest, EXIT_INTERRUPTED)
    if isinstance(error, click.ClickException):
        return _of_click(error)
    if isinstance(error, NoEngineError | NothingToMeasureError | ApiNotAvailableError):
        return Failure(one_line(str(error)), EXIT_NOTHING)
    if isinstance(error, OutputLostError):
        return Failure(one_line(str(error)), EXIT_USAGE, is_mute=True)
    if isinstance(error, _usage_errors()):
        return Failure(one_line(str(error)), EXIT_USAGE)
    if isinstance(error, _machinery_errors()):
        return Failure(one_line(f"broken: {error}"), EXIT_BROKEN)
    if isinstance(error, OSError):
        return _of_system(error)
    text = one_line(f"broken: {type(error).__name__}: {error}")
    return Failure(f"{text}; this is a bug of tornwrite, please report it", EXIT_BROKEN, is_bug=True)
