"""``tornwrite probe``: judge a command that nobody has described."""

from __future__ import annotations

import click

from harness.cli.given import Given, takes_command
from harness.cli.options import (
    ALLOW_COMMAND,
    Number,
    baseline_option,
    block_vm_option,
    budget_option,
    chosen_engine,
    command_words,
    confirm_power_option,
    content_option,
    engine_option,
    faults_option,
    jobs_option,
    out_option,
    profile_option,
    schedules_option,
    seed_option,
)
from harness.cli.output import json_option


@click.command("probe", context_settings=ALLOW_COMMAND)
@takes_command
@click.option(
    "--trials",
    type=Number(0, 100_000),
    default=0,
    help="Kills at random moments as well; signals and plain runs, if asked for.",
)
@faults_option
@schedules_option
@profile_option
@confirm_power_option
@block_vm_option
@budget_option
@baseline_option
@engine_option
@seed_option
@jobs_option
@out_option
@content_option
@json_option
@command_words
def command(
    given: Given,
    trials: int,
    faults: tuple[str, ...] | None,
    schedules: str | None,
    profiles: tuple[str, ...] | None,
    confirm_power: bool | None,
    block_vm: bool,
    budget: float | None,
    baseline: str | None,
    engine_name: str | None,
    seed: int | None,
    jobs: int | None,
    out: str,
    show_content: bool,
    as_json: bool,
) -> int:
    """Kill a command at every file operation, cut its writes, fail its system calls; judge every state it can leave.

    {dir} in the command is the directory it keeps its state in. Without --check, documents must be one of the versions
    that the undisturbed run published, not older than the last acknowledgement, and logs a prefix of what was written,
    to a newline.

    \b
    tornwrite probe -- python save.py {dir}
    tornwrite probe --check 'python verify.py {dir} {acked}' -- ./server {dir}
    tornwrite probe --schedules systematic --instances 2 -- python save.py {dir}
    """
    from harness.campaign.plan import Plan, plan_probe
    from harness.campaign.store import RunStore
    from harness.cli.campaigns import campaign, options_from, read_baseline, rehearse
    from harness.sandbox.workspace import Workspace

    known = read_baseline(baseline)
    probe = given.probe()
    engine_name = chosen_engine(engine_name)
    options = options_from(
        engine=engine_name,
        seed=seed,
        faults=faults,
        schedules=schedules,
        profiles=profiles,
        confirm_power=confirm_power,
        block_vm=block_vm or None,
        timed=trials or None,
        budget_s=budget,
        jobs=jobs,
        content=show_content or None,
    )

    def make_plan(workspace: Workspace) -> Plan:
        return plan_probe(probe, options, workspace)

    rehearse(make_plan)
    with RunStore.create(out) as store:
        finished, _ = campaign("probe", store, make_plan, options, as_json, out, known=known)
    return finished.exit_code
