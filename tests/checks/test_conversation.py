from __future__ import annotations

import pytest
from conversations import Json, Tale, lines, result, tale_of, text, turns, use, uuid
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checks import conversation_of, validate
from harness.checks.conversation_faults import faults_of
from harness.checks.conversation_fold import Conversations
from harness.core.content import EMPTY, content_of


def roles(tale: Tale) -> str:
    return "".join(message["role"][0] for message in tale.conversation.messages)


def leaf(tale: Tale) -> str:
    told = tale.conversation
    return told.records[told.leaf].uuid if told.leaf >= 0 else ""


# -- the chain rule -------------------------------------------------------------------------------------------------


def test_the_latest_record_without_children_is_the_leaf() -> None:
    tale = Tale()
    first = tale.user("one")
    tale.user("two", parent=first)
    last = tale.user("another branch", parent=first)
    assert leaf(tale) == last
    assert [message["content"] for message in tale.conversation.messages] == [
        [text("one"), text("another branch")],
    ]


def test_from_a_system_record_the_nearest_speaker_is_the_leaf() -> None:
    tale = Tale()
    tale.user("one")
    last = tale.line("m", text("two"))
    tale.record("progress", data={})
    tale.record("system", subtype="turn_duration")
    assert leaf(tale) == last


def test_links_of_other_kinds_carry_the_chain_and_are_not_sent() -> None:
    tale = Tale()
    tale.user("one")
    tale.record("attachment", attachment={})
    tale.record("system", subtype="informational")
    tale.line("m", text("two"))
    assert roles(tale) == "ua"
    assert len(tale.conversation.reached) == 4


@pytest.mark.parametrize("mark", [{"isSidechain": True}, {"teamName": "t"}, {"isMeta": True}])
def test_side_chains_teams_and_meta_records_are_no_leaf(mark: Json) -> None:
    tale = Tale()
    first = tale.user("one")
    tale.user("not this", parent=first, **mark)
    last = tale.user("this", parent=first)
    tale.user("nor this", parent=first, **mark)
    assert leaf(tale) == last
    assert tale.conversation.messages == ({"role": "user", "content": [text("one"), text("this")]},)


def test_a_side_chain_beside_the_conversation_is_no_leaf() -> None:
    tale = Tale()
    last = tale.user("one")
    tale.user("sub-agent", parent=None, isSidechain=True)
    assert leaf(tale) == last


def test_a_meta_record_in_the_chain_is_walked_and_not_sent() -> None:
    tale = Tale()
    tale.user("caveat", isMeta=True)
    tale.user("one")
    assert tale.conversation.messages == ({"role": "user", "content": [text("one")]},)
    assert len(tale.conversation.reached) == 2


def test_logical_parents_are_not_followed() -> None:
    tale = Tale().turn("a")
    tale.record("system", parent=None, subtype="compact_boundary", logicalParentUuid=uuid(tale.count))
    tale.user("summary", isCompactSummary=True)
    assert tale.conversation.messages == ({"role": "user", "content": [text("summary")]},)


def test_a_missing_parent_ends_the_chain() -> None:
    tale = Tale()
    lost = tale.user("one")
    tale.line("m", text("two"))
    assert roles(tale.without(lost)) == "a"


def test_cycles_end() -> None:
    tale = Tale()
    tale.user("one", parent=uuid(2))
    tale.user("two")
    assert leaf(tale) == ""
    assert tale.conversation.messages == ()
    tale.user("three")
    assert len(tale.conversation.reached) == 3


def test_what_a_client_noted_of_an_api_error_is_not_sent() -> None:
    tale = Tale()
    tale.user("one")
    tale.line("m", text("API Error: 400"), isApiErrorMessage=True)
    tale.user("two")
    assert roles(tale) == "u"


# -- one message of many lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", [True, False])
def test_parallel_calls_and_results_are_one_message_each(tree: bool) -> None:
    tale = Tale().turn("a", "b", "c", tree=tree)
    assert roles(tale) == "uaua"
    called, answered = tale.conversation.messages[1:3]
    assert [block.get("id") for block in called["content"]] == [None, "a", "b", "c"]
    assert {block["tool_use_id"] for block in answered["content"]} == {"a", "b", "c"}


