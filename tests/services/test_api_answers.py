"""The pure parts of the scripted Messages API: script → answer, answer → bytes, request → outline."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.api_log import RequestLine, decode_lines, encode_line, hash_of
from harness.core.api_script import (
    MCP_TOOLS,
    STATUS_TYPES,
    Api,
    ApiScript,
    Call,
    Fault,
    Turn,
    named,
    problem_of_script,
    shuffled,
)
from harness.services.messages_api.answering import Answer, Player, route_of
from harness.services.messages_api.events import plain_of, status_error, stream_of
from harness.services.messages_api.outline import MOST_BLOCKS, outline_of
from harness.services.messages_api.shell import bash_command

PLACES = {"cwd": "/w", "ledger": "/t/led ger", "gates": "/t/gates"}
ASKED = [{"role": "user", "content": "hi"}]

calls = st.builds(
    Call,
    tool=st.sampled_from(["Bash", "Read", *MCP_TOOLS]),
    input=st.dictionaries(st.text(max_size=5), st.one_of(st.text(), st.integers(), st.booleans()), max_size=3),
)


@st.composite
def faults(draw: st.DrawFn, blocks: int) -> Fault:
    kind: Any = draw(st.sampled_from(["drop", "error_event", "stall", "status"]))
    times = draw(st.integers(1, 3))
    if kind == "status":
        return Fault(kind=kind, times=times, status=draw(st.sampled_from(sorted(STATUS_TYPES))))
    inside = draw(st.booleans())
    after = draw(st.integers(0, blocks - inside))
    ms = draw(st.integers(1, 50)) if kind == "stall" else 0
    return Fault(kind=kind, times=times, after_blocks=after, inside=inside, ms=ms)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    text = draw(st.text(max_size=40))
    called = tuple(draw(st.lists(calls, min_size=0 if text else 1, max_size=3)))
    struck = draw(st.lists(faults(len(called) + bool(text)), max_size=3))
    return Turn(text=text, call=called, fault=tuple(struck))


scripts = st.builds(
    ApiScript,
    turn=st.lists(turns(), max_size=4).map(tuple).map(named),
    seed=st.integers(0, 5),
    life=st.integers(0, 3),
)


def answers(script: ApiScript, most: int = 60) -> list[Answer]:
    player = Player(script, PLACES)
    found = [player.next(ASKED) for _ in range(most)]
    assert player.left == 0
    return found


@given(scripts)
def test_what_is_drawn_is_valid_and_every_turn_is_answered_once_in_order_after_its_faults(
    script: ApiScript,
) -> None:
    assert problem_of_script(script.api, script.turn) == ""
    found = answers(script)
    told = [answer for answer in found if answer.turn and (answer.fault is None or answer.fault.kind == "stall")]
    assert [answer.turn for answer in told] == list(range(1, len(script.turn) + 1))
    for number, turn in enumerate(script.turn, 1):
        attempts = [answer for answer in found if answer.turn == number]
        struck = [answer.fault for answer in attempts if answer.fault is not None]
        due = [fault for fault in turn.fault for _ in range(fault.times)]
        assert struck == due[: len(struck)]
        assert len(struck) == len(due) or struck[-1].kind == "stall"  # which the turn outlives
        assert [answer.attempt for answer in attempts] == list(range(1, len(attempts) + 1))
    assert found[-1].closing
    assert found[-1].blocks == ({"type": "text", "text": script.api.closing},)


@given(scripts)
def test_ids_are_the_same_in_every_run_and_never_come_twice(script: ApiScript) -> None:
    def ids_of(each: ApiScript) -> list[str]:
        found = answers(each)
        uses = [block["id"] for answer in found for block in answer.blocks if block["type"] == "tool_use"]
        return [*uses, *(answer.message_id for answer in found)]

    ids = ids_of(script)
    assert ids == ids_of(script)
    assert len(set(ids)) == len(ids)
    later = msgspec.structs.replace(script, life=script.life + 1)
    assert not set(ids) & set(ids_of(later))


def events_in(data: bytes) -> list[dict[str, Any]]:
    """Parse a stream as a client does: what has no blank line behind it is no event."""
    parsed = []
    for event in data.split(b"\n\n")[:-1]:
        name, payload = event.split(b"\n", 1)
        value = json.loads(payload.removeprefix(b"data: "))
        assert name == b"event: " + value["type"].encode()
        parsed.append(value)
    return parsed


def blocks_in(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the finished content blocks of a stream together."""
    open_blocks: dict[int, tuple[dict[str, Any], str]] = {}
    finished = []
    for event in events:
        if event["type"] == "content_block_start":
            open_blocks[event["index"]] = (event["content_block"], "")
        elif event["type"] == "content_block_delta":
            block, text = open_blocks[event["index"]]
            delta = event["delta"]
            open_blocks[event["index"]] = (block, text + delta.get("text", delta.get("partial_json", "")))
        elif event["type"] == "content_block_stop":
            block, text = open_blocks.pop(event["index"])
            finished.append({**block, **({"text": text} if "text" in block else {"input": json.loads(text)})})
    return finished


