from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from conversations import Tale, result, text, use, valid_messages
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.messages_api import ApiError, breaches, merged, validate

Json = dict[str, Any]
UNANSWERED = (
    "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. "
    "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
)
UNASKED = (
    "messages.{}.content.{}: unexpected `tool_use_id` found in `tool_result` blocks: {}. "
    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
)
DOUBLE_RESULT = "each tool_use must have a single result. Found multiple `tool_result` blocks with id: {}"
DOUBLE_USE = "messages.{}.content.{}: `tool_use` ids must be unique"
EMPTY = "messages.{}: all messages must have non-empty content except for the optional final assistant message"


def user(*blocks: Json | str) -> Json:
    return {"role": "user", "content": [text(b) if isinstance(b, str) else b for b in blocks]}


def assistant(*blocks: Json | str) -> Json:
    return {"role": "assistant", "content": [text(b) if isinstance(b, str) else b for b in blocks]}


def said(messages: list[Json]) -> str:
    error = validate(messages)
    return "" if error is None else error.message


def number(messages: list[Json]) -> int:
    error = validate(messages)
    assert error is not None
    return error.text


# -- the errors that users reported, byte for byte, from transcripts ------------------------------------------------


def test_a_turn_interrupted_after_fourteen_others() -> None:
    tale = Tale()
    for _ in range(14):
        tale.turn()
    tale.user("read it")
    tale.assistant("reading", use("toolu_013ckU2JwQXpVxFdvi3xKT6T"))
    tale.user("are you still there?")
    error = validate(tale.conversation.messages)
    assert error is not None
    assert error.shown == (
        'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"messages.29: `tool_use` ids '
        "were found without `tool_result` blocks immediately after: toolu_013ckU2JwQXpVxFdvi3xKT6T. Each `tool_use` "
        'block must have a corresponding `tool_result` block in the next message."}}'
    )


def test_two_parallel_calls_interrupted() -> None:
    tale = Tale()
    for _ in range(4):
        tale.turn()
    tale.user("read both")
    tale.assistant(use("toolu_0159A3WFTNviEbqP5udwQEjV"), use("toolu_01V6BgQw5nXvM93fDkouSxqe"))
    error = validate(tale.conversation.messages)
    assert error is not None
    assert error.shown == (
        'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"messages.9: `tool_use` ids '
        "were found without `tool_result` blocks immediately after: toolu_0159A3WFTNviEbqP5udwQEjV, "
        "toolu_01V6BgQw5nXvM93fDkouSxqe. Each `tool_use` block must have a corresponding `tool_result` block in the "
        'next message."}}'
    )


def test_a_result_whose_call_was_dropped() -> None:
    tale = Tale().turn().turn().turn()
    tale.user(result("toolu_012UKNLZsKcnA6fXh1k8qWop"))
    error = validate(tale.conversation.messages)
    assert error is not None
    assert error.shown == (
        'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"messages.6.content.0: '
        "unexpected `tool_use_id` found in `tool_result` blocks: toolu_012UKNLZsKcnA6fXh1k8qWop. Each `tool_result` "
        'block must have a corresponding `tool_use` block in the previous message."}}'
    )


# -- text by text ---------------------------------------------------------------------------------------------------


def test_the_body_is_json_whatever_is_quoted() -> None:
    error = ApiError('a "quoted" é')
    assert json.loads(error.body)["error"]["message"] == 'a "quoted" é'


def test_valid_messages() -> None:
    assert validate([]) is None
    assert validate([{"role": "user", "content": "hello"}]) is None
    assert validate([user("go"), assistant(use("a"), use("b")), user(result("b"), result("a"), "and")]) is None
    assert validate([user("go"), {"role": "assistant", "content": []}]) is None


