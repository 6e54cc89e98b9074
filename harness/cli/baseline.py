"""``tornwrite baseline``: the findings of a run as a file of known ones, to be filled in."""

from __future__ import annotations

import click

from harness.cli.options import out_option
from harness.cli.output import json_option, print_line


@click.command("baseline")
@click.argument("run", default="latest")
@out_option
@json_option
def command(run: str, out: str, as_json: bool) -> int:
    """Print a baseline of what surprised in RUN, for --baseline FILE of 'tornwrite run' or 'tornwrite probe'.

    Each entry needs a link to where it is tracked and a day on which it expires: until they are filled in, the file is
    refused. What a target's manifest expects is no surprise, and not listed.

    \b
    tornwrite baseline latest > known.toml
    tornwrite run --baseline known.toml
    """
    from harness.cli.stored import load_run
    from harness.report.baseline import baseline_text
    from harness.report.json_document import result_document

    text = baseline_text(load_run(run, out))
    print_line(result_document("baseline", 0, {"toml": text}) if as_json else text.removesuffix("\n"))
    return 0
