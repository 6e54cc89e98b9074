"""A baseline's mistakes: one line each, with file, entry, key and what would be valid."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from harness.catalog import ManifestError
from harness.catalog.baseline import load_baseline

ENTRY = '[[known]]\nfingerprint = "{0}"\nlink = "https://x"\nexpires = {1}\n'
NAME = "0" * 32


def entry(name: str = NAME, expires: str = "2027-01-31", more: str = "") -> str:
    return ENTRY.format(name, expires) + more


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "known.toml"
    path.write_text(text)
    return load_baseline(str(path))


def test_dates_of_toml_and_as_text(tmp_path: Path) -> None:
    for spelt in ("2027-01-31", '"2027-01-31"'):
        (known,) = load(tmp_path, entry(expires=spelt, more='note = "n"\n'))  # type: ignore[misc, attr-defined]
        assert (known.expires, known.note, known.cause) == (date(2027, 1, 31), "n", None)
    assert load(tmp_path, "") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "unknown key 'x'; valid: known"),
        ("known = 3", "known: Expected a list"),
        ("known = [3]", "Expected a table"),
        (entry("xx"), "[known 1] fingerprint: 'xx' is not one"),
        (entry() + entry(), f"[known 2] fingerprint: {NAME} stands in [known 1] already"),
        (entry(expires='"2027-02-30"'), "[known 1] expires: '2027-02-30' is not a date; valid: YYYY-MM-DD"),
        (entry(expires='"soon"'), "[known 1] expires: 'soon' is not a date"),
        (entry(expires="20270131"), "[known 1] expires: Expected a string, got an integer"),
        (entry(expires="2027-01-31T10:00:00"), "is not a date; valid: YYYY-MM-DD"),
        (entry(expires='""'), "[known 1] expires: not filled in"),
        (entry().replace('"https://x"', '" "'), "[known 1] link: not filled in"),
        (
            entry().replace('"https://x"', '"javascript:alert(1)"'),
            "[known 1] link: 'javascript:alert(1)' is not one",
        ),
        (entry().replace('"https://x"', '"\\n::error::x"'), "[known 1] link: '\\n::error::x' is not one"),
        (entry(more="lnk = 1\n"), "unknown key 'lnk'; did you mean 'link'?"),
        (entry(more='cause = { target = "t" }\n'), "lacks the key 'variant'"),
        (
            entry(
                more='cause = { target = "t", variant = "v", invariant = "M1", fault_class = "kill", '
                'operation = "x" }\n'
            ),
            "[known 1] cause: not the one that",
        ),
        ("[[known]", "not TOML"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, text)
    line = str(caught.value)
    assert said in line
    assert "known.toml" in line
    assert "\n" not in line


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        load_baseline(str(tmp_path / "none.toml"))
