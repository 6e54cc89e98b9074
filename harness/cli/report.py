"""``tornwrite report``: the report of a run, made again from what it left on disk; of shards and systems, merged."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from harness.cli.options import content_option, jobs_option, out_option
from harness.cli.output import json_option, print_drawn, print_line, say
from harness.cli.stored import Loaded


@click.command("report")
@click.argument("runs", nargs=-1, metavar="[RUN …]")
@click.option("--markdown", is_flag=True, help="Print Markdown, to paste into a bug tracker.")
@click.option("--junit", is_flag=True, help="Print JUnit XML: of one run, or of the shards of one.")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write the page to FILE; of several systems one each: FILE-linux, …",
)
@click.option(
    "--rejudge",
    is_flag=True,
    help="Explore the stored traces of one run again with today's checks; say what differs. Starts no target.",
)
@content_option
@jobs_option
@out_option
@json_option
def command(
    runs: tuple[str, ...],
    markdown: bool,
    junit: bool,
    html: str | None,
    rejudge: bool,
    show_content: bool,
    jobs: int | None,
    out: str,
    as_json: bool,
) -> int:
    """Print the report of RUN again: latest, a run id or its beginning, or a directory.

    Its report.html is made anew. Also of a run that was interrupted; what is missing then is said. The shards of one
    run are added up, and the exit code is that of the whole. Runs of several systems stand side by side, with pooled
    runs; the exit code is the worst.

    \b
    tornwrite report                      the newest run
    tornwrite report SHARD1 SHARD2        two shards of one run, added up
    tornwrite report LINUX MACOS          two systems side by side
    """
    from harness.cli.stored import load_runs
    from harness.report.pooled import pooled_exit_code

    if sum((as_json, markdown, junit, html is not None)) > 1:
        raise click.UsageError("--json, --markdown, --junit and --html: one of them at a time")
    if rejudge:
        from harness.cli.rejudging import print_again

        if len(runs) > 1:
            raise click.UsageError("--rejudge takes one run")
        if markdown or junit or html or show_content:
            raise click.UsageError("--rejudge prints text, or JSON with --json")
        return print_again(runs[0] if runs else "latest", out, jobs or 0, as_json)
    found = load_runs(runs or ("latest",), out)
    code = pooled_exit_code([run.view for run in found]) if len(runs) > 1 else 0
    if html is not None:
        _write_pages(found, html, show_content)
    elif len(found) > 1:
        if junit:
            raise click.UsageError("--junit: these are runs of several systems; each has a junit.xml of its own")
        _print_systems(found, code, markdown, as_json)
    else:
        _print_one(found[0], code, markdown, junit, show_content, as_json)
    return code


def _write_pages(found: Sequence[Loaded], path: str, content: bool) -> None:
    """Write a page per system, and print where each is."""
    from harness.cli.reports import write_page
    from harness.report.pooled import page_names

    for name, run in zip(page_names(path, [run.view for run in found]), found, strict=True):
        _refuse_to_replace(name, run)
        write_page(name, run.view, *run.stores, content=content)
        print_line(name)


def _refuse_to_replace(path: str, run: Loaded) -> None:
    """Raise :class:`click.UsageError` unless ``path`` is new in a directory, or a page that was written before."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise click.UsageError(f"--html: no directory {parent}")
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise click.UsageError(f"--html: {path} is no regular file; it is not replaced")
    mine = [store.directory for store in run.stores if os.path.samefile(store.directory, parent)]
    if mine and os.path.basename(path) != "report.html":
        raise click.UsageError(f"--html: {path} is a place for files of the run; only its report.html is a page")


def _print_one(run: Loaded, code: int, markdown: bool, junit: bool, content: bool, as_json: bool) -> None:
    from harness.campaign.durable import StoreError
    from harness.cli.reports import write_page
    from harness.report.json_document import campaign_result, result_document
    from harness.report.junit import junit as in_junit
    from harness.report.markdown import report
    from harness.report.terminal import print_view

    view = run.view
    if as_json:
        print_line(result_document("report", code, campaign_result(view)))
    elif junit:
        print_line(in_junit(view).decode().removesuffix("\n"))
    elif markdown:
        print_line(report(view, content=content))
    else:
        if len(run.stores) == 1:  # the page of shards has no home: --html gives it one
            try:
                write_page(run.stores[0].path("report.html"), view, *run.stores, content=content)
            except StoreError as error:  # of a run that may only be read; what is printed is whole all the same
                say(f"report.html was not made anew: {error}")
        print_drawn(lambda console: print_view(console, view))


def _print_systems(found: Sequence[Loaded], code: int, markdown: bool, as_json: bool) -> None:
    from harness.report.json_document import result_document
    from harness.report.pooled import pool
    from harness.report.pooled_text import pooled_markdown, print_pooled

    result = pool([run.view for run in found])
    if as_json:
        print_line(result_document("report", code, result))
    elif markdown:
        print_line(pooled_markdown(result))
    else:
        print_drawn(lambda console: print_pooled(console, result))
