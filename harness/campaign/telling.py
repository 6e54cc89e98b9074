"""What is said and done to a client in one life, as deeds: pure, from what the scenario says and when.

A client without a terminal that is told something while it works is told so in its streaming mode: Escape and Shift+Tab
are control requests there. In a terminal all of it is typed, and a client that is to end by itself is left as a person
leaves it: once its API has nothing more to answer, with the command that its target says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from harness.catalog.headless import INTERRUPT, SET_MODE, Headless, interrupt_line, mode_line, user_line
from harness.catalog.terminal import InTerminal
from harness.core.dialogue import DialogueLife, Ending, message_in, moment_of
from harness.engines import strokes
from harness.engines.headless import Deed, Moment
from harness.engines.strokes import Stroke
from harness.engines.terminal import TerminalDeed

TRANSCRIPTS = ".claude/projects/**/*.jsonl"
RESULT = r'"type":\s*"result"'
SAID = r'"type":\s*"assistant".*"type":\s*"text"'
"""A line of a client's streaming mode by which it says something while it works."""
IDLE = "idle"
"""The counter that is 1 once the API has answered all there was to answer, and a while has passed."""
WORKING = "working"
"""The counter of held tools that were called and have not ended: what is done at the n-th that is held is done while
one of them goes on."""
LISTED = "listed"
"""The counter of clients that have asked a server of gated tools what it has."""
BEGINNINGS = ("its tools were there", "it was told the prompt", "it took the prompt")
"""What comes before anything else in a life: a client that ends before that knows nothing of its session."""
_TOOLS, _TOLD, _TOOK = BEGINNINGS
_LISTED = Moment(counted=LISTED, delay_us=300_000)
SIGNALS: dict[Ending, str] = {
    "sigint": "SIGINT",
    "sighup": "SIGHUP",
    "sigterm": "SIGTERM",
    "sigkill": "SIGKILL",
}
_COUNTED = {"effect": "effects", "held": "held", "request": "requests"}
_REST = Moment(delay_us=1_500_000)
_MENU_MS = 900
_MENU_KEYS = {"up": strokes.UP, "down": strokes.DOWN, "enter": strokes.ENTER, "escape": strokes.ESCAPE}
_QUITS = ("escape", "ctrl_c", "rewind")
"""After these a client works no more, and its API is asked nothing by which that could be seen."""
_PRESS_MS, _PRESSES = 400, 60
_LEAVE_MS = 5_000
_SECOND = Moment(delay_us=150_000)


class Told(NamedTuple):
    """The deeds of one life; ``moments``: of each what it waits for, in the words of the scenario, where the client is
    not to end before it; ``striking``: which one is the end, -1 where it ends by itself."""

    deeds: tuple[Deed, ...]
    moments: tuple[str, ...]
    striking: int = -1


def streams(life: DialogueLife, *, mcp: bool) -> bool:
    """Return whether a client is in its streaming mode: it is to be, or is told things while it goes on, or after its
    tools are there.
    """
    told_later = mcp or life.exit == "interrupt" or bool(life.then)
    return life.mode == "stream" or (life.mode == "headless" and told_later)


def cannot(life: DialogueLife, headless: Headless, terminal: InTerminal, *, mcp: bool) -> str:
    """Return what a life asks for that a version of a client does not offer, or an empty string."""
    if mcp and not headless.offers("mcp"):
        return "it has no words for the servers of further tools"
    if streams(life, mcp=False) and not headless.offers("stream"):
        return "it has no streaming mode"
    if life.mode != "terminal":
        asked = {SET_MODE for key in life.keys if key == "shift_tab"}
        asked |= {INTERRUPT} if life.exit == "interrupt" or "escape" in life.keys else set()
        if missing := sorted(asked - set(headless.control)):
            return f"it takes no control request {missing[0]!r}"
    return "" if terminal.rewind or "rewind" not in life.keys else "it has no command that goes back"


def told(
    life: DialogueLife, prompt: str, delays_us: Sequence[int], terminal: InTerminal, *, mcp: bool = False
) -> Told:
    """Return what is done to the client that is told ``prompt``; ``delays_us``: of its end, and of each ``then``.

    With ``mcp`` the prompt waits for the servers of further tools.
    """
    typed = life.mode == "terminal"
    end = _moment(life.mode, life.when, delays_us[0])
    begin = _begun_typed(prompt, mcp=mcp) if typed else _begun_said(life, prompt, mcp=mcp)
    steps = _typed(life, delays_us[1:], terminal) if typed else _said(life, delays_us[1:])
    found: list[tuple[Deed, str]] = [*begin, *steps]
    if life.exit in SIGNALS:
        deeds: tuple[Deed, ...] = (Deed(at=end, signal=SIGNALS[life.exit]),)
    elif typed:
        deeds = _ended_typed(life, end, terminal)
    else:
        deeds = _ended_said(life, end) if streams(life, mcp=mcp) else ()
    striking = -1 if life.exit == "graceful" else len(found)
    moments = (life.when, *("" for _ in deeds[1:]))
    found += [(_while_held(deed, when, quits=True), when) for deed, when in zip(deeds, moments, strict=False)]
    return Told(tuple(deed for deed, _ in found), tuple(when for _, when in found), striking)


