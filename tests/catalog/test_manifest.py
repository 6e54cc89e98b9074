"""Target files: what is read, and that every mistake is one line that says what, where and what is valid."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import ManifestError, load_manifest
from harness.catalog.data import target_directories
from harness.catalog.manifest import Target, compile_manifest
from harness.checks.binding import FileBinding

VALID = """
[target]
name = "sample"
story = "a sample"

[[file]]
glob = "log.jsonl"
format = "log"
id_key = "id"

[[variant]]
name = "plain"
run = ["{python}", "writer.py", "{dir}", "{workload}"]
read = ["{python}", "writer.py", "{dir}", "{id}"]
check = ["{python}", "check.py", "{dir}", "{acked}", "{acks}"]
expect = { kill = "held", power.ext4 = "violated" }

[[variant]]
name = "published"
run = ["node", "writer.mjs"]
runtime = "node"
environment = { STATE = "{dir}", PACKAGE = "{package}" }
package = { registry = "npm", name = "@scope/thing", versions = ["1.0.0", "latest"] }
expect = { kill = "violated" }
timeout_s = 5
random_names = true
[[variant.file]]
glob = "*.db"
"""


def compiled(text: str, directory: str = "/nowhere") -> Target:
    return compile_manifest("target.toml", tomllib.loads(text), directory)


def error_of(text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        compiled(text)
    return str(caught.value)


def test_a_manifest_becomes_variants_and_bindings() -> None:
    target = compiled(VALID)
    assert [variant.label for variant in target.variants] == ["plain", "published@1.0.0", "published@latest"]
    assert target.variants[0].bindings == (FileBinding("log.jsonl", "log", id_key="id"),)
    assert target.variants[1].bindings == (FileBinding("*.db", "opaque"),)
    assert dict(target.variants[0].expect) == {"kill": "held", "power.ext4": "violated"}
    assert target.variants[1].random_names
    assert target.variants[1].timeout_s == 5.0


def test_a_binding_says_whether_resuming_closes_open_turns() -> None:
    bound = compiled(VALID.replace('format = "log"', 'format = "transcript"\nopen_turn = "closed"', 1))
    assert bound.variants[0].bindings[0].open_turn == "closed"
    assert compiled(VALID).variants[0].bindings[0].open_turn == "violation"


def test_latest_carries_no_expectation() -> None:
    pinned, latest = compiled(VALID).variants[1:]
    assert dict(pinned.expect) == {"kill": "violated"}
    assert dict(latest.expect) == {}


GOLDEN = [
    ('name = "sample"', 'nmae = "sample"', "target.toml: [target]: unknown key 'nmae'; did you mean 'name'?"),
    ('name = "sample"', "name = 3", "target.toml: [target] name: Expected a string, got an integer"),
    (
        'name = "sample"',
        'name = "Sample!"',
        "target.toml: [target] name: 'Sample!' is not of the form [a-z0-9][a-z0-9_.-]{0,63}",
    ),
    ('name = "sample"', "", "target.toml: [target] lacks the key 'name'"),
    ("[[file]]", "[[fiel]]", "target.toml: unknown section 'fiel'; did you mean 'file'?"),
    (
        'format = "log"',
        'format = "lgo"',
        "target.toml: [file 1] format: 'lgo' is not valid; did you mean 'log'?; valid: document, index, lease, log, "
        "opaque, registry, transcript",
    ),
    (
        'format = "log"',
        'format = "transcript"\nopen_turn = "close"',
        "target.toml: [file 1] open_turn: 'close' is not valid; did you mean 'closed'?; valid: closed, violation",
    ),
    (
        'glob = "log.jsonl"',
        'glob = "../log.jsonl"',
        "target.toml: [file 1] glob: '../log.jsonl' is not a path below the state directory",
    ),
    (
        "random_names",
        "random_name",
        "target.toml: [variant 2]: unknown key 'random_name'; did you mean 'random_names'?",
    ),
    (
        'runtime = "node"',
        'runtime = "ruby"',
        "target.toml: [variant 2] runtime: 'ruby' is not valid; valid: binary, node, python",
    ),
    (
        "{workload}",
        "{worklaod}",
        "target.toml: [variant 'plain'] run: unknown placeholder {worklaod}; did you mean 'workload'?",
    ),
    (
        '"{dir}", "{workload}"',
        '"{workload}"',
        "target.toml: [variant 'plain'] run: names {dir} nowhere, so the writer cannot know its state directory",
    ),
    ('"{dir}", "{id}"', '"{dir}", "{acked}"', "target.toml: [variant 'plain'] read: unknown placeholder {acked}"),
    (
        'run = ["node", "writer.mjs"]',
        'run = ["node", "{target}/writer.mjs"]',
        "target.toml: [variant 'published'] run: no file 'writer.mjs' in the target",
    ),
    (
        'run = ["node", "writer.mjs"]',
        'run = "node"',
        "target.toml: [variant 2] run: Expected a list, got a string",
    ),
    (
        "timeout_s = 5",
        "timeout_s = 0",
        "target.toml: [variant 'published'] timeout_s: 0.0 is not between 0 and 600 seconds",
    ),
    ("timeout_s = 5", "timeout_s = nan", "target.toml: [variant 'published'] timeout_s: nan is not between 0"),
    (
        'kill = "held"',
        'kil = "held"',
        "target.toml: [variant 'plain'] expect: unknown fault class 'kil'; did you mean 'kill'?",
    ),
    (
        'power.ext4 = "violated"',
        'power = "violated"',
        "target.toml: [variant 'plain'] expect.power: must be a table of profiles",
    ),
    (
        'kill = "held"',
        'kill = "hold"',
        "target.toml: [variant 'plain'] expect.kill: 'hold' is not valid; did you mean 'held'?",
    ),
    (
        'versions = ["1.0.0", "latest"]',
        'versions = ["1.0.0; rm"]',
        "target.toml: [variant 'published'] package.version: '1.0.0; rm' is not a version",
    ),
    (
        ', versions = ["1.0.0", "latest"]',
        "",
        "target.toml: [variant 'published'] package: needs either version or versions",
    ),
    (
        'name = "@scope/thing"',
        'name = "--index-url"',
        "target.toml: [variant 'published'] package.name: '--index-url' is no npm package name",
    ),
    (
        'name = "published"',
        'name = "plain"\nack = "("',
        "target.toml: [variant 'plain'] ack: not a regular expression",
    ),
    ('name = "published"', 'name = "p"\nack = "^ok"', "target.toml: [variant 'p'] ack: needs a group (?P<id>…)"),
    (
        'versions = ["1.0.0", "latest"]',
        'versions = ["1.0.0", "1.0.0"]',
        "target.toml: [variant 'published@1.0.0'] is described twice",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), GOLDEN, ids=[case[2][13:50] for case in GOLDEN])
def test_a_mistake_is_one_line(old: str, new: str, expected: str) -> None:
    assert old in VALID
    assert error_of(VALID.replace(old, new, 1)).startswith(expected)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"[target", "not TOML: Expected ']'"),
        (b"x = " + b"[" * 5000, "nested too deeply"),
        (b"x = " + b"9" * 5000, "not TOML: "),
        (b"# " + b"x" * (1 << 20), "larger than 1048576 bytes"),
    ],
)
def test_what_is_no_toml_is_one_line(tmp_path: Path, raw: bytes, expected: str) -> None:
    (tmp_path / "target.toml").write_bytes(raw)
    with pytest.raises(ManifestError, match=expected) as caught:
        load_manifest(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        load_manifest(str(tmp_path))
    (tmp_path / "target.toml").mkdir()
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(str(tmp_path))


LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.dates(),
    st.just("{dir}"),
    st.just("("),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place inside nested tables and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *places(item, (*path, key)))]


def changed(tables: dict[str, Any], place: tuple[Any, ...], key: Any, value: Any) -> dict[str, Any]:
    """Return the tables with a value put at a place (``key`` none) or under a new key of the table there."""
    tables = copy.deepcopy(tables)
    inner: Any = tables
    for step in place[:-1]:
        inner = inner[step]
    if key is not None and isinstance(inner[place[-1]], dict):
        inner[place[-1]][key] = value
    else:
        inner[place[-1]] = value
    return tables


SOURCES = [tomllib.loads(VALID)] + [
    tomllib.loads((Path(directory) / "target.toml").read_text(encoding="utf-8"))
    for directory in target_directories().values()
]


@given(st.data())
def test_no_change_to_a_manifest_is_a_traceback(data: st.DataObject) -> None:
    tables = data.draw(st.sampled_from(SOURCES))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(tables)))
        tables = changed(tables, place, data.draw(st.none() | st.text(max_size=6)), data.draw(VALUES))
    try:
        compile_manifest("target.toml", tables, "/nowhere")
    except ManifestError as error:
        assert str(error).isprintable()


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    directory = tmp_path_factory.getbasetemp() / "fuzzed"
    directory.mkdir(exist_ok=True)
    (directory / "target.toml").write_bytes(raw)
    with pytest.raises(ManifestError) as caught:
        load_manifest(str(directory))
    assert str(caught.value).isprintable()


@given(st.integers(0, 4000), st.integers(0, 60), st.text(max_size=10))
def test_no_edit_of_the_text_is_a_traceback(start: int, length: int, insert: str) -> None:
    text = VALID[:start] + insert + VALID[start + length :]
    try:
        tables = tomllib.loads(text)
    except ValueError:
        return
    try:
        compile_manifest("target.toml", tables, "/nowhere")
    except ManifestError as error:
        assert str(error).isprintable()
