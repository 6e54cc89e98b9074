"""S1 to S6: what a client owes across its lives, judged by what it says to the API when it is resumed.

A transcript is what its writer makes of it, so these rows look at the request that a resumed client sends, and compare
it with what was certain before: what it had said after an earlier resume, what it had said or been told before it
ended by itself, what it had printed, what its tools had done, what stands whole on disk. What was in flight when it
was killed is owed by nobody. A client may say more than that in any order and any words: prompts, replies and tool
calls of the scenario are looked for, the rest is its own.

Pure. Non-goals: what the API answers (:mod:`harness.checks.messages_api`), what is wrong inside a file (B, G and T).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.checks.dialogue_disk import on_disk, transcript_of
from harness.core.api_log import BlockLine, RequestLine, hash_of
from harness.core.api_script import ApiScript
from harness.core.dialogue import ClientSeen, DialogueSeen, LifeSeen, message_in
from harness.core.verdict import Damage, Violation

DIALOGUE_ROWS: Mapping[str, str] = {
    "S1": "the API refuses nothing that the client sends",  # #3003, #45286
    "S2": "what was history at one resume is history at every later one",  # #45286
    "S3": "a tool that had an effect is known to the resumed client",  # #45286
    "S4": "a reply that was printed is known to the resumed client",  # claude-agent-sdk-python#625
    "S5": "what two instances at once said and printed is known afterwards",  # #29342
    "S6": "calls and results that stand whole on disk reach the API again",  # #3003
}
"""The rows by id, each with the issue it was seen in. They are no rows of trees: a campaign has them where it talks."""
_DAMAGE: Mapping[str, Damage] = {
    "S1": "rejected",
    "S2": "lost",
    "S3": "missing",
    "S4": "lost",
    "S5": "lost",
    "S6": "unlinked",
}
_SHOWN = 6


class Item(NamedTuple):
    """Something of the scenario that a request can carry: a prompt or reply by its text, a call or result by its id."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class JudgedDialogue(NamedTuple):
    """What is wrong, and of the rows asked for, why some say nothing."""

    violations: tuple[Violation, ...]
    not_measured: dict[str, str]


def judge_dialogue(seen: DialogueSeen, script: ApiScript, rows: Iterable[str]) -> JudgedDialogue:
    """Return what a dialogue that was carried out violates of ``rows``."""
    view = _View(seen, script)
    found: list[Violation] = []
    not_measured: dict[str, str] = {}
    for name in rows:
        judge = _ROWS.get(name)
        if judge is None:
            continue
        debts = list(judge(view))
        if not debts:
            not_measured[name] = _WHY[name]
        found += [each.violation(name) for each in debts if each.lacks]
    return JudgedDialogue(tuple(found), not_measured)


class _Debt(NamedTuple):
    """What one request was to carry, and what of that it does not. ``said``: why it is owed."""

    path: str
    life: int
    owed: int
    lacks: tuple[str, ...]
    said: str

    def violation(self, row: str) -> Violation:
        """Return it as a violation of a row."""
        names = ", ".join(self.lacks[:_SHOWN]) + (" …" if len(self.lacks) > _SHOWN else "")
        text = f"in life {self.life}: {self.said}" + (
            f": {len(self.lacks)} of {self.owed} ({names})" if names else ""
        )
        return Violation(
            invariant=row, path=self.path, damage=_DAMAGE[row], message=text, ids=tuple(self.lacks[:_SHOWN])
        )


