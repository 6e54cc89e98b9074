"""S1 to S6 over dialogues written by hand: what is owed, what is not, what nobody can say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.dialogue import DIALOGUE_ROWS, judge_dialogue
from harness.core.api_log import BlockLine, EndLine, IssuedCall, RequestLine, hash_of
from harness.core.api_script import Api, ApiScript, Call, Turn
from harness.core.content import content_of
from harness.core.dialogue import ClientSeen, DialogueLife, DialogueSeen, LifeSeen
from harness.core.tree import EMPTY_TREE, File, Tree

SCRIPT = ApiScript(
    turn=(
        Turn(text="", call=(Call(tool="Bash"), Call(tool="Bash"))),
        Turn(text="all done"),
        Turn(text="again done"),
    ),
    api=Api(closing="closing words"),
)
PATH = ".claude/projects/-p/s.jsonl"


def text(role: str, said: str) -> BlockLine:
    return BlockLine(message=0, role=role, type="text", bytes=len(said), sha256=hash_of(said))


def call(name: str) -> BlockLine:
    return BlockLine(message=1, role="assistant", type="tool_use", bytes=2, sha256="-", id=name)


def result(name: str) -> BlockLine:
    return BlockLine(message=2, role="user", type="tool_result", bytes=2, sha256="-", id=name)


def request(
    n: int, *blocks: BlockLine, turn: int = 0, calls: tuple[str, ...] = (), error: str = ""
) -> RequestLine:
    return RequestLine(
        n=n,
        at_ms=0.0,
        method="POST",
        path="/v1/messages",
        status=400 if error else 200,
        kind="refused" if error else "main",
        turn=turn,
        blocks=blocks,
        calls=tuple(IssuedCall(call=name, tool="Bash", tool_use_id=name) for name in calls),
        error=error,
    )


def record(kind: str, *blocks: dict[str, Any]) -> bytes:
    message = {"role": kind, "content": list(blocks)}
    return (
        json.dumps({"type": kind, "uuid": f"{kind}{blocks}", "parentUuid": None, "message": message}).encode()
        + b"\n"
    )


def tree(*records: bytes) -> Tree:
    return (
        EMPTY_TREE.with_node(1, File(content_of(b"".join(records)))).with_name(PATH, 1) if records else EMPTY_TREE
    )


def life(
    *requests: RequestLine,
    prompts: tuple[str, ...] = ("go",),
    replies: tuple[str, ...] = (),
    complete: bool = True,
    left: Tree = EMPTY_TREE,
    effects: tuple[str, ...] = (),
    **order: Any,
) -> LifeSeen:
    return LifeSeen(
        order=DialogueLife(prompt=prompts, **order),
        clients=tuple(
            ClientSeen(
                prompt=prompt,
                replies=tuple(map(hash_of, replies[index : index + 1] if len(prompts) > 1 else replies)),
            )
            for index, prompt in enumerate(prompts)
        ),
        requests=requests,
        ends=tuple(
            EndLine(n=each.n, at_ms=0.0, ended="complete" if complete else "client_gone", sent=9)
            for each in requests
        ),
        effects=effects,
        tree=left,
    )


GO = text("user", "go")
KILLED = {"exit": "sigkill", "when": "effect 1"}
FIRST = life(request(1, GO, turn=1, calls=("a", "b")), **KILLED, effects=("a",))
RESUME = {"session": "resume", "prompts": ("on",)}


def judged(*lives: LifeSeen) -> dict[str, list[str]]:
    found = judge_dialogue(DialogueSeen(lives=lives), SCRIPT, DIALOGUE_ROWS)
    assert not {each.invariant for each in found.violations} & set(found.not_measured)
    rows: dict[str, list[str]] = {name: [] for name in DIALOGUE_ROWS if name not in found.not_measured}
    for each in found.violations:
        rows[each.invariant].append(each.message)
    return rows


def test_an_effect_that_the_resumed_client_does_not_know_is_owed_and_a_call_without_one_is_not() -> None:
    assert judged(FIRST, life(request(1, GO, call("a"), result("a"), text("user", "on")), **RESUME))["S3"] == []
    (said,) = judged(FIRST, life(request(1, text("user", "on")), **RESUME))["S3"]
    assert said == "in life 2: tools had an effect that it knows nothing of: 1 of 1 (call a)"


def test_what_was_in_flight_when_it_was_killed_is_owed_by_nobody() -> None:
    assert "S2" not in judged(FIRST, life(request(1, text("user", "on")), **RESUME))


def test_history_of_a_resume_is_owed_to_every_later_one() -> None:
    second = life(request(1, GO, call("a"), result("a"), text("user", "on")), **RESUME)
    whole = life(
        request(1, GO, call("a"), result("a"), text("user", "on"), text("user", "more")),
        prompts=("more",),
        session="resume",
    )
    lost = life(request(1, text("user", "more")), prompts=("more",), session="resume")
    assert judged(FIRST, second, whole)["S2"] == []
    # The second life ended by itself: what it had sent is owed twice over, and only said once.
    (said,) = judged(FIRST, second, lost)["S2"]
    assert said.startswith("in life 3: of the history it had, it no longer sends: 4 of 4 (call a, prompt 'go', ")


def test_what_was_answered_whole_before_an_exit_by_itself_is_owed() -> None:
    told = (request(1, GO, turn=2),)
    gone = life(request(1, GO, text("user", "on")), **RESUME)
    assert judged(life(*told, replies=("all done",)), gone)["S2"] != []
    assert judged(life(*told, complete=False), gone)["S2"] == []


def test_a_printed_reply_is_owed_even_by_a_killed_client() -> None:
    killed = life(request(1, GO, turn=2), replies=("all done",), exit="sigkill", when="reply 1")
    assert judged(killed, life(request(1, GO, text("assistant", "all done")), **RESUME))["S4"] == []
    assert judged(killed, life(request(1, GO), **RESUME))["S4"] == [
        "in life 2: it had printed what it no longer knows: 1 of 1 (reply 2)"
    ]
    foreign = life(request(1, GO), replies=("words of its own",), exit="sigkill", when="reply 1")
    assert "S4" not in judged(foreign, life(request(1, GO), **RESUME))


def test_of_two_at_once_the_third_must_know_both() -> None:
    both = life(
        request(1, GO, text("user", "left"), turn=2),
        request(2, GO, text("user", "right"), turn=3),
        prompts=("left", "right"),
        replies=("all done", "again done"),
        session="resume",
    )
    one = (GO, text("user", "left"), text("assistant", "all done"))
    other = (text("user", "right"), text("assistant", "again done"))
    start = life(request(1, GO, turn=1), exit="sigkill", when="request 1")
    assert judged(start, both, life(request(1, *one, *other), **RESUME))["S5"] == []
    found = judged(start, both, life(request(1, *one), **RESUME))
    assert found["S5"] == [
        "in life 3: of what two at once had said and printed, it does not know: 2 of 4 (prompt 'right', reply 3)"
    ]
    assert "S4" not in found


def test_a_pair_that_stands_whole_on_disk_reaches_the_api_again() -> None:
    use = record("assistant", {"type": "tool_use", "id": "a", "name": "Read", "input": {}})
    answer = record("user", {"type": "tool_result", "tool_use_id": "a", "content": "x"})
    on = life(request(1, text("user", "on")), **RESUME)
    killed = {**KILLED}
    assert judged(life(request(1, GO), left=tree(use, answer), **killed), on)["S6"] == [
        "in life 2: it leaves out calls that stand whole, with their results, in its file: 1 of 1 (result a)"
    ]
    for incomplete in (tree(use), tree(use, answer[:-1]), tree(answer), tree(b"\xff\n", b"[]\n", b"{}\n")):
        assert "S6" not in judged(life(request(1, GO), left=incomplete, **killed), on)


def test_half_of_the_last_record_is_owed_by_nobody_and_its_newline_is() -> None:
    said = record("assistant", {"type": "text", "text": "all done"})
    on = life(request(1, GO, text("user", "on")), **RESUME)
    for cut, rows in (("half", 0), ("newline", 1)):
        before = life(request(1, GO, turn=2), replies=("all done",), left=tree(said), cut=cut)
        found = judged(before, on)
        assert (len(found.get("S4", [])), len(found["S2"])) == (rows, rows)


def test_a_refusal_is_one_wherever_it_comes() -> None:
    assert judged(life(request(1, GO)))["S1"] == []
    (said,) = judged(life(request(1, GO), request(2, GO, error="messages.1: no")))["S1"]
    assert said == "in life 1: the API refused request 2: messages.1: no: 1 of 1 (refused)"


def test_a_client_that_never_asked_is_judged_by_nothing() -> None:
    assert judged(FIRST, life(**RESUME)) == {"S1": []}


def test_a_client_that_ended_and_never_asked_lacks_all_that_it_owed() -> None:
    refused = life(**RESUME)
    (client,) = refused.clients
    refused = msgspec.structs.replace(refused, clients=(msgspec.structs.replace(client, exit_code=1),))
    assert "tools had an effect" in judged(FIRST, refused)["S3"][0]


def test_what_stood_whole_when_it_was_killed_is_history() -> None:
    use = record("assistant", {"type": "tool_use", "id": "a", "name": "Bash", "input": {}})
    answer = record("user", {"type": "tool_result", "tool_use_id": "a", "content": "x"})
    said = record("assistant", {"type": "text", "text": "all done"})
    on = life(request(1, GO, text("user", "on")), **RESUME)
    killed = life(request(1, GO), left=tree(use, answer, said), **KILLED)
    (found,) = judged(killed, on)["S2"]
    assert all(word in found for word in ("call a", "result a", "reply 2"))
    assert "S2" not in judged(life(request(1, GO), left=tree(use, said[:-1]), **KILLED), on)
    whole = life(request(1, GO, call("a"), result("a"), text("assistant", "all done")), **RESUME)
    assert judged(killed, whole)["S2"] == []


BLOCKS = st.lists(
    st.sampled_from([GO, call("a"), call("b"), result("a"), text("assistant", "all done")]), max_size=6
)


@given(BLOCKS, BLOCKS, st.booleans())
def test_a_request_with_everything_owes_nothing(
    before: list[BlockLine], more: list[BlockLine], killed: bool
) -> None:
    order: dict[str, Any] = KILLED if killed else {}
    first = life(request(1, *before, turn=2), replies=("all done",), effects=("a", "b"), **order)
    everything = [GO, call("a"), call("b"), result("a"), result("b"), text("assistant", "all done")]
    last = life(request(1, *everything, *before, *more, text("user", "on")), **RESUME)
    assert not any(judged(first, last).values())


@pytest.mark.parametrize("row", DIALOGUE_ROWS)
def test_only_what_is_asked_for_is_judged(row: str) -> None:
    seen = DialogueSeen(lives=(FIRST, life(request(1, text("user", "on"), error="x"), **RESUME)))
    found = judge_dialogue(seen, SCRIPT, (row, "T1"))
    assert {each.invariant for each in found.violations} <= {row}
    assert set(found.not_measured) <= {row}
    assert msgspec.json.decode(msgspec.json.encode(found.violations[:1])) is not None
