"""Selectors: which variants a name, a pattern, a version or a directory stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import ManifestError, find_variant, list_targets, load_target, select

MINE = '[target]\nname = "mine"\n[[variant]]\nname = "only"\nrun = ["{python}", "w.py", "{dir}"]\n'


def labels(*selectors: str) -> list[str]:
    return [each.label for each in select(selectors)]


def test_names_patterns_and_versions() -> None:
    assert labels("reference") == ["reference/durable", "reference/no_dir_fsync", "reference/buggy"]
    assert labels("reference/b*", "reference/buggy") == ["reference/buggy"]
    assert labels("fork_session/sdk@0.1.72") == ["fork_session/sdk@0.1.72"]
    names = ("sdk", "seed004_fix", "rename_session", "tag_session", "delete_session")
    assert labels("fork_session@0.1.72") == [f"fork_session/{name}@0.1.72" for name in names]
    assert labels("fork_session/seed004_fix") == ["fork_session/seed004_fix@0.1.72"]
    assert "reference/durable" in labels("ref*/durable")


def test_a_directory_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_text(MINE, encoding="utf-8")
    assert labels(str(tmp_path)) == ["mine/only"]
    assert load_target(str(tmp_path)).directory == str(tmp_path)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("refrence", "no target 'refrence'; did you mean 'reference'?"),
        ("reference/durabel", "target 'reference' has no variant 'durabel'; did you mean 'durable'?"),
        ("fork_session@9.9", "target 'fork_session' has no variant '@9.9'"),
        ("", "no target ''; valid: "),
        ("\0", "no target '\\x00'; valid: "),
        ("/", "holds no target.toml"),
    ],
)
def test_a_name_that_is_wrong_is_one_line(selector: str, expected: str) -> None:
    with pytest.raises(ManifestError) as caught:
        select([selector])
    assert expected in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_label_names_one_variant() -> None:
    target = load_target("fork_session")
    assert find_variant(target, "sdk@0.1.72").version == "0.1.72"
    assert find_variant(target, "seed004_fix").version == "0.1.72"
    with pytest.raises(ManifestError, match=r"fork_session/sdk names several versions: sdk@0.1.72, "):
        find_variant(target, "sdk")
    with pytest.raises(ManifestError, match="has no variant 'nothing'"):
        find_variant(target, "nothing")


def test_every_shipped_target_states_what_is_expected() -> None:
    for target in list_targets():
        assert target.story
        for variant in target.variants:
            assert variant.bindings
            assert variant.story, variant.label
            free = variant.package is not None and (variant.package.on_request or variant.version == "latest")
            expected = set() if free or variant.headless else {"kill", "short", "errno"}
            assert expected <= set(variant.expect), f"{target.name}/{variant.label}"
            assert free or variant.headless is None or variant.known, f"{target.name}/{variant.label}"


@given(st.text(max_size=30))
def test_no_selector_is_a_traceback(selector: str) -> None:
    try:
        select([selector])
    except ManifestError as error:
        assert str(error).isprintable()
