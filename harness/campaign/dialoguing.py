"""What a worker does with one dialogue: it serves the API, starts the client life after life, and says what it saw.

All lives talk to one service, so that a turn belongs to whoever's prompt asks for it, and no id comes twice. A target
that may only run in full isolation has the whole dialogue in one cell, service and tools with it.

Non-goals: what a dialogue violates (:mod:`harness.checks.dialogue`); how many there are, and what becomes of them
(:mod:`harness.campaign.dialogues`).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from harness.campaign.telling import BEGINNINGS, IDLE, LISTED, RESULT, SAID, WORKING, Told, streams, told
from harness.campaign.watched import Watched, Words
from harness.catalog.headless import Headless, at_api
from harness.catalog.terminal import InTerminal
from harness.checks.dialogue_disk import find_transcript
from harness.checks.summary import object_in
from harness.core.api_log import EndLine, GateEvent, GateLine, LogLine, RequestLine, hash_of
from harness.core.api_script import MCP_TOOLS, ApiScript
from harness.core.content import content_of
from harness.core.dialogue import ClientSeen, DialogueLife, DialogueSeen, LifeSeen
from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.recorded_life import RecordedLife
from harness.core.run import RunSpec
from harness.core.tree import File, Tree
from harness.engines.headless import Deed, Session, SessionPlan, run_sessions
from harness.engines.terminal import TerminalPlan, TerminalSession, run_in_terminals
from harness.sandbox.cell import in_cell
from harness.services.mcp_config import mcp_config
from harness.services.messages_api.serving import MessagesService, ToolPlaces, prepare_tools, serving
from harness.services.messages_api.shell import LISTED as _LISTED_FILES

LINGER_MS = 400
"""How long tools that a client had started may run on after its death: what they do then is an effect too."""
_SPARE_S = 60.0
_SERVERS = "mcp.json"
_IDLE_S = 1.0
"""How long an API is asked nothing before its client counts as idle."""
_LONGEST_S = 3600.0
"""After how long a service ends that nobody has ended; who uses it ends long before."""


class DialogueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A dialogue to carry out. ``spec`` is the client at an open address of its API; ``seed`` draws its delays.

    ``spec.start`` is what the first life begins on; ``session`` the id of the session in it, if it has one. With a
    ``plan`` the first life is watched operation by operation, and ended where its fault strikes.
    """

    spec: RunSpec
    headless: Headless
    terminal: InTerminal = InTerminal()
    lives: tuple[DialogueLife, ...]
    script: ApiScript
    seed: int = 0
    session: str = ""
    plan: FaultPlan | None = None


class Resumed(NamedTuple):
    """What lives begin on, which lives."""

    start: Tree
    lives: tuple[DialogueLife, ...]


def time_limit_s(order: DialogueOrder) -> float:
    """Return after how much wall time a dialogue is ended."""
    return len(order.lives) * order.spec.limits.timeout_s + _SPARE_S


def carry_out(order: DialogueOrder, base: str) -> DialogueSeen:
    """Carry out a dialogue, in a cell if its target asks for one; nothing that it starts is left.

    ``base`` is the workspace of this worker. Raises :class:`IsolationError`, :class:`CellEndedError` and
    :class:`ApiServiceError` where the harness cannot.
    """
    if order.spec.isolation is None:
        return _converse(order)
    inside = in_cell(order.spec, base, _converse, order, timeout_s=time_limit_s(order))
    seen: DialogueSeen = inside.value
    return msgspec.structs.replace(
        seen, no_route=inside.network.no_route, packets_elsewhere=inside.network.packets_elsewhere
    )


def record_life(order: DialogueOrder, base: str) -> RecordedLife:
    """Carry out the first life of an order under its plan, and return it with its recording; as :func:`carry_out`."""
    if order.spec.isolation is None:
        return _record(order)
    recorded: RecordedLife = in_cell(order.spec, base, _record, order, timeout_s=time_limit_s(order)).value
    return recorded


def resume_each(order: DialogueOrder, starts: tuple[Resumed, ...], base: str) -> tuple[DialogueSeen, ...]:
    """Carry out lives on one start after the other, in one cell and with one API; as :func:`carry_out`.

    No turn of the script may answer them: what one has taken would be missing for the next.
    """
    if order.spec.isolation is None:
        return _resume_each(order, starts)
    limit_s = sum(time_limit_s(msgspec.structs.replace(order, lives=each.lives)) for each in starts)
    inside = in_cell(order.spec, base, _resume_each, order, starts, timeout_s=limit_s)
    seen: tuple[DialogueSeen, ...] = inside.value
    network = inside.network
    return tuple(
        msgspec.structs.replace(each, no_route=network.no_route, packets_elsewhere=network.packets_elsewhere)
        for each in seen
    )