def test_lines_off_the_way_up_belong_to_their_message() -> None:
    tale = Tale()
    tale.user("go")
    first = tale.line("m", use("a"))
    tale.line("m", use("b"), parent=first)
    tale.line("m", use("c"), parent=first)
    tale.results("b", "a", "c")
    assert validate(tale.conversation.messages) is None
    assert len(tale.conversation.reached) == 7


def test_results_are_found_by_the_call_that_they_name_as_source() -> None:
    tale = Tale()
    tale.user("go")
    first = tale.line("m", use("a"))
    second = tale.line("m", use("b"))
    tale.user(result("a"), parent=None, sourceToolAssistantUUID=first)
    tale.user(result("b"), parent=second)
    assert validate(tale.conversation.messages) is None


def test_of_two_answers_on_two_branches_the_way_up_has_chosen_one() -> None:
    tale = Tale()
    tale.user("go")
    call = tale.line("m", use("a"))
    tale.user(result("a", "closed", is_error=True), parent=call)
    tale.user("next")
    tale.user(result("a"), parent=call)
    assert validate(tale.conversation.messages) is None
    assert roles(tale) == "uau"


@given(turns)
def test_a_whole_tale_is_accepted_however_its_results_hang_together(shape: list[tuple[int, bool]]) -> None:
    tale = tale_of(shape)
    told = tale.conversation
    assert validate(told.messages) is None
    assert told.reached == frozenset(range(len(told.records)))
    assert len(told.messages) == sum(4 if calls else 2 for calls, _ in shape)
    assert tale.faults() == []
    blocks, sources = told.rebuilt
    assert [len(message["content"]) for message in blocks] == [len(source) for source in sources]


@given(turns, st.data())
def test_any_record_dropped_is_noticed(shape: list[tuple[int, bool]], data: st.DataObject) -> None:
    """By its children, by the pair that it was half of, or not at all: then it was the last word or a leaf of words."""
    tale = tale_of(shape)
    victim = data.draw(st.sampled_from(tale.records))
    parents = {record["parentUuid"] for record in tale.records}
    found = {row for row, _ in tale.without(victim["uuid"]).faults()}
    kinds = {block["type"] for block in victim["message"]["content"] if isinstance(block, dict)}
    if victim["uuid"] in parents:
        assert "G2" in found
    elif "tool_result" in kinds:
        assert "T1" in found
    else:
        assert found == set()


# -- in order, record by record ---------------------------------------------------------------------------------------

_BLOCKS = st.one_of(
    st.sampled_from([text("x"), text("")]),
    st.sampled_from([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "image"}]),
    st.sampled_from("abc").map(use),
    st.sampled_from("abc").map(result),
)
_RECORDS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["user", "user", "assistant", "assistant", "progress", "system"]),
        "parent": st.one_of(st.just(-1), st.just(-1), st.integers(-4, 6)),
        "uuid": st.one_of(st.just(0), st.just(0), st.integers(0, 3)),
        "mid": st.sampled_from(["", "m1", "m1", "m2", "m3"]),
        "content": st.one_of(st.just("words"), st.lists(_BLOCKS, max_size=2)),
        "more": st.sampled_from(
            [{}, {}, {}, {"isMeta": True}, {"isSidechain": True}, {"subtype": "compact_boundary"}]
        ),
    }
)


def told_at_random(tale: Tale, drawn: list[Json]) -> Tale:
    for each in drawn:
        names = [record["uuid"] for record in tale.records]
        parent = names[each["parent"]] if -len(names) <= each["parent"] < len(names) else uuid(90)
        message = {"role": each["type"], "id": each["mid"], "content": each["content"]}
        tale.record(each["type"], parent=parent if names else None, message=message, **each["more"])
        if each["uuid"]:
            tale.records[-1]["uuid"] = uuid(each["uuid"])
    return tale


