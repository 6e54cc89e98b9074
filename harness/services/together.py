"""Several instances of a target as the one run that an engine starts: :mod:`harness.services.instances` starts them.

Where a run is compared with (the recording, and runs whose fault strikes at an operation of it), the instances run one
after the other: what they write then is what each of them owes, and the same every time. They run together where that
is what is tried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from harness.core.run import RunSpec
from harness.sandbox.environment import real_python
from harness.services import instances

_LIST = "instances.json"
_ENDED = "ended"


class Program(NamedTuple):
    """One instance: what is started, and what it has in its environment besides what all have."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


def ended_file(spec: RunSpec) -> str:
    """Return where instances note their ends; it is emptied before each run."""
    return os.path.join(spec.environment["TMPDIR"], _ENDED)


def as_one(spec: RunSpec, programs: Sequence[Program], *, ended: str = "", in_turn: bool = False) -> RunSpec:
    """Return the one run that all of ``programs`` are; ``spec`` says everything else about it."""
    path = os.path.join(os.path.dirname(spec.root), _LIST)
    listed = [{"argv": each.argv, "environment": each.environment} for each in programs]
    way = "in_turn" if in_turn else "together"
    return msgspec.structs.replace(
        spec,
        argv=(real_python(), "-BEsS", os.path.abspath(instances.__file__), path, ended, way),
        files={**spec.files, path: msgspec.json.encode(listed)},
        instances=1,
    )


def all_instances(spec: RunSpec, *, in_turn: bool) -> RunSpec:
    """Return the run of so many instances as ``spec`` says: each is told its number by ``TORNWRITE_INSTANCE``."""
    if spec.instances == 1:
        return spec
    programs = [Program(spec.argv, {"TORNWRITE_INSTANCE": str(number)}) for number in range(spec.instances)]
    return as_one(spec, programs, in_turn=in_turn)
