from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import FileBinding, list_sessions, lists_session
from harness.checks.lister import HEAD_BYTES
from harness.checks.summary import LineFold
from harness.core.content import EMPTY, content_of
from harness.core.tree import tree_of


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def user(content: object = "do it", **more: object) -> bytes:
    return line(type="user", message={"role": "user", "content": content}, **more)


@pytest.mark.parametrize(
    ("data", "listed"),
    [
        (b"", False),
        (user(), True),
        (user().rstrip(), True),
        (user()[:-4], False),
        (user([{"type": "text", "text": "hi"}]), True),
        (user([{"type": "tool_result", "content": "x"}]), False),
        (user("   "), False),
        (user("<command-name>/clear</command-name>"), True),
        (user("<local-command-stdout>x"), False),
        (user("[Request interrupted by user]"), False),
        (user(isMeta=True), False),
        (user(isCompactSummary=True), False),
        (user(isSidechain=True), False),
        (user() + user(isSidechain=True), True),
        (line(type="summary", summary="s"), True),
        (line(type="summary", summary=""), False),
        (line(type="last-prompt", lastPrompt="p"), True),
        (line(type="custom-title", customTitle="t"), True),
        (line(type="ai-title", aiTitle="t"), True),
        (line(type="assistant", message={}), False),
        (b'{"type":"custom-title","customTitle":"to', False),
        (b'{"torn":"customTitle":"escaped \\" quote"', True),
        (b"\0" * 100, False),
    ],
)
def test_which_transcripts_a_reader_of_heads_and_tails_shows(data: bytes, listed: bool) -> None:
    assert lists_session(content_of(data)) == listed


def test_a_prompt_beyond_the_head_is_not_seen_and_a_title_in_the_tail_is() -> None:
    filler = line(type="assistant", message={"content": "x" * HEAD_BYTES})
    assert not lists_session(content_of(filler + user()))
    assert lists_session(content_of(filler + line(type="custom-title", customTitle="t")))
    summary_in_head = line(type="summary", summary="s") + filler * 2
    assert not lists_session(content_of(summary_in_head))


PIECES = st.sampled_from(
    [
        user(),
        user("   "),
        user(isMeta=True),
        user(isSidechain=True),
        line(type="assistant"),
        b"\n",
        b'{"type":"us',
        line(type="summary", summary="s"),
        line(a="x" * 40_000),
    ]
)


@given(st.lists(PIECES, max_size=6))
def test_what_the_summary_decides_is_what_the_lister_says(pieces: list[bytes]) -> None:
    content = EMPTY
    for piece in pieces:
        content = content.append(piece)
    shown = LineFold(parse=True, transcript=True).of(content).shown
    assert shown == "unknown" or (shown == "yes") == lists_session(content)


def test_sessions_of_a_tree() -> None:
    tree = tree_of(
        {
            "p/a.jsonl": user(),
            "p/empty.jsonl": b"",
            "p/agent-1.jsonl": user(),
            "p/a.jsonl.tmp": user(),
            "r/local_1.json": b'{"sessionId": "local_1"}',
            "r/local_2.json": b"\0\0",
        }
    )
    bindings = (FileBinding("p/*.jsonl", "transcript"), FileBinding("r/*.json", "registry"))
    assert list_sessions(tree, bindings) == ("a", "local_1")
