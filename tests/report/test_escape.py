"""Whatever a target is called or says: one line, no control, no markup, valid XML."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET

import pytest
from campaign_sample import HOSTILE
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harness.report.escape import block, code, markdown, plain, xml

_NASTY = st.lists(
    st.sampled_from(
        [*"`|\\*_[]()<>&#@~!-+.:\n\r\t \x1b\0a1", "](x)", "<b>", "&lt;", "``", "```", "http://x.y", "www.x.y"]
    ),
    max_size=14,
).map("".join)
_TEXT = st.text(max_size=25) | _NASTY | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl"]), max_size=6)
_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _leaves(tokens: list[Token]) -> list[Token]:
    return [leaf for token in tokens for leaf in (_leaves(token.children) if token.children else [token])]


@given(_TEXT)
@example(HOSTILE)
def test_plain_is_one_harmless_line(text: str) -> None:
    shown = plain(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in shown)
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text
    assert len(plain(text, 5)) <= 5


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31m", "\\x1b[31m"), ("\u202e", "\\u202e"), ("\udcff", "\\udcff"), ("a\nb", "a\\x0ab"), ("é", "é")],
)
def test_what_is_replaced_stays_visible(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(_TEXT)
@example(HOSTILE)
def test_markdown_shows_exactly_the_text(text: str) -> None:
    leaves = _leaves(_PARSER.parse(f"x {markdown(text)} y"))
    inner = [leaf for leaf in leaves if leaf.type not in ("paragraph_open", "paragraph_close")]
    assert {leaf.type for leaf in inner} <= {"text", "text_special"}
    assert "".join(leaf.content for leaf in inner) == f"x {plain(text)} y"


@given(_TEXT)
@example(HOSTILE)
def test_markdown_and_code_stay_in_their_cell(text: str) -> None:
    for shown in (markdown(text), code(text)):
        tokens = _PARSER.parse(f"| a | b |\n|---|---|\n| x{shown}y | z |\n")
        assert [token.type for token in tokens].count("td_open") == 2
        assert tokens[0].type == "table_open"
        cells = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == "td_open"]
        assert cells[1].content == "z"
        assert {child.type for child in cells[0].children or []} <= {"text", "text_special", "code_inline"}


@given(_TEXT)
@example(HOSTILE)
def test_code_is_one_span(text: str) -> None:
    leaves = _leaves(_PARSER.parse(f"x {code(text)} y"))
    spans = [leaf for leaf in leaves if leaf.type == "code_inline"]
    if text:
        assert len(spans) == 1
        assert spans[0].content.strip(" ") == plain(text).replace("|", "\\x7c").strip(" ")
    assert not markdown(text).count("@")


@given(_TEXT)
@example("```\n# out")
def test_a_block_cannot_be_closed_from_inside(text: str) -> None:
    tokens = _PARSER.parse(block(text))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content == "".join(plain(line) + "\n" for line in text.split("\n"))


@given(_TEXT)
@example(HOSTILE)
def test_xml_is_always_valid(text: str) -> None:
    element = ET.Element("a", name=xml(text))
    element.text = xml(text)
    parsed = ET.fromstring(ET.tostring(element, encoding="utf-8"))
    assert parsed.text is None or "\0" not in parsed.text


def test_mentions_and_addresses_are_not_linked() -> None:
    assert markdown("@all #12 http://x www.y.z") == "&#64;all &#35;12 http&#58;//x www&#46;y.z"
