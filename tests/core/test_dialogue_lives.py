"""The lives of a dialogue as files say them: what is refused, what they are when nothing is done to the client."""

from __future__ import annotations

from typing import Any

import pytest

from harness.core.api_script import ApiScript, Call, Fault, Turn
from harness.core.dialogue import DialogueLife, Then, fault_class_of, problem_of_lives, quiet, undisturbed


def life(*prompts: str, **more: Any) -> DialogueLife:
    return DialogueLife(prompt=prompts or ("go",), **more)


@pytest.mark.parametrize(
    ("lives", "words"),
    [
        ((), "0 lives"),
        ((life(),) * 33, "33 lives"),
        ((life("a", "b", "c", "d", "e"),), "5 prompts"),
        ((life(""),), "1 to 4000 characters"),
        ((life("--help"),), "no dash"),
        ((life("a", "a"),), "says the same"),
        ((life(session="resume"),), "none before the first life"),
        ((life(exit="sigkill", when="efect 2"),), "'efect 2' is not one of effect, held, request, reply, record"),
        ((life(exit="sigkill", when="effect 0"),), "'effect 0' is not one of"),
        ((life(exit="sigkill"),), "needs a moment"),
        ((life(when="effect 2"),), "ends by itself"),
        ((life(exit="sigkill", when="effect 2", after_ms=(5, 1)),), "[5, 1] is not a range"),
        ((life(exit="ctrl_c", when="held 1"),), 'needs mode = "terminal"'),
        ((life(then=(Then(when="held", keys=("escape",)),)),), "then 1 when: 'held' is not one of effect"),
        ((life(then=(Then(when="held 1", keys=("escpe",)),)),), "'escpe' is not one of escape, ctrl_c"),
        ((life(then=(Then(when="held 1", keys=()),)),), "then 1 keys: 0 keys"),
        ((life(then=(Then(when="held 1", keys=("message ",)),)),), "'message ' is not one of"),
        ((life(then=(Then(when="held 1", keys=("rewind",)),)),), "'rewind' needs mode"),
        ((life(then=(Then(when="held 1", keys=("escape",), after_ms=(2, 1)),)),), "then 1 after_ms: [2, 1]"),
        ((life("a", "b", then=(Then(when="held 1", keys=("escape",)),)),), "several instances"),
        ((life("two\nlines", mode="terminal"),), "printable"),
        ((life("x" * 101, mode="terminal"),), "1 to 100 printable characters"),
    ],
)
def test_what_a_file_may_not_say(lives: tuple[DialogueLife, ...], words: str) -> None:
    assert words in problem_of_lives(lives)


def test_a_whole_dialogue_and_its_class() -> None:
    killed = life(exit="sigkill", when="reply 1", after_ms=(0, 20))
    again = life("more", session="resume")
    assert problem_of_lives((killed, again)) == ""
    assert fault_class_of((killed, again)) == "kill"
    assert fault_class_of((life(cut="newline"), again)) == "short"
    assert fault_class_of((life(), life("a", "b", session="resume"))) == "concurrency"
    assert fault_class_of((life(exit="sigint", when="held 1"), again)) == "signal"
    assert fault_class_of((life(), again)) == "errno"


def test_what_a_user_does_meanwhile_is_no_fault_of_the_program_but_a_signal_to_it() -> None:
    told = life(mode="terminal", then=(Then(when="held 2", keys=("shift_tab", "message Go on.")),))
    assert problem_of_lives((told, life("more", session="resume"))) == ""
    assert fault_class_of((told,)) == "signal"
    assert told.said == ("go", "Go on.") and told.keys == ("shift_tab", "message Go on.")
    assert undisturbed((told,)) == (life(mode="terminal"),)


def test_undisturbed_is_the_same_prompts_one_after_the_other() -> None:
    lives = (
        life(exit="sigkill", when="reply 1"),
        life("a", "b", session="resume"),
        life(session="continue", cut="half"),
    )
    assert undisturbed(lives) == (
        life(),
        life("a", session="resume"),
        life("b", session="resume"),
        life(session="continue"),
    )
    turn = Turn(
        text="x", call=(Call(tool="Bash", id="1", hold="before_effect"),), finish=(), fault=(Fault(kind="drop"),)
    )
    assert quiet(ApiScript(turn=(turn,))).turn[0].fault == ()
    assert quiet(ApiScript(turn=(turn,))).turn[0].finishing == ("1",)
