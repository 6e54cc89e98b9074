"""M4, M10 and W2 on what a target lists and resumes: one bad entry is named and hides no other; every intact session
is reached; half-made sessions are not shown.

A session may have two files, a transcript and a registry entry that names it: either id stands for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.checks.binding import Bindings, FileBinding
from harness.checks.documents import registry_entry
from harness.checks.expectation import Expectation
from harness.checks.flight import held_at, is_agent
from harness.checks.invariant import check, checks_of, select
from harness.checks.judge import Judge
from harness.checks.lister import lists_session
from harness.checks.summary import LineFold, is_json, parse_json
from harness.core.content import Content
from harness.core.fault import FaultClass
from harness.core.tree import Tree
from harness.core.verdict import Violation


class Entry(NamedTuple):
    """One session on disk. ``problem`` is why it cannot be read whole, empty for a good one."""

    id: str
    path: str
    problem: str
    shown: bool


Aliases = Mapping[str, frozenset[str]]
"""Further ids of a session, by id: those of its registry entry, and of its transcript."""


class ListingView(NamedTuple):
    """A tree, what the target listed of it (``None``: nobody asked), and the names its warnings mention.

    ``resumed``: of the ids that the target was asked to resume, whether it found them. ``acked``: acknowledgements
    before the tree; ``None`` where everything in it is owed. ``power``: the tree is what a power loss left.
    """

    tree: Tree
    bindings: Bindings
    listed: frozenset[str] | None
    warned: tuple[str, ...]
    expectation: Expectation | None
    resumed: Mapping[str, bool]
    acked: int | None
    aliases: Aliases
    power: bool = False

    def entries(self) -> list[Entry]:
        """Return the sessions of the tree; after a power loss, what the next start heals is no problem of theirs."""
        return entries(self.tree, self.bindings, heals=self.power)

    def ids_of(self, entry: Entry) -> frozenset[str]:
        """Return every id of the entry's session."""
        return self.aliases.get(entry.id, frozenset()) | {entry.id}

    def lists(self, entry: Entry) -> bool:
        """Whether the target lists the entry's session."""
        return self.listed is not None and not self.listed.isdisjoint(self.ids_of(entry))

    def warns_of(self, entry: Entry, *, by_alias: bool = True) -> bool:
        """Whether a warning names the entry, by id or by file name; ``by_alias``: or by another id of its session."""
        name = entry.path.rsplit("/", 1)[-1]
        ids = self.ids_of(entry) if by_alias else {entry.id}
        return any(name in text or any(each in text for each in ids) for text in self.warned)


