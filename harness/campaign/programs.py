"""What a worker process does with real programs and trees: recovery, lister, reader, check, on copies of a state.

Top-level functions from values to values, like those of :mod:`harness.campaign.work`.
"""

from __future__ import annotations

import msgspec

from harness.campaign.work import run_once
from harness.catalog import fill
from harness.checks import Bindings, FileBinding, sessions_to_resume
from harness.checks.listing import session_id
from harness.core.damage import damaged
from harness.core.fault import Damaged, FaultPlan
from harness.core.role import path_role
from harness.core.run import Delivered, Recording, RunSpec
from harness.core.tree import EMPTY_TREE, File, Tree
from harness.sandbox.command import CommandResult, run_command
from harness.sandbox.forked import run_function, stand_in
from harness.sandbox.materialise import write_tree
from harness.sandbox.snapshot import read_tree
from harness.sandbox.workspace import prepare

COMMAND_TIMEOUT_S = 10.0
SESSIONS_READ = 3
"""How many damaged sessions of one run the target's own reader is shown, and how many it is asked to resume."""
READ, RESUME = "read ", "resume "
"""What the names of commands begin with that are run for one session; its id follows."""


Commands = tuple[tuple[str, tuple[str, ...]], ...]
"""Programs by name, each with its arguments."""


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Programs to run on a copy of one state; each gets the same state anew. Empty argv: not run."""

    spec: RunSpec
    state: Tree
    commands: Commands


class CommandOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one program did to a copy of a state, and the tree it left.

    A recovery that succeeded is run once more on what it left: ``second`` and ``again`` are of that run.
    """

    name: str
    result: CommandResult
    after: Tree
    second: CommandResult | None = None
    again: Tree | None = None


def inspect(request: CommandRequest) -> tuple[CommandOutcome, ...]:
    """Run each command on its own copy of the state, which stands at the recording's own absolute path."""
    outcomes = []
    for name, argv in request.commands:
        prepare(msgspec.structs.replace(request.spec, start=request.state))
        outcome = CommandOutcome(name=name, result=_run(request.spec, argv), after=_tree(request.spec))
        if name == "recover" and outcome.result.exit_code == 0:
            second = _run(request.spec, argv)
            outcome = msgspec.structs.replace(outcome, second=second, again=_tree(request.spec))
        outcomes.append(outcome)
    return tuple(outcomes)


def _run(spec: RunSpec, argv: tuple[str, ...]) -> CommandResult:
    return run_command(argv, cwd=spec.cwd, environment=spec.environment, timeout_s=COMMAND_TIMEOUT_S)


def _tree(spec: RunSpec) -> Tree:
    return read_tree(spec.root).tree


def resume_commands(
    resume: tuple[str, ...], tree: Tree, bindings: tuple[FileBinding, ...], start: Tree
) -> Commands:
    """Return the commands that ask a target to resume the sessions of a tree which it must find, the first few."""
    ids = sessions_to_resume(tree, bindings, start)[:SESSIONS_READ] if resume else ()
    return tuple((f"{RESUME}{name}", fill(resume, id=name)) for name in ids)


class ExamineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks at the tree that a run left: programs of the target by name, a check, a reader of sessions.

    ``read`` holds ``{id}`` and is run for the sessions that this run made or changed, of the path roles in ``roles``;
    ``resume`` holds it too and is run for sessions whose transcript is intact. ``repair`` is the recovery that a
    fault plan may strike.
    """

    commands: Commands = ()
    check: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    bindings: tuple[FileBinding, ...] = ()
    repair: tuple[str, ...] = ()


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A run, and what real programs said of the tree it left. ``reads`` are by session id."""

    recording: Recording
    outcomes: tuple[CommandOutcome, ...] = ()
    check: CommandResult | None = None
    reads: dict[str, CommandResult] = {}


NOBODY = ExamineRequest()


