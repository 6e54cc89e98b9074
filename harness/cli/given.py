"""A command that nobody has described, as the command line gives it: its words, how it is judged, what it may see."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.cli.options import TIMEOUT_MAX_S, Number, split_words

if TYPE_CHECKING:
    from harness.campaign.probe import Probe
    from harness.checks.binding import TornTail

Command = Callable[..., int]

_check = click.option(
    "--check",
    callback=split_words,
    metavar="'CMD … {dir}'",
    help="Judge each state by this command: exit code 0 held, 1 violated. {acked}: the last acknowledged id; "
    "{acks}: a file of all, one per line.",
)
_torn_tail = click.option(
    "--torn-tail",
    type=click.Choice(["violation", "healed"]),
    help="What a torn last line of a log is: healed if the next start of the program cuts it off or completes it. "
    "[default: violation]",
)
_env = click.option(
    "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Pass a variable; nothing else is inherited."
)
_ack = click.option(
    "--ack", metavar="REGEX", help="Acknowledgement lines, with a group id. [default: ^ACK (?P<id>\\S+)]"
)
_timeout = click.option(
    "--timeout",
    default=30.0,
    type=Number(0.1, TIMEOUT_MAX_S, fraction=True),
    show_default=True,
    help="Seconds for one run.",
)
_instances = click.option(
    "--instances",
    default=1,
    type=Number(1, 8),
    metavar="N",
    help="So many of the command on one state, each told its number by TORNWRITE_INSTANCE: at once under concurrency, "
    "else one after the other. [default: 1]",
)
_readers = click.option(
    "--readers",
    default=0,
    type=Number(0, 8),
    metavar="N",
    help="So many programs read every file of {dir} beside the command under concurrency: what they get of a document "
    "must be its old or its new version. [default: 0]",
)

_OPTIONS = (_check, _torn_tail, _env, _ack, _timeout, _instances, _readers)


class Given(NamedTuple):
    """What the command line says of a command; no words where there need be none."""

    words: tuple[str, ...]
    check: tuple[str, ...]
    torn_tail: TornTail | None
    env: tuple[str, ...]
    ack: str | None
    timeout: float
    instances: int
    readers: int

    @property
    def says_anything(self) -> bool:
        """Whether there is a word about a command at all."""
        said = self.words or self.check or self.torn_tail or self.env or self.ack
        return bool(said or self.instances > 1 or self.readers)

    def probe(self) -> Probe:
        """Return it as a probe. Raises :class:`ManifestError` for what cannot be meant."""
        from harness.campaign.probe import Probe, ack_pattern, environment_of
        from harness.core.run import DEFAULT_ACK

        return Probe(
            command=self.words,
            check=self.check,
            torn_tail=self.torn_tail or "violation",
            environment=environment_of(self.env),
            ack=ack_pattern(self.ack) if self.ack else DEFAULT_ACK,
            timeout_s=self.timeout,
            instances=self.instances,
            readers=self.readers,
        )


def takes_command(function: Command) -> Command:
    """Give a function of the command line the options of :class:`Given`; it gets them as ``given``, with its words."""

    @wraps(function)
    def with_given(**values: Any) -> int:
        return function(given=Given(*(values.pop(name) for name in Given._fields)), **values)

    decorated: Command = with_given
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
