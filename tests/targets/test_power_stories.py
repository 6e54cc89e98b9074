"""Seed 002 as its reporter found it: a registry entry of 144,258 NUL bytes, and what tmp + rename leaves instead.

No kill makes either; a power loss does. Predicted by the profiles from one recording, and seen on real file systems.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.catalog.profiles import list_profiles, load_profile
from harness.core.content import content_of
from harness.core.run import RunSpec
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.engines import engine
from harness.engines.block import observe, record_on_disk
from harness.explore import crash_states
from harness.explore.power.exploration import explore_power
from harness.sandbox.workspace import Workspace
from tests.block.conftest import pattern_spec, require
from tests.targets.plain_run import Bench
from tests.targets.test_durable_exhaustively import recorded

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
ENTRY_BYTES = 144_258
WORK: dict[str, Any] = {"sessions": 1, "updates": 1, "record_bytes": (60, 300)}
SIZES_WITHOUT_DATA = ("ntfs", "ext4-writeback-nodelalloc-dioread_lock")
NEVER = ("ext4-nodelalloc", "xfs", "apfs")
Make = Callable[..., Bench]


def all_nul(tree: Tree) -> bool:
    """Whether a registry entry is there in its full size and every byte of it is NUL."""
    return any(
        file.content.size == ENTRY_BYTES and not file.content.to_bytes().strip(b"\0")
        for path, file in tree.files()
        if is_entry(path)
    )


def is_entry(path: str) -> bool:
    return "/local_" in path and path.endswith(".json")


def compact(spec: RunSpec) -> RunSpec:
    """Return the run with entries that are still short, as before the application filled them.

    On this file system freed blocks are given out again at once: an entry rewritten over one of its own size shows
    parts of its old version where its data are missing, and NULs only in between.
    """
    tree = spec.start
    for path, file in list(tree.files()):
        if is_entry(path):
            entry = json.loads(file.content.to_bytes())
            entry["remoteMcpServersConfig"][0]["instructions"] = ""
            short = content_of(json.dumps(entry).encode())
            tree = tree.with_node(tree.names[path], file._replace(content=short))
    return msgspec.structs.replace(spec, start=tree)


def predicts(trace: Trace, profile: str) -> bool:
    found = False

    def note(tree: Tree, acked: int, fault_class: str) -> tuple[()]:
        nonlocal found
        found = found or all_nul(tree)
        return ()

    explore_power(trace, load_profile(profile), note)
    return found


def test_the_entry_of_nuls_is_predicted_where_sizes_go_without_data(bench: Make) -> None:
    trace = recorded(bench("registry/in_place", 1, **WORK)).trace
    assert trace is not None
    predicted = {name for name in list_profiles() if predicts(trace, name)}
    assert predicted >= {*SIZES_WITHOUT_DATA}
    assert predicted.isdisjoint(NEVER)
    assert not any(all_nul(state.tree) for state in crash_states(trace, "kill"))


def test_the_entry_of_nuls_is_seen_on_that_file_system(bench: Make) -> None:
    profile = load_profile("ext4-writeback-nodelalloc-dioread_lock")
    require(profile.filesystem)
    writer = bench("registry/in_place", 1, **WORK)
    disk = record_on_disk(compact(writer.subject.spec), profile.filesystem, profile.mount_options, "each")
    trace = disk.recording.trace
    assert trace is not None
    seen = [state for state in observe(disk) if state.tree is not None and all_nul(state.tree)]
    assert seen, "no cut left an entry of NULs"
    assert predicts(trace, profile.name)


def contents(tmp_path: Path, name: str, file: str, filesystem: str, options: str = "") -> Iterator[int | None]:
    """Yield the size of ``file`` after each cut; ``None`` where it is not there."""
    require(filesystem)
    workspace = Workspace(str(tmp_path / f"{name}-{filesystem}"))
    try:
        disk = record_on_disk(pattern_spec(name, workspace), filesystem, options, "each")
        for state in observe(disk):
            if state.tree is not None:
                found = dict(state.tree.files()).get(file)
                yield None if found is None else found.content.size
    finally:
        workspace.remove()


def test_empty_after_a_rename_to_a_new_name_on_ext4(tmp_path: Path) -> None:
    sizes = list(contents(tmp_path, "new_name", "g", "ext4"))
    assert 0 in sizes
    assert 0 not in list(contents(tmp_path, "replace", "f", "ext4")), (
        "over an existing name ext4 waits for the data"
    )


def test_empty_after_a_rename_over_an_existing_name_on_xfs(tmp_path: Path) -> None:
    assert 0 in list(contents(tmp_path, "replace", "f", "xfs"))


def test_never_empty_after_fsync_and_rename(tmp_path: Path) -> None:
    for filesystem in ("ext4", "xfs", "btrfs"):
        assert set(contents(tmp_path, "replace_fsync", "f", filesystem)) == {10_000, 20_000}, filesystem