@given(scripts)
def test_a_stream_holds_the_blocks_of_its_answer_up_to_its_fault(script: ApiScript) -> None:
    for answer in answers(script):
        if answer.fault is not None and answer.fault.kind == "status":
            status, body = status_error(answer.fault)
            assert json.loads(body)["error"]["type"] == STATUS_TYPES[status]
            continue
        stream = stream_of(answer, "model")
        events = events_in(b"".join(piece.data for piece in stream.pieces))
        whole = [event["type"] for event in events][-1] == "message_stop"
        assert events[0]["type"] == "message_start"
        assert whole == (stream.ending == "complete")
        fault = answer.fault
        cut = fault is not None and fault.kind != "stall"
        due = answer.blocks[: fault.after_blocks] if fault is not None and cut else answer.blocks
        assert blocks_in(events) == list(due)
        if fault is not None and cut:
            assert (events[-1]["type"] == "error") == (fault.kind == "error_event")
        if fault is not None and fault.kind == "stall":
            assert sum(piece.before_ms for piece in stream.pieces) == fault.ms


@given(scripts)
def test_the_same_answer_as_one_object(script: ApiScript) -> None:
    for answer in answers(script):
        plain = plain_of(answer, "model")
        fault = answer.fault.kind if answer.fault is not None else ""
        if fault == "error_event":
            assert plain.status == 529
            continue
        message = json.loads(plain.body)
        assert message["content"] == list(answer.blocks)
        has_call = any(block["type"] == "tool_use" for block in answer.blocks)
        assert message["stop_reason"] == ("tool_use" if has_call else "end_turn")
        assert (plain.sent < len(plain.body)) == (fault == "drop")


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def test_conversations_are_known_by_the_prompt_that_stands_latest() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "say sub two"}]}
    said = {"role": "assistant", "content": [{"type": "text", "text": "sub one"}]}
    prompts = ["", "sub one", "sub two", "sub"]
    assert route_of([user("main")], prompts) == ""
    assert route_of([user("main"), said, result], prompts) == ""  # neither our words nor a tool's
    assert route_of([user("do sub one"), said, result], prompts) == "sub one"
    assert route_of([user("sub one", "then sub two")], prompts) == "sub two"
    assert route_of([{"role": "user", "content": "sub one"}, user("main")], prompts) == "sub one"
    assert route_of([user("sub one"), said, user("now sub two")], prompts) == "sub two"
    assert route_of([{"role": "user", "content": 5}, {"role": "user"}], prompts) == ""


def test_turns_with_a_prompt_belong_to_their_conversation_alone() -> None:
    script = ApiScript(
        turn=named((Turn(text="m1"), Turn(text="a1", prompt="aa"), Turn(text="a2", prompt="aa"), Turn(text="m2")))
    )
    player = Player(script, {})
    order = ["aa", "main", "aa", "aa", "main", "main"]
    said = [player.next([user(prompt)]).blocks[0]["text"] for prompt in order]
    assert said == ["a1", "m1", "a2", script.api.closing, "m2", script.api.closing]