def _converse(order: DialogueOrder) -> DialogueSeen:
    with _served(order) as (service, tools):
        return _live_all(order, service, tools)


def _resume_each(order: DialogueOrder, starts: tuple[Resumed, ...]) -> tuple[DialogueSeen, ...]:
    with _served(order) as (service, tools):
        return tuple(
            _live_all(
                msgspec.structs.replace(
                    order,
                    spec=msgspec.structs.replace(order.spec, start=each.start),
                    lives=each.lives,
                    plan=None,
                ),
                service,
                tools,
            )
            for each in starts
        )


def _record(order: DialogueOrder) -> RecordedLife:
    with _served(order) as (service, tools):
        stage = _Stage(order, service, tools)
        seen, _ = stage.live(order.lives[0], order.plan or NO_FAULTS)
        watched = stage.watched
        assert watched is not None and watched.recording is not None
        problem = next((each.problem for each in seen.clients if each.problem), "")
        return watched.life(seen, problem)


@contextlib.contextmanager
def _served(order: DialogueOrder) -> Iterator[tuple[MessagesService, ToolPlaces]]:
    """Serve the API of an order, with a log of its own, and make the places of its tools."""
    base = os.path.dirname(order.spec.root)
    log = os.path.join(base, "api.log")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(log)
    with (
        _tools(base) as tools,
        serving(order.script, log, tools=tools, cwd=order.spec.cwd, timeout_s=_LONGEST_S) as service,
    ):
        yield service, tools


def _live_all(order: DialogueOrder, service: MessagesService, tools: ToolPlaces) -> DialogueSeen:
    begun = time.monotonic()
    lives: list[LifeSeen] = []
    cpu_ms, survivors, problem = 0.0, 0, ""
    stage = _Stage(order, service, tools)
    for number, life in enumerate(order.lives):
        seen, sessions = stage.live(life, order.plan if number == 0 else None)
        lives.append(seen)
        cpu_ms += sessions[0].cpu_ms
        survivors += sessions[0].survivors
        problem = next((each.problem for each in seen.clients if each.problem), "")
        if problem:
            problem = f"life {len(lives)}: {problem}"
            break
    return DialogueSeen(
        lives=tuple(lives),
        problem=problem,
        left_processes=survivors,
        wall_ms=(time.monotonic() - begun) * 1e3,
        cpu_ms=cpu_ms,
    )


@contextlib.contextmanager
def _tools(base: str) -> Iterator[ToolPlaces]:
    """Make the ledger and the gates of one dialogue, free of what an earlier one left, and take them away again."""
    places = prepare_tools(os.path.join(base, "tools"))
    os.truncate(places.ledger, 0)
    servers = os.path.join(base, "tools", _SERVERS)
    with open(servers, "w", encoding="utf-8") as stream:
        stream.write(mcp_config(places))
    try:
        yield places
    finally:
        os.unlink(servers)
        for name in os.listdir(places.gates):
            os.unlink(os.path.join(places.gates, name))
        os.unlink(places.ledger)


