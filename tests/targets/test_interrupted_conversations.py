"""The three errors of seed 001, byte for byte, from conversations that interruptions of the real writers left.

A writer goes on with a history of so many turns; in the next one its tools run, and it is interrupted: killed at an
exact operation, by the user's escape or ctrl-c, or by a full disk. What its own ``resume`` would then send is put to
the validator. The expected text is the seed's with the id of our call in the place of its own; the index of the
message comes out of the number of turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.campaign.work import run_once
from harness.catalog.steps import Step, Tools, generate
from harness.checks import Expectation, Judge, conversation_of, validate
from harness.checks.messages_api import breaches
from harness.core.apply import trees_before
from harness.core.fault import NO_FAULTS, CrashPoint, Errno, FaultPlan, Kill
from harness.core.operation import Write
from harness.core.point import crash_points
from harness.core.run import Recording
from harness.core.trace import Trace
from harness.core.tree import Tree
from harness.engines import engine
from tests.targets import conversations as talk
from tests.targets.plain_run import Bench

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(engine("ptrace").available()), reason=engine("ptrace").available()),
]
Make = Callable[..., Bench]
Json = dict[str, Any]
ENOSPC = 28
TRIES = 5
"""What a batch holds is for the clock to say: a busy machine may cut it elsewhere than in the run before."""

ONE_OPEN = (
    'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"messages.29: `tool_use` ids '
    "were found without `tool_result` blocks immediately after: toolu_013ckU2JwQXpVxFdvi3xKT6T. Each `tool_use` "
    'block must have a corresponding `tool_result` block in the next message."}}'
)
TWO_OPEN = (
    'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"messages.9: `tool_use` ids were '
    "found without `tool_result` blocks immediately after: toolu_0159A3WFTNviEbqP5udwQEjV, "
    "toolu_01V6BgQw5nXvM93fDkouSxqe. Each `tool_use` block must have a corresponding `tool_result` block in the next "
    'message."}}'
)
ORPHAN = (
    'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"messages.6.content.0: '
    "unexpected `tool_use_id` found in `tool_result` blocks: toolu_012UKNLZsKcnA6fXh1k8qWop. Each `tool_result` block "
    'must have a corresponding `tool_use` block in the previous message."}}'
)
"""As the seed has them: a turn after fourteen others, after four, and after three prompts."""


class Talk:
    """A writer about to go on after ``turns`` turns, with ``tools`` tools in the next one."""

    def __init__(self, bench: Make, name: str, turns: int, tools: int, user: str = "") -> None:
        running = Tools(parallel=tools, duration_ms=(250, 300), result_bytes=(20, 200))
        steps = generate(1, 1, 1, running)
        self.ids = [step.tool_id for step in steps if step.do == "tool_start"]
        if user:  # the user interrupts while all of them are open
            steps = (*(step for step in steps if step.do != "tool_done"), Step(do=user))  # type: ignore[arg-type]
        few = {"sessions": 1, "updates": turns, "record_bytes": (20, 200), "tools": running, "steps": steps}
        self.writer = bench(f"transcript/{name}", **few)
        assert self.writer.subject.spec.tools is not None

    def run(self, plan: FaultPlan = NO_FAULTS) -> Recording:
        return run_once("ptrace", self.writer.subject.spec, plan)

    def killed(self, *, answered: int = 0) -> Recording:
        """Kill the writer at the operation before which all calls, and so many results, are on disk."""
        for _ in range(TRIES):
            trace = self.run().trace
            assert trace is not None
            point = next(point for point, tree in places(trace) if self.is_open(tree, answered))
            run = self.run(FaultPlan(faults=(Kill(at=point),)))
            assert (run.ending, run.signal) == ("signalled", 9)
            if self.is_open(run.final, answered):
                return run
        pytest.fail(f"{TRIES} kills and no turn is open")

    def is_open(self, tree: Tree, answered: int) -> bool:
        """Whether all calls are in the transcript, and so many results."""
        (data,) = transcripts(tree)
        asked = sum(f'"type":"tool_use","id":"{name}"'.encode() in data for name in self.ids)
        done = sum(f'"tool_use_id":"{name}"'.encode() in data for name in self.ids)
        return (asked, done) == (len(self.ids), answered)

    def sent(self) -> list[Json]:
        """Return what the writer's own resume would send of what is on disk now."""
        sent = talk.messages(self.writer)
        assert blocks(sent)[-1] == ("text", "Continue.")
        return sent

    def rebuilt(self) -> list[Json]:
        """Return what the harness rebuilds of it, and the next prompt."""
        (path,) = talk.transcripts(self.writer).values()
        prompt = {"role": "user", "content": [{"type": "text", "text": "Continue."}]}
        return [*conversation_of(talk.records(path)).messages, prompt]


def transcripts(tree: Tree) -> list[bytes]:
    return [file.content.to_bytes() for path, file in tree.files() if path.endswith(".jsonl")]


def places(trace: Trace) -> Iterator[tuple[CrashPoint, Tree]]:
    """Yield the places where a run can be killed, each with the tree before it."""
    for point, tree in zip(crash_points(trace, trees_before(trace)), trees_before(trace), strict=False):
        if point is not None:
            yield point, tree


def blocks(messages: list[Json]) -> list[tuple[str, str]]:
    """Return type and id (or text) of every block, in order."""
    found = [block for message in messages for block in message["content"]]
    return [(each["type"], each.get("id") or each.get("tool_use_id") or each.get("text", "")) for each in found]


