"""The text of an exported file: it compiles, it means what was put in, and strangers' names stay quoted."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.role import path_role
from harness.export.choice import expectation
from harness.export.document import Check, Reproduction, document
from harness.export.parts import damage
from harness.export.parts.tracer import is_like

PARTS = Path(damage.__file__).parent
HOSTILE = "a\"\"\"'''\\\n\x1b[2J\u202e\udcff{dir}\\'; import os #/<uuid>.json"
STRIKES = ("killed_before", "killed_after", "killed_within", "cut_short", "failed", "signalled", "")
PLAIN: dict[str, Any] = {
    "title": "mine/writer leaves state.json torn",
    "story": ("The writer is mine.",),
    "case": {
        "run": ["{python}", "{target}/w.py", "{dir}"],
        "environment": {},
        "saved": "^ACK",
        "expected": "all is well",
    },
    "check": Check(function="documents_are_whole", fixed=("state.json",)),
    "sources": {"w.py": "print(1)\n"},
    "made_by": "Made by tornwrite 0",
}


def constant(text: str, name: str) -> Any:
    """Return the value of a constant of an exported file."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"no {name}")


def assert_clean(text: str) -> None:
    """No undefined name, no unused import, no syntax error, no line that nobody can read."""
    words = [
        "check",
        "--isolated",
        "--select",
        "E9,F,B",
        "--target-version",
        "py311",
        "--stdin-filename",
        "r.py",
        "-",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words], input=text.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("ordered", [False, True], ids=["kill", "order"])
def test_the_file_has_all_that_it_uses_and_nothing_else(strike: str, ordered: bool) -> None:
    point = {"word": "write", "path": "state.json", "number": 2} if strike else {}
    order = (("p0", 2), ("p0*w1:a.json open", 1)) * 30 if ordered else ()
    package = ("npm", "@a/b", "1.0") if ordered else ("pypi", "a", "1.0")
    text = document(
        Reproduction(**PLAIN, strike=strike, point=point, order=order, package=package, served=ordered)
    )
    assert_clean(text)
    assert ("OrderedWriter" in text) == ordered and ("npm_package" in text) == ordered
    assert not ordered or [tuple(turn) for turn in constant(text, "ORDER")] == list(order)
    assert text.isascii() and "harness" not in text and "noqa" not in text
    assert len(text.splitlines()) < (900 if ordered else 650)


def test_each_check_comes_with_what_it_needs() -> None:
    for name in [
        name for name, value in vars(damage).items() if getattr(value, "__doc__", "") and "_are_" in name
    ]:
        fixed = {"saved_records_are_there": ("a", "id"), "files_are_there": (["a"],)}.get(name, ("a",))
        given_ = "saved" if name.startswith("saved_") else ""
        assert_clean(document(Reproduction(**{**PLAIN, "check": Check(function=name, fixed=fixed, given=given_)})))


def test_hostile_names_stay_literals() -> None:
    case = {
        "run": [HOSTILE],
        "environment": {HOSTILE: HOSTILE},
        "workload": {HOSTILE: [HOSTILE] * 30},
        "saved": HOSTILE,
    }
    item = Reproduction(
        title=HOSTILE,
        story=(HOSTILE * 9,),
        case=case,
        check=Check(function="documents_are_whole", fixed=(HOSTILE,)),
        sources={HOSTILE: HOSTILE, "b.py": "b = '''1'''\n", "c": "", "d": "d\\"},
        made_by=HOSTILE,
        strike="killed_before",
        point={"word": HOSTILE, "path": HOSTILE, "number": 1},
        order=((HOSTILE, 1), ("), (", 2)),
        install=HOSTILE,
        package=("pypi", HOSTILE, HOSTILE),
    )
    text = document(item)
    assert (
        text.isascii() and text.isprintable() is False and not set(text) - set(map(chr, range(32, 127))) - {"\n"}
    )
    assert_clean(text)
    assert constant(text, "CASE") == case
    assert expectation(item.check).isprintable() and expectation(item.check).startswith(
        "each of these files is one"
    )
    assert constant(text, "SOURCES") == item.sources
    assert [tuple(turn) for turn in constant(text, "ORDER")] == list(item.order)


@given(
    st.dictionaries(st.text(), st.text(), max_size=3), st.text(), st.lists(st.tuples(st.text(), st.integers(1, 9)))
)
def test_what_is_put_in_comes_out(sources: dict[str, str], title: str, order: list[tuple[str, int]]) -> None:
    text = document(Reproduction(**{**PLAIN, "sources": sources, "title": title, "order": tuple(order)}))
    assert constant(text, "SOURCES") == sources
    assert [tuple(turn) for turn in constant(text, "ORDER")] == order if order else "ORDER" not in text


def test_a_readable_source_stands_as_it_is() -> None:
    text = document(Reproduction(**{**PLAIN, "sources": {"w.py": "é = r'\\d'\nprint(é)\n"}}))
    assert "\"w.py\": r'''é = r'\\d'\nprint(é)\n''',\n" in text


def test_the_parts_are_of_one_name_space_and_of_the_standard_library() -> None:
    names: Counter[str] = Counter()
    for path in PARTS.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names[node.name] += 1
            elif isinstance(node, ast.ImportFrom):
                assert (
                    str(node.module).startswith("harness.export.parts.")
                    or str(node.module).split(".")[0] in sys.stdlib_module_names
                )
            elif isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] in sys.stdlib_module_names for alias in node.names)
    assert [name for name, count in names.items() if count > 1] == []


_UUID = "f92d65bf-e807-df37-a93d-9c049920038e"
_PIECES = st.sampled_from(
    (*"./-_x+", *["state", "json", "tmp", "12", "a1b2c3d4", "tmpab12cd34", "local_", "aBcDeF12", ".tmp"], _UUID)
)


@given(st.lists(_PIECES, min_size=1, max_size=8).map("".join))
def test_a_path_plays_its_own_role(path: str) -> None:
    assert is_like(path_role(path), path)
    assert not is_like(path_role(path), path + "|")
