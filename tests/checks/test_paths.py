"""Two paths are one, or not, as the case rule says: pure, and as a file system of either kind has it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_filesystem_unittest import Patcher

from harness.checks import path_key, same_path

NAMES = st.text("aAbB", min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


def test_spelling_is_evened_out() -> None:
    assert same_path("/w/repo/", "/w/repo")
    assert same_path("C:\\w\\repo", "C:/w/repo")
    assert same_path("/w/cafe\u0301", "/w/caf\u00e9")
    assert path_key("/") == "/"


def test_case_counts_where_the_rule_says_so() -> None:
    assert not same_path("/srv/Repo", "/srv/repo")
    assert same_path("/srv/Repo", "/srv/repo", case_sensitive=False)
    assert not same_path("/srv/repo", "/srv/repo2", case_sensitive=False)


@given(PATHS, PATHS, st.booleans())
def test_being_one_path_is_an_equivalence(one: str, other: str, case_sensitive: bool) -> None:
    assert same_path(one, one, case_sensitive)
    assert same_path(one, other, case_sensitive) == same_path(other, one, case_sensitive)
    assert same_path(one, path_key(one, case_sensitive), case_sensitive)


@pytest.mark.parametrize("case_sensitive", [True, False])
@pytest.mark.parametrize("other", ["/srv/Repo", "/srv/repo", "/SRV/repo/", "/srv/rep"])
def test_a_file_system_of_that_rule_agrees(case_sensitive: bool, other: str) -> None:
    with Patcher() as patcher:
        fs: FakeFilesystem = patcher.fs  # type: ignore[assignment]
        fs.is_case_sensitive = case_sensitive
        fs.create_dir("/srv/Repo")
        exists = os.path.exists(other) and os.path.samefile(other, "/srv/Repo")
    assert exists == same_path(other, "/srv/Repo", case_sensitive)


@pytest.mark.parametrize("case_sensitive", [True, False])
def test_an_index_of_a_worktree_opened_in_two_spellings(case_sensitive: bool) -> None:
    """What M6 says of it is what a reader of that file system finds behind the paths of the entries."""
    from sessions import ALL, index, prompt, row, written  # noqa: PLC0415

    from harness.checks import Expectation, Judge, Rules  # noqa: PLC0415

    directory, said = "projects/-work-repo", "projects/-Work-Repo/a.jsonl"
    files = {
        f"{directory}/a.jsonl": prompt(),
        f"{directory}/sessions-index.json": index(row("a", fullPath=f"/r/{said}")),
    }
    script = written()
    script.mkdir(directory)
    script = written(*files.items(), "1", start=script)
    expectation = Expectation.from_trace(script.trace(), ALL)
    found = Judge(ALL, expectation, ("M6",), Rules(case_sensitive=case_sensitive)).judge(script.tree, 1, "none")
    with Patcher() as patcher:
        fs: FakeFilesystem = patcher.fs  # type: ignore[assignment]
        fs.is_case_sensitive = case_sensitive
        for path, data in files.items():
            fs.create_file(f"/r/{path}", contents=data)
        reached = os.path.exists(f"/r/{said}")
    assert bool(found) != reached
