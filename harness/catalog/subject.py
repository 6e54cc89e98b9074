"""A variant made ready to run: every placeholder expanded, every path absolute, nothing left to look up.

``compile_subject`` is where a manifest becomes a :class:`RunSpec`; an engine never sees a manifest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from harness.catalog.cache import NotAvailableError, find_installed
from harness.catalog.headless import Headless
from harness.catalog.manifest import LATEST, Expected, Target, Variant
from harness.catalog.placeholder import expand
from harness.catalog.selection import find_variant
from harness.catalog.since import Changed, changed
from harness.catalog.steps import tool_plan
from harness.catalog.terminal import InTerminal
from harness.catalog.workload import DEFAULT_WORKLOAD, Workload, steps_of, workload_json
from harness.checks.binding import FileBinding, TornTail
from harness.core.run import Isolation, Limits, RunSpec
from harness.sandbox.cell import BASE, isolation_available
from harness.sandbox.environment import (
    ProgramNotFoundError,
    npm_platform,
    real_node,
    real_python,
    resolve_program,
)
from harness.sandbox.workspace import Workspace

WORKLOAD_NAME = "workload.json"

Command = tuple[str, ...]
_BARE = ("PATH", "HOME", "TMPDIR", "LANG")
"""What a program in full isolation inherits of the sandbox's environment."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A variant in a workspace.

    The commands are empty where the variant has none. ``read`` and ``resume`` still hold ``{id}``, ``check`` may hold
    ``{acked}`` (the last acknowledged id, ``0`` if none) and ``{acks}`` (a file of ids): see
    :func:`harness.catalog.fill`. All of them judge what stands at ``spec.root``. ``setup`` runs once before the
    first recording; the tree it leaves is the start of every run. ``torn_tail`` is how logs are judged that no
    binding describes. ``headless`` is how a program is driven that holds conversations; the address of its API stands
    open in the environment (:func:`harness.catalog.at_api`); ``terminal``: how in a terminal. ``latest``: which version
    that is, where it is the latest that was asked for. ``not_available`` says why the subject cannot run here; then
    nothing else in it may be started.
    """

    target: str
    variant: str
    version: str
    spec: RunSpec
    setup: Command = ()
    recover: Command = ()
    list_command: Command = ()
    read: Command = ()
    resume: Command = ()
    check: Command = ()
    bindings: tuple[FileBinding, ...] = ()
    torn_tail: TornTail = "violation"
    expect: Mapping[str, Expected] = {}
    random_names: bool = False
    seed: int = 1
    workload: Workload = DEFAULT_WORKLOAD
    headless: Headless | None = None
    terminal: InTerminal = InTerminal()
    repeats_ids: bool = False
    latest: str = ""
    not_available: str = ""

    @property
    def label(self) -> str:
        """``target/variant[@version]``."""
        return f"{self.target}/{self.variant}" + (f"@{self.version}" if self.version else "")


def compile_subject(
    target: Target,
    variant: Variant | str,
    workspace: Workspace,
    workload: Workload = DEFAULT_WORKLOAD,
    seed: int = 1,
    *,
    life: tuple[dict[str, Any], ...] = (),
    index: int | None = None,
    file_name: str = WORKLOAD_NAME,
) -> Subject:
    """Return a variant ready to run in ``workspace``; the workload file is part of the run (``spec.files``).

    ``index`` makes it ready for one of the lives in ``life``: at that life's time, waiting for its end when it is
    done. ``file_name`` is what the workload's file is called.

    A variant in full isolation is ready for the workspace that a cell shows it (:data:`harness.sandbox.cell.BASE`),
    whatever ``workspace`` is. Installs nothing: a package that is not in the cache makes the subject not available.
    Raises :class:`ManifestError` for a variant that the target does not have.
    """
    if isinstance(variant, str):
        variant = find_variant(target, variant)
    if variant.isolation == "full":
        workspace = Workspace(BASE, make=False)
    variant, installed, package, reason = _as_installed(target, variant)
    values = _values(target, package, workspace, file_name, seed)
    commands, missing = _commands(variant, values)
    now_ms = workload.now_ms if index is None else life[index]["now_ms"]
    extra = {"TORNWRITE_NOW": str(now_ms)}
    if index is not None:
        extra["TORNWRITE_LIFE"] = str(index)
    extra |= {name: expand(text, values) for name, text in variant.environment.items()}
    tools = tool_plan(steps_of(workload, seed, index or 0), seed, workload.tools)
    spec = RunSpec(
        argv=commands.pop("run"),
        root=workspace.root,
        cwd=workspace.cwd,
        environment=_environment(variant, workspace, extra),
        files={values["workload"]: workload_json(workload, seed, life, index or 0)},
        ack=variant.ack,
        arm=variant.arm,
        arm_times=workload.instances,
        limits=Limits(timeout_s=variant.timeout_s * workload.instances),
        # A life waits at the service for its end.
        tools=tools if tools.steps or index is not None else None,
        instances=workload.instances,
        isolation=_isolation(variant, target, package),
        readers=workload.readers,
        listing=commands["list_command"] if workload.readers else (),
    )
    return Subject(
        target=target.name,
        variant=variant.name,
        version=variant.version,
        spec=spec,
        bindings=variant.bindings,
        expect=variant.expect,
        torn_tail="violation",
        random_names=variant.random_names,
        seed=seed,
        workload=workload,
        headless=variant.headless,
        terminal=variant.terminal.at(installed, workspace.cwd),
        repeats_ids=variant.repeats_ids,
        latest=installed if variant.package is not None and variant.package.version == LATEST else "",
        not_available=reason or _why_not(variant, package, missing),
        **commands,
    )


def _values(target: Target, package: str, workspace: Workspace, file_name: str, seed: int) -> dict[str, str]:
    """Return what the placeholders of a manifest's commands and environment stand for."""
    return {
        "dir": workspace.root,
        "workload": os.path.join(workspace.base, file_name),
        "target": target.directory,
        "python": real_python(),
        "package": package,
        "platform": npm_platform(),
        "seed": str(seed),
    }