class _View:
    """The lives of a dialogue, and the items of the scenario in what was said."""

    def __init__(self, seen: DialogueSeen, script: ApiScript) -> None:
        self.lives = seen.lives
        self._turns = script.turn
        prompts = {hash_of(text): text for life in seen.lives for text in life.order.said}
        replies = {hash_of(turn.text): number for number, turn in enumerate(script.turn, 1) if turn.text}
        replies[hash_of(script.api.closing)] = 0
        self._texts = {
            **{("user", name): Item("prompt", repr(prompt)) for name, prompt in prompts.items()},
            **{("assistant", name): Item("reply", f"{number or 'closing'}") for name, number in replies.items()},
        }

    def carried(self, request: RequestLine) -> set[Item]:
        """Return what of the scenario a request carries."""
        found = set()
        for block in request.blocks:
            if block.type == "tool_use":
                found.add(Item("call", block.id))
            elif block.type == "tool_result":
                found.add(Item("result", block.id))
            found |= self._said_in(block)
        return found

    def _said_in(self, block: BlockLine) -> set[Item]:
        """Return what of the scenario a text is, and what the user said in its lines, or in those of a result.

        2.1.85 and later wrap what comes while tools run, and put it into the last result.
        """
        whole = [(block.role, block.sha256)] if block.type == "text" else []
        wrapped = [("user", line) for line in block.lines if block.role != "assistant"]
        return {item for name in whole + wrapped if (item := self._texts.get(name))}

    def answered(self, life: LifeSeen, request: RequestLine) -> set[Item]:
        """Return what the answer to a request told the client, if it got all of it."""
        if request.status != 200 or not any(e.n == request.n and e.ended == "complete" for e in life.ends):
            return set()
        found = {Item("call", call.tool_use_id) for call in request.calls}
        text = self._turns[request.turn - 1].text if request.turn else ""
        if text:
            found.add(self._texts[("assistant", hash_of(text))])
        return found

    def reply(self, sha256: str) -> Item | None:
        """Return the reply that a client printed, if it is one of the scenario."""
        return self._texts.get(("assistant", sha256))

    def first_request(self, life: LifeSeen, client: ClientSeen) -> RequestLine | None:
        """Return the first request with which a client carries its conversation on."""
        if len(life.clients) == 1:
            return next(iter(life.spoken), None)
        prompt = Item("prompt", repr(client.prompt))
        return next((each for each in life.spoken if prompt in self.carried(each)), None)

    def resumed(self) -> Iterator[tuple[int, LifeSeen, set[Item]]]:
        """Yield each life in which a client was to go on, its number, and what the client's first request carries.

        What was gone back behind on purpose is owed by nobody: a life that rewinds is the last to be asked.
        """
        for number, life in enumerate(self.lives, 1):
            if any("rewind" in before.order.keys for before in self.lives[: number - 1]):
                return
            for client in life.clients if life.order.session != "new" else ():
                request = self.first_request(life, client)
                if request is not None:
                    yield number, life, self.carried(request)
                elif len(life.clients) == 1 and client.exit_code is not None and not client.struck:
                    yield (
                        number,
                        life,
                        set(),
                    )  # it ended by itself and had said nothing: all that it owes is missing

    def begun(self, number: int) -> int:
        """Return how many lives came before the conversation that the ``number``-th goes on with."""
        return max((n for n in range(number - 1) if self.lives[n].order.session == "new"), default=0)

    def earlier(self, number: int) -> tuple[LifeSeen, ...]:
        """Return the lives of the conversation that the ``number``-th goes on with."""
        return self.lives[self.begun(number) : number - 1]

    def standing(self, life: LifeSeen) -> set[Item]:
        """Return what stands whole on disk at the end of a life: texts of the scenario, calls with their results.

        A last record that was cut is not among it.
        """
        there = on_disk(life)
        texts = {self._texts[text] for text in there.texts if text in self._texts}
        whole = texts | {Item(kind, name) for name in there.pairs for kind in ("call", "result")}
        return whole - self._items(there.last) if life.order.cut else whole

    def taken(self, life: LifeSeen) -> set[Item]:
        """Return what was in the record of which half was cut after a life."""
        return self._items(on_disk(life).last) if life.order.cut == "half" else set()

    def _items(self, last: Iterable[tuple[str, str]]) -> set[Item]:
        return {self._texts.get(each, Item(*each)) for each in last}


def _refused(view: _View) -> Iterator[_Debt]:
    for number, life in enumerate(view.lives, 1):
        for request in life.spoken:
            lacks = ("refused",) if request.kind == "refused" else ()
            yield _Debt(
                transcript_of(life), number, 1, lacks, f"the API refused request {request.n}: {request.error}"
            )


def _history(view: _View) -> Iterator[_Debt]:
    """What a client had said after a resume, or before it ended by itself, is in every later first request.

    Of one that was ended, what stood whole on disk is, but for a last record that was cut.
    """
    for number, life, carried in view.resumed():
        owed: set[Item] = set()
        for before in view.earlier(number):
            if len(before.clients) > 1:
                continue  # S5
            if before.order.session != "new" and (first := view.first_request(before, before.clients[0])):
                owed |= view.carried(first)
            if before.order.exit == "graceful":
                for request in before.spoken:
                    if request.status == 200:
                        owed |= view.carried(request) | view.answered(before, request)
            else:
                owed |= view.standing(before)
            owed -= view.taken(before)
        if owed:
            yield _debt(life, number, owed, carried, "of the history it had, it no longer sends")


