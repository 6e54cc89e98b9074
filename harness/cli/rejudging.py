"""``tornwrite report RUN --rejudge``: what today's checks say of the traces of an old run."""

from __future__ import annotations

import msgspec

from harness.campaign.durable import StoreError
from harness.campaign.executor import Executor
from harness.campaign.latest import find_run
from harness.campaign.plan import Options, Plan
from harness.campaign.rejudging import STANDS, Again, Rejudged, case_of_probe, rejudge
from harness.campaign.run import worker_count
from harness.campaign.scratch import scratch_workspace
from harness.campaign.store import RunStore
from harness.cli.output import print_folded, print_line
from harness.cli.selecting import planner
from harness.report.escape import plain
from harness.report.json_document import result_document
from harness.report.sentence import headline
from harness.sandbox.workspace import Workspace

_SHOWN = 12


def _plan(store: RunStore, workspace: Workspace) -> Plan:
    """Return the plan of what the run was asked, made of today's manifests."""
    run = store.read_run()
    if run.get("kind", "run") == "probe":
        case = case_of_probe(run, store.rows(), workspace)
        return Plan(
            name=str(run.get("name", "")),
            cases=(case,) if case else (),
            controls=(),
            seed=case.subject.seed if case else 1,
        )
    try:
        options = msgspec.convert(run["options"], Options)
        names, selectors = tuple(run["names"]), tuple(run["selectors"])
    except (KeyError, TypeError, msgspec.ValidationError):
        raise StoreError(f"{store.run_id}: does not say what it was asked, so it cannot be judged again") from None
    return planner(names, selectors, msgspec.structs.replace(options, seed=run.get("seed", options.seed)))(
        workspace
    )


def print_again(text: str, out: str, jobs: int, as_json: bool) -> int:
    """Judge a run again and print it; 0: as stored, 1: today's checks say something else, 3: nothing to judge."""
    store = RunStore.open(find_run(text, out), writable=False)
    with scratch_workspace() as workspace:
        plan = _plan(store, workspace)
        with Executor(worker_count(jobs), workspace.base) as executor:
            result = rejudge(store, plan, executor)
    code = 3 if not result.classes else int(any(item.differs for item in result.classes))
    if as_json:
        print_line(result_document("report", code, result, result.not_judged))
    else:
        _print(result, code)
    return code


def _line(item: Again) -> str:
    under = f"power on {item.profile}" if item.profile else item.fault_class
    if under == "none":
        under = "no fault"
    text = f"under {under}: {item.stored}"
    if item.distinct_now or item.distinct_stored:
        text += f", {item.bad_stored:,}/{item.distinct_stored:,} states"
    if not item.differs and (item.bad_stored, item.distinct_stored) == (item.bad_now, item.distinct_now):
        return f"{text}; the same today"
    text += f"; today {item.now}"
    if item.distinct_now or item.distinct_stored:
        text += f", {item.bad_now:,}/{item.distinct_now:,} states"
    counts = [f"{len(names)} {word}" for names, word in ((item.new, "new"), (item.gone, "gone")) if names]
    return f"{text} ({', '.join(counts)})" if counts else text


def _print(result: Rejudged, code: int) -> None:
    print_line(f"{plain(result.run_id)}, made by tornwrite {plain(result.stored_by)}, judged again:")
    writer = ""
    for item in result.classes:
        if item.writer != writer:
            writer = item.writer
            print_line(plain(writer))
        print_folded("  ", plain(_line(item)), indent=4)
    for finding in result.findings[:_SHOWN]:
        print_folded("new: ", plain(headline(finding, str)))
    if len(result.findings) > _SHOWN:
        print_line(f"… and {len(result.findings) - _SHOWN} more new findings (--json has all)")
    for line in result.not_judged:
        print_folded("not judged again: ", plain(line), indent=2)
    print_folded("", STANDS)
    differing = sum(item.differs for item in result.classes)
    ending = {0: "All as stored.", 3: "Nothing could be judged again."}.get(
        code, f"Today's checks say something else in {differing} of {len(result.classes)}."
    )
    print_line(f"{ending} (exit code {code})")