def test_side_calls_take_no_turn() -> None:
    player = Player(ApiScript(turn=(Turn(text="one"),)), {})
    assert player.side().turn == 0
    assert player.next(ASKED).blocks[0]["text"] == "one"


def test_places_and_ids_are_filled_into_inputs() -> None:
    turn = Turn(call=(Call(tool="Read", input={"file_path": "{cwd}/f", "deep": [{"x": "{id} {other} $x"}]}),))
    answer = Player(ApiScript(turn=named((turn,))), PLACES).next(ASKED)
    name = answer.calls[0].tool_use_id
    assert answer.blocks[0]["input"] == {"file_path": "/w/f", "deep": [{"x": f"{name} {{other}} $x"}]}


def test_what_a_bash_call_runs() -> None:
    values = {**PLACES, "id": "toolu_1"}
    effect = "echo toolu_1 >> '/t/led ger'"
    wait = "exec 9</t/gates/toolu_1 && read -r _ <&9 || exit 1"
    for call, rest, expected in (
        (Call(tool="Bash", id="a", effect=True), "", f"{effect}; echo did a"),
        (Call(tool="Bash", id="a", effect=True, hold="after_effect"), "ls", f"{effect}; {wait}; ls"),
        (Call(tool="Bash", id="a", effect=True, hold="before_effect"), "", f"{wait}; {effect}; echo did a"),
        (Call(tool="Bash", id="a", hold="after_effect"), "", "cat /t/gates/toolu_1"),
    ):
        assert bash_command(call, values, rest) == expected


def test_held_calls_go_in_the_order_of_finish_and_others_stay() -> None:
    held = tuple(Call(tool="Bash", id=word, hold="after_effect") for word in "abc")
    for finish, orders in ((None, [0, 1, 2]), (("c", "a"), [1, -1, 0]), ((), [-1, -1, -1])):
        answer = Player(ApiScript(turn=(Turn(call=held, finish=finish),)), PLACES).next(ASKED)
        assert [each.order for each in answer.held] == orders


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "id", "tool_use_id", "input"]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=5))
def test_any_json_has_an_outline_that_goes_through_the_log(messages: list[Any]) -> None:
    blocks, left_out = outline_of(messages)
    line = RequestLine(
        n=1, at_ms=0.5, method="POST", path="/", status=200, kind="main", blocks=blocks, left_out=left_out
    )
    data = encode_line(line)
    assert decode_lines(data) == ((line,), len(data))
    assert decode_lines(data + data[:-1]) == ((line,), len(data))  # a line without its newline was never written


def test_an_outline_tells_order_ids_sizes_and_hashes_and_no_content() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "secret"}}
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": "secret"},
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "content": [{"type": "text", "text": "secret"}],
            "is_error": True,
        },
    ]
    blocks, left_out = outline_of([{"role": "assistant", "content": [use]}, {"role": "user", "content": results}])
    assert [(b.message, b.role, b.type, b.id, b.is_error) for b in blocks] == [
        (0, "assistant", "tool_use", "t1", False),
        (1, "user", "tool_result", "t1", False),
        (1, "user", "tool_result", "t1", True),
    ]
    assert blocks[1].sha256 == blocks[2].sha256  # a text alone, or in a list: it says the same
    assert left_out == 0
    assert b"secret" not in msgspec.json.encode(blocks)
    wrapped = [
        {"type": "text", "text": "<b>\nsecret\n</b>"},
        {"type": "tool_result", "tool_use_id": "t1", "content": "done\n\nsecret"},
        {"type": "tool_result", "tool_use_id": "t1", "content": "secret"},
        {"type": "tool_result", "tool_use_id": "t1", "content": "line\n" * 1_000 + "<b>\nsecret\n</b>"},
    ]
    lines = [block.lines for block in outline_of([{"role": "user", "content": wrapped}])[0]]
    assert [hash_of("secret") in each for each in lines] == [True, True, False, True] and lines[2] == ()
    many = [{"role": "user", "content": [{"type": "text", "text": str(n)} for n in range(MOST_BLOCKS + 3)]}]
    blocks, left_out = outline_of(many)
    assert (len(blocks), left_out) == (MOST_BLOCKS, 3)


