"""``tornwrite serve-api SCENARIO``: the scripted Messages API alone, to point a CLI at, until Ctrl+C."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from harness.cli.options import Number, duration
from harness.cli.output import json_option, print_folded, print_line, say
from harness.report.json_document import result_document

if TYPE_CHECKING:
    from harness.core.api_log import LogLine
    from harness.core.api_script import ApiScript
    from harness.services.messages_api.serving import MessagesService, ToolPlaces

_MAX_LIFE_S = 7 * 86_400.0
_POLL_S = 0.1
_SHOWN = 20
_SPARE_S = 30.0
"""How much longer than asked for the service could last: it is this command that ends it."""


class ServedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints. ``kinds`` of requests, ``ends`` of answers; ``refused``: the first texts."""

    address: str
    requests: int
    kinds: dict[str, int]
    ends: dict[str, int]
    turns: int
    turns_answered: int
    refused: tuple[str, ...]
    service_died: bool


@click.command("serve-api")
@click.argument("scenario")
@click.option(
    "--port", default=0, type=Number(0, 65535), help="Listen there. [default: one that the system chooses]"
)
@click.option("--log", metavar="FILE", help="Append one JSON line per request to FILE. [default: no log is kept]")
@click.option(
    "--show-content", is_flag=True, help="Keep what the requests say in the log, not only sizes and hashes."
)
@click.option(
    "--tools",
    metavar="DIR",
    help="Where tools leave effects (DIR/ledger) and wait (DIR/gates); needed where the script has such calls.",
)
@click.option(
    "--life",
    type=Number(0, 1_000_000),
    help="Make ids of their own for this life, so that a conversation that goes on meets none twice. [default: so many "
    "services as FILE of --log holds already]",
)
@click.option(
    "--for", "lasts", default="8h", callback=duration, metavar="TIME", show_default=True, help="End after so long."
)
@json_option
def command(
    scenario: str,
    port: int,
    log: str | None,
    show_content: bool,
    tools: str | None,
    life: int | None,
    lasts: float,
    as_json: bool,
) -> int:
    """Serve the scripted Messages API of SCENARIO on loopback until Ctrl+C.

    SCENARIO is a shipped scenario, a scenario file, or a .toml file with [[turn]] tables only. Run a CLI against it
    only where it can reach nothing else: some versions call home whatever they are told.

    \b
    Exit codes: 0 ended by Ctrl+C or --for, 2 usage, 4 the service died,
    5 not available.
    """
    from harness.catalog.api_script import load_script
    from harness.services.messages_api.serving import serving

    if not 0 < lasts <= _MAX_LIFE_S:
        raise click.BadParameter(f"{lasts:g} s is not above 0 and at most 7 days", param_hint="'--for'")
    if show_content and not log:
        raise click.UsageError("--show-content: needs --log FILE to keep it in")
    script = load_script(scenario)
    script = msgspec.structs.replace(script, life=_services_in(log) if life is None else life)
    places = _places(script, tools)
    with _log_file(log) as path, contextlib.ExitStack() as stack:
        service = stack.enter_context(
            serving(
                script,
                path,
                tools=places,
                cwd=os.getcwd(),
                content=show_content,
                port=port,
                timeout_s=lasts + _SPARE_S,
            )
        )
        _introduce(script, scenario, service, log, places, as_json)
        lines, died = _follow(service, lasts)
    return _sum_up(script, service.url, lines, died, as_json)


def _services_in(log: str | None) -> int:
    """Return how many services have written to a log. Raises a usage error where a file is none."""
    from harness.core.api_log import LogFormatError, StartLine, decode_lines

    if log is None or not os.path.isfile(log):
        return 0
    with open(log, "rb") as stream:
        try:
            lines, _ = decode_lines(stream.read())
        except LogFormatError as error:
            raise click.BadParameter(f"{log} is no log of requests: {error}", param_hint="'--log'") from None
    return sum(isinstance(line, StartLine) for line in lines)