class _Stage:
    """Where the lives of one dialogue take place, one after the other."""

    def __init__(self, order: DialogueOrder, service: MessagesService, tools: ToolPlaces) -> None:
        self._order = order
        self._service = service
        self._tools = tools
        self._spec = at_api(order.spec, service.url)
        self._tree = order.spec.start
        self._session = order.session
        self._random = random.Random(f"dialogue {order.seed}")
        self._lines: list[LogLine] = []
        self._idle_since = 0.0
        self.watched: Watched | None = None

    def live(self, life: DialogueLife, plan: FaultPlan | None = None) -> tuple[LifeSeen, tuple[Session, ...]]:
        """Live one life on what the one before left, and say what was seen. With a ``plan`` it is watched."""
        self._lines, self._idle_since = [], 0.0
        delays_us = self._draw(life)
        # What is said to a client that is watched is said beside it.
        mine = life if plan is None else msgspec.structs.replace(life, then=(), mode="headless")
        terminal, mcp = self._order.terminal, self._order.script.uses_mcp and plan is None
        tellings = [told(mine, prompt, delays_us, terminal, mcp=mcp) for prompt in life.prompt]
        plans = [self._plan(life, prompt, each) for prompt, each in zip(life.prompt, tellings, strict=True)]
        linger_ms = LINGER_MS if life.exit != "graceful" else 0
        sessions: Sequence[Session]
        if plan is not None:
            self.watched = Watched(self._tools.ledger, self._service.log)
            sessions = (self.watched.run(plans[0].spec, plan, self._words(life, delays_us)),)
        elif life.mode == "terminal":
            sessions = run_in_terminals(
                [plan for plan in plans if isinstance(plan, TerminalPlan)], linger_ms=linger_ms
            )
        else:
            sessions = run_sessions(plans, linger_ms=linger_ms)
        self._service.settle()
        self._hear()
        tree = sessions[0].final
        there = self._session_in(tree)
        clients = tuple(
            self._seen(life, prompt, each, session, there)
            for prompt, each, session in zip(life.prompt, tellings, sessions, strict=True)
        )
        self._session = clients[0].session_id
        seen = LifeSeen(
            order=life,
            clients=clients,
            timed_out=self._at_gates("timed_out"),
            early=self._at_gates("let_go_early"),
            requests=tuple(line for line in self._lines if isinstance(line, RequestLine)),
            ends=tuple(line for line in self._lines if isinstance(line, EndLine)),
            effects=tuple(self._ledger()),
            tree=tree,
        )
        self._tree, cut = cut_tail(tree, find_transcript(tree, {self._session}), life)
        return msgspec.structs.replace(seen, cut_bytes=cut), tuple(sessions)

    # -- before -----------------------------------------------------------------------------------------------

    def _draw(self, life: DialogueLife) -> list[int]:
        """Draw the delays of a life in microseconds, the same for all its instances: that of its end comes first."""
        ranges = [life.after_ms, *(then.after_ms for then in life.then)]
        return [self._random.randint(low * 1000, high * 1000) for low, high in ranges]

    def _counters(self) -> dict[str, Callable[[], int]]:
        return {
            "effects": self._effects,
            "held": self._held,
            "requests": self._requests,
            IDLE: self._idle,
            LISTED: self._listed,
            WORKING: self._working,
        }

    def _plan(self, life: DialogueLife, prompt: str, told: Told) -> SessionPlan:
        counters = self._counters()
        spec = self._starting(life, prompt)
        if life.mode != "terminal":
            return SessionPlan(spec=spec, deeds=told.deeds, counters=counters)
        script = self._order.script
        texts = dict.fromkeys([*(turn.text for turn in script.turn if turn.text), script.api.closing])
        return TerminalPlan(spec=spec, deeds=told.deeds, counters=counters, watched=tuple(texts))

    def _words(self, life: DialogueLife, delays_us: Sequence[int]) -> Words | None:
        """Return what a watched client is told, which then ends by itself if nothing strikes; ``None`` for nothing."""
        mcp = self._order.script.uses_mcp
        if not streams(life, mcp=mcp):
            return None
        whole = msgspec.structs.replace(life, exit="graceful", when="")
        deeds = told(whole, life.prompt[0], delays_us, self._order.terminal, mcp=mcp).deeds
        return Words(deeds, self._counters())

    def _starting(self, life: DialogueLife, prompt: str) -> RunSpec:
        headless = self._order.headless
        typed, mcp = life.mode == "terminal", self._order.script.uses_mcp
        new = life.session == "new"
        argv = headless.argv(
            self._spec.argv,
            prompt="" if typed or streams(life, mcp=mcp) else prompt,
            typed=typed,
            tools=MCP_TOOLS if mcp else (),
            mcp=os.path.join(os.path.dirname(self._tools.ledger), _SERVERS) if mcp else "",
            session=self._new_session() if new and headless.offers("session") else "",
            resume=self._session if life.session == "resume" else "",
            last=life.session == "continue",
        )
        return msgspec.structs.replace(self._spec, argv=argv, start=self._tree)

    def _new_session(self) -> str:
        self._session = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        return self._session

    # -- meanwhile --------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        self._lines += self._service.new_lines()

    def _effects(self) -> int:
        return len(self._ledger())

    def _held(self) -> int:
        self._hear()
        return self._at_gates("waits")

    def _working(self) -> int:
        """Return how many held tools were called and have not ended, those too that the client has yet to start."""
        self._hear()
        held = {call.id for turn in self._order.script.turn for call in turn.call if call.hold != "no"}
        called = {each.tool_use_id for line in self._spoken() for each in line.calls if each.call in held}
        return len(called - self._over())

    def _requests(self) -> int:
        self._hear()
        return len(self._spoken())

    def _spoken(self) -> list[RequestLine]:
        return [line for line in self._lines if isinstance(line, RequestLine) and line.speaks]

    def _idle(self) -> int:
        self._hear()
        asked = self._spoken()
        ended = {line.n for line in self._lines if isinstance(line, EndLine) and line.ended == "complete"}
        if not asked or asked[-1].calls or asked[-1].n not in ended or self._come() - self._over():
            self._idle_since = 0.0
            return 0
        self._idle_since = self._idle_since or time.monotonic()
        return int(time.monotonic() - self._idle_since >= _IDLE_S)

    def _come(self) -> set[str]:
        """Return the held tools of which the gates have told, and :meth:`_over` those that have ended."""
        return {line.tool_use_id for line in self._lines if isinstance(line, GateLine)}

    def _over(self) -> set[str]:
        return {line.tool_use_id for line in self._lines if isinstance(line, GateLine) and line.over}

    def _at_gates(self, what: GateEvent) -> int:
        return sum(isinstance(line, GateLine) and line.what == what for line in self._lines)

    def _listed(self) -> int:
        return sum(name.startswith(_LISTED_FILES) for name in os.listdir(self._tools.gates))

    def _ledger(self) -> Sequence[str]:
        with open(self._tools.ledger, encoding="ascii", errors="replace") as stream:
            return [line.strip() for line in stream if line.endswith("\n")]

    # -- after ------------------------------------------------------------------------------------------------

    def _seen(self, life: DialogueLife, prompt: str, told: Told, session: Session, there: str) -> ClientSeen:
        """Return what was seen of one instance; ``there``: the session that it worked on, where it does not say."""
        lines = [line for _, line in session.lines]
        results = [value for line in lines if (value := result_in(line)) is not None]
        replies, named = _texts(results, "result"), results
        if life.mode == "stream":
            replies, named = said_in(lines), [value for line in lines if (value := object_in(line)) is not None]
        if isinstance(session, TerminalSession):
            replies = [text for _, text in session.shown]
        return ClientSeen(
            prompt=prompt,
            session_id=next(iter(_texts(named, "session_id")), there),
            exit_code=session.exit_code,
            signal=session.signal,
            struck=0 <= told.striking < len(session.done),
            replies=tuple(map(hash_of, replies)),
            problem=problem_of(life, told, session),
        )

    def _session_in(self, tree: Tree) -> str:
        """Return the session whose transcript a life worked on: some versions begin a new one when they resume."""
        path = find_transcript(tree, {self._session} if self._session else set(), self._tree)
        return path.rsplit("/", 1)[-1].removesuffix(".jsonl") if path else self._session