def _as_installed(target: Target, variant: Variant) -> tuple[Variant, str, str, str]:
    """Return a variant as its installed version wants it, which that is, where its package is, or why it is not."""
    if variant.package is None:
        return variant, "", "", ""
    try:
        installed = find_installed(variant.package, target.name)
    except NotAvailableError as error:
        return variant, "", "", str(error)
    oldest = Changed(variant.run, variant.headless, variant.repeats_ids)
    run, headless, repeats_ids = changed(installed.version, oldest, variant.since)
    variant = msgspec.structs.replace(variant, run=run, headless=headless, repeats_ids=repeats_ids)
    return variant, installed.version, installed.directory, ""


def _why_not(variant: Variant, package: str, missing: str) -> str:
    """Return why a variant whose package is there cannot run; ``missing``: a program that could not be found."""
    if package and missing.startswith(package):
        return f"{variant.package} has no program for {npm_platform()}"
    refused = "" if missing or variant.isolation != "full" else isolation_available()
    return f"it runs in full isolation only, and that cannot be had here: {refused}" if refused else missing


def _environment(variant: Variant, workspace: Workspace, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the complete environment of a variant; in full isolation nothing that its manifest does not say."""
    environment = workspace.environment(extra)
    if variant.isolation != "full":
        return environment
    return {name: environment[name] for name in (*_BARE, *variant.environment)}


def _isolation(variant: Variant, target: Target, package: str) -> Isolation | None:
    if variant.isolation != "full":
        return None
    node = real_node()
    programs = (os.path.dirname(node),) if node else ()
    return Isolation(
        shown=tuple(path for path in (target.directory, package, *programs) if path), hidden=variant.hidden
    )


def _commands(variant: Variant, values: Mapping[str, str]) -> tuple[dict[str, Command], str]:
    """Return the commands of a variant, and why one of them cannot be had."""
    commands: dict[str, Command] = {}
    reason = ""
    for key in ("run", "setup", "recover", "list_command", "read", "resume", "check"):
        try:
            commands[key] = _command(getattr(variant, key), values)
        except ProgramNotFoundError as error:
            commands[key] = ()
            reason = reason or str(error)
    return commands, reason


def _command(argv: Command, values: Mapping[str, str]) -> Command:
    if not argv:
        return ()
    program, *rest = (expand(item, values) for item in argv)
    return (resolve_program(program), *rest)
