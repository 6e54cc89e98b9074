"""What to change in a writer so that nothing is lost: trace edits, the advice made of them, and the audit of barriers.

Plain values, so that a search (:mod:`harness.explore.power.advice`) can make them and a report can print them. Every
edit names operations by their number in the *recorded* trace, whatever other edits stand beside it.

Non-goals: source code. An edit says what the writer's operations should have been, not where they come from.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from harness.core.verdict import Damage

Place = Literal["before", "after"]
LOST: frozenset[Damage] = frozenset({"lost", "missing", "stale"})
"""The damages by which something that was acknowledged is gone."""
KILL = "kill"
"""Beside the profiles' names: what a kill alone leaves, where no barrier matters."""


class Edit(msgspec.Struct, frozen=True, kw_only=True, tag_field="edit"):
    """What all edits share: ``at`` is the operation that they are about."""

    at: int


class SyncFile(Edit, frozen=True, kw_only=True, tag="fsync_file"):
    """An fsync of inode ``ino``, which is ``path`` there, before or after operation ``at``."""

    ino: int
    path: str
    place: Place = "after"


class SyncDirectory(Edit, frozen=True, kw_only=True, tag="fsync_directory"):
    """An fsync of directory ``ino`` (0: the state directory, whose ``path`` is ``.``) before or after ``at``."""

    ino: int
    path: str
    place: Place = "after"


class DropSync(Edit, frozen=True, kw_only=True, tag="drop_sync"):
    """The sync ``at`` left out; of an open with O_SYNC or O_DSYNC, those flags."""


class ReplaceInPlace(Edit, frozen=True, kw_only=True, tag="replace_in_place"):
    """What is written to ``path`` from the open ``at`` to the close ``until`` goes to ``temporary`` instead.

    At the close follow fsync of the temporary, rename over ``path``, fsync of ``directory`` (an inode). An open that
    truncates or creates keeps its writes; of any other the temporary is written once, with the content at the close.
    """

    until: int
    ino: int
    path: str
    temporary: str
    directory: int


class RewriteInPlace(Edit, frozen=True, kw_only=True, tag="rewrite_in_place"):
    """The rename ``at`` replaced by truncating its target, writing the content there, and removing the source.

    The rewrite is synced where the source had been: what is taken away is the atomic step alone.
    """


class MoveAck(Edit, frozen=True, kw_only=True, tag="move_ack"):
    """The acknowledgement ``at`` said only after operation ``after``."""

    after: int


class MergeWrites(Edit, frozen=True, kw_only=True, tag="merge_writes"):
    """The contiguous writes ``at`` and ``others`` made one, at the place of the last."""

    others: tuple[int, ...]


class Serialise(Edit, frozen=True, kw_only=True, tag="serialise"):
    """``actors`` (labels) take turns at rewriting ``path``. A demand, not an edit of a trace.

    What a writer would have written had it read later cannot be read off a recording: it has to be recorded again.
    ``overlap`` is the operation at which one rewrite begins inside another, -1 where only the outcome tells.
    """

    path: str
    actors: tuple[str, ...]
    overlap: int = -1


AnyEdit: TypeAlias = (
    SyncFile | SyncDirectory | DropSync | ReplaceInPlace | RewriteInPlace | MoveAck | MergeWrites | Serialise
)
StepKind = Literal["fsync_file", "fsync_directory", "replace_in_place", "move_ack", "merge_writes"]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which states are violated, and in how many distinct ones, under a profile or ``kill``."""

    under: str
    invariant: str
    damage: Damage
    role: str
    states: int


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The distinct states under a profile or ``kill``, and how many of them are violated.

    ``exhaustive``: these are all that the profile allows, none was sampled.
    """

    under: str
    distinct: int
    violated: int
    exhaustive: bool = True


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the writer: the same edit at every place where it does the same.

    ``path`` and ``at`` are of the first place; ``until`` is the operation that the change leads up to (the rename or
    acknowledgement after a barrier, the close of a rewrite), -1 where there is none, and ``until_kind`` its kind.
    ``without`` are the violations that come back if the other steps are made and this one is not.
    """

    kind: StepKind
    edits: tuple[AnyEdit, ...]
    at: int
    at_kind: str
    path: str
    until: int = -1
    until_kind: str = ""
    without: tuple[Cause, ...] = ()
    without_states: int = 0


class Heal(msgspec.Struct, frozen=True, kw_only=True):
    """What the next start has to do: cut the damaged tail off record files of ``role``.

    ``closes_turns``: and close the tool turn that is open where the file then ends.
    """

    role: str
    closes_turns: bool = False


Outcome = Literal["nothing", "repaired", "partly", "serialise", "none", "unfinished"]
"""Nothing to advise; 0 states violated after the steps; fewer kinds of damage; take turns first; no edit helps; the
search was cut off."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What would repair a writer. ``before`` and ``after`` count states under each profile and under ``kill``.

    ``heals``: what the next start has to do as well, where no edit of the writer is enough. ``barriers_leave``: the
    states that stay violated with every barrier there could be, ``barriers_leave_kill`` those of them that a kill
    leaves; said where barriers alone were refused (-1: not asked). ``remains``: what the steps do not repair.
    ``shared``: a file that several actors replace, in turns as far as this run shows; nothing in it says that they
    always do. ``judged`` counts judgements of states.
    """

    outcome: Outcome
    profiles: tuple[str, ...]
    before: tuple[Tally, ...] = ()
    after: tuple[Tally, ...] = ()
    steps: tuple[Step, ...] = ()
    heals: tuple[Heal, ...] = ()
    serialise: Serialise | None = None
    shared: Serialise | None = None
    barriers_leave: int = -1
    barriers_leave_kill: int = -1
    remains: tuple[Cause, ...] = ()
    judged: int = 0
    note: str = ""


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """What leaving a barrier out does under one profile: states violated in ways that were not there before."""

    under: str
    states: int
    causes: tuple[Cause, ...] = ()
    singles: int = 0
    """Of the barriers of the class that were left out one by one, those without which anything is violated."""


class Barrier(msgspec.Struct, frozen=True, kw_only=True):
    """The barriers of one kind at one place of a writer's cycle. ``operations`` are all of them.

    ``position`` says where: before or after which operation on what. ``removals`` has a row for every profile;
    ``tried`` of them were left out one by one as well.
    """

    kind: str
    role: str
    path: str
    position: str
    operations: tuple[int, ...]
    removals: tuple[Removal, ...] = ()
    tried: int = 0

    @property
    def load_bearing(self) -> tuple[str, ...]:
        """The profiles under which something is violated without it."""
        return tuple(item.under for item in self.removals if item.states or item.singles)


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Every barrier of a writer: under which profiles it is load-bearing. ``before``: the writer as it is."""

    profiles: tuple[str, ...]
    before: tuple[Tally, ...] = ()
    barriers: tuple[Barrier, ...] = ()
    judged: int = 0
    note: str = ""
