"""Dialogues in a terminal with the stand-in clients: what is typed, what is seen, what a client then owes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("pyte")

from harness.campaign.context import Case
from harness.campaign.dialogue_case import dialogue_case, why_silent
from harness.campaign.dialogue_trials import Said, judge, order_of
from harness.campaign.dialoguing import carry_out
from harness.campaign.telling import RESULT, SAID, cannot, told
from harness.catalog import Headless, compile_subject, load_scenario, load_target
from harness.catalog.terminal import InTerminal
from harness.core.api_script import Api, Call, Turn, named
from harness.core.dialogue import DialogueLife, DialogueSeen, Then
from harness.engines.terminal import TerminalDeed
from harness.sandbox.workspace import Workspace
from tests.survivors import marked

posix = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
ROWS = frozenset({"S1", "S2", "S3", "S4", "S6", "T1", "T2"})
TURNS = named(
    (
        Turn(
            prompt="Run the tools.",
            text="Two tools at once.",
            call=(
                Call(tool="Bash", id="one", effect=True, hold="after_effect"),
                Call(tool="Bash", id="two", effect=True, hold="after_effect"),
            ),
        ),
        Turn(prompt="Run the tools.", text="All tools ran."),
    )
)
RESUMED = DialogueLife(prompt=("What was done?",), session="resume")


def held(
    variant: str,
    tmp_path: Path,
    *lives: DialogueLife,
    index: int = 1,
    finish: tuple[str, ...] | None = ("two",),
    api: Api | None = None,
) -> tuple[DialogueSeen, Said]:
    base = str(tmp_path / "base")
    subject = compile_subject(load_target("stand_in_client"), variant, Workspace(base))
    part = msgspec.structs.replace(
        load_scenario("resumed_client"),
        dialogue=lives,
        api=api or Api(),
        turn=(msgspec.structs.replace(TURNS[0], finish=finish), TURNS[1]),
    )
    case: Case = dialogue_case(part, subject, (), ROWS)
    order = order_of(1, case, index)
    seen = carry_out(order, base)
    assert not marked(str(tmp_path))
    return seen, judge(case.invariants, order, seen)


def typed(exit: str, when: str = "", **more: object) -> DialogueLife:
    fields = {"prompt": ("Run the tools.",), "mode": "terminal", "exit": exit, "when": when, **more}
    return msgspec.convert(fields, DialogueLife)


@posix
@pytest.mark.real
@pytest.mark.parametrize("variant", ["durable", "lossy"])
def test_escape_while_tools_run_and_then_a_kill(variant: str, tmp_path: Path) -> None:
    lives = (
        typed("interrupt", "effect 2"),
        typed("sigkill", "reply 1", prompt=("Go on.",), session="resume"),
        RESUMED,
    )
    seen, said = held(variant, tmp_path, *lives)
    assert [client.struck for life in seen.lives for client in life.clients] == [True, True, False]
    assert seen.lives[0].clients[0].exit_code == 0 and seen.lives[1].clients[0].signal == 9
    assert seen.lives[0].clients[0].replies == ()  # of a turn that was given up
    assert len(seen.lives[0].effects) == 2
    assert (said.verdict, said.note) == (("held", "") if variant == "durable" else ("violated", ""))
    found = {each.invariant for each in said.violations}
    assert found <= ({"S2", "S3", "S4", "S6"} if variant == "lossy" else set())


@posix
@pytest.mark.real
def test_a_message_waits_and_shift_tab_hurts_nobody(tmp_path: Path) -> None:
    then = (Then(when="held 2", keys=("shift_tab", "message And more?")),)
    lives = typed("graceful", then=then), typed("ctrl_c", "request 1"), RESUMED
    seen, said = held("durable", tmp_path, *lives, finish=None, api=Api(gap_ms=4_000))
    assert (said.verdict, said.violations, said.note) == ("held", (), "")
    first = seen.lives[0]
    assert len(first.spoken) == 3 and first.clients[0].exit_code == 0
    # Asked with the prompt, with the results, and with the message; shown is the end of each turn.
    assert len(first.clients[0].replies) == 2
    assert [life.clients[0].struck for life in seen.lives] == [False, True, False]


@posix
@pytest.mark.real
def test_a_message_that_comes_when_the_tools_have_ended_is_none_that_came_meanwhile(tmp_path: Path) -> None:
    then = (Then(when="held 2", keys=("message And more?",), after_ms=(3_000, 3_000)),)
    _, said = held("durable", tmp_path, typed("graceful", then=then), RESUMED, finish=None)
    assert said.verdict == "inconclusive" and "no held tool went on any more" in said.note


@posix
@pytest.mark.real
def test_undisturbed_it_is_typed_as_well(tmp_path: Path) -> None:
    seen, said = held("lossy", tmp_path, typed("sigkill", "effect 1"), RESUMED, index=0)
    assert [life.order.mode for life in seen.lives] == ["terminal", "headless"]
    assert (said.verdict, said.note) == ("held", "") and len(seen.lives[0].effects) == 2


def test_what_a_version_does_not_offer() -> None:
    life, plain = (
        typed("graceful", then=(Then(when="request 1", keys=("rewind",)),)),
        Headless(prompt=("-p", "{prompt}")),
    )
    interrupted = DialogueLife(prompt=("x",), exit="interrupt", when="held 1")
    assert cannot(life, plain, InTerminal(), mcp=False) == "it has no command that goes back"
    assert cannot(life, plain, InTerminal(rewind="/rewind"), mcp=False) == ""
    assert (
        cannot(life, plain, InTerminal(rewind="/rewind"), mcp=True)
        == "it has no words for the servers of further tools"
    )
    assert cannot(interrupted, plain, InTerminal(), mcp=False) == "it has no streaming mode"
    streaming = msgspec.structs.replace(plain, stream=("-p",))
    assert cannot(interrupted, streaming, InTerminal(), mcp=False) == "it takes no control request 'interrupt'"
    able = msgspec.structs.replace(streaming, control=("interrupt",))
    assert cannot(interrupted, able, InTerminal(), mcp=False) == ""
    changed = msgspec.structs.replace(interrupted, then=(Then(when="held 1", keys=("shift_tab",)),))
    assert "'set_permission_mode'" in cannot(changed, able, InTerminal(), mcp=False)


def test_a_dialogue_that_a_client_cannot_hold_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = compile_subject(load_target("stand_in_client"), "durable", Workspace(str(tmp_path / "base")))
    part = load_scenario("claude_code_3003_terminal")
    assert why_silent(part, subject) == "it has no words for the servers of further tools"
    monkeypatch.setattr("harness.engines.screen.pyte", None)
    assert "pip install 'tornwrite[cli]'" in why_silent(part, subject)
    assert why_silent(load_scenario("resumed_client"), subject) == ""
    silent = msgspec.structs.replace(subject, headless=None)
    assert why_silent(part, silent) == "it holds no dialogues"


def test_what_is_told_without_a_terminal() -> None:
    then = (
        Then(when="held 2", keys=("shift_tab", "message And?"), after_ms=(0, 9)),
        Then(when="effect 1", keys=("escape",)),
    )
    life = DialogueLife(prompt=("Go.",), then=then)
    plan = told(life, "Go.", [1, 2, 3], InTerminal())
    assert [deed.at.counted for deed in plan.deeds] == ["start", "held", "start", "effects", "start"]
    assert [deed.at.delay_us for deed in plan.deeds][:4] == [0, 2, 0, 3]
    assert b"set_permission_mode" in plan.deeds[1].say and b"And?" in plan.deeds[2].say
    assert b"interrupt" in plan.deeds[3].say and plan.deeds[4].close
    assert plan.moments[1:] == ("held 2", "", "effect 1", "") and plan.striking == -1
    assert [deed.meanwhile for deed in plan.deeds] == ["", "working", "working", "", ""]
    assert told(DialogueLife(prompt=("Go.",)), "Go.", [0], InTerminal()).deeds == ()
    streamed = DialogueLife(prompt=("Go.",), mode="stream", exit="sigkill", when="reply 2")
    begin, end = told(streamed, "Go.", [7], InTerminal()).deeds
    assert b"Go." in begin.say and (end.at.count, end.at.pattern, end.signal) == (2, SAID, "SIGKILL")
    assert (
        told(msgspec.structs.replace(streamed, mode="headless"), "Go.", [7], InTerminal()).deeds[0].at.pattern
        == RESULT
    )
    waits = told(DialogueLife(prompt=("Go.",)), "Go.", [0], InTerminal(), mcp=True)
    assert [deed.at.counted for deed in waits.deeds] == ["listed", "idle"]


def test_what_is_typed() -> None:
    then = (Then(when="held 1", keys=("escape", "message Again.", "rewind", "ctrl_c")),)
    terminal = InTerminal(rewind="/rewind", rewind_keys=("up", "enter"))
    plan = told(typed("sigkill", "effect 3", then=then), "Run the tools.", [7, 5], terminal)
    assert [deed.at.counted for deed in plan.deeds] == ["ready", "held", "start", "start", "start", "effects"]
    assert plan.deeds[-1].signal == "SIGKILL" and plan.deeds[-1].at.delay_us == 7 and plan.striking == 5
    keys = [[each.keys for each in deed.strokes] for deed in plan.deeds if isinstance(deed, TerminalDeed)]
    assert keys[1] == [b"\x1b"] and keys[2][-2:] == [b"Again.", b"\r"] and keys[4] == [b"\x03"]
    assert keys[3][-5:] == [b"/rewind", b"\r", b"", b"\x1b[A", b"\r"]
    assert [(deed.meanwhile, deed.quits) for deed in plan.deeds[:3]] == [
        ("", False),
        ("working", True),
        ("", False),
    ]
    quitting = told(typed("ctrl_c", "held 1"), "Run the tools.", [0], terminal)
    assert quitting.moments == ("it took the prompt", "held 1", "") and quitting.striking == 1
