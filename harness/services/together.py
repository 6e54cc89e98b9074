"""Several instances of a target, and readers, as the one run that an engine starts.

:mod:`harness.services.instances` starts them; :mod:`harness.services.reader` is a reader.

Where a run is compared with (the recording, and runs whose fault strikes at an operation of it), the instances run one
after the other: what they write then is what each of them owes, and the same every time. They run together where that
is what is tried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from harness.core.run import RunSpec
from harness.sandbox.environment import real_python
from harness.services import instances, reader

_LIST = "instances.json"
_ENDED = "ended"
_STOP = "readers.stop"
_LISTING = "listing"
_OUTPUT_MAX = 32 << 20
PIECE = 4096
"""How much a reader asks for at once."""
ROUNDS = 2
"""How often a reader reads everything where a schedule says who goes next."""


class Program(NamedTuple):
    """One instance: what is started, and what it has in its environment besides what all have."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


def ended_file(spec: RunSpec) -> str:
    """Return where instances note their ends; it is emptied before each run."""
    return os.path.join(spec.environment["TMPDIR"], _ENDED)


def as_one(
    spec: RunSpec,
    programs: Sequence[Program],
    *,
    ended: str = "",
    in_turn: bool = False,
    readers: Sequence[Mapping[str, Any]] = (),
) -> RunSpec:
    """Return the one run that all of ``programs`` are; ``spec`` says everything else about it."""
    path = os.path.join(os.path.dirname(spec.root), _LIST)
    listed = [*readers, *({"argv": each.argv, "environment": each.environment} for each in programs)]
    way = "in_turn" if in_turn else "together"
    return msgspec.structs.replace(
        spec,
        argv=(real_python(), "-BEsS", os.path.abspath(instances.__file__), path, ended, way),
        files={**spec.files, path: msgspec.json.encode(listed)},
        instances=1,
    )


def all_instances(spec: RunSpec, *, in_turn: bool, decided: bool = False) -> RunSpec:
    """Return the run of so many instances as ``spec`` says: each is told its number by ``TORNWRITE_INSTANCE``.

    Readers are beside them where they run at once. ``decided``: a schedule says who goes next, so that a few rounds of
    reading do; else readers go on until the writers have ended.
    """
    readers = [] if in_turn else [_reader(spec, number, decided) for number in range(spec.readers)]
    if readers and spec.listing:
        readers.append({"argv": spec.listing, "environment": {}, "output": _output(spec, _LISTING)})
    if spec.instances == 1 and not readers:
        return spec
    programs = [Program(spec.argv, {"TORNWRITE_INSTANCE": str(number)}) for number in range(spec.instances)]
    if spec.instances == 1:
        programs = [Program(spec.argv, {})]
    return as_one(spec, programs, in_turn=in_turn, readers=readers)


def _reader(spec: RunSpec, number: int, decided: bool) -> Mapping[str, Any]:
    stop = "" if decided else os.path.join(spec.environment["TMPDIR"], _STOP)
    words = (spec.root, str(PIECE), str(ROUNDS if decided else 1), stop)
    argv = (real_python(), "-BEsS", os.path.abspath(reader.__file__), *words)
    return {"argv": argv, "environment": {}, "output": _output(spec, number), "stop": stop}


def _output(spec: RunSpec, number: int | str) -> str:
    return os.path.join(spec.environment["TMPDIR"], f"reader.{number}")


def reads_of(spec: RunSpec) -> dict[str, tuple[bytes | None, ...]]:
    """Return what the readers of the run that has just ended have read, by path; ``None``: it was gone."""
    reads: dict[str, list[bytes | None]] = {}
    for number in range(spec.readers):
        try:
            with open(_output(spec, number), "rb") as stream:
                lines = stream.read(_OUTPUT_MAX).split(b"\n")
        except OSError:
            continue
        for line in lines[:-1]:  # the last one of a reader that was killed is torn
            try:
                said = msgspec.json.decode(line, type=_Read)
            except msgspec.DecodeError:  # the target writes to its TMPDIR what it likes
                continue
            reads.setdefault(said.path, []).append(said.data)
    return {path: tuple(found) for path, found in reads.items()}


def listed_in(spec: RunSpec) -> tuple[int, bytes] | None:
    """Return how the lister of the run that has just ended has ended itself, and what it printed."""
    try:
        with open(_output(spec, _LISTING) + ".code", encoding="ascii") as stream:
            code = int(stream.read())
        with open(_output(spec, _LISTING), "rb") as output:
            return code, output.read(_OUTPUT_MAX)
    except (OSError, ValueError):  # there is none, or it was killed with all others
        return None


class _Read(msgspec.Struct, frozen=True):
    path: str
    data: bytes | None
