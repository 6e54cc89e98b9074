"""Running the programs of the shipped targets plainly: no engine, no fault."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from harness.catalog import Subject, Workload, compile_subject, select
from harness.sandbox.command import CommandResult, run_command
from harness.sandbox.snapshot import read_tree
from harness.sandbox.workspace import Workspace, prepare

LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Bench:
    """A subject in a workspace of its own, started plainly."""

    def __init__(self, selector: str, base: str, workload: Workload, seed: int = 1) -> None:
        (selected,) = select([selector])
        self.workspace = Workspace(base)
        self.subject: Subject = compile_subject(selected.target, selected.variant, self.workspace, workload, seed)
        if self.subject.not_available:
            pytest.skip(self.subject.not_available)
        self.root = Path(self.subject.spec.root)
        prepare(self.subject.spec)
        if self.subject.setup:
            assert self.command(self.subject.setup).exit_code == 0
            start = read_tree(str(self.root)).tree
            spec = msgspec.structs.replace(self.subject.spec, start=start)
            self.subject = msgspec.structs.replace(self.subject, spec=spec)

    def command(self, argv: tuple[str, ...]) -> CommandResult:
        spec = self.subject.spec
        return run_command(argv, cwd=spec.cwd, environment=spec.environment, timeout_s=60.0)

    def run(self) -> CommandResult:
        return self.command(self.subject.spec.argv)

    def run_limited(self, file_bytes: int) -> CommandResult:
        """Run the target with RLIMIT_FSIZE: a write past it is cut short, the next one fails."""
        limited = (sys.executable, "-c", LIMITED, str(file_bytes), *self.subject.spec.argv)
        return self.command(limited)

    def acks(self, result: CommandResult) -> list[str]:
        return [line[4:] for line in result.stdout.decode().splitlines() if line.startswith("ACK ")]

    def names(self) -> set[str]:
        return {os.path.relpath(path, self.root) for path in self.root.rglob("*") if path.is_file()}
