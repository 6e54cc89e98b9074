from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.run import RunSpec
from harness.core.tree import tree_of
from harness.sandbox.snapshot import read_tree
from harness.sandbox.workspace import (
    MARKER,
    Workspace,
    WorkspaceError,
    prepare,
    remove_workspace,
    temporary_workspace,
)


def spec_of(place: Workspace, **changes: object) -> RunSpec:
    values: dict[str, object] = {
        "argv": ("true",),
        "root": place.root,
        "cwd": place.cwd,
        "environment": place.environment(),
        "start": tree_of({"a/b": b"1"}),
    }
    return RunSpec(**(values | changes))  # type: ignore[arg-type]


def test_directories_are_absolute_free_of_links_and_exist(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    place = Workspace(str(tmp_path / "link" / "base"))
    real = os.path.realpath(tmp_path / "real" / "base")
    assert place.base == real
    assert [place.root, place.cwd, place.home, place.tmp] == [
        os.path.join(real, name) for name in ("state", "cwd", "home", "tmp")
    ]
    assert all(os.path.isdir(path) for path in (place.root, place.cwd, place.home, place.tmp))


def test_prepare_empties_all_four_and_writes_the_start(tmp_path: Path) -> None:
    place = Workspace(str(tmp_path / "base"))
    for directory in (place.root, place.cwd, place.home, place.tmp):
        Path(directory, "old").touch()
    Path(place.base, "workload.json").touch()
    prepare(spec_of(place))
    assert read_tree(place.root).tree == tree_of({"a/b": b"1"})
    assert os.listdir(place.cwd) == os.listdir(place.home) == os.listdir(place.tmp) == []
    assert Path(place.base, "workload.json").exists()


def test_nothing_outside_a_workspace_is_ever_emptied(tmp_path: Path) -> None:
    place = Workspace(str(tmp_path / "base"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    for changes in ({"root": str(mine)}, {"cwd": str(mine)}, {"root": os.path.join(place.base, "..", "mine")}):
        with pytest.raises(WorkspaceError, match="not a directory of a workspace"):
            prepare(spec_of(place, **changes))
    prepare(spec_of(place, environment={"HOME": str(mine), "TMPDIR": str(tmp_path)}))
    assert (mine / "precious").exists()


def test_a_base_reached_through_a_link_is_refused(tmp_path: Path) -> None:
    place = Workspace(str(tmp_path / "base"))
    (tmp_path / "alias").symlink_to("base")
    with pytest.raises(WorkspaceError):
        prepare(spec_of(place, root=str(tmp_path / "alias" / "state")))


def test_a_directory_with_files_does_not_become_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(WorkspaceError, match="not empty and not a workspace"):
        Workspace(str(tmp_path))
    with pytest.raises(WorkspaceError, match="as a workspace"):
        Workspace(str(tmp_path / "precious"))


def test_a_workspace_opens_again_and_goes_away() -> None:
    place = temporary_workspace()
    assert Workspace(place.base).root == place.root
    place.remove()
    assert not os.path.exists(place.base)


def test_a_directory_that_is_no_workspace_is_removed_only_if_it_is_empty(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    full.mkdir()
    (full / "letters").write_text("mine")
    remove_workspace(str(empty))
    with pytest.raises(OSError):
        remove_workspace(str(full))
    assert not empty.exists() and (full / "letters").read_text() == "mine"


def test_a_workspace_keeps_its_mark_until_everything_else_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(str(tmp_path / "w"))
    gone: list[str] = []

    def remove(path: str) -> None:
        gone.append(os.path.basename(path))
        assert os.path.exists(os.path.join(workspace.base, MARKER))

    monkeypatch.setattr("harness.sandbox.workspace.remove_directory", remove)
    workspace.remove()
    assert gone[-1] == "w" and set(gone) == {"state", "cwd", "home", "tmp", "w"}
