"""Facts of registry entries: what a killed writer leaves of one, and what its lister, its next start and a person
make of that.

A damaged state is one of the variant's own kill states. A variant that leaves none is shown one that ``in_place`` left,
where the question is what it makes of a damaged entry; where it is what its own damage costs, there is nothing to lose.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from harness.campaign.programs import CommandOutcome
from harness.catalog import Workload, parse_listing, parse_losses
from harness.catalog.listing import found_session
from harness.core.content import content_of
from harness.core.fault import FaultClass, FaultPlan, Timed
from harness.core.run import Recording
from harness.core.tree import File, Tree
from harness.core.verdict import Violation
from harness.explore.power.exploration import PowerPredicate
from harness.sandbox.environment import real_python
from harness.seeds.bench import UNWATCHED, Bench, NotThereError, bench
from harness.seeds.claim import Claim, Fact
from harness.seeds.losses import cuts_with, spell_cuts, spell_states, states_with

WORKLOAD = Workload(sessions=2, updates=4, record_bytes=(60, 3_000))
ENTRIES, LEASES = "*/local_*.json", "*/git-worktrees.json"
NOTHING_LOST = "no kill of this writer leaves an entry that cannot be read"
_KILL_US = 20_000

Entry = dict[str, Any]


class DamagedEntry(NamedTuple):
    """A state with an entry that cannot be read: its path and id, and what the entry was before."""

    state: Tree
    path: str
    session: str
    before: Entry


def _entries(state: Tree, pattern: str = ENTRIES) -> Iterator[tuple[str, bytes]]:
    for path, file in state.files():
        if fnmatch.fnmatch(path, pattern):
            yield path, file.content.to_bytes()


def _parsed(data: bytes) -> Entry | None:
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError):
        return None


def _all_damaged(here: Bench) -> Iterator[DamagedEntry]:
    """Yield the writer's kill states with an entry that cannot be read, in the order of the run."""
    old: dict[str, Entry] = {}
    for tree in (here.start, *(state.tree for state in here.killed())):
        for path, data in _entries(tree):
            now = _parsed(data)
            if now is not None:
                old[path] = now
            elif data and path in old:
                yield DamagedEntry(tree, path, str(old[path]["sessionId"]), old[path])


def _damaged(here: Bench) -> DamagedEntry | None:
    """Return the first of them."""
    return next(_all_damaged(here), None)


def _any_damaged(here: Bench) -> DamagedEntry:
    own = _damaged(here)
    if own is not None:
        return own
    with bench("registry/in_place", WORKLOAD) as other:
        found = _damaged(other)
    assert found is not None, "in_place leaves a damaged entry"
    return found


def nul_bytes(claim: Claim) -> Fact:
    """The size of the largest entry of nothing but NUL bytes that a kill of the writer leaves; 0 if none does."""
    with bench(claim.variant, WORKLOAD) as here:
        states = here.killed()
    sizes = [len(data) for state in states for _, data in _entries(state.tree) if data and not data.strip(b"\0")]
    shown = f"{len(sizes)} of {len(states):,} kill states have an entry of NUL bytes alone"
    return Fact(value=max(sizes, default=0), shown=shown + (f", {max(sizes):,} bytes" if sizes else ""))


def _nul_entry(tree: Tree) -> int:
    """Return the size of the largest registry entry that is nothing but NUL bytes; 0 without one."""
    files = (file for path, file in tree.files() if fnmatch.fnmatch(path, ENTRIES) and file.content.size)
    return max((file.content.size for file in files if not file.content.to_bytes().strip(b"\0")), default=0)


