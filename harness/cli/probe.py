"""``tornwrite probe``: judge a command that nobody has described."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    ALLOW_COMMAND,
    TIMEOUT_MAX_S,
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
    split_words,
)
from harness.cli.output import json_option

if TYPE_CHECKING:
    from harness.checks.binding import TornTail

check_option = click.option(
    "--check",
    callback=split_words,
    metavar="'CMD … {dir}'",
    help="Judge each state by this command: exit code 0 held, 1 violated. {acked}: the last acknowledged id; "
    "{acks}: a file of all, one per line.",
)
torn_tail_option = click.option(
    "--torn-tail",
    type=click.Choice(["violation", "healed"]),
    help="What a torn last line of a log is: healed if the next start of the program cuts it off or completes it. "
    "[default: violation]",
)
env_option = click.option(
    "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Pass a variable; nothing else is inherited."
)
ack_option = click.option(
    "--ack", metavar="REGEX", help="Acknowledgement lines, with a group id. [default: ^ACK (?P<id>\\S+)]"
)
timeout_option = click.option(
    "--timeout",
    default=30.0,
    type=Number(0.1, TIMEOUT_MAX_S, fraction=True),
    show_default=True,
    help="Seconds for one run.",
)
instances_option = click.option(
    "--instances",
    default=1,
    type=Number(1, 8),
    metavar="N",
    help="So many of the command on one state, each told its number by TORNWRITE_INSTANCE: at once under concurrency, "
    "else one after the other. [default: 1]",
)


@click.command("probe", context_settings=ALLOW_COMMAND)
@check_option
@click.option(
    "--trials",
    type=Number(0, 100_000),
    default=0,
    help="Kills at random moments as well; signals and plain runs, if asked for.",
)
@torn_tail_option
@env_option
@ack_option
@timeout_option
@instances_option
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
    check: tuple[str, ...],
    trials: int,
    torn_tail: TornTail | None,
    env: tuple[str, ...],
    ack: str | None,
    timeout: float,
    instances: int,
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
    words: tuple[str, ...],
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
    from harness.campaign.probe import Probe, ack_pattern, environment_of
    from harness.campaign.store import RunStore
    from harness.cli.campaigns import campaign, options_from, read_baseline, rehearse
    from harness.core.run import DEFAULT_ACK
    from harness.sandbox.workspace import Workspace

    known = read_baseline(baseline)
    probe = Probe(
        command=words,
        check=check,
        torn_tail=torn_tail or "violation",
        environment=environment_of(env),
        ack=ack_pattern(ack) if ack else DEFAULT_ACK,
        timeout_s=timeout,
        instances=instances,
    )
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
