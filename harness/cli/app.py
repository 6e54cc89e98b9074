"""The group of commands, and the one place where errors become a line and an exit code.

Bad input is one line on standard error (what, where, what would be valid) and exit code 2; an interrupt is 130. A
traceback is a bug of tornwrite, says so, and is exit code 4: it must not look like a violation.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from harness import __version__
from harness.cli.failures import EXIT_USAGE, Failure, failure_of
from harness.cli.output import OutputLostError, forget_standard_output, open_standard_streams, print_line, say
from harness.report.json_document import result_document

_GROUPS = frozenset({"profiles", "scenarios", "targets"})

_COMMANDS = {
    "baseline": ("harness.cli.baseline", "Make a file of known findings from a run, for 'run --baseline'."),
    "compare": ("harness.cli.compare", "Say what is new, gone or more frequent in one run against another."),
    "completion": ("harness.cli.completion", "Print the completion script of bash, zsh or fish."),
    "demo": ("harness.cli.demo", "Catch, prove and replay a torn file in three seconds."),
    "engines": ("harness.cli.engines", "Which engines work on this machine, and why the others do not."),
    "explain": (
        "harness.cli.explain",
        "Which fault could have made a damaged file, and which could not.",
    ),
    "export": ("harness.cli.export", "Write a finding as one file that reproduces it without tornwrite."),
    "probe": (
        "harness.cli.probe",
        "Judge any command that writes files: kill it everywhere, no target file needed.",
    ),
    "profiles": ("harness.cli.profiles", "List the file systems that a power loss is explored under."),
    "replay": ("harness.cli.replay", "Reproduce a finding from its token."),
    "report": ("harness.cli.report", "Print or write the report of a run again."),
    "run": ("harness.cli.run", "Run scenarios or targets: record, explore, inject, confirm, report."),
    "scenarios": ("harness.cli.scenarios", "List the scenarios, or show one."),
    "serve-api": ("harness.cli.serve_api", "Serve the scripted Messages API of a scenario, to point a CLI at."),
    "shrink": ("harness.cli.shrink", "Make the case that a token names smaller: workload, order, operation."),
    "targets": ("harness.cli.targets", "List the targets, or install published ones."),
    "trace": (
        "harness.cli.trace",
        "List every file operation of a program: who, what, when, which acknowledgement.",
    ),
}


class LazyGroup(click.Group):
    """Loads a command when it is asked for, and suggests one for a name it does not know."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        if cmd_name not in _COMMANDS:
            return None
        module, help_ = _COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(module).command
        command.short_help = help_
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command name, with a suggestion where it is unknown."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(sorted(_COMMANDS))}"
            raise click.UsageError(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tornwrite")
def app() -> None:
    """Crash-consistency fault injection for real programs.

    tornwrite runs your writer, watches every file operation, works out every state that a crash could leave, judges
    each one, and proves the bad ones by really killing the writer there.

    \b
    Start here:
      tornwrite demo                              see it work, in three seconds
      tornwrite probe -- python save.py {dir}     judge your own writer
      tornwrite trace -- python save.py {dir}     just look at what it does

    Exit codes: 0 as expected, 1 unexpected violation, 2 usage, 3 inconclusive, 4 broken, 5 nothing available,
    130 interrupted.
    """


def _words_before_command(args: Sequence[str]) -> list[str]:
    """Return the words that are tornwrite's own: what stands behind ``--`` belongs to the user's command."""
    words = list(args)
    return words[: words.index("--")] if "--" in words else words


def _command_name(words: Sequence[str]) -> str:
    """Return the command as ``--json`` names it: ``probe``, ``targets list``; empty where there is none."""
    names = [word for word in words if not word.startswith("-")]
    if not names or names[0] not in _COMMANDS:
        return ""
    return " ".join(names[:2]) if names[0] in _GROUPS else names[0]


def _fail(failure: Failure, args: Sequence[str]) -> NoReturn:
    words = _words_before_command(args)
    as_json = "--json" in words and not failure.is_mute
    if as_json:
        try:
            print_line(result_document(_command_name(words), failure.exit_code, None, (failure.text,)))
        except OutputLostError:
            as_json = False
    if not as_json:
        say(failure.text)
    sys.exit(failure.exit_code)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a campaign as Ctrl+C does: cleaned up, and readable."""
    changed = []
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _interrupt)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def run_app(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, ``sys.argv`` if ``args`` is not given; every way to fail is one line and an exit code."""
    words = list(sys.argv[1:] if args is None else args)
    open_standard_streams()
    try:
        with _interrupted_by_signals():
            code: Any = app(args=words, prog_name="tornwrite", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(EXIT_USAGE)
    except BrokenPipeError:
        forget_standard_output()
        sys.exit(0)
    except (Exception, KeyboardInterrupt) as error:
        failure = failure_of(error)
        if failure.is_bug:
            traceback.print_exception(error)
        _fail(failure, words)
    sys.exit(code if isinstance(code, int) else 0)