def _places(script: ApiScript, tools: str | None) -> ToolPlaces | None:
    from harness.services.messages_api.serving import prepare_tools

    if tools is None:
        if script.uses_tools:
            raise click.UsageError("the script has calls with an effect or a gate: say where with --tools DIR")
        return None
    return prepare_tools(os.path.abspath(tools))


def _write_mcp_config(places: ToolPlaces) -> str:
    """Write the configuration of the gated tools beside the ledger; return its path."""
    from harness.services.mcp_config import mcp_config

    path = os.path.join(os.path.dirname(places.ledger), "mcp.json")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(mcp_config(places))
    return path


@contextlib.contextmanager
def _log_file(log: str | None) -> Iterator[str]:
    if log is not None:
        yield log
        return
    with tempfile.TemporaryDirectory(prefix="tornwrite-api-") as directory:
        yield os.path.join(directory, "log.jsonl")


def _introduce(
    script: ApiScript,
    scenario: str,
    service: MessagesService,
    log: str | None,
    places: ToolPlaces | None,
    as_json: bool,
) -> None:
    if as_json:  # standard output holds one object, at the end
        say(f"listening at {service.url}")
        return
    count = len(script.turn)
    print_line(f"{scenario}: {count} {'turn' if count == 1 else 'turns'}, then {script.api.closing!r}")
    print_line(f"  listening at  {service.url}")
    environment = f"ANTHROPIC_BASE_URL={service.url} ANTHROPIC_API_KEY=dummy"
    print_line("  point a CLI at it, in a sandbox of its own:")
    mcp = places is not None and script.uses_mcp
    print_line(f"    {environment} \\\n      claude -p 'Do it.'" + (" \\" if mcp else ""))
    if places is not None and mcp:
        print_line(f"      --mcp-config {shlex.quote(_write_mcp_config(places))}")
    if places is not None:
        print_line(f"  ledger        {places.ledger}")
    if log is not None:
        print_line(f"  log           {log}")
    print_line("Ctrl+C ends it.")


def _follow(service: MessagesService, lasts: float) -> tuple[list[LogLine], bool]:
    """Wait for Ctrl+C or the end of the time; return what the log says, and whether the service died before."""
    lines: list[LogLine] = []
    end = time.monotonic() + lasts
    died = False
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < end and not died:
            time.sleep(min(_POLL_S, max(0.0, end - time.monotonic())))
            died = not service.running and time.monotonic() < end
            lines += service.new_lines()
    lines += service.new_lines()
    return lines, died


def _sum_up(script: ApiScript, url: str, lines: list[LogLine], died: bool, as_json: bool) -> int:
    from harness.core.api_log import EndLine, RequestLine

    requests = [line for line in lines if isinstance(line, RequestLine)]
    kinds = Counter[str](line.kind for line in requests)
    ends = Counter[str](line.ended for line in lines if isinstance(line, EndLine))
    answered = {line.turn for line in requests if line.turn and line.fault in ("", "stall")}
    refusals = [line.error for line in requests if line.kind == "refused"]
    code = 4 if died else 0
    if as_json:
        result = ServedResult(
            address=url,
            requests=len(requests),
            kinds=dict(kinds),
            ends=dict(ends),
            turns=len(script.turn),
            turns_answered=len(answered),
            refused=tuple(refusals[:_SHOWN]),
            service_died=died,
        )
        print_line(result_document("serve-api", code, msgspec.to_builtins(result)))
        return code
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    print_line(f"requests: {words}; turns answered: {len(answered)} of {len(script.turn)}")
    faults = ", ".join(f"{count} {what}" for what, count in sorted(ends.items()) if what != "complete")
    if faults:
        print_line(f"answers cut: {faults}")
    for text in refusals[:_SHOWN]:
        print_folded("refused: ", text, 2)
    if died:
        say("the service died before its time")
    return code
