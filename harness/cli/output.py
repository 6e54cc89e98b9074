"""What commands print besides reports: the ``--json`` object, and plain lines that are safe on a terminal.

A reader that goes away (``| head``) is no error: what would still be printed is dropped, and the command goes on to
its verdict and its exit code.
"""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


class OutputLostError(Exception):
    """Standard output does not take what is printed, and not because its reader went away."""

    def __init__(self, error: OSError, rest: str = "") -> None:
        reason = error.strerror or type(error).__name__
        super().__init__(f"cannot write to standard output: {reason}" + (f"; {rest}" if rest else ""))


def print_line(text: str) -> None:
    """Print one line to standard output, whatever its encoding can hold. Raises :class:`OutputLostError`."""
    encoding = sys.stdout.encoding or "utf-8"
    _echo(text.encode(encoding, "backslashreplace").decode(encoding))


def print_bytes(data: bytes) -> None:
    """Print a file's bytes to standard output, as they are. Raises :class:`OutputLostError`."""
    _echo(data)


def _echo(text: str | bytes) -> None:
    try:
        click.echo(text, nl=isinstance(text, str))
    except BrokenPipeError:
        forget_standard_output()
    except OSError as error:
        forget_standard_output()
        raise OutputLostError(error) from None


def print_drawn(draw: Callable[[Console], object]) -> None:
    """Have ``draw`` print a report to the console of standard output. Raises :class:`OutputLostError`."""
    from harness.report.terminal import console_for, lost_output

    console = console_for(sys.stdout)
    draw(console)
    lost = lost_output(console)
    if lost is not None:
        raise OutputLostError(lost)


def print_folded(label: str, text: str, indent: int = 0) -> None:
    """Print ``text`` behind ``label`` in lines of at most :data:`WIDTH` columns, continued under the text."""
    for line in textwrap.wrap(
        text, WIDTH, initial_indent=label, subsequent_indent=" " * (indent or len(label)), break_on_hyphens=False
    ):
        print_line(line)


def say(text: str) -> None:
    """Print one line for people to standard error; with nobody there to read it, nothing happens."""
    with contextlib.suppress(OSError):
        encoding = sys.stderr.encoding or "utf-8"
        click.echo(f"tornwrite: {text}".encode(encoding, "backslashreplace").decode(encoding), err=True)


def open_standard_streams() -> None:
    """Put something where a standard stream is closed: the next file to be opened must not become it."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue  # taken by a file of ours already
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def forget_standard_output() -> None:
    """Send what is still printed nowhere: the reader has gone, and the interpreter's last flush must not fail."""
    with contextlib.suppress(
        OSError, ValueError
    ):  # a standard output without a descriptor has nothing to redirect
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
