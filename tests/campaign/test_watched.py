"""A client that is watched operation by operation, and told things meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.campaign.watched import Watched, Words
from harness.core.fault import NO_FAULTS, CrashPoint, FaultPlan, Kill
from harness.core.run import Limits, RunSpec
from harness.core.tree import File
from harness.engines import engine
from harness.engines.headless import Deed, Moment, Session
from harness.sandbox.workspace import Workspace

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="watched by the ptrace engine"),
]

CLIENT = """
import os, sys
log = os.open("said", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
for line in sys.stdin:
    os.write(log, line.encode())
print('{"type": "result"}')
"""


class Bench:
    """A client that writes down what it is told, and the files that a watched life needs."""

    def __init__(self, place: Path) -> None:
        if reason := engine("ptrace").available():
            pytest.skip(reason)
        self.ledger, self.log = place / "ledger", place / "log"
        self.ledger.touch()
        self.log.touch()
        self._workspace = Workspace(str(place / "workspace"))
        self.spec = self.of(CLIENT)

    def of(self, program: str) -> RunSpec:
        """Return the order for a client of these lines, whose directory is the one that is watched."""
        return RunSpec(
            argv=(sys.executable, "-BISc", program),
            root=self._workspace.root,
            cwd=self._workspace.root,
            environment=self._workspace.environment(),
            limits=Limits(timeout_s=20),
        )

    def live(self, words: Words | None, plan: FaultPlan = NO_FAULTS) -> tuple[Session, bytes]:
        session = Watched(str(self.ledger), str(self.log)).run(self.spec, plan, words)
        node = session.final.node_at("said")
        return session, node.content.to_bytes() if isinstance(node, File) else b""


def test_it_is_told_each_thing_at_its_moment_and_then_its_input_ends(tmp_path: Path) -> None:
    counts = iter([5, *[5] * 3, *[6] * 99])
    deeds = (
        Deed(say=b"one\n"),
        Deed(at=Moment(counted="held"), say=b"two\n"),
        Deed(at=Moment(delay_us=20_000), close=True),
    )
    session, said = Bench(tmp_path).live(Words(deeds, {"held": lambda: next(counts)}))
    assert (session.ending, session.exit_code, said) == ("exited", 0, b"one\ntwo\n")
    assert [line for _, line in session.lines] == [b'{"type": "result"}']


def test_without_words_its_input_is_empty(tmp_path: Path) -> None:
    session, said = Bench(tmp_path).live(None)
    assert (session.exit_code, said) == (0, b"")


def test_it_is_killed_at_an_operation_while_there_is_more_to_say(tmp_path: Path) -> None:
    second = FaultPlan(faults=(Kill(at=CrashPoint(operation="write", role="said", occurrence=2)),))
    deeds = (Deed(say=b"one\n"), Deed(say=b"two\n"), Deed(at=Moment(counted="held"), say=b"never\n"))
    session, said = Bench(tmp_path).live(Words(deeds, {"held": lambda: 0}), second)
    assert (session.signal, said) == (9, b"one\n")


def test_one_that_ends_before_all_is_said_leaves_nobody_waiting(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spec = bench.of("print(1)")
    deeds = (Deed(at=Moment(delay_us=60_000_000), say=b"never\n"),)
    session, _ = bench.live(Words(deeds, {}))
    assert (session.exit_code, session.ending) == (0, "exited")
    assert session.wall_ms < 20_000