def session_id(path: str) -> str:
    """Return the id of the session a file belongs to: the stem of its name."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def entries(tree: Tree, bindings: Bindings, *, heals: bool = False) -> list[Entry]:
    """Return the sessions of a tree by the pure listers: transcripts and registry entries, good and bad.

    ``heals``: where the next start heals a torn last record, damaged last lines are as good as one.
    """
    found: list[Entry] = []
    lines = LineFold(parse=True, transcript=True)
    for path, file in sorted(tree.files()):
        binding = bindings.of(path)
        if binding is None or not binding.names_session or session_id(path).startswith("agent-"):
            continue
        if binding.format == "transcript":
            problem = _transcript_problem(lines, binding, file.content, heals)
            shown = lists_session(file.content)
        else:
            problem = _document_problem(file.content)
            shown = not problem
        found.append(Entry(session_id(path), path, problem, shown))
    return found


def aliases_of(bindings: Bindings, files: Iterable[tuple[str, Content | None]]) -> Aliases:
    """Return which ids are of one session, as registry entries say; ``files`` are contents that paths have or had."""
    found: dict[str, set[str]] = {}
    for path, content in files:
        binding = bindings.of(path)
        entry = registry_entry(content) if binding is not None and binding.format == "registry" else None
        if entry is not None:
            ids = {session_id(path), entry.session_id, entry.cli_session_id} - {""}
            for name in ids:
                found.setdefault(name, set()).update(ids)
    return {name: frozenset(ids) for name, ids in found.items()}


def _contents(tree: Tree, expectation: Expectation | None) -> Iterator[tuple[str, Content | None]]:
    yield from ((path, file.content) for path, file in tree.files())
    for path, history in expectation.histories.items() if expectation is not None else ():
        if history.binding.format == "registry":
            yield from ((path, version) for version in history.versions)


def sessions_to_resume(tree: Tree, bindings: Iterable[FileBinding] | Bindings, start: Tree) -> tuple[str, ...]:
    """Return the ids of the sessions with an intact transcript: first those whose registry entry is bad or changed.

    ``start`` is the tree that the run began with; it tells whose a damaged entry was.
    """
    bound = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    found = entries(tree, bound)
    known = aliases_of(bound, [(path, file.content) for each in (start, tree) for path, file in each.files()])
    struck = {e.id for e in found if e.problem or tree.node_at(e.path) != start.node_at(e.path)}
    good = [e.id for e in found if e.shown and not e.problem and _is_transcript(bound, e)]
    return tuple(sorted(good, key=lambda name: not struck & (known.get(name, frozenset()) | {name})))


def _is_transcript(bindings: Bindings, entry: Entry) -> bool:
    binding = bindings.of(entry.path)
    return binding is not None and binding.format == "transcript" and not is_agent(entry.path)


def list_sessions(tree: Tree, bindings: Iterable[FileBinding] | Bindings) -> tuple[str, ...]:
    """Return the ids that a reader of heads and tails, or of whole registry entries, shows."""
    bound = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    return tuple(entry.id for entry in entries(tree, bound) if entry.shown)


def _transcript_problem(lines: LineFold, binding: FileBinding, content: Content, heals: bool) -> str:
    if not content.size:
        return "is empty"
    summary = lines.of(content)
    damaged = {item.line: item.offset for item in summary.problems if item.invariant in ("B2", "B4")}
    last = summary.complete
    while heals and binding.torn_tail == "healed" and last in damaged:
        del damaged[last]
        last -= 1
    if damaged:
        return f"has a damaged line at offset {min(damaged.values())}"
    torn = summary.tail_start < content.size and binding.torn_tail == "violation"
    if torn and not is_json(content.read(summary.tail_start, content.size)):
        return f"has a torn tail at offset {summary.tail_start}"
    return ""


def _document_problem(content: Content) -> str:
    try:
        value = parse_json(content.to_bytes())
    except ValueError:
        return f"is no JSON in {content.size} bytes"
    return "" if isinstance(value, dict) else "is not an object"


def judge_listing(
    tree: Tree,
    bindings: Iterable[FileBinding] | Bindings,
    listed: Iterable[str] | None,
    warned: Iterable[str] = (),
    *,
    resumed: Mapping[str, bool] | None = None,
    acked: int | None = None,
    expectation: Expectation | None = None,
    fault_class: FaultClass = "kill",
    invariants: Iterable[str] | None = None,
) -> tuple[Violation, ...]:
    """Return what is wrong with a listing of ``tree``.

    ``listed`` are the session ids the target shows, ``warned`` its warnings: one text each, which must contain
    the id or the file name of the entry it is about. With an ``expectation`` (and W2 chosen) half-made new sessions
    must not be shown. ``resumed`` says, of the sessions that the target was asked to resume by id, which it found;
    with ``acked`` and the expectation, sessions in flight need not be found. ``listed`` is ``None`` where the target
    was asked for no listing.
    """
    bound = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    aliases = aliases_of(bound, _contents(tree, expectation))
    shown = None if listed is None else frozenset(listed)
    power = fault_class == "power"
    view = ListingView(tree, bound, shown, tuple(warned), expectation, dict(resumed or {}), acked, aliases, power)
    return tuple(v for function in checks_of(select(invariants), "listing", fault_class) for v in function(view))


@check("M4", "listing")
def bad_entry_hides_no_other(view: ListingView) -> Iterator[Violation]:
    """Good entries are listed, unless they are in flight; each bad one is named in a warning."""
    if view.listed is None:
        return
    found = view.entries()
    # Where there is a registry, it is what listers read: a session without an entry of its own is M10's.
    by_registry = any(binding.format == "registry" for binding in view.bindings.all)
    bad = [entry for entry in found if entry.problem]
    for entry in found:
        if entry.problem:
            if not view.warns_of(entry, by_alias=False):
                yield Violation(
                    invariant="M4",
                    path=entry.path,
                    damage="silent",
                    message=f"the entry {entry.problem} and no warning names it",
                    ids=(entry.id,),
                )
        elif by_registry and _is_transcript(view.bindings, entry):
            continue
        elif entry.shown and not view.lists(entry) and _is_owed(view, entry):
            beside = f" beside {len(bad)} bad entries" if bad else ""
            yield Violation(
                invariant="M4",
                path=entry.path,
                damage="missing",
                message=f"an intact session is not listed{beside}",
                ids=(entry.id,),
            )


@check("M10", "listing")
def intact_session_is_reached(view: ListingView) -> Iterator[Violation]:
    """Each session with an intact transcript is listed, or a warning names it; and it can be resumed by its id."""
    for entry in view.entries():
        if entry.problem or not entry.shown or not _is_transcript(view.bindings, entry):
            continue
        unlisted = view.listed is not None and not view.lists(entry) and not view.warns_of(entry)
        tried = [view.resumed[name] for name in view.ids_of(entry) if name in view.resumed]
        unresumed = bool(tried) and not any(tried)
        if not (unlisted or unresumed) or not _is_owed(view, entry):
            continue
        ways = (["no lister shows it and no warning names it"] if unlisted else []) + (
            ["resume by id does not find it"] if unresumed else []
        )
        yield Violation(
            invariant="M10",
            path=entry.path,
            damage="unreadable",
            message=f"the transcript is intact, and {', and '.join(ways)}",
            ids=(entry.id,),
        )


def _is_owed(view: ListingView, entry: Entry) -> bool:
    """Whether the session was there at the last acknowledgement and stays: one being made or deleted is in flight."""
    if view.expectation is None or view.acked is None:
        return True
    held = held_at(view.expectation, entry.path, view.acked)
    return held is not None and held.stays


@check("W2", "listing")
def half_made_session_is_not_shown(view: ListingView) -> Iterator[Violation]:
    """A session that is new, empty or partial is not listed by the target."""
    if view.expectation is None or view.listed is None:
        return
    acked = len(view.expectation.ack_ids)
    for violation in Judge(view.bindings, view.expectation, ("W2",)).judge(view.tree, acked, "none"):
        name = session_id(violation.path)
        if name in view.listed:
            yield Violation(
                invariant="W2",
                path=violation.path,
                damage=violation.damage,
                message=f"the target lists it: {violation.message}",
                ids=(name,),
            )
