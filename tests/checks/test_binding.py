from __future__ import annotations

import pytest

from harness.checks import Bindings, FileBinding


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.jsonl", "a.jsonl", True),
        ("*.jsonl", "d/a.jsonl", False),
        ("**/*.jsonl", "a.jsonl", True),
        ("**/*.jsonl", "d/e/a.jsonl", True),
        ("projects/**/*.jsonl", "projects/a.jsonl", True),
        ("projects/**/*.jsonl", "projects/x/y/a.jsonl", True),
        ("projects/*/*.jsonl", "projects/x/y/a.jsonl", False),
        ("**", "any/thing", True),
        ("a?.json", "ab.json", True),
        ("a?.json", "a/.json", False),
        ("[ab].json", "a.json", True),
        ("[!ab].json", "a.json", False),
        ("a.json", "aXjson", False),
        ("*.jsonl", "a.jsonl.tmp", False),
        ("**/.*.tmp", ".state.json.12-1.tmp", True),
        ("**/.*.tmp", "sessions/.s1.json.12-1.tmp", True),
        ("x[[]1].json", "x[1].json", True),
    ],
)
def test_globs(glob: str, path: str, matches: bool) -> None:
    assert (Bindings((FileBinding(glob, "log"),)).of(path) is not None) == matches


def test_the_first_binding_that_matches_wins() -> None:
    bindings = Bindings((FileBinding("a.json", "registry"), FileBinding("*.json", "document")))
    found = [bindings.of(path) for path in ("a.json", "b.json", "c.txt", "a.json")]
    assert [binding and binding.format for binding in found] == ["registry", "document", None, "registry"]