class _NulEntries:
    """A judge that is content with all but entries of NUL bytes; ``largest`` is the greatest it has seen."""

    def __init__(self) -> None:
        self.largest = 0

    def look(self, here: Bench, recording: Recording) -> PowerPredicate:
        """Return what judges states of one recording."""
        del here, recording
        return self._judge

    def _judge(self, tree: Tree, acked: int, fault_class: FaultClass) -> list[Violation]:
        del acked, fault_class
        size = _nul_entry(tree)
        self.largest = max(size, self.largest)
        return [Violation(invariant="M1", path="", damage="nul", message=f"{size} NUL bytes")] if size else []

    def fact(self, text: str) -> Fact:
        """Return the size, and in words how often."""
        size = f", {self.largest:,} bytes" if self.largest else ""
        return Fact(value=self.largest, shown=f"an entry of NUL bytes alone{size}: {text}")


def nul_by_power(claim: Claim) -> Fact:
    """The size of the largest entry of nothing but NUL bytes that a power loss can leave; 0 if none can."""
    seen = _NulEntries()
    found = states_with(claim, seen.look)
    return seen.fact(spell_states(found))


def nul_in_cuts(claim: Claim) -> Fact:
    """The size of the largest such entry that a cut of a real disk shows; 0 if none does.

    The run begins with entries that are still short, as before the application filled them: a disk gives freed blocks
    out again at once, and an entry that is rewritten over one of its own size shows parts of that one where its data
    are missing.
    """
    seen = _NulEntries()
    found = cuts_with(claim, seen.look, _short_entries)
    return seen.fact(spell_cuts(found))


def _short_entries(tree: Tree) -> Tree:
    for path, file in list(tree.files()):
        entry = _parsed(file.content.to_bytes()) if fnmatch.fnmatch(path, ENTRIES) else None
        if entry is not None:
            entry["remoteMcpServersConfig"][0]["instructions"] = ""
            short = content_of(json.dumps(entry).encode())
            tree = tree.with_node(tree.names[path], file._replace(content=short))
    return tree


def intact_bytes(claim: Claim) -> Fact:
    """How many bytes of the large transcript are there, unchanged and whole lines of JSON, after a kill; else 0."""
    with bench(claim.variant, WORKLOAD, flags=("--large",)) as here:
        old = dict(_entries(here.start, "projects/*.jsonl"))
        recording = here.record(FaultPlan(faults=(Timed(delay_us=_KILL_US),)), UNWATCHED)
        if not recording.signal:
            raise NotThereError(f"{claim.variant}: its run ended before the kill")
        path, before = max(old.items(), key=lambda item: len(item[1]))
    node = recording.final.node_at(path)
    after = node.content.to_bytes() if isinstance(node, File) else b""
    whole = after.startswith(before) and all(_parsed(line) is not None for line in before.split(b"\n")[:-1])
    shown = f"killed by signal {recording.signal}: {len(before):,} bytes {'intact' if whole else 'damaged'}"
    return Fact(value=len(before) if whole else 0, shown=shown)


def lease_intact(claim: Claim) -> Fact:
    """Whether the file of leases can be read in every state that a kill of the writer leaves.

    In words also of how many states with a damaged entry: those are the document's own.
    """
    with bench(claim.variant, WORKLOAD) as here:
        states = here.killed()
    kept = [all(_parsed(data) is not None for _, data in _entries(state.tree, LEASES)) for state in states]
    orphaned = [
        whole
        for whole, state in zip(kept, states, strict=True)
        if any(_parsed(data) is None for _, data in _entries(state.tree))
    ]
    shown = f"{sum(kept):,} of {len(kept):,} kill states have leases that can be read"
    shown += f", among them {sum(orphaned):,} of {len(orphaned):,} with an entry that cannot" if orphaned else ""
    return Fact(value=all(kept), shown=shown)


def lease_of_orphan(claim: Claim) -> Fact:
    """Whether a lease still points at the session whose entry cannot be read."""
    with bench(claim.variant, WORKLOAD) as here:
        found = _damaged(here)
    if found is None:
        return Fact(value=False, shown=NOTHING_LOST)
    leases = [_parsed(data) or {"worktrees": {}} for _, data in _entries(found.state, LEASES)]
    named = [
        lease for each in leases for lease in each["worktrees"].values() if lease["leasedBy"] == found.session
    ]
    return Fact(value=bool(named), shown=f"{len(named)} leases are held by the session whose entry is damaged")


