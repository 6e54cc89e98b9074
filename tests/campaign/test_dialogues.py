"""Dialogues with the stand-in clients: real processes, a real API on loopback, kills at moments that are counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from harness.campaign.context import Case
from harness.campaign.dialogue_case import dialogue_case, why_silent
from harness.campaign.dialogue_replay import answer_of
from harness.campaign.dialogue_trials import Said, judge, order_of
from harness.campaign.dialogues import of_every_row
from harness.campaign.dialoguing import carry_out, control_in, cut_tail, granted_in, problem_of, result_in, said_in
from harness.campaign.telling import told
from harness.campaign.token import ReplayRecord
from harness.catalog import (
    ManifestError,
    compile_subject,
    find_scenario,
    interrupt_line,
    load_scenario,
    load_target,
    user_line,
)
from harness.catalog.terminal import InTerminal
from harness.core.api_script import ApiScript, Fault, Turn
from harness.core.content import content_of
from harness.core.dialogue import DialogueLife, DialogueSeen, Then
from harness.core.tree import EMPTY_TREE, File, Tree
from harness.engines.headless import Deed, Session
from harness.sandbox.workspace import Workspace
from harness.services.messages_api import serving
from tests.survivors import marked

shells = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in's tools are shell commands")
ROWS = frozenset({"S1", "S2", "S3", "S4", "S5", "S6", "B2", "T1", "T2", "G2"})
TWICE = (
    DialogueLife(prompt=("Run the tools.",), exit="sigkill", when="effect 4", cut="newline"),
    DialogueLife(prompt=("What was done?",), session="resume"),
    DialogueLife(prompt=("And then?",), session="resume"),
)


def case_of(variant: str, tmp_path: Path, lives: tuple[DialogueLife, ...] = ()) -> Case:
    subject = compile_subject(load_target("stand_in_client"), variant, Workspace(str(tmp_path / "base")))
    case = dialogue_case(load_scenario("resumed_client"), subject, (), ROWS)
    assert case.dialogue is not None
    order = msgspec.structs.replace(case.dialogue, lives=lives or case.dialogue.lives)
    return msgspec.structs.replace(case, dialogue=order)


def held(case: Case, tmp_path: Path, index: int = 1) -> tuple[DialogueSeen, Said]:
    order = order_of(1, case, index)
    seen = carry_out(order, str(tmp_path / "base"))
    assert not marked(str(tmp_path))
    return seen, judge(case.invariants, order, seen)


@shells
@pytest.mark.real
def test_a_careful_client_owes_nothing_whatever_is_done_to_it(tmp_path: Path) -> None:
    both = (
        DialogueLife(prompt=("Run the tools.",)),
        DialogueLife(prompt=("Left.", "Right."), session="resume"),
        DialogueLife(prompt=("What happened?",), session="resume"),
    )
    for lives in ((), TWICE, both):
        seen, said = held(case_of("durable", tmp_path, lives), tmp_path)
        assert (said.verdict, said.violations, said.note) == ("held", (), "")
        killed = [client for life in seen.lives for client in life.clients if client.struck]
        assert all(client.signal == 9 for client in killed) and len(killed) == (lives is not both)
    assert seen.cpu_ms > 0 and "S5" not in said.not_measured


@shells
@pytest.mark.real
def test_a_careless_client_is_caught_and_without_a_fault_it_is_not(tmp_path: Path) -> None:
    case = case_of("lossy", tmp_path)
    seen, said = held(case, tmp_path)
    assert {each.invariant for each in said.violations} == {"S3"}
    assert {each.path for each in said.violations} == {""} or all("projects/" in e.path for e in said.violations)
    assert len(seen.lives[0].effects) >= 2
    quiet = held(case, tmp_path, index=0)[1]
    assert (quiet.verdict, quiet.violations) == ("held", ())
    glued = held(case_of("lossy", tmp_path, (DialogueLife(prompt=("Hi.",), cut="newline"), *TWICE[1:])), tmp_path)[
        1
    ]
    assert {"S2", "B2"} <= {each.invariant for each in glued.violations}


@shells
@pytest.mark.real
def test_a_moment_that_does_not_come_says_nothing(tmp_path: Path) -> None:
    never = DialogueLife(prompt=("Run the tools.",), exit="sigkill", when="effect 99")
    said = held(case_of("durable", tmp_path, (never, *TWICE[1:])), tmp_path)[1]
    assert (said.verdict, said.note) == ("inconclusive", "life 1: the client ended before effect 99")


def tree(data: bytes) -> Tree:
    return EMPTY_TREE.with_node(1, File(content_of(data))).with_name("projects/-p/s.jsonl", 1)


def left(of: Tree) -> bytes:
    node = of.node_at("projects/-p/s.jsonl")
    assert isinstance(node, File)
    return node.content.to_bytes()


@pytest.mark.parametrize(
    ("data", "cut", "kept"),
    [
        (b"one\ntwo\n", "newline", b"one\ntwo"),
        (b"one\nseven77\n", "half", b"one\nseve"),
        (b"one\n", "half", b"on"),
        (b"one\ntwo", "newline", b"one\ntwo"),
        (b"", "half", b""),
        (b"one\n", "", b"one\n"),
    ],
)
def test_the_end_of_a_transcript_is_cut(data: bytes, cut: str, kept: bytes) -> None:
    life = DialogueLife(prompt=("x",), cut=cut)  # type: ignore[arg-type]
    made, size = cut_tail(tree(data), "projects/-p/s.jsonl", life)
    assert (left(made), size) == (kept, len(data) - len(kept))


def test_only_a_result_is_one() -> None:
    assert result_in(b'{"type":"result","result":"x"}') == {"type": "result", "result": "x"}
    for line in (b'{"type": "assistant", "x": {"type": "result"}}', b'[{"type":"result"}', b"\xff", b"{}"):
        assert result_in(line) is None


def test_what_a_client_says_while_it_works() -> None:
    said = b'{"type":"assistant","message":{"content":[{"type":"text","text":"a"},{"type":"tool_use"},7]}}\n'
    calls = b'{"type":"assistant","message":{"content":[{"type":"tool_use","input":{}}]}}\n'
    asked = b'{"type":"user","message":{"content":[{"type":"text","text":"b"}]}}\n'
    torn, odd = said[:-9] + b"\n", said.replace(b"[", b'"', 1).replace(b"]", b'"', 1)
    assert said_in([calls, asked, said, torn, odd, b'{"type": "result", "result": "c"}\n', said]) == ["a", "a"]


def test_a_dialogue_in_which_a_row_was_not_asked_has_not_held_it() -> None:
    """One reply that was never printed, and S4 is not held, whatever else was asked."""
    held = Said(verdict="held", not_measured={"S4": "no reply was printed"})
    assert (of_every_row(held).verdict, of_every_row(held).note) == ("inconclusive", "S4: no reply was printed")
    for other in (Said(verdict="held"), msgspec.structs.replace(held, verdict="violated")):
        assert of_every_row(other) is other


def test_whether_a_control_request_was_carried_out_is_read_from_its_answer() -> None:
    asked = Deed(say=interrupt_line("end"))
    assert control_in(asked) == "end" and control_in(Deed(say=user_line("Go."))) == control_in(Deed()) == ""
    answer = {"type": "control_response", "response": {"subtype": "success", "request_id": "end"}}
    assert granted_in(json.dumps(answer).encode()) == "end"
    refused = {"type": "control_response", "response": {"subtype": "error", "request_id": "end"}}
    for line in (json.dumps(refused).encode(), b'{"type":"control_response"}', b"control_response", b"{}"):
        assert granted_in(line) == ""


def test_where_the_service_cannot_run_no_dialogue_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = compile_subject(load_target("stand_in_client"), "durable", Workspace(str(tmp_path / "base")))
    part = load_scenario("resumed_client")
    assert why_silent(part, subject) == ""
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda _name: None)
    assert why_silent(part, subject).startswith("no module 'starlette'; pip install")


def test_a_token_of_ones_own_dialogue_is_replayed_where_its_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Path(load_scenario("resumed_client").path).read_text(encoding="utf-8")
    with pytest.raises(ManifestError, match="no scenario 'mine'"):
        find_scenario("mine")
    Path("mine.toml").write_text(shipped.replace('"resumed_client"', '"mine"'), encoding="utf-8")
    assert find_scenario("mine").name == "mine"
    Path("mine.toml").write_text(shipped, encoding="utf-8")
    with pytest.raises(ManifestError, match="called 'resumed_client', and 'mine' is asked for"):
        find_scenario("mine")
    assert find_scenario("resumed_client").name == "resumed_client"


def test_only_where_nothing_is_left_to_chance_is_a_finding_fixed(tmp_path: Path) -> None:
    """Draws of the user's keys and a faulty API are chance too, though every life ends by itself."""
    talk = (DialogueLife(prompt=("Go.",)), DialogueLife(prompt=("Well?",), session="resume"))
    keys = msgspec.structs.replace(talk[0], then=(Then(when="request 1", keys=("escape",)),))
    dropped = (Turn(text="t", fault=(Fault(kind="drop"),)),)
    for lives, turns, answer in (
        (talk, (), "FIXED"),
        ((keys, talk[1]), (), "CHANGED"),
        (talk, dropped, "CHANGED"),
    ):
        case = case_of("durable", tmp_path, lives)
        assert case.dialogue is not None
        order = msgspec.structs.replace(case.dialogue, script=ApiScript(turn=turns))
        record = ReplayRecord(target="stand_in_client", variant="durable:x", kind="dialogue", invariant="S2")
        said = [Said(verdict="held")] * 3
        assert answer_of(record, msgspec.structs.replace(case, dialogue=order), said).answer == answer


def test_a_client_that_no_longer_knows_its_session_is_no_failure_of_the_harness() -> None:
    """It ends by itself before it takes a word, and all that it owes is missing; of a new session that says nothing."""
    ended = Session(ending="exited", final=EMPTY_TREE, exit_code=1)
    for mode in ("stream", "terminal"):
        resumed = DialogueLife(prompt=("Well?",), session="resume", mode=mode)  # type: ignore[arg-type]
        begun = msgspec.structs.replace(resumed, session="new")
        plan = told(resumed, "Well?", [0], InTerminal(), mcp=mode == "terminal")
        assert problem_of(resumed, plan, ended) == ""
        assert problem_of(begun, plan, ended).startswith("the client ended before it")
        assert problem_of(resumed, plan, msgspec.structs.replace(ended, ending="timeout")) != ""
