"""S1 to S6 over dialogues written by hand: what is owed, what is not, what nobody can say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.dialogue import DIALOGUE_ROWS, judge_dialogue, unanswered_life
from harness.checks.dialogue_disk import find_transcript, wrong_on_disk
from harness.core.api_log import BlockLine, EndLine, IssuedCall, RequestLine, hash_of
from harness.core.api_script import Api, ApiScript, Call, Turn
from harness.core.content import content_of
from harness.core.dialogue import (
    ClientSeen,
    DialogueLife,
    DialogueSeen,
    LifeSeen,
    Then,
    in_words,
    problem_of_moments,
)
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


@pytest.mark.parametrize("wrapping", [text("user", "<told>\nmore\n</told>"), result("a")])
def test_what_the_user_said_meanwhile_is_history_however_it_is_wrapped(wrapping: BlockLine) -> None:
    wrapped = msgspec.structs.replace(wrapping, lines=tuple(map(hash_of, ("<told>", "more", "</told>"))))
    then = (Then(when="held 1", keys=("message more",)),)
    told = life(request(1, GO, turn=1, calls=("a",)), request(2, GO, call("a"), wrapped), then=then)
    lost = life(request(3, GO, call("a"), result("a"), text("user", "on")), **RESUME)
    (said,) = judged(told, lost)["S2"]
    assert said.endswith("1 of 3 (prompt 'more')" if wrapping.type == "text" else "1 of 4 (prompt 'more')")
    kept = life(request(3, GO, call("a"), result("a"), wrapped, text("user", "on")), **RESUME)
    assert judged(told, kept)["S2"] == []


def test_each_transcript_that_a_life_worked_on_is_judged() -> None:
    use = record("assistant", {"type": "tool_use", "id": "a", "name": "Bash", "input": {}})
    open_ = EMPTY_TREE.with_node(
        1, File(content_of(record("user", {"type": "text", "text": "go"}) + b"torn\n" + use))
    )
    first = life(left=open_.with_name(PATH, 1))
    second = PATH.replace("s.jsonl", "t.jsonl")
    on = first.tree.with_node(2, File(content_of(record("user", {"type": "text", "text": "on"}) * 40)))
    last = life(left=on.with_name(second, 2), **RESUME)
    assert [each.path for each in wrong_on_disk([first, last], ["B2"])] == [PATH]
    assert wrong_on_disk([last], ["B2"]) == ()


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


def test_a_request_that_its_client_did_not_send_whole_says_nothing() -> None:
    gone = msgspec.structs.replace(request(2, error="the client went away"), status=0)
    assert not gone.speaks and not gone.failed
    known = request(3, GO, call("a"), result("a"))
    assert judged(FIRST, life(gone, known, **RESUME))["S3"] == judged(FIRST, life(known, **RESUME))["S3"] == []


@pytest.mark.parametrize("status", [408, 413, 500, 503])
def test_where_the_service_cannot_answer_nobody_is_judged(status: int) -> None:
    failed = msgspec.structs.replace(request(1, GO, error="no gates"), status=status)
    assert not failed.speaks
    why = unanswered_life(DialogueSeen(lives=(life(failed),)))
    assert why == f"life 1: the scripted API could not answer: {status} no gates"


def test_what_did_not_happen_as_the_scenario_says_is_no_dialogue() -> None:
    held = msgspec.structs.replace(FIRST, timed_out=1)
    assert "held for as long as one is held" in unanswered_life(DialogueSeen(lives=(held,)))
    uncut = life(request(1, GO), cut="newline")
    assert unanswered_life(DialogueSeen(lives=(FIRST, uncut))) == "life 2: it left nothing that could be cut"
    assert unanswered_life(DialogueSeen(lives=(msgspec.structs.replace(uncut, cut_bytes=1),))) == ""


def test_a_client_that_was_to_go_back_and_did_not_is_not_judged() -> None:
    back = (Then(when="request 1", keys=("rewind", "message again")),)
    there, after = request(1, GO), request(2, text("user", "again"))
    assert unanswered_life(DialogueSeen(lives=(life(there, after, then=back, mode="terminal"),))) == ""
    stayed = life(there, request(2, GO, text("user", "again")), then=back, mode="terminal")
    assert "it did not go back" in unanswered_life(DialogueSeen(lives=(stayed,)))


def test_history_is_owed_after_a_cut_too_but_for_the_record_that_was_cut() -> None:
    """A reader that throws a file away whose end is torn loses everything at its first resume."""
    first, last = (record("assistant", {"type": "text", "text": each}) for each in ("all done", "again done"))
    cut = life(request(1, GO, turn=2), left=tree(first, last), **KILLED, cut="newline")
    on = life(request(1, text("user", "on")), **RESUME)
    assert judged(cut, on)["S2"] == ["in life 2: of the history it had, it no longer sends: 1 of 1 (reply 2)"]
    kept = life(request(1, text("user", "on"), text("assistant", "all done")), **RESUME)
    assert judged(cut, kept)["S2"] == []


def test_two_that_went_on_in_sessions_of_their_own_lose_nothing_of_each_other() -> None:
    both = life(
        request(1, text("user", "left"), turn=2),
        request(2, text("user", "right"), turn=3),
        prompts=("left", "right"),
        replies=("all done", "again done"),
        session="resume",
    )
    left, right = both.clients
    apart = (msgspec.structs.replace(left, session_id="a"), msgspec.structs.replace(right, session_id="b"))
    on = life(request(1, text("user", "left"), text("assistant", "all done")), **RESUME)
    assert judged(FIRST, both, on)["S5"] != []
    assert "S5" not in judged(FIRST, msgspec.structs.replace(both, clients=apart), on)


def test_a_conversation_that_is_begun_anew_owes_nothing_of_the_one_before() -> None:
    second = life(request(2, GO, turn=2), replies=("all done",), effects=("a",))
    on = life(request(3, GO, text("assistant", "all done")), **RESUME)
    found = judged(FIRST, second, on)
    assert (found["S2"], found["S4"], "S3" in found) == ([], [], False)


def test_a_life_is_judged_by_the_transcript_that_it_worked_on() -> None:
    old, new = ".claude/projects/-p/old.jsonl", ".claude/projects/-p/new.jsonl"
    before = EMPTY_TREE.with_node(1, File(content_of(b"long\n" * 9))).with_name(old, 1)
    after = before.with_node(2, File(content_of(b"s\n"))).with_name(new, 2)
    assert find_transcript(after, {"old"}) == find_transcript(after, {"old"}, after) == old
    assert find_transcript(after, {"old"}, before) == new
    grown = after.with_node(1, File(content_of(b"long\n" * 10)))
    assert find_transcript(grown, {"old"}, before) == old
    assert find_transcript(EMPTY_TREE, {"old"}, before) == ""


def test_a_moment_that_cannot_come_is_refused() -> None:
    turns = (Turn(text="t", call=(Call(tool="Bash", effect=True), Call(tool="Bash", hold="before_effect"))),)
    for when, wrong in (
        ("effect 1", ""),
        ("held 1", ""),
        ("effect 2", "1 calls"),
        ("held 2", "1 calls"),
        ("record 9", ""),
    ):
        lives = (DialogueLife(prompt=("a",), exit="sigkill", when=when),)
        assert (wrong in problem_of_moments(lives, turns)) is bool(wrong) or not problem_of_moments(lives, turns)
        assert bool(problem_of_moments(lives, turns)) is bool(wrong)
    said = (DialogueLife(prompt=("a",), then=(Then(when="held 1", keys=("escape",)),)),)
    assert problem_of_moments(said, (Turn(text="t"),)) == (
        "[life 1] when: 'held 1' never comes: the turns have 0 calls of that kind"
    )


def test_what_is_done_in_words() -> None:
    then = (Then(when="held 2", keys=("shift_tab", "message And?"), after_ms=(0, 9)),)
    lives = (
        DialogueLife(prompt=("Go.",), mode="terminal", then=then, exit="sigkill", when="effect 4", cut="newline"),
        DialogueLife(prompt=("a", "b"), session="resume"),
        DialogueLife(prompt=("c",), session="continue", mode="stream"),
    )
    assert in_words(lives) == (
        "it is told 'Go.' (in a terminal); shift_tab, message And? 0 to 9 ms after held 2; sigkill at effect 4; "
        "then the last newline is taken from its transcript",
        "the session is resumed; 2 clients at once are told 'a' and 'b'; it ends by itself",
        "the last session is gone on with; it is told 'c' (streaming mode); it ends by itself",
    )