def _names(found: DamagedEntry) -> set[str]:
    return {found.session, str(found.before["cliSessionId"])}


def hidden_from_list(claim: Claim) -> Fact:
    """Whether the lister, archived sessions included, leaves out a session whose entry cannot be read."""
    with bench(claim.variant, WORKLOAD) as here:
        found = _any_damaged(here)
        listed = parse_listing(here.list(found.state).result.stdout)
    shown = not _names(found).isdisjoint(listed.ids)
    return Fact(
        value=not shown, shown=f"it lists {len(set(listed.ids))} ids, {'one' if shown else 'none'} of them its own"
    )


def hidden_from_resume(claim: Claim) -> Fact:
    """Whether resuming by the id of the intact transcript fails."""
    with bench(claim.variant, WORKLOAD) as here:
        found = _any_damaged(here)
        result = here.resume(found.state, str(found.before["cliSessionId"])).result
    there = result.exit_code == 0 and found_session(result.stdout)
    return Fact(value=not there, shown="resumed by its transcript" if there else "no session of this id")


def warned(claim: Claim) -> Fact:
    """Whether the lister names the entry that it cannot read."""
    with bench(claim.variant, WORKLOAD) as here:
        found = _any_damaged(here)
        listed = parse_listing(here.list(found.state).result.stdout)
    named = [name for name in listed.warned if found.session in name]
    return Fact(value=bool(named), shown=f"{len(named)} warnings name it")


def _after_start(claim: Claim) -> tuple[DamagedEntry, CommandOutcome, Entry | None]:
    """Return a damaged state, the variant's next start on it, and the entry as that start left it."""
    with bench(claim.variant, WORKLOAD) as here:
        found = _any_damaged(here)
        started = here.recover(found.state)
    node = started.after.node_at(found.path)
    return found, started, _parsed(node.content.to_bytes()) if isinstance(node, File) else None


def stub(claim: Claim) -> Fact:
    """Whether the next start makes an entry again: the session's directory and transcript, its last title."""
    found, _, entry = _after_start(claim)
    keys = ("sessionId", "cliSessionId", "cwd", "worktreePath", "branch", "title")
    owed = found.before | {"title": _title(found)}
    same = [key for key in keys if entry is not None and entry.get(key) == owed[key]]
    shown = f"as before: {', '.join(same) or 'nothing'}"
    return Fact(value=len(same) == len(keys), shown=shown if entry else "the entry still cannot be read")


def backup_kept(claim: Claim) -> Fact:
    """Whether the damaged bytes are kept beside the entry that the next start makes."""
    found, started, _ = _after_start(claim)
    node = found.state.node_at(found.path)
    damaged = node.content.to_bytes() if isinstance(node, File) else b""
    kept = [path for path, data in _entries(started.after, "*.corrupted-bak*") if data == damaged]
    return Fact(
        value=bool(kept), shown=f"{len(kept)} files *.corrupted-bak hold the {len(damaged):,} damaged bytes"
    )


def losses_told(claim: Claim) -> Fact:
    """What the next start says is lost, as the names of settings."""
    found, started, _ = _after_start(claim)
    told = sorted(field for field, session in parse_losses(started.result.stdout) if session == found.session)
    return Fact(value=" ".join(told), shown=f"reported lost: {', '.join(told) or 'nothing'}")


def _title(found: DamagedEntry) -> str:
    """Return the last title that a session's transcript was given by its user, else the one a model made."""
    titles: dict[str, str] = {}
    for _, data in _entries(found.state, f"projects/*/{found.before['cliSessionId']}.jsonl"):
        for line in data.split(b"\n"):
            record = _parsed(line) or {}
            titles |= {key: record[key] for key in ("customTitle", "aiTitle") if key in record}
    return titles.get("customTitle") or titles.get("aiTitle", "")