def _effects(view: _View) -> Iterator[_Debt]:
    for number, life, carried in view.resumed():
        begun = view.begun(number)
        of_others = view.lives[begun - 1].effects if begun else ()
        owed = {Item("call", name) for name in view.lives[number - 2].effects if name not in of_others}
        if owed:
            yield _debt(life, number, owed, carried, "tools had an effect that it knows nothing of")


def _printed(view: _View) -> Iterator[_Debt]:
    for number, life, carried in view.resumed():
        owed = {
            item
            for before in view.earlier(number)
            if len(before.clients) == 1
            for sha256 in before.clients[0].replies
            if (item := view.reply(sha256)) is not None and item not in view.taken(before)
        }
        if owed:
            yield _debt(life, number, owed, carried, "it had printed what it no longer knows")


def _two_at_once(view: _View) -> Iterator[_Debt]:
    for number, life, carried in view.resumed():
        before = view.lives[number - 2]
        if len(before.clients) < 2 or len({client.session_id for client in before.clients}) > 1:
            continue  # where each went on in a session of its own, nothing is lost by resuming one of them
        owed = set()
        for client in before.clients:
            replies = [item for sha256 in client.replies if (item := view.reply(sha256)) is not None]
            owed |= {Item("prompt", repr(client.prompt)), *replies} if replies else set()
        if owed:
            yield _debt(life, number, owed, carried, "of what two at once had said and printed, it does not know")


def _whole_pairs(view: _View) -> Iterator[_Debt]:
    for number, life, carried in view.resumed():
        before = view.lives[number - 2]
        pairs = on_disk(before).pairs
        if pairs and not before.order.cut:
            owed = {Item("result", name) for name in pairs}
            yield _debt(
                life,
                number,
                owed,
                carried,
                "it leaves out calls that stand whole, with their results, in its file",
            )


def _debt(life: LifeSeen, number: int, owed: set[Item], carried: set[Item], said: str) -> _Debt:
    lacks = tuple(sorted(str(item) for item in owed - carried))
    return _Debt(transcript_of(life), number, len(owed), lacks, said)


_ROWS: Mapping[str, Callable[[_View], Iterator[_Debt]]] = {
    "S1": _refused,
    "S2": _history,
    "S3": _effects,
    "S4": _printed,
    "S5": _two_at_once,
    "S6": _whole_pairs,
}
_WHY: Mapping[str, str] = {
    "S1": "no request was sent",
    "S2": "nothing was certain before the first resume, or no resumed client sent a request",
    "S3": "no tool had left an effect before a resume",
    "S4": "no reply was printed before a resume",
    "S5": "no two instances had printed a reply in one session before a resume",
    "S6": "no call and its result stood whole on disk before a resume",
}


def unanswered_life(seen: DialogueSeen) -> str:
    """Return why a dialogue cannot be judged at all, or an empty string."""
    problems: Sequence[str] = [client.problem for life in seen.lives for client in life.clients if client.problem]
    spoilt = (_spoilt(number, life) for number, life in enumerate(seen.lives, 1))
    return seen.problem or next(iter(problems), "") or next(filter(None, spoilt), "")


def _spoilt(number: int, life: LifeSeen) -> str:
    """Return what did not happen in a life as its scenario says, or an empty string."""
    if life.timed_out:
        return f"life {number}: a held tool was held for as long as one is held at most"
    if failed := next((line for line in life.requests if line.failed), None):
        return f"life {number}: the scripted API could not answer: {failed.status} {failed.error}"
    if life.order.cut and not life.cut_bytes:
        return f"life {number}: it left nothing that could be cut"
    if _did_not_go_back(life):
        return f"life {number}: it did not go back: what was said before that is still sent with what came after"
    return ""


def _did_not_go_back(life: LifeSeen) -> bool:
    """Whether a request with what was said after going back still carries the prompt before it."""
    keys = life.order.keys
    said = [text for key in keys[keys.index("rewind") :] if (text := message_in(key))] if "rewind" in keys else []
    if not said or len(life.clients) != 1:
        return False
    after, before = hash_of(said[0]), hash_of(life.clients[0].prompt)
    told = ([block.sha256 for block in request.blocks if block.role == "user"] for request in life.spoken)
    return any(after in hashes and before in hashes for hashes in told)
