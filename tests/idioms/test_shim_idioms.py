"""What the shim sees is what ptrace sees, idiom by idiom; what it does not see is on a closed list.

Every fourth idiom runs in the ordinary suite, all of them under ``--evidence``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from harness.core.operation import AnyOperation, Close
from harness.core.role import path_role
from harness.core.run import Recording
from harness.engines.shim.blind import BLIND_SPOTS, sentence
from harness.sandbox.environment import real_node, real_python

Run = Callable[..., Recording]

HERE = os.path.dirname(__file__)
UNSUPPORTED = 77
SLICE = 4
CLOCK_NS = 1_600_000_000_000_000_000
"""A modification time after this is the clock's, copied from another file of the same run."""

_NOT_COMPARED = frozenset(("seq", "actor", "at_ns", "syscall", "fd", "flags"))
_CLOSED_BETWEEN_FORK_AND_EXEC = frozenset(("close_range", "execve"))
"""By what closes the copies of its parent's descriptors in a child that has not become its program yet."""


def names_in(file: str, pattern: str) -> list[str]:
    with open(os.path.join(HERE, file), encoding="utf-8") as stream:
        return re.findall(pattern, stream.read(), re.MULTILINE)


PYTHON = names_in("shim_idioms.py", r"^def ([a-z]\w+)\(\):")
NODE = names_in("shim_node_idioms.cjs", r"^  (?:async )?(\w+)\((?:done)?\) \{")
BLIND = {
    "python": {"sqlite_blind": "native", "mapping_blind": "mapping", "shell_blind": "children"},
    "node": {"shell_blind": "children"},
}
"""Idiom → the blind spot that it is."""


def shown(recording: Recording) -> list[tuple[Any, ...]]:
    """Return the operations of a run as far as two runs can agree: kind, process, role, number, offset, bytes."""
    assert recording.trace is not None
    out = []
    for op in recording.trace.operations:
        born = recording.trace.actors[op.actor].process
        if isinstance(op, Close) and born and op.syscall in _CLOSED_BETWEEN_FORK_AND_EXEC:
            continue
        fields = {name: getattr(op, name) for name in op.__struct_fields__ if name not in _NOT_COMPARED}
        out.append((op.kind, born, *map(masked, fields.items())))
    return out


def masked(item: tuple[str, Any]) -> tuple[str, Any]:
    name, value = item
    if name in ("path", "to", "destination") and isinstance(value, str):
        return name, path_role(value)
    return name, "clock" if name == "mtime_ns" and value is not None and value > CLOCK_NS else value


def command(runtime: str, name: str) -> tuple[str, ...]:
    if runtime == "python":
        return real_python(), os.path.join(HERE, "shim_idioms.py"), name, "{dir}"
    node = real_node()
    if node is None:
        pytest.skip("no node")
    return node, os.path.join(HERE, "shim_node_idioms.cjs"), name, "{dir}"


IDIOMS = [
    *(("python", name) for name in PYTHON if name not in BLIND["python"]),
    *(("node", name) for name in NODE if name not in BLIND["node"]),
]


def test_there_are_enough_idioms_and_few_blind_spots() -> None:
    assert len(PYTHON) >= 40 and len(NODE) >= 30
    assert {name for name in PYTHON if name.endswith("_blind")} == set(BLIND["python"])
    assert {name for name in NODE if name.endswith("_blind")} == set(BLIND["node"])
    for runtime, spots in BLIND_SPOTS.items():
        assert len(spots) <= 3 and set(BLIND[runtime].values()) <= set(spots)
        assert all(words in sentence(runtime) for words in spots.values())


@pytest.mark.real
@pytest.mark.parametrize(("runtime", "name"), IDIOMS)
def test_the_shim_sees_what_ptrace_sees(run: Run, evidence: bool, runtime: str, name: str) -> None:
    if not evidence and IDIOMS.index((runtime, name)) % SLICE:
        pytest.skip("every fourth idiom; all under --evidence")
    argv = command(runtime, name)
    traced, shimmed = run(*argv), run(*argv, engine_name="shim")
    if traced.exit_code == UNSUPPORTED:
        pytest.skip(f"{name}: not supported by this file system or user")
    assert shimmed.exit_code == traced.exit_code == 0, shimmed.stderr_tail.decode()
    assert shimmed.differences == () and shimmed.ending == "exited", shimmed.ending_detail
    assert shown(shimmed) == shown(traced)
    assert (shimmed.acks == traced.acks and shimmed.final == traced.final) or has_random_names(traced)
    assert shimmed.trace is not None and shimmed.trace.unseen == ()


def has_random_names(recording: Recording) -> bool:
    return any(path_role(path) != path for path in recording.final.names)


@pytest.mark.real
@pytest.mark.parametrize(("runtime", "name"), [(runtime, name) for runtime in BLIND for name in BLIND[runtime]])
def test_a_blind_spot_is_no_verdict(run: Run, runtime: str, name: str) -> None:
    """What is not seen makes a recording that nobody builds upon, with the reason, or content nobody answers for."""
    recording = run(*command(runtime, name), engine_name="shim")
    assert recording.trace is not None and recording.differences == ()
    if BLIND[runtime][name] == "mapping":
        assert recording.ending == "exited" and recording.trace.unseen_paths == ("mapped",)
        assert recording.trace.unseen == ("stores through a shared mapping",)
    else:
        assert recording.ending == "limit" and "the shim cannot see" in recording.ending_detail


def kinds(operations: tuple[AnyOperation, ...]) -> list[str]:
    return [op.kind for op in operations]


@pytest.mark.real
@pytest.mark.parametrize("flags", ["-I", "-S", "-E", "-BEsS", "-Isu"])
def test_flags_that_keep_the_environment_out_do_not_keep_the_shim_out(run: Run, flags: str) -> None:
    argv = (real_python(), flags, os.path.join(HERE, "shim_idioms.py"), "replace_durably", "{dir}")
    recording = run(*argv, engine_name="shim")
    assert recording.exit_code == 0, recording.stderr_tail.decode()
    assert recording.trace is not None and kinds(recording.trace.operations) == kinds_of_a_replacement()


def kinds_of_a_replacement() -> list[str]:
    return ["open", "write", "sync", "close", "rename", "sync"]


@pytest.mark.real
def test_a_program_that_the_shim_is_not_in_is_said_to_be_not_watched(run: Run) -> None:
    recording = run("/bin/sh", "-c", "echo hidden > {dir}/hidden", engine_name="shim")
    assert recording.ending == "limit" and "sh did not load the shim" in recording.ending_detail
