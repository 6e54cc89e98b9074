"""``tornwrite run``: scenarios or targets, from recording to report."""

from __future__ import annotations

import click

from harness.cli.options import (
    Number,
    baseline_option,
    block_vm_option,
    budget_option,
    chosen_engine,
    confirm_power_option,
    content_option,
    engine_option,
    faults_option,
    jobs_option,
    out_option,
    profile_option,
    schedules_option,
    seed_option,
    shard_option,
    version_list,
)
from harness.cli.output import json_option
from harness.core.shard import Shard


@click.command("run")
@click.argument("names", nargs=-1, metavar="[SCENARIO|TARGET …]")
@click.option("--target", "targets", multiple=True, metavar="T", help="Only these: TARGET[/VARIANT][@VERSION].")
@click.option(
    "--versions",
    callback=version_list,
    metavar="V,V…",
    help="Published packages at these versions, which are installed where they are missing.",
)
@click.option(
    "--trials",
    type=Number(0, 1_000_000),
    help="Timed kills per variant; as many signals, runs without a fault, schedules and dialogues, where asked for.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="RUN",
    help="Go on with a run; default: the newest without a verdict, else the newest.",
)
@click.option("--require-all", is_flag=True, help="Exit 3 when a target is not available.")
@baseline_option
@faults_option
@schedules_option
@profile_option
@confirm_power_option
@block_vm_option
@engine_option
@seed_option
@budget_option
@shard_option
@jobs_option
@out_option
@content_option
@json_option
def command(
    names: tuple[str, ...],
    targets: tuple[str, ...],
    versions: tuple[str, ...],
    trials: int | None,
    resume: str | None,
    require_all: bool,
    baseline: str | None,
    faults: tuple[str, ...] | None,
    schedules: str | None,
    profiles: tuple[str, ...] | None,
    confirm_power: bool | None,
    block_vm: bool,
    engine_name: str | None,
    seed: int | None,
    budget: float | None,
    shard: Shard | None,
    jobs: int | None,
    out: str,
    show_content: bool,
    as_json: bool,
) -> int:
    """Run scenarios or targets: record, explore every crash state, inject errors, confirm, report.

    NAMES are scenarios ("tornwrite scenarios list"), or targets ("tornwrite targets list"), or scenario files.
    Several scenarios make one campaign. Without any name, the scenario five_stories runs.

    \b
    tornwrite run                            what loses a session, and what helps
    tornwrite run reference/buggy            one writer
    tornwrite run fork_session --trials 300  with 300 random kills per version
    """
    from harness.campaign.latest import find_run
    from harness.campaign.store import RunStore
    from harness.cli.campaigns import campaign, options_from, read_baseline, rehearse
    from harness.cli.selecting import install_versions, planner, restore, run_to_resume

    known = read_baseline(baseline)
    engine_name = chosen_engine(engine_name)
    options = options_from(
        engine=engine_name,
        seed=seed,
        faults=faults,
        schedules=schedules,
        profiles=profiles,
        confirm_power=confirm_power,
        block_vm=block_vm or None,
        timed=trials,
        versions=versions or None,
        budget_s=budget,
        shard=shard,
        jobs=jobs,
        content=show_content or None,
        require_all=require_all or None,
    )
    if resume is not None:
        store = RunStore.open(find_run(resume, out) if resume else run_to_resume(out))
        with store:
            asked = restore(store, names, targets, options)
            finished, _ = campaign("run", store, planner(*asked), asked[2], as_json, out, known=known)
        return finished.exit_code
    make_plan = planner(names, targets, options)
    if versions:
        install_versions(names, targets, versions)
    rehearse(make_plan)
    with RunStore.create(out) as store:
        finished, _ = campaign("run", store, make_plan, options, as_json, out, known=known)
    return finished.exit_code