@pytest.mark.parametrize(
    ("messages", "expected", "form"),
    [
        ([user("go"), assistant(use("a"))], UNANSWERED.format(1, "a"), 1),
        ([user("go"), assistant(use("a"), use("b")), user(result("b"))], UNANSWERED.format(1, "a"), 1),
        ([user("go"), assistant(use("a")), user("wait", result("a"))], UNANSWERED.format(1, "a"), 1),
        ([user(result("a"))], UNASKED.format(0, 0, "a"), 2),
        ([user("go"), assistant("no"), user("so", result("a"))], UNASKED.format(2, 1, "a"), 2),
        (
            [user("go"), assistant(use("a")), user(result("a")), assistant("ok"), user(result("a"))],
            UNASKED.format(4, 0, "a"),
            2,
        ),
        ([user("go"), assistant(use("a")), user(result("a"), result("a"))], DOUBLE_RESULT.format("a"), 3),
        (
            [user("go"), assistant(use("a")), user(result("a")), assistant("x", use("a")), user(result("a"))],
            DOUBLE_USE.format(3, 1),
            4,
        ),
        ([user("go"), assistant(), user("go")], EMPTY.format(1), 5),
        ([user("go"), {"role": "assistant", "content": ""}, user("go")], EMPTY.format(1), 5),
        ([user()], EMPTY.format(0), 5),
        ([user("go", "")], "messages: text content blocks must be non-empty", 6),
        (
            [user("go"), assistant(use("a b")), user(result("a b"))],
            "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
            0,
        ),
        (
            [user("go"), user(use("a"))],
            "messages.1.content.0: `tool_use` blocks can only be in `assistant` messages",
            0,
        ),
    ],
)
def test_texts(messages: list[Json], expected: str, form: int) -> None:
    assert said(messages) == expected
    assert number(messages) == form


def test_changed_thinking() -> None:
    thought = {"type": "thinking", "thinking": "so", "signature": "x"}
    messages = [user("go"), assistant(thought, use("a")), user(result("a"))]
    assert validate(messages, thinking=[thought]) is None
    assert validate(messages) is None
    error = validate(messages, thinking=[{**thought, "thinking": "or"}])
    assert error is not None
    assert error.text == 7
    assert error.message == (
        "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be "
        "modified. These blocks must remain as they were in the original response."
    )
    assert validate([user("go"), assistant("hm")], thinking=[thought]) is not None


def test_half_a_surrogate_pair_is_no_json() -> None:
    assert validate([user("😀")]) is None
    body = '{"messages":[{"role":"user","content":"\\ud83d'
    assert said([{"role": "user", "content": "\ud83d"}]) == (
        "The request body is not valid JSON: no low surrogate in string: "
        f"line 1 column {len(body) + 1} (char {len(body)})"
    )


def test_neighbours_of_one_role_are_one_message() -> None:
    split = [
        user("go"),
        assistant("x"),
        assistant(use("a")),
        assistant(use("b")),
        user(result("a")),
        user(result("b")),
    ]
    assert validate(split) is None
    assert [len(turn["content"]) for turn in merged(split)] == [1, 3, 2]
    assert said(split[:-1]) == UNANSWERED.format(1, "b")


def test_a_turn_is_open_while_nothing_but_results_follows() -> None:
    def is_open(*messages: Json) -> list[bool]:
        return [breach.open for breach in breaches(messages)]

    start = (user("go"), assistant(use("a"), use("b")))
    assert is_open(*start) == [True]
    assert is_open(*start, user(result("b"))) == [True]
    assert is_open(*start, user(result("b"), "next")) == [False]
    assert is_open(*start, user(result("b")), assistant("so")) == [False]


# -- one block removed, doubled or moved ------------------------------------------------------------------------------


def places(messages: list[Json]) -> list[tuple[int, int]]:
    return [(n, m) for n, message in enumerate(messages) for m in range(len(message["content"]))]


def place_of_result(messages: list[Json], n: int, name: str) -> int:
    return next(m for m, block in enumerate(messages[n]["content"]) if block.get("tool_use_id") == name)


def emptied(messages: list[Json], n: int) -> str | None:
    """What is said once the only block of message ``n`` is gone: nothing of a final assistant message."""
    if len(messages[n]["content"]) > 1:
        return None
    return "" if n == len(messages) - 1 and messages[n]["role"] == "assistant" else EMPTY.format(n)


def after_loss(messages: list[Json], n: int, block: Json) -> str:
    """What is said of a conversation that has lost ``block`` from message ``n``."""
    if block["type"] == "tool_use":
        return UNASKED.format(n + 1, place_of_result(messages, n + 1, block["id"]), block["id"])
    if block["type"] == "tool_result":
        return UNANSWERED.format(n - 1, block["tool_use_id"])
    return ""


@given(valid_messages())
def test_generated_messages_are_valid(messages: list[Json]) -> None:
    assert validate(messages) is None


@given(valid_messages(), st.data())
def test_one_block_removed(messages: list[Json], data: st.DataObject) -> None:
    n, m = data.draw(st.sampled_from(places(messages)))
    broken = copy.deepcopy(messages)
    block = broken[n]["content"].pop(m)
    empty = emptied(messages, n)
    assert said(broken) == (empty if empty is not None else after_loss(messages, n, block))


