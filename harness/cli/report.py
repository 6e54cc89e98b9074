"""``tornwrite report``: the report of a run, made again from what it left on disk."""

from __future__ import annotations

import sys

import click

from harness.cli.options import content_option, out_option
from harness.cli.output import OutputLostError, json_option, print_line, say


@click.command("report")
@click.argument("run", default="latest")
@click.option("--markdown", is_flag=True, help="Print report.md, to paste into a bug tracker.")
@click.option("--html", is_flag=True, help="Make report.html anew and print only where it is.")
@content_option
@out_option
@json_option
def command(run: str, markdown: bool, html: bool, show_content: bool, out: str, as_json: bool) -> int:
    """Print the report of RUN again, and make its report.html anew: latest, a run id or its beginning, or a directory.

    Also of a run that was interrupted; what is missing then is said.
    """
    from harness.campaign.durable import StoreError
    from harness.campaign.latest import find_run
    from harness.campaign.store import RunStore
    from harness.cli.reports import write_page
    from harness.report.json_document import campaign_result, result_document
    from harness.report.markdown import report
    from harness.report.replay import replay_events
    from harness.report.terminal import console_for, lost_output, print_view
    from harness.report.view import collect

    store = RunStore.open(find_run(run, out), writable=False)
    planned = store.read_artifact("run.json") is not None
    run_data = store.read_run() if planned else {"run_id": store.run_id}  # interrupted before it had a plan
    view = collect(replay_events(run_data, store.rows(), store.findings().values()))
    if as_json:
        print_line(result_document("report", 0, campaign_result(view)))
    elif html:
        print_line(write_page(store, view, show_content))
    elif markdown:
        print_line(report(view, content=show_content))
    else:
        try:
            write_page(store, view, show_content)
        except StoreError as error:  # of a run that may only be read; what is printed is whole all the same
            say(f"report.html was not made anew: {error}")
        console = console_for(sys.stdout)
        print_view(console, view)
        lost = lost_output(console)
        if lost is not None:
            raise OutputLostError(lost)
    return 0