def _begun_said(life: DialogueLife, prompt: str, *, mcp: bool) -> list[tuple[Deed, str]]:
    if not streams(life, mcp=mcp):
        return []
    return [(Deed(at=_LISTED if mcp else Moment(), say=user_line(prompt)), _TOLD)]


def _begun_typed(prompt: str, *, mcp: bool) -> list[tuple[Deed, str]]:
    first: list[tuple[Deed, str]] = [(Deed(at=_LISTED), _TOOLS)] if mcp else []
    said = TerminalDeed(at=Moment(counted="ready"), strokes=strokes.prompt(prompt, "requests"))
    return [*first, (said, _TOOK)]


def _at_rest(life: DialogueLife) -> Moment:
    """Return when a client that ends by itself has nothing more to do."""
    return _REST if life.keys and life.keys[-1] in _QUITS else Moment(counted=IDLE)


def _ended_said(life: DialogueLife, end: Moment) -> tuple[Deed, ...]:
    if life.exit == "graceful":
        return (Deed(at=_at_rest(life), close=True),)
    interrupt = Deed(at=end, say=interrupt_line("interrupt-end"))
    return interrupt, Deed(at=Moment(counted="lines", pattern=RESULT), close=True)


def _ended_typed(life: DialogueLife, end: Moment, terminal: InTerminal) -> tuple[Deed, ...]:
    command = strokes.typed(terminal.leave)
    leave = (*command, Stroke(keys=strokes.ENTER, counted="end", within_ms=_LEAVE_MS, back=len(command), again=3))
    if life.exit == "graceful":
        return (TerminalDeed(at=_at_rest(life), strokes=leave),)
    if life.exit == "interrupt":
        return TerminalDeed(at=end, strokes=strokes.key(strokes.ESCAPE)), TerminalDeed(at=_REST, strokes=leave)
    pressed = Stroke(keys=strokes.CTRL_C, counted="end", within_ms=_PRESS_MS, again=_PRESSES)
    first = TerminalDeed(at=end, strokes=(Stroke(keys=strokes.CTRL_C),))
    return first, TerminalDeed(at=_SECOND, strokes=(pressed,))


def _while_held(deed: Deed, when: str, *, quits: bool) -> Deed:
    """Return a deed; where ``when`` counts tools that are held, one that is to be done while one of them goes on."""
    moment = moment_of(when)
    held = moment is not None and moment.what == "held"
    return msgspec.structs.replace(deed, meanwhile=WORKING, quits=quits) if held else deed


def _moment(mode: str, when: str, delay_us: int) -> Moment:
    moment = moment_of(when)
    if moment is None:
        return Moment(delay_us=delay_us)
    if moment.what == "record":
        return Moment(counted="records", count=moment.number, pattern=TRANSCRIPTS, delay_us=delay_us)
    if moment.what == "reply" and mode == "terminal":
        return Moment(counted="shown", count=moment.number, delay_us=delay_us)
    if moment.what == "reply":
        pattern = SAID if mode == "stream" else RESULT
        return Moment(counted="lines", count=moment.number, pattern=pattern, delay_us=delay_us)
    return Moment(counted=_COUNTED[moment.what], count=moment.number, delay_us=delay_us)


def _said(life: DialogueLife, delays_us: Sequence[int]) -> Iterator[tuple[Deed, str]]:
    quits = False
    for number, (then, delay_us) in enumerate(zip(life.then, delays_us, strict=True), 1):
        at, when = _moment(life.mode, then.when, delay_us), then.when
        for index, key in enumerate(then.keys):
            name = f"then-{number}-{index}"
            if text := message_in(key):
                line = user_line(text)
            else:
                line = interrupt_line(name) if key == "escape" else mode_line(name, "acceptEdits")
            yield _while_held(Deed(at=at, say=line), "" if quits else then.when, quits=key in _QUITS), when
            at, when, quits = Moment(), "", quits or key in _QUITS


def _typed(life: DialogueLife, delays_us: Sequence[int], terminal: InTerminal) -> Iterator[tuple[Deed, str]]:
    quits = False
    for then, delay_us in zip(life.then, delays_us, strict=True):
        at, when = _moment(life.mode, then.when, delay_us), then.when
        for key in then.keys:
            deed = TerminalDeed(at=at, strokes=_strokes(key, quits, terminal))
            yield _while_held(deed, "" if quits else then.when, quits=key in _QUITS), when
            at, when, quits = Moment(), "", key in _QUITS or (quits and not message_in(key))


def _strokes(key: str, quits: bool, terminal: InTerminal) -> tuple[Stroke, ...]:
    """Return what is typed for a key; a message to a client that does nothing (``quits``) is taken at once."""
    if text := message_in(key):
        return strokes.prompt(text, "requests") if quits else strokes.command(text)
    if key == "rewind":
        menu = tuple(Stroke(keys=_MENU_KEYS[each], pause_ms=_MENU_MS) for each in terminal.rewind_keys)
        return (*strokes.command(terminal.rewind), Stroke(pause_ms=_MENU_MS), *menu)
    return strokes.key({"escape": strokes.ESCAPE, "ctrl_c": strokes.CTRL_C, "shift_tab": strokes.SHIFT_TAB}[key])
