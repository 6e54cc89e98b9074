"""A dialogue: what a client of the Messages API and the scripted API say to each other in one or more lives.

Part of what a scenario file holds (``[[life]]`` tables with a ``prompt``), and what was seen when it was carried out.
Each life starts the client, says one prompt to each of its instances, does to it what the user does meanwhile, and ends
it at a moment that is counted in things that happen (an effect of a tool, a request, a reply), never in time alone.
Pure data.

Non-goals: how a client is started (the target says it) and driven (:mod:`harness.engines.headless` and ``terminal``).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import msgspec

from harness.core.api_log import EndLine, RequestLine
from harness.core.api_script import ApiScript, Turn
from harness.core.fault import FaultClass
from harness.core.tree import EMPTY_TREE, Tree

Start = Literal["new", "resume", "continue"]
Ending = Literal["graceful", "interrupt", "ctrl_c", "sigint", "sighup", "sigterm", "sigkill"]
"""How a life ends. ``interrupt`` is Escape: the turn is given up, and the client then left as a person leaves it;
``ctrl_c``: the key is pressed until the client is gone."""
Mode = Literal["headless", "stream", "terminal"]
"""How a client is driven: it prints what it says when it is done, or while it says it, or on a screen."""
KEYS = ("escape", "ctrl_c", "shift_tab", "rewind")
"""What a user can do while a client works, beside ``message TEXT``; without a terminal Escape and Shift+Tab are said as
control requests, and the others cannot be."""
_MESSAGE = "message "
Cut = Literal["", "newline", "half"]
"""What is taken from the end of the transcript after a life: its last newline, or half of its last record too."""

MOMENTS = ("effect", "held", "request", "reply", "record")
"""Of what a life's end may count the n-th: effects of tools, held tools that have come to their gates (and one of them
is to go on when the moment is used), requests that carry the conversation, replies on standard output, records in its
transcripts."""
_MOMENT = re.compile(rf"({'|'.join(MOMENTS)}) ([1-9]\d{{0,3}})")
OF_CUTS: tuple[FaultClass, ...] = ("kill", "short")
"""Under which classes the states of a recorded life are judged."""
SEPARATOR = ":"
"""Between a variant and the dialogue that a case holds with it."""
MAX_LIVES = 32
MAX_PROMPT = 4_000
MAX_INSTANCES = 4
MAX_DELAY_MS = 60_000
MAX_STEPS = 16
MAX_TYPED = 100
"""Characters that fit into one line of the input of a client, where they are looked for."""


class Moment(NamedTuple):
    """The ``number``-th of something that happens in a life."""

    what: str
    number: int


class Then(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the ``then`` of a life: ``keys`` are done one after the other, at a moment as that of a life's end."""

    when: str
    keys: tuple[str, ...]
    after_ms: tuple[int, int] = (0, 0)

    @property
    def moment(self) -> Moment | None:
        """The moment that ``when`` names."""
        return moment_of(self.when)


class DialogueLife(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[life]]`` of a client: one instance per prompt, all at once.

    ``when`` ("effect 2", "reply 1") and, drawn anew in each trial, ``after_ms`` behind it: the moment of the end; a
    life without ends by itself. ``then``: what the user does before that. ``cut`` is made when it has ended.
    """

    prompt: tuple[str, ...]
    mode: Mode = "headless"
    session: Start = "new"
    then: tuple[Then, ...] = ()
    exit: Ending = "graceful"
    when: str = ""
    after_ms: tuple[int, int] = (0, 0)
    cut: Cut = ""

    @property
    def moment(self) -> Moment | None:
        """The moment that ``when`` names."""
        return moment_of(self.when)

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of its user, in order."""
        return tuple(each for then in self.then for each in then.keys)

    @property
    def said(self) -> tuple[str, ...]:
        """Everything that is said to it: its prompts, and the messages among its keys."""
        return (*self.prompt, *(text for each in self.keys if (text := message_in(each))))


def without_dialogue(variant: str) -> str:
    """Return the variant of a case that may be called after the dialogue that it holds."""
    return variant.partition(SEPARATOR)[0]


def moment_of(when: str) -> Moment | None:
    """Return the moment that a text such as ``effect 2`` names."""
    found = _MOMENT.fullmatch(when)
    return Moment(found[1], int(found[2])) if found else None


def message_in(key: str) -> str:
    """Return the text that a key says, if it is a message."""
    return key.removeprefix(_MESSAGE) if key.startswith(_MESSAGE) else ""


class ClientSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of the client in one life. ``replies`` are hashes of the replies that it printed, in order; in a
    terminal, of the texts of the script that were seen on its screen.

    ``struck``: the signal, or the interrupt, was given to it while it lived. ``problem``: why it says nothing.
    """

    prompt: str
    session_id: str = ""
    exit_code: int | None = None
    signal: int | None = None
    struck: bool = False
    replies: tuple[str, ...] = ()
    problem: str = ""


class LifeSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What one life said and left. ``effects`` are the ids in the ledger at its end, those of earlier lives too.

    ``tree`` is the client's state on disk after its death, before the cut that ``cut_bytes`` counts. ``timed_out``:
    held tools that ended because a call is held only so long, and neither by the script nor by the client. ``early``:
    those that were let go out of order, because the client had not started the one that was due.
    """

    order: DialogueLife
    clients: tuple[ClientSeen, ...]
    requests: tuple[RequestLine, ...] = ()
    ends: tuple[EndLine, ...] = ()
    effects: tuple[str, ...] = ()
    tree: Tree = EMPTY_TREE
    cut_bytes: int = 0
    timed_out: int = 0
    early: int = 0

    @property
    def spoken(self) -> tuple[RequestLine, ...]:
        """The requests that carry the conversation, answered or refused."""
        return tuple(line for line in self.requests if line.speaks)


class DialogueSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A dialogue that was carried out, or as far as it went: ``problem`` says why it went no further."""

    lives: tuple[LifeSeen, ...]
    problem: str = ""
    no_route: int = 0
    packets_elsewhere: int = 0
    left_processes: int = 0
    wall_ms: float = 0.0
    cpu_ms: float = 0.0


def fault_class_of(lives: tuple[DialogueLife, ...]) -> FaultClass:
    """Return the class under which what a dialogue leaves is judged: that of the worst that is done to its client.

    Where nothing is done to it, what its API does is: an error of a call, ``errno``.
    """
    exits = {life.exit for life in lives}
    if any(len(life.prompt) > 1 for life in lives):
        return "concurrency"
    if any(life.cut for life in lives):
        return "short"
    if "sigkill" in exits:
        return "kill"
    return "signal" if exits - {"graceful"} or any(life.then for life in lives) else "errno"


def problem_of_cuts(lives: tuple[DialogueLife, ...], turns: tuple[Turn, ...]) -> str:
    """Return why a scenario cannot have its first life recorded and cut, or an empty string."""
    if len(lives) < 2 or any(life.session != "resume" or life.exit != "graceful" for life in lives[1:]):
        return "needs a [[life]] that is recorded, and then lives that resume it and end by themselves"
    if any(len(life.prompt) > 1 or life.cut for life in lives):
        return "each [[life]] has one prompt, and no cut of its own"
    if lives[0].mode == "terminal":
        return "the first [[life]] is recorded, which a terminal is not"
    if lives[0].when:
        return "the first [[life]] is recorded whole: where it is cut, the recording says"
    later = {prompt for life in lives[1:] for prompt in life.prompt}
    if any(not turn.prompt or turn.prompt in later for turn in turns):
        return "each [[turn]] needs a prompt, that of the first [[life]]: others are answered by [api] closing"
    return ""


def problem_of_moments(lives: tuple[DialogueLife, ...], turns: tuple[Turn, ...]) -> str:
    """Return which moment of the lives cannot come with these turns: there are fewer such calls, or none."""
    calls = [call for turn in turns for call in turn.call]
    again = any(turn.fault for turn in turns)  # a turn that was spoilt is answered again
    there = {"effect": sum(call.effect for call in calls), "held": sum(call.hold != "no" for call in calls)}
    for number, life in enumerate(lives, 1):
        for when in (*(then.when for then in life.then), life.when):
            moment = moment_of(when)
            if moment is None or moment.what not in there:
                continue
            most = there[moment.what]
            if not most or (moment.number > most and not again):
                return f"[life {number}] when: {when!r} never comes: the turns have {most} calls of that kind"
    return ""


def undisturbed(lives: tuple[DialogueLife, ...]) -> tuple[DialogueLife, ...]:
    """Return the same prompts with nothing done to the client: each life ends by itself, one instance at a time."""
    return tuple(
        DialogueLife(prompt=(prompt,), mode=life.mode, session="resume" if index else life.session)
        for life in lives
        for index, prompt in enumerate(life.prompt)
    )


def quiet(script: ApiScript) -> ApiScript:
    """Return the script of an API that answers each turn once and whole, and lets every held call go."""
    turns = (msgspec.structs.replace(turn, fault=(), finish=None) for turn in script.turn)
    return msgspec.structs.replace(script, turn=tuple(turns))


_STARTED: dict[Start, str] = {
    "new": "",
    "resume": "the session is resumed; ",
    "continue": "the last session is gone on with; ",
}
_MODES: dict[Mode, str] = {"headless": "", "stream": " (streaming mode)", "terminal": " (in a terminal)"}
_CUTS: dict[Cut, str] = {
    "": "",
    "newline": "; then the last newline is taken from its transcript",
    "half": "; then the last half of the last record is taken from its transcript",
}


def in_words(lives: tuple[DialogueLife, ...]) -> tuple[str, ...]:
    """Return what is done in each life, a sentence each."""
    return tuple(
        f"{_STARTED[life.session]}{_told(life)}{_MODES[life.mode]}{_done_to(life)}{_CUTS[life.cut]}"
        for life in lives
    )


def _told(life: DialogueLife) -> str:
    said = " and ".join(repr(prompt) for prompt in life.prompt)
    return f"{len(life.prompt)} clients at once are told {said}" if len(life.prompt) > 1 else f"it is told {said}"


def _done_to(life: DialogueLife) -> str:
    steps = [f"{', '.join(then.keys)} {_when(then.when, then.after_ms)}" for then in life.then]
    end = "" if life.exit == "graceful" else f"{life.exit} {_when(life.when, life.after_ms)}"
    return "".join(f"; {step}" for step in (*steps, end or "it ends by itself"))


def _when(when: str, after_ms: tuple[int, int]) -> str:
    low, high = after_ms
    return f"at {when}" if not high else f"{low} to {high} ms after {when}"


def problem_of_lives(lives: tuple[DialogueLife, ...]) -> str:
    """Return what is wrong with the lives of a file, or an empty string."""
    if not lives or len(lives) > MAX_LIVES:
        return f"[life] {len(lives)} lives; from 1 to {MAX_LIVES}"
    for number, life in enumerate(lives, 1):
        if wrong := _problem_of(life, number):
            return f"[life {number}] {wrong}"
    return ""


def _problem_of(life: DialogueLife, number: int) -> str:
    if not 1 <= len(life.prompt) <= MAX_INSTANCES:
        return f"prompt: {len(life.prompt)} prompts; one for each of 1 to {MAX_INSTANCES} instances"
    if any(not 0 < len(each) <= MAX_PROMPT or each.startswith("-") or "\0" in each for each in life.prompt):
        return f"prompt: needs 1 to {MAX_PROMPT} characters, and no dash at its start"
    if len(set(life.prompt)) < len(life.prompt):
        return "prompt: says the same to two instances, so nobody could tell them apart"
    if number == 1 and life.session != "new":
        return f"session: {life.session!r}: there is none before the first life"
    if life.when and life.moment is None:
        return _no_moment(life.when)
    if (life.exit == "graceful") != (not life.when):
        return f"when: exit {life.exit!r} {'ends by itself' if life.when else 'needs a moment, such as effect 2'}"
    return _problem_of_range(life.after_ms) or _problem_of_keys(life)


def _no_moment(when: str) -> str:
    return f"when: {when!r} is not one of {', '.join(MOMENTS)} and a number, such as 'effect 2'"


def _problem_of_range(after_ms: tuple[int, int]) -> str:
    low, high = after_ms
    good = 0 <= low <= high <= MAX_DELAY_MS
    return "" if good else f"after_ms: [{low}, {high}] is not a range within 0 and {MAX_DELAY_MS}"


def _problem_of_keys(life: DialogueLife) -> str:
    typed = life.mode == "terminal"
    if life.exit == "ctrl_c" and not typed:
        return 'exit: "ctrl_c" needs mode = "terminal"; "interrupt" does without'
    if len(life.then) > MAX_STEPS:
        return f"then: {len(life.then)} steps; at most {MAX_STEPS}"
    if life.then and not typed and len(life.prompt) > 1:
        return 'then: of several instances at once, only those with mode = "terminal" can be told something'
    for number, then in enumerate(life.then, 1):
        if then.moment is None:
            return f"then {number} {_no_moment(then.when)}"
        if not 1 <= len(then.keys) <= MAX_STEPS:
            return f"then {number} keys: {len(then.keys)} keys; from 1 to {MAX_STEPS}"
        if wrong := _problem_of_range(then.after_ms):
            return f"then {number} {wrong}"
        for key in then.keys:
            if key not in KEYS and not message_in(key):
                return f"then {number} keys: {key!r} is not one of {', '.join(KEYS)}, 'message TEXT'"
            if not typed and key in ("ctrl_c", "rewind"):
                return f'then {number} keys: {key!r} needs mode = "terminal"'
    for text in life.said if typed else ():
        if not text.isprintable() or len(text) > MAX_TYPED:
            return f"prompt: what is typed has 1 to {MAX_TYPED} printable characters"
    return ""