def _template(found: DamagedEntry) -> str:
    """Return the path of an entry that can be read: the one that the procedure copies."""
    return next(path for path, data in _entries(found.state) if _parsed(data) is not None)


def _by_hand(here: Bench, found: DamagedEntry) -> CommandOutcome:
    """Repair a damaged entry with the procedure that the document publishes."""
    registry = found.path.rpartition("/")[0]
    old = found.before
    words = [
        _template(found).rpartition("/")[2].removesuffix(".json"),
        found.session,
        old["cliSessionId"],
        old["cwd"],
    ]
    words += [old["originCwd"], _title(found), str(old["createdAt"]), str(old["lastActivityAt"])]
    script = here.path("manual_recovery.py")
    directory = f"{here.subject.spec.root}/{registry}"
    return here.command((real_python(), "-BEsS", script, directory, *words), found.state)


def manual_recovery(claim: Claim) -> Fact:
    """Whether the published procedure brings a session back whose entry the writer's kill made unreadable."""
    with bench(claim.variant, WORKLOAD) as here:
        found = _damaged(here)
        if found is None:
            return Fact(value=False, shown=NOTHING_LOST)
        repaired = _by_hand(here, found)
        ids = parse_listing(here.list(repaired.after).result.stdout).ids
        result = here.resume(repaired.after, str(found.before["cliSessionId"])).result
    back = found.session in ids and result.exit_code == 0
    return Fact(value=back, shown="listed and resumed again" if back else "still not listed")


def settings_gone(claim: Claim) -> Fact:
    """Whether each of the settings in ``of`` is another one after the published procedure than before the damage.

    Asked of a damaged entry that differs in all of them from the one that the procedure copies: equal ones show
    nothing. Raises :class:`NotThereError` where a writer's kills damage entries, and none of that kind.
    """
    keys = claim.of.split()
    with bench(claim.variant, WORKLOAD) as here:
        damaged = list(_all_damaged(here))
        if not damaged:
            return Fact(value=False, shown=NOTHING_LOST)
        found = next((each for each in damaged if _differs(each, keys)), None)
        if found is None:
            raise NotThereError(
                f"{claim.variant}: no damaged entry differs from the others in {' and '.join(keys)}"
            )
        repaired = _by_hand(here, found)
    node = repaired.after.node_at(found.path)
    after = (_parsed(node.content.to_bytes()) if isinstance(node, File) else None) or {}
    told = [f"{key} {json.dumps(found.before[key])} is now {json.dumps(after.get(key))}" for key in keys]
    gone = all(after.get(key) != found.before[key] for key in keys)
    return Fact(value=gone, shown="; ".join(told))


def _differs(found: DamagedEntry, keys: list[str]) -> bool:
    """Whether a damaged entry had other settings than the one that the procedure copies, in every key."""
    copied = _parsed(dict(_entries(found.state))[_template(found)]) or {}
    return all(copied.get(key) != found.before.get(key) for key in keys)


MEASUREMENTS: Mapping[str, Callable[[Claim], Fact]] = MappingProxyType(
    {
        "backup_kept": backup_kept,
        "hidden_from_list": hidden_from_list,
        "hidden_from_resume": hidden_from_resume,
        "intact_bytes": intact_bytes,
        "lease_intact": lease_intact,
        "lease_of_orphan": lease_of_orphan,
        "losses_told": losses_told,
        "manual_recovery": manual_recovery,
        "nul_bytes": nul_bytes,
        "nul_by_power": nul_by_power,
        "nul_in_cuts": nul_in_cuts,
        "settings_gone": settings_gone,
        "stub": stub,
        "warned": warned,
    }
)
"""By the name that a claim gives."""