@given(valid_messages(), st.data())
def test_one_block_doubled(messages: list[Json], data: st.DataObject) -> None:
    n, m = data.draw(st.sampled_from(places(messages)))
    broken = copy.deepcopy(messages)
    block = broken[n]["content"][m]
    broken[n]["content"].insert(m, block)
    expected = {
        "tool_use": DOUBLE_USE.format(n, m + 1),
        "tool_result": DOUBLE_RESULT.format(block.get("tool_use_id")),
        "text": "",
    }
    assert said(broken) == expected[block["type"]]


@given(valid_messages(), st.data())
def test_one_block_moved_among_messages_of_its_role(messages: list[Json], data: st.DataObject) -> None:
    n, m = data.draw(st.sampled_from(places(messages)))
    target = data.draw(
        st.sampled_from([k for k, message in enumerate(messages) if message["role"] == messages[n]["role"]])
    )
    broken = copy.deepcopy(messages)
    block = broken[n]["content"].pop(m)
    to = data.draw(st.integers(0, len(broken[target]["content"])))
    broken[target]["content"].insert(to, block)
    assert said(broken) == expected_of_move(messages, broken, n, target, to)


def expected_of_move(messages: list[Json], broken: list[Json], n: int, target: int, to: int) -> str:
    block = broken[target]["content"][to]
    empty = emptied(messages, n) if target != n else None
    if empty is not None and empty != "":
        return empty
    if block["type"] == "tool_use":
        # Too early, it has no answer; too late, its answer has no question.
        return (
            ""
            if target == n
            else UNANSWERED.format(target, block["id"])
            if target < n
            else after_loss(messages, n, block)
        )
    if block["type"] == "tool_result" and target != n:
        return UNASKED.format(target, to, block["tool_use_id"]) if target < n else after_loss(messages, n, block)
    # Within its message a result, and in any user message a text, may now stand in front of results.
    content = broken[target]["content"]
    first = next((index for index, each in enumerate(content) if each["type"] != "tool_result"), len(content))
    late = {each["tool_use_id"] for each in content[first:] if each["type"] == "tool_result"}
    if messages[target]["role"] == "assistant" or not late:
        return ""
    asked = [each["id"] for each in broken[target - 1]["content"] if each["type"] == "tool_use"]
    return UNANSWERED.format(target - 1, ", ".join(name for name in asked if name in late))


@given(valid_messages(), st.data())
def test_a_call_or_result_moved_to_the_other_role(messages: list[Json], data: st.DataObject) -> None:
    tools = [(n, m) for n, m in places(messages) if messages[n]["content"][m]["type"] != "text"]
    if not tools:
        return
    n, m = data.draw(st.sampled_from(tools))
    others = [k for k, message in enumerate(messages) if message["role"] != messages[n]["role"]]
    target = data.draw(st.sampled_from(others))
    broken = copy.deepcopy(messages)
    block = broken[n]["content"].pop(m)
    broken[target]["content"].insert(0, block)
    empty = emptied(messages, n)
    place = (
        f"messages.{target}.content.0: `{block['type']}` blocks can only be in `{messages[n]['role']}` messages"
    )
    assert said(broken) == (empty if empty and n < target else place)


@given(valid_messages(), st.data())
def test_a_text_moved_to_the_other_role(messages: list[Json], data: st.DataObject) -> None:
    """It is refused only for what it leaves empty, or where it now stands before results."""
    texts = [(n, m) for n, m in places(messages) if messages[n]["content"][m]["type"] == "text"]
    if not texts:
        return
    n, m = data.draw(st.sampled_from(texts))
    others = [k for k, message in enumerate(messages) if message["role"] != messages[n]["role"]]
    target = data.draw(st.sampled_from(others))
    broken = copy.deepcopy(messages)
    block = broken[n]["content"].pop(m)
    to = data.draw(st.integers(0, len(broken[target]["content"])))
    broken[target]["content"].insert(to, block)
    late = {each["tool_use_id"] for each in broken[target]["content"][to:] if each["type"] == "tool_result"}
    expected = emptied(messages, n) or ""
    if not expected and late:
        asked = [each["id"] for each in broken[target - 1]["content"] if each["type"] == "tool_use"]
        expected = UNANSWERED.format(target - 1, ", ".join(name for name in asked if name in late))
    assert said(broken) == expected


def test_a_pair_that_comes_again_is_refused_only_where_ids_are_unique() -> None:
    pair = [assistant(use("a")), user(result("a"))]
    refused = validate([user("go"), *pair, *pair])
    assert refused is not None
    assert refused.message == DOUBLE_USE.format(3, 0)
    assert validate([user("go"), *pair, *pair], unique_ids=False) is None
    unanswered = validate([user("go"), *pair, *pair, pair[0]], unique_ids=False)
    assert unanswered is not None
    assert unanswered.text == 1