def run_and_examine(
    engine_name: str, spec: RunSpec, plan: FaultPlan, request: ExamineRequest = NOBODY
) -> Examined:
    """Run the target under ``plan``, then let real programs look at copies of the tree that was read from disk."""
    if plan.fault_class == "damage":
        recording = _run_and_damage(engine_name, spec, plan, request.repair)
    else:
        recording = run_once(engine_name, spec, plan)
    commands = list(request.commands)
    if request.read:
        ids = changed_sessions(recording, request)
        commands += [(f"{READ}{name}", fill(request.read, id=name)) for name in ids]
    commands += resume_commands(request.resume, recording.final, request.bindings, spec.start)
    outcomes = inspect(CommandRequest(spec=spec, state=recording.final, commands=tuple(commands)))
    check = None
    if request.check:
        (check,) = run_check(
            CheckRequest(spec=spec, argv=request.check, states=((recording.final, recording.acks),))
        )
    return Examined(
        recording=recording,
        outcomes=tuple(item for item in outcomes if not item.name.startswith(READ)),
        check=check,
        reads={item.name.removeprefix(READ): item.result for item in outcomes if item.name.startswith(READ)},
    )


def run_and_examine_all(
    engine_name: str, spec: RunSpec, plan: FaultPlan, requests: tuple[ExamineRequest, ...]
) -> tuple[Examined, ...]:
    """Run the target once per request, one after the other: what an engine keeps between runs ends with the call."""
    return tuple(run_and_examine(engine_name, spec, plan, request) for request in requests)


def run_repair(engine_name: str, spec: RunSpec, argv: tuple[str, ...], tree: Tree, plan: FaultPlan) -> Recording:
    """Run a target's recovery on a tree, watched, under ``plan``."""
    return run_once(engine_name, msgspec.structs.replace(spec, argv=argv, start=tree, tools=None), plan)


def _run_and_damage(engine_name: str, spec: RunSpec, plan: FaultPlan, repair: tuple[str, ...]) -> Recording:
    """Run the target undisturbed, damage what it left, and start its recovery where the plan strikes that.

    The recording returned is of what came last; its acknowledgements are of the undisturbed run.
    """
    recording = run_once(engine_name, spec)
    tree, later = recording.final, []
    for fault in plan.faults:
        if isinstance(fault, Damaged):
            tree = damaged(tree, _same_place(tree, fault.path), fault.damage, spec.start)
        else:
            later.append(fault)
    proof = (Delivered(fault="damage", seq=0, pid=recording.pid),) if tree.key != recording.final.key else ()
    recording = msgspec.structs.replace(recording, final=tree, delivered=proof)
    if not later or not proof:
        return recording
    struck = run_repair(engine_name, spec, repair, tree, FaultPlan(faults=tuple(later)))
    return msgspec.structs.replace(struck, acks=recording.acks)


def _same_place(tree: Tree, path: str) -> str:
    """Return ``path``, or, where names are random, the first file of a tree that plays its role."""
    if path in tree.names:
        return path
    return next((name for name, _ in sorted(tree.files()) if path_role(name) == path_role(path)), path)


def changed_sessions(recording: Recording, request: ExamineRequest) -> list[str]:
    """Return the ids of the sessions that a run made or changed, at most :data:`SESSIONS_READ`."""
    bindings, start = Bindings(request.bindings), recording.spec.start
    found = []
    for path, file in sorted(recording.final.files()):
        binding = bindings.of(path)
        old = start.node_at(path)
        unchanged = isinstance(old, File) and old.content == file.content
        if binding is not None and binding.names_session and not unchanged and path_role(path) in request.roles:
            found.append(session_id(path))
    return found[:SESSIONS_READ]


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A user's check and the states it is to judge. ``argv`` may hold ``{acked}`` and ``{acks}``."""

    spec: RunSpec
    argv: tuple[str, ...]
    states: tuple[tuple[Tree, tuple[str, ...]], ...]


def run_check(request: CheckRequest) -> tuple[CommandResult, ...]:
    """Judge copies of states by the exit code of a program, or of what stands in for it: one result per state."""
    results = []
    base = msgspec.structs.replace(request.spec, start=EMPTY_TREE)
    prepare(base)
    acks_file = f"{request.spec.environment['TMPDIR']}/acks"
    for tree, acks in request.states:
        write_tree(tree, request.spec.root)
        with open(acks_file, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.writelines(f"{ack}\n" for ack in acks)
        acked = acks[-1] if acks else "0"
        argv = tuple(word.replace("{acked}", acked).replace("{acks}", acks_file) for word in request.argv)
        function = stand_in(argv)
        results.append(
            _run(request.spec, argv)
            if function is None
            else run_function(function, argv, cwd=request.spec.cwd, timeout_s=COMMAND_TIMEOUT_S)
        )
    return tuple(results)
