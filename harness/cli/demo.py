"""``tornwrite demo``: catch, prove and replay a torn file in three seconds. No network, root or Node."""

from __future__ import annotations

import sys
import time

import click
import msgspec

from harness.cli.options import chosen_engine, engine_option, out_option
from harness.cli.output import json_option, print_folded, print_line
from harness.report.escape import plain

EXIT_BROKEN = 4
_REPLAYS = 3


def _tell(label: str, text: str) -> None:
    print_folded(f"  {label:10} ", text)


@click.command("demo")
@engine_option
@out_option
@json_option
def command(engine_name: str | None, out: str, as_json: bool) -> int:
    """See tornwrite work: a writer that tears its files is caught, proven and replayed; a careful one holds."""
    from harness.campaign.executor import Executor
    from harness.campaign.plan import Options, plan_scenario
    from harness.campaign.replay import replay, subject_of
    from harness.campaign.run import worker_count
    from harness.campaign.scratch import scratch_workspace
    from harness.campaign.store import RunStore
    from harness.campaign.token import decode
    from harness.catalog import load_scenario
    from harness.cli.campaigns import campaign
    from harness.report.sentence import headline, how_confirmed, how_often

    engine_name = chosen_engine(engine_name)
    begun = time.monotonic()
    options = Options(engine=engine_name)
    scenario = load_scenario("demo")
    with RunStore.create(out) as store:
        finished, collector = campaign(
            "demo",
            store,
            lambda workspace: msgspec.structs.replace(plan_scenario(scenario, options, workspace), kind="demo"),
            options,
            as_json,
            out,
            quiet=True,
        )
        report = store.path("report.md")
    if as_json:
        return finished.exit_code
    view = collector.view()
    if not view.findings:
        print_line(f"broken: the demo found nothing ({view.control_problem or 'no finding'})")
        return EXIT_BROKEN
    finding = next(
        (item for item in view.findings if item.fault_class == "kill" and item.is_confirmed), view.findings[0]
    )
    states, distinct = view.states
    print_folded("", "Two writers, killed at every operation: one rewrites its files in place, one does it right.")
    _tell("explored", f"{states} crash states ({distinct} distinct) of two recorded runs")
    _tell("caught", headline(finding, plain))
    _tell("", plain(finding.message))
    _tell("", how_often(view, finding))
    _tell("proven", how_confirmed(finding))
    record = decode(finding.token)
    with scratch_workspace() as workspace, Executor(worker_count(0), workspace.base) as executor:
        again = replay(executor, subject_of(record, workspace), record, _REPLAYS, engine_name)
    _tell("replayed", f"{again.text}, from its token alone")
    for case in view.cases:
        held = [line for line in case.classes if line.verdict == "held"]
        if held:
            _tell("held", f"{case.name}: {held[0].distinct} distinct states, 0 violations")
    print_line(f"{time.monotonic() - begun:.1f} s. Everything above stands in")
    print_line(f"  {report}")
    print_line("Next, your own writer:  tornwrite probe -- python save.py {dir}")
    sys.stdout.flush()
    return finished.exit_code if again.answer == "REPRODUCED" else EXIT_BROKEN