def shown(messages: list[Json]) -> str:
    """Return the line that a user would see, or an empty string."""
    error = validate(messages)
    return error.shown if error is not None else ""


def as_ours(text: str, *ids: tuple[str, str]) -> str:
    """Return the seed's text with our ids, which have the same shape as its own."""
    for theirs, ours in ids:
        assert theirs in text and len(ours) in (len(theirs), len("toolu_") + 24)
        text = text.replace(theirs, ours)
    return text


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("per_record", "kill"),
        ("per_record", "escape"),
        ("per_record", "ctrl_c"),
        ("read_modify_write", "kill"),
        ("read_modify_write_node", "escape"),
        ("batched", "kill"),
        ("batched_node", "escape"),
    ],
)
def test_a_turn_interrupted_after_fourteen_others(bench: Make, name: str, how: str) -> None:
    turns = 14
    said = Talk(bench, name, turns, 1, "" if how == "kill" else how)
    run = said.killed() if how == "kill" else said.run()
    assert run.signal == {"kill": 9, "ctrl_c": 2, "escape": None}[how]
    sent = said.sent()
    assert blocks(said.rebuilt()) == blocks(sent)
    assert shown(sent) == as_ours(ONE_OPEN, ("toolu_013ckU2JwQXpVxFdvi3xKT6T", said.ids[0]))
    assert next(breaches(sent)).message == 2 * turns + 1


@pytest.mark.parametrize(
    ("name", "how"), [("read_modify_write", "kill"), ("per_record", "ctrl_c"), ("batched_node", "kill")]
)
def test_two_parallel_calls_interrupted_after_four_turns(bench: Make, name: str, how: str) -> None:
    turns = 4
    said = Talk(bench, name, turns, 2, "" if how == "kill" else how)
    run = said.killed() if how == "kill" else said.run()
    assert run.signal == (9 if how == "kill" else 2)
    first, second = said.ids
    sent = said.sent()
    assert blocks(said.rebuilt()) == blocks(sent)
    assert shown(sent) == as_ours(
        TWO_OPEN, ("toolu_0159A3WFTNviEbqP5udwQEjV", first), ("toolu_01V6BgQw5nXvM93fDkouSxqe", second)
    )
    assert next(breaches(sent)).message == 2 * turns + 1


def drop(said: Talk, mark: str) -> Recording:
    """Run the writer on a disk that is full for the one write that holds ``mark``."""
    trace = said.run().trace
    assert trace is not None
    points = crash_points(trace, trees_before(trace))
    writes = zip(trace.operations, points, strict=True)
    at = next(p for op, p in writes if isinstance(op, Write) and mark.encode() in op.data and p is not None)
    run = said.run(FaultPlan(faults=(Errno(at=at, errno=ENOSPC),)))
    assert (run.exit_code, len(run.delivered)) == (0, 1)
    return run


def test_an_assistant_line_that_the_writer_dropped(bench: Make) -> None:
    """#31328, by a full disk: the line of the call is gone, its result is saved."""
    turns = 2
    said = Talk(bench, "per_record", turns, 1)
    run = drop(said, f'"type":"tool_use","id":"{said.ids[0]}"')
    sent = said.sent()
    assert shown(sent) == as_ours(ORPHAN, ("toolu_012UKNLZsKcnA6fXh1k8qWop", said.ids[0]))
    first = next(breaches(sent))
    assert (first.message, first.content) == (2 * turns + 2, 0)
    assert judged(said, run) == {"G2", "T2"}


def judged(said: Talk, run: Recording) -> set[str]:
    """Return which of G2, T1 and T2 the tree of a run violates."""
    null = said.run().trace
    assert null is not None
    bindings = said.writer.subject.bindings
    found = Judge(bindings, Expectation.from_trace(null, bindings), ("G2", "T1", "T2")).judge(
        run.final, len(run.acks), "kill"
    )
    return {item.invariant for item in found}


@pytest.mark.parametrize("how", ["kill", "drop"])
def test_three_calls_and_two_results(bench: Make, how: str) -> None:
    """The shape of seed 000: the assistant's message has three calls, the user's two results."""
    turns = 1
    said = Talk(bench, "per_record", turns, 3)
    if how == "kill":
        run = said.killed(answered=2)
        lost = [each for each in said.ids if f'"tool_use_id":"{each}"'.encode() not in transcripts(run.final)[0]]
    else:
        lost = [said.ids[1]]
        run = drop(said, f'"tool_use_id":"{lost[0]}"')
    sent = said.sent()
    called = [block["id"] for block in sent[2 * turns + 1]["content"] if block["type"] == "tool_use"]
    answered = [block["tool_use_id"] for block in sent[2 * turns + 2]["content"] if block["type"] == "tool_result"]
    assert (called, sorted([*answered, *lost])) == (said.ids, sorted(said.ids))
    assert f"messages.{2 * turns + 1}: `tool_use` ids were found without" in shown(sent)
    assert f"immediately after: {lost[0]}. Each" in shown(sent)
    assert "T1" in judged(said, run)


@pytest.mark.parametrize("name", ["durable", "checkpointed"])
@pytest.mark.parametrize("how", ["kill", "escape", "ctrl_c"])
def test_a_writer_that_closes_its_turns_is_never_refused(bench: Make, name: str, how: str) -> None:
    said = Talk(bench, name, 4, 2, "" if how == "kill" else how)
    run = said.killed() if how == "kill" else said.run()
    assert run.signal == {"kill": 9, "ctrl_c": 2, "escape": None}[how]
    assert shown(said.sent()) == ""