WRONG = [
    (Turn(), "neither a text nor"),
    (Turn(text="x", delay_ms=-1), "delay_ms: -1"),
    (Turn(text="x", fault=(Fault(kind="drop", after_blocks=2),)), "after_blocks: 2 of 1"),
    (Turn(text="x", fault=(Fault(kind="drop", after_blocks=1, inside=True),)), "after_blocks: 1 of 1"),
    (Turn(text="x", fault=(Fault(kind="drop", ms=5),)), "ms: means nothing to 'drop'"),
    (Turn(text="x", fault=(Fault(kind="status", status=418),)), "status: 418 is not valid; valid: 400"),
    (Turn(text="x", fault=(Fault(kind="stall"),)), "ms: 0 is not between 1"),
    (Turn(text="x", fault=(Fault(kind="error_event", type="odd"),)), "type: 'odd' is not valid"),
    (Turn(text="x", fault=(Fault(kind="drop", times=0),)), "times: 0"),
    (Turn(call=(Call(tool=""),)), "tool: '' is not the name"),
    (Turn(call=(Call(tool="Read", effect=True),)), "effect: only Bash"),
    (Turn(call=(Call(tool=MCP_TOOLS[0], effect=True),)), "effect: 'mcp__tornwrite__gate' has none"),
    (Turn(call=(Call(tool="Read", id="a b"),)), "id: 'a b'"),
    (Turn(call=(Call(tool="Read", id="a"), Call(tool="Read", id="a"))), "id: 'a' is the word of another"),
    (Turn(call=(Call(tool="Read", input={"x": float("inf")}),)), "input: inf is no number"),
    (Turn(call=(Call(tool="Read", input={"x": [object()]}),)), "input: <object"),
    (Turn(call=(Call(tool="Bash", hold="after_effect", id="a"),), finish=("b",)), "'b' is no held call of this"),
    (Turn(call=(Call(tool="Bash", hold="after_effect", id="a"),), finish=("a", "a")), "names a call twice"),
]


@pytest.mark.parametrize(("turn", "said"), WRONG)
def test_a_wrong_turn_is_one_line_that_says_where(turn: Turn, said: str) -> None:
    wrong = problem_of_script(Api(), (Turn(text="fine"), turn))
    assert wrong.startswith("[turn 2] ")
    assert said in wrong
    assert "\n" not in wrong


def test_wrong_settings_are_said() -> None:
    assert "closing" in problem_of_script(Api(closing=""), ())
    assert "gap_ms" in problem_of_script(Api(gap_ms=-1), ())
    assert "hold_s" in problem_of_script(Api(hold_s=float("nan")), ())
    assert "turns; at most" in problem_of_script(Api(), (Turn(text="x"),) * 1001)


@given(st.integers(0, 1 << 32))
def test_a_shuffled_script_lets_the_same_calls_go_in_an_order_of_its_own(seed: int) -> None:
    held = tuple(Call(tool="Bash", id=name, hold="before_effect") for name in "abc")
    script = ApiScript(turn=(Turn(text="t", call=held), Turn(text="u", call=held, finish=("b",))))
    assert shuffled(script, Random(seed)) is script
    asked = msgspec.structs.replace(script, api=Api(shuffle=True))
    first, second = shuffled(asked, Random(seed)).turn
    assert sorted(first.finishing) == ["a", "b", "c"] and second.finishing == ("b",)
    assert shuffled(asked, Random(seed)).turn == (first, second)


def test_every_order_is_drawn() -> None:
    held = tuple(Call(tool="Bash", id=name, hold="before_effect") for name in "abc")
    script = ApiScript(turn=(Turn(text="t", call=held),), api=Api(shuffle=True))
    assert len({shuffled(script, Random(seed)).turn[0].finishing for seed in range(60)}) == 6
