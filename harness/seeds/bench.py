"""One variant in a workspace of its own: its real programs, run plainly, under a fault, or on a state given to them.

Every run starts from what the variant's set-up made. Nothing is judged here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from harness.campaign.programs import CommandOutcome
from harness.campaign.work import distinct_states, run_once, set_up
from harness.catalog import Subject, Workload, compile_subject, fill, select
from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.profile import Profile
from harness.core.run import Recording
from harness.core.tree import Tree
from harness.engines.base import EngineError
from harness.engines.block import BlockOptionError, DiskRecording, record_on_disk
from harness.engines.block.recording import Commit
from harness.explore import CrashState, crash_states
from harness.sandbox.command import run_command
from harness.sandbox.snapshot import read_tree
from harness.sandbox.workspace import Workspace, prepare, temporary_workspace
from harness.services.tools import serving

WATCHED, UNWATCHED = "ptrace", "timed"
PATIENCE_S = 120.0
"""How long a program may take: some are asked for the time that they need, on a machine that may be busy."""


class NotThereError(Exception):
    """The variant cannot run here, or not in the way that was asked for; the message says why."""


class NotThisMachineError(NotThereError):
    """This machine cannot show it (no root, no such file system); elsewhere the same question has an answer."""


class Bench:
    """See the module. ``now_ms`` moves the calendar of the run on; the set-up is of the workload's own moment."""

    def __init__(
        self, variant: str, workspace: Workspace, workload: Workload, flags: tuple[str, ...] = (), now_ms: int = 0
    ) -> None:
        (chosen,) = select([variant])
        subject = compile_subject(chosen.target, chosen.variant, workspace, workload)
        if subject.not_available:
            raise NotThereError(f"{variant}: {subject.not_available}")
        self.directory = chosen.target.directory
        start = set_up(subject.spec, (*subject.setup, *flags))
        environment = dict(subject.spec.environment)
        if now_ms:
            environment["TORNWRITE_NOW"] = str(now_ms)
        spec = msgspec.structs.replace(subject.spec, start=start, environment=environment)
        self.subject: Subject = msgspec.structs.replace(subject, spec=spec)

    @property
    def start(self) -> Tree:
        """The tree that every run starts from."""
        return self.subject.spec.start

    def record(self, plan: FaultPlan = NO_FAULTS, engine: str = WATCHED) -> Recording:
        """Run the writer once. Raises :class:`NotThereError` where its recording cannot be trusted."""
        recording = run_once(engine, self.subject.spec, plan)
        if recording.differences or recording.ending in ("timeout", "limit"):
            detail = recording.differences[:1] or (recording.ending_detail or recording.ending,)
            raise NotThereError(f"{self.subject.label}: its recording cannot be used: {detail[0]}")
        return recording

    def change_start(self, change: Callable[[Tree], Tree]) -> None:
        """Let every run start from another tree, made of the one that the set-up left."""
        spec = msgspec.structs.replace(self.subject.spec, start=change(self.start))
        self.subject = msgspec.structs.replace(self.subject, spec=spec)

    def record_on_disk(self, profile: Profile, commit: Commit) -> DiskRecording:
        """Run the writer on a disk of the profile's file system. Raises :class:`NotThereError` as :meth:`record`."""
        spec = self.subject.spec
        prepare(spec)
        try:
            with serving(spec) as service:
                served = msgspec.structs.replace(spec, environment={**spec.environment, **service.environment})
                disk = record_on_disk(served, profile.filesystem, profile.mount_options, commit)
        except (EngineError, BlockOptionError) as error:
            raise NotThisMachineError(str(error)) from error
        if disk.recording.trace is None or disk.recording.differences:
            raise NotThereError(f"{self.subject.label}: its recording on {profile.name} cannot be used")
        return disk

    def killed(self) -> list[CrashState]:
        """Return the distinct states that a kill of the writer can leave, in the order of the run."""
        trace = self.record().trace
        return distinct_states(crash_states(trace, "kill")) if trace is not None else []

    def command(self, argv: tuple[str, ...], state: Tree) -> CommandOutcome:
        """Run a program on a copy of ``state``; the outcome has what it said and the tree it left."""
        if not argv:
            raise NotThereError(f"{self.subject.label}: has no such program")
        spec = msgspec.structs.replace(self.subject.spec, start=state)
        prepare(spec)
        result = run_command(argv, cwd=spec.cwd, environment=spec.environment, timeout_s=PATIENCE_S)
        return CommandOutcome(name="program", result=result, after=read_tree(spec.root).tree)

    def recover(self, state: Tree) -> CommandOutcome:
        """Start the variant again on ``state``."""
        return self.command(self.subject.recover, state)

    def list(self, state: Tree, *flags: str) -> CommandOutcome:
        """List the sessions of ``state``."""
        return self.command((*self.subject.list_command, *flags), state)

    def resume(self, state: Tree, session: str, *flags: str) -> CommandOutcome:
        """Resume a session of ``state``."""
        return self.command((*fill(self.subject.resume, id=session), *flags), state)

    def path(self, name: str) -> str:
        """Return the path of a file of the target's folder."""
        return os.path.join(self.directory, name)


@contextmanager
def bench(variant: str, workload: Workload, flags: tuple[str, ...] = (), now_ms: int = 0) -> Iterator[Bench]:
    """Give a variant, set up in a workspace that is gone afterwards."""
    workspace = temporary_workspace()
    try:
        yield Bench(variant, workspace, workload, flags, now_ms)
    finally:
        workspace.remove()
