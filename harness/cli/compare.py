"""``tornwrite compare``: two runs held against each other."""

from __future__ import annotations

import click

from harness.cli.options import out_option
from harness.cli.output import json_option, print_drawn, print_line


@click.command("compare")
@click.argument("run_a")
@click.argument("run_b")
@click.option("--markdown", is_flag=True, help="Print Markdown, to paste into a bug tracker.")
@out_option
@json_option
def command(run_a: str, run_b: str, markdown: bool, out: str, as_json: bool) -> int:
    """Say what is new, gone or more frequent in RUN_B against RUN_A.

    A run is named as for "report": latest, a run id or its beginning, or a directory; the shards of one run stand
    together, with commas between. Where each run holds a single version of a writer, or a single variant of a target,
    these are compared with each other.

    Exit codes: 0 unchanged, fixed or better; 1 a new finding, or one that is worse; 2 usage; 3 it cannot be decided:
    what was not measured is never gone.

    \b
    tornwrite run registry/in_place && tornwrite run registry/durable
    tornwrite compare 20260101T120000Z latest
    """
    from harness.cli.stored import load_run
    from harness.report.compare import EXIT_CODES, compare
    from harness.report.compare_text import markdown as in_markdown
    from harness.report.compare_text import print_comparison
    from harness.report.json_document import result_document

    comparison = compare(load_run(run_a, out), load_run(run_b, out))
    code = EXIT_CODES[comparison.answer]
    if as_json:
        print_line(result_document("compare", code, comparison, comparison.undecided))
    elif markdown:
        print_line(in_markdown(comparison))
    else:
        print_drawn(lambda console: print_comparison(console, comparison))
    return code
