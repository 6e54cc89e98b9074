"""``tornwrite engines``: which engines work on this machine, and why the others do not."""

from __future__ import annotations

import click

from harness.cli.output import json_option, print_line
from harness.report.json_document import result_document

EXIT_NOTHING = 5


@click.command("engines")
@json_option
def command(as_json: bool) -> int:
    """List the engines, each with "available" or the reason why it is not.

    Availability is found by trying, not by looking at version numbers.
    """
    from harness.engines import ENGINES, engine

    found = {name: engine(name).available() for name in ENGINES}
    code = 0 if any(not reason for reason in found.values()) else EXIT_NOTHING
    if as_json:
        result = [{"name": name, "available": not reason, "reason": reason} for name, reason in found.items()]
        print_line(result_document("engines", code, result))
    else:
        width = max(map(len, found))
        for name, reason in found.items():
            print_line(f"{name:{width}} {'available' if not reason else f'not available: {reason}'}")
    return code