@settings(max_examples=400)
@given(turns, st.lists(_RECORDS, max_size=8), st.integers(0, 30))
def test_what_is_in_order_record_by_record_is_in_order_as_a_whole(
    shape: list[tuple[int, bool]], drawn: list[Json], kept: int
) -> None:
    tale = tale_of(shape)
    tale.records = tale.records[: max(1, kept)]
    told_at_random(tale, drawn)
    memo, content = Conversations(), EMPTY
    for record in tale.records:
        content = content.append(lines([record]))
        judged = memo.of(content)
        whole = judged.conversation
        if judged.in_order:
            assert judged.faults == faults_of(whole)
            assert whole.reached >= {i for i, each in enumerate(whole.records) if each.main}
            last = next((m for m in reversed(whole.messages) if m["role"] == "assistant"), {"content": []})
            assert judged.thinks == any(block["type"] == "thinking" for block in last["content"])


@given(turns)
def test_a_whole_tale_is_in_order_all_along(shape: list[tuple[int, bool]]) -> None:
    memo, content = Conversations(), EMPTY
    for record in tale_of(shape).records:
        content = content.append(lines([record]))
        assert memo.of(content).in_order


@given(turns, turns)
def test_branches_of_one_beginning_do_not_disturb_each_other(
    left: list[tuple[int, bool]], right: list[tuple[int, bool]]
) -> None:
    memo = Conversations()
    tales = [tale_of(left), tale_of([*left, *right]), tale_of([*left[:-1], *right])]
    for tale in [*tales, *tales]:
        for count in range(len(tale.records) + 1):
            judged = memo.of(content_of(lines(tale.records[:count])))
            assert judged.in_order
            assert judged.faults == faults_of(judged.conversation)


# -- bytes ----------------------------------------------------------------------------------------------------------


@given(turns, st.lists(st.integers(0, 4000), max_size=12))
def test_a_conversation_depends_on_the_bytes_alone(shape: list[tuple[int, bool]], cuts: list[int]) -> None:
    data = tale_of(shape).data + b"rubbish\n" + tale_of(shape).data[:200]
    memo, content, at = Conversations(), EMPTY, 0
    for cut in [*sorted(cuts), len(data)]:
        content = content.append(data[at:cut])
        at = max(at, min(cut, len(data)))
        kept, fresh = memo.of(content), Conversations().of(content_of(content.to_bytes()))
        assert kept.conversation.records == fresh.conversation.records
        assert kept.offsets == fresh.offsets
        assert kept.faults == fresh.faults
    assert content.to_bytes() == data


def test_a_whole_last_record_counts_without_its_newline_and_a_torn_one_does_not() -> None:
    data = Tale().turn("a").data
    told = Conversations()
    assert len(told.of(content_of(data[:-1])).conversation.records) == 5
    assert len(told.of(content_of(data[:-2])).conversation.records) == 4


def test_the_cuts_of_one_write_share_a_conversation() -> None:
    data = Tale().turn("a", "b").data
    told = Conversations()
    base = EMPTY.append(data)
    seen = {id(told.of(base.append(b'{"type":"user"'[:cut]))) for cut in range(1, 14)}
    assert seen == {id(told.of(base))}


def test_offsets_are_those_of_the_lines() -> None:
    tale = Tale().turn("a")
    tale.plain("custom-title", customTitle="t")
    tale.user("next")
    found = Conversations().of(content_of(tale.data))
    assert [tale.data[at : at + 14] for at in found.offsets] == [b'{"parentUuid":'] * 6


def test_records_that_are_none_of_the_conversations() -> None:
    values: list[Json] = [
        {},
        {"type": 3},
        {"type": "user"},
        {"type": "user", "uuid": 7},
        {"type": "summary", "uuid": "x"},
    ]
    assert conversation_of(values).records == ()
    odd = conversation_of([{"type": "user", "uuid": "x", "message": {"content": [1, None]}}])
    assert odd.messages == ({"role": "user", "content": []},)
