"""Facts of the programs that keep an index: what entries hold, what the picker shows and says, what a rebuild costs."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from harness.catalog import Workload, parse_listing
from harness.catalog.listing import found_session
from harness.catalog.profiles import load_profiles
from harness.core.tree import EMPTY_TREE, File, Tree, tree_of
from harness.explore.power.exploration import explore_power
from harness.sandbox.environment import ProgramNotFoundError, real_python, resolve_program
from harness.seeds.bench import UNWATCHED, Bench, NotThereError, bench
from harness.seeds.claim import Claim, Fact
from harness.seeds.losses import of_finds, recorded, workload_of

WORKLOAD = Workload(sessions=2, updates=6, record_bytes=(60, 1_500))
DAY_MS = 86_400_000
LARGE_BYTES = 59_000_000
INDEX_NAME = "sessions-index.json"
INDEX = f"projects/*/{INDEX_NAME}"
_LATER_MS = WORKLOAD.now_ms + 8 * DAY_MS


def _files(state: Tree, pattern: str) -> dict[str, bytes]:
    return {path: file.content.to_bytes() for path, file in state.files() if fnmatch.fnmatch(path, pattern)}


def _sessions(state: Tree, below: str) -> set[str]:
    """Return the ids of the sessions with a transcript below a directory: those of sub-agents are none."""
    names = {path.rpartition("/")[2].removesuffix(".jsonl") for path in _files(state, f"{below}/*.jsonl")}
    return {name for name in names if not name.startswith("agent-")}


def _entries(state: Tree) -> list[dict[str, Any]]:
    return [entry for data in _files(state, INDEX).values() for entry in json.loads(data)["entries"]]


def _with(state: Tree, changed: Mapping[str, bytes | None]) -> Tree:
    """Return a state with some files replaced, or gone; every file keeps its place and nothing else changes."""
    kept = {path: file.content.to_bytes() for path, file in state.files()}
    for path, data in changed.items():
        if data is None:
            kept.pop(path, None)
        else:
            kept[path] = data
    return tree_of(kept)


def _stale(here: Bench) -> Tree:
    """Return what a run eight days after the set-up leaves, with the indexes of the set-up put back."""
    final = here.record(engine=UNWATCHED).final
    return _with(final, _files(here.start, INDEX))


def index_keys(claim: Claim) -> Fact:
    """The keys of the index entries that the writer makes, in their order."""
    with bench(claim.variant, WORKLOAD) as here:
        state = here.record(engine=UNWATCHED).final
        entries = _entries(here.recover(state).after)
    keys = max((list(entry) for entry in entries), key=len)
    return Fact(value=" ".join(sorted(keys)), shown=f"{', '.join(keys)}: in one of {len(entries)} entries")


def first_prompt_chars(claim: Claim) -> Fact:
    """The length of the longest ``firstPrompt`` in an index, where longer prompts are in the transcripts."""
    workload = Workload(sessions=2, updates=6, record_bytes=(600, 1_500))
    with bench(claim.variant, workload) as here:
        entries = _entries(here.recover(here.record(engine=UNWATCHED).final).after)
    longest = max(len(entry["firstPrompt"]) for entry in entries)
    return Fact(value=longest, shown=f"{longest} characters, the longest of {len(entries)} entries")


def warns_when_stale(claim: Claim) -> Fact:
    """Whether the picker says so where the index and a transcript are eight days apart."""
    with bench(claim.variant, WORKLOAD, now_ms=_LATER_MS) as here:
        listed = parse_listing(here.list(_stale(here)).result.stdout)
    return Fact(
        value=bool(listed.warned), shown=f"{len(listed.warned)} warnings, {len(listed.ids)} sessions shown"
    )


def listed_without_index(claim: Claim) -> Fact:
    """Whether the picker shows every session although there is no index."""
    with bench(claim.variant, WORKLOAD) as here:
        state = _with(here.start, dict.fromkeys(_files(here.start, INDEX)))
        ids = set(parse_listing(here.list(state).result.stdout).ids)
    sessions = _sessions(state, "projects")
    return Fact(value=sessions <= ids, shown=f"{len(sessions & ids)} of {len(sessions)} sessions shown")


def summary_kept(claim: Claim) -> Fact:
    """Whether the summaries, which the index alone holds, are there after a start on an index eight days behind."""
    with bench(claim.variant, WORKLOAD, now_ms=_LATER_MS) as here:
        state = _stale(here)
        before = sum("summary" in entry for entry in _entries(state))
        after = sum("summary" in entry for entry in _entries(here.recover(state).after))
    return Fact(value=after >= before, shown=f"{after} of {before} summaries are left")


def resumed_after_kill(claim: Claim) -> Fact:
    """Whether every session is resumed by its id, with what it had before, after a kill at the end of the run."""
    with bench(claim.variant, WORKLOAD) as here:
        state = here.killed()[-1].tree
        found = []
        for path, data in _files(state, "projects/*.jsonl").items():
            session = path.rpartition("/")[2].removesuffix(".jsonl")
            if not session.startswith("agent-"):
                old = _files(here.start, path).get(path, b"")
                result = here.resume(state, session).result
                found.append(result.exit_code == 0 and found_session(result.stdout) and data.startswith(old))
    return Fact(value=all(found), shown=f"{sum(found)} of {len(found)} sessions resumed by their ids")


def rebuilt_after_power(claim: Claim) -> Fact:
    """Whether the next start makes every index whole that a power loss left unreadable, with all its transcripts.

    One state is started on for each kind of damage that a profile shows; where it shows none, there is nothing to ask.
    """
    asked = msgspec.structs.replace(claim, finds=("M1",), damage=("torn", "empty", "nul"), where=INDEX_NAME)
    with bench(claim.variant, workload_of(claim)) as here:
        recording, trace = recorded(here)
        wrong = of_finds(asked)(here, recording)
        done = [explore_power(trace, profile, wrong) for profile in load_profiles(claim.profiles)]
        states = {(group.tree.key, group.violation.path): group for each in done for group in each.groups}
        if not states:
            raise NotThereError(f"{claim.variant}: no power loss leaves an index that cannot be read")
        whole = [_is_whole(here.recover(each.tree).after, each.violation.path) for each in states.values()]
    damage = " or ".join(dict.fromkeys(each.damage for each in states.values()))
    shown = f"{sum(whole)} of {len(whole)} indexes that were {damage} are whole after the next start"
    return Fact(value=all(whole), shown=shown)


def _is_whole(state: Tree, index: str) -> bool:
    """Whether an index can be read and has an entry for each transcript beside it."""
    sessions = _sessions(state, index.rpartition("/")[0])
    try:
        entries = json.loads(_files(state, index)[index])["entries"]
    except (ValueError, KeyError, TypeError):
        return False
    return sessions <= {entry["sessionId"] for entry in entries}


def missed_by_case(claim: Claim) -> Fact:
    """Whether the picker of a project misses its sessions where the path differs in case alone."""
    with bench(claim.variant, WORKLOAD) as here:
        same = parse_listing(here.list(here.start, "--cwd=/srv/p01").result.stdout).ids
        other = parse_listing(here.list(here.start, "--cwd=/SRV/p01").result.stdout).ids
        told = parse_listing(here.list(here.start, "--cwd=/SRV/p01", "--ignore-case").result.stdout).ids
    shown = f"{len(same)} sessions of /srv/p01; {len(other)} of /SRV/p01; {len(told)} of it where case is ignored"
    return Fact(value=bool(same) and not other, shown=shown)


def rebuild_ms(claim: Claim) -> Fact:
    """The time that the entry of a transcript of 59 MB takes, the best of five, in the language ``of``."""
    with bench(claim.variant, WORKLOAD) as here:
        spec = here.subject.spec
        python = (real_python(), "-BEsS", here.path("measure_rebuild.py"), spec.root, str(LARGE_BYTES))
        made = here.command(python, EMPTY_TREE)
        if made.result.exit_code != 0:
            raise NotThereError(f"{claim.variant}: the measurement of its rebuild failed or took too long")
        found = json.loads(made.result.stdout)
        if claim.of == "node":
            found |= json.loads(_in_node(here, made.after))
    shown = f"{found['parse_ms']:,.0f} ms for {found['bytes']:,} bytes, {found['counted']:,} messages"
    return Fact(value=float(found["parse_ms"]), shown=f"{shown}; only reading the file {found['read_ms']:,.0f} ms")


def _in_node(here: Bench, state: Tree) -> bytes:
    try:
        node = resolve_program("node")
    except ProgramNotFoundError as error:
        raise NotThereError(str(error)) from None
    (name,) = (path for path, file in state.files() if isinstance(file, File))
    place = f"{here.subject.spec.root}/{name}"
    return here.command((node, here.path("measure_rebuild.mjs"), place), state).result.stdout


MEASUREMENTS: Mapping[str, Callable[[Claim], Fact]] = MappingProxyType(
    {
        "first_prompt_chars": first_prompt_chars,
        "index_keys": index_keys,
        "listed_without_index": listed_without_index,
        "missed_by_case": missed_by_case,
        "rebuild_ms": rebuild_ms,
        "rebuilt_after_power": rebuilt_after_power,
        "resumed_after_kill": resumed_after_kill,
        "summary_kept": summary_kept,
        "warns_when_stale": warns_when_stale,
    }
)
"""By the name that a claim gives."""