def problem_of(life: DialogueLife, told: Told, session: Session) -> str:
    """Return why a session says nothing.

    A client that is to go on with a session and ends by itself before it takes a word is none: it does not know it.
    """
    undone = next(iter(told.moments[len(session.done) :]), "")
    if undone in BEGINNINGS and life.session != "new" and session.ending == "exited":
        return ""
    if session.ending == "limit":
        return f"the client {session.ending_detail}"
    if session.ending == "timeout":
        return f"the client {session.ending_detail}" + (f" before {undone}" if undone else "")
    if undone:
        return f"the client ended before {undone}"
    if any(each.idle for each in session.done):
        return "no held tool went on any more when something was to be done meanwhile"
    if life.exit == "sigkill" and session.signal is None:
        return f"the client was killed and ended with exit code {session.exit_code}"
    asked = {each for deed in told.deeds[: len(session.done)] if (each := control_in(deed))}
    missing = asked - {each for _, line in session.lines if (each := granted_in(line))}
    if missing and session.ending == "exited":
        return f"the client did not take the control request {min(missing)!r}"
    return ""


def control_in(deed: Deed) -> str:
    """Return the id of the control request that a deed says, or an empty string."""
    said = object_in(deed.say) or {}
    return str(said.get("request_id", "")) if said.get("type") == "control_request" else ""


def granted_in(line: bytes) -> str:
    """Return the id of the control request to which a line says that it was carried out, or an empty string."""
    response = (object_in(line) or {}).get("response") if b"control_response" in line else None
    if not isinstance(response, dict) or response.get("subtype") != "success":
        return ""
    return str(response.get("request_id", ""))


def _texts(results: Sequence[Mapping[str, object]], key: str) -> list[str]:
    return [value for each in results if isinstance(value := each.get(key), str)]


def result_in(line: bytes) -> dict[str, object] | None:
    """Return the result that a line of standard output is, or ``None``."""
    if not re.search(RESULT.encode(), line):
        return None
    value = object_in(line)
    return value if value is not None and value.get("type") == "result" else None


def said_in(lines: Iterable[bytes]) -> list[str]:
    """Return the texts that lines of a client's streaming mode say."""
    found = []
    for line in lines:
        message = (object_in(line) or {}).get("message") if re.search(SAID.encode(), line) else None
        blocks = message.get("content") if isinstance(message, dict) else None
        if isinstance(blocks, list):
            found += _texts([each for each in blocks if isinstance(each, dict)], "text")
    return found


def cut_tail(tree: Tree, path: str, life: DialogueLife) -> tuple[Tree, int]:
    """Return the tree with the end of a transcript cut as a life asks for, and how many bytes that were."""
    node = tree.node_at(path) if life.cut and path else None
    if not isinstance(node, File) or not node.content.size:
        return tree, 0
    data = node.content.to_bytes()
    if not data.endswith(b"\n"):
        return tree, 0
    begin = data.rfind(b"\n", 0, -1) + 1
    kept = data[:-1] if life.cut == "newline" else data[: begin + (len(data) - begin) // 2]
    return tree.with_node(tree.names[path], node._replace(content=content_of(kept))), len(data) - len(kept)
