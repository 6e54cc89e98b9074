"""M4 and W2 on what a target lists: one bad entry is named and hides no other; half-made sessions are not shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from harness.checks.binding import Bindings, FileBinding
from harness.checks.expectation import Expectation
from harness.checks.invariant import check, checks_of, select
from harness.checks.judge import Judge
from harness.checks.lister import lists_session
from harness.checks.summary import LineFold, parse_json
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


class ListingView(NamedTuple):
    """A tree, what the target listed of it, and the names its warnings mention."""

    tree: Tree
    bindings: Bindings
    listed: frozenset[str]
    warned: tuple[str, ...]
    expectation: Expectation | None

    def warns_of(self, entry: Entry) -> bool:
        """Whether a warning names the entry, by id or by file name."""
        name = entry.path.rsplit("/", 1)[-1]
        return any(entry.id in text or name in text for text in self.warned)


def session_id(path: str) -> str:
    """Return the id of the session a file belongs to: the stem of its name."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def entries(tree: Tree, bindings: Bindings) -> list[Entry]:
    """Return the sessions of a tree by the pure listers: transcripts and registry entries, good and bad."""
    found: list[Entry] = []
    lines = LineFold(parse=True, transcript=True)
    for path, file in sorted(tree.files()):
        binding = bindings.of(path)
        if binding is None or not binding.names_session or session_id(path).startswith("agent-"):
            continue
        if binding.format == "transcript":
            problem = _transcript_problem(lines, binding, file.content)
            shown = lists_session(file.content)
        else:
            problem = _document_problem(file.content)
            shown = not problem
        found.append(Entry(session_id(path), path, problem, shown))
    return found


def list_sessions(tree: Tree, bindings: Iterable[FileBinding] | Bindings) -> tuple[str, ...]:
    """Return the ids that a reader of heads and tails, or of whole registry entries, shows."""
    bound = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    return tuple(entry.id for entry in entries(tree, bound) if entry.shown)


def _transcript_problem(lines: LineFold, binding: FileBinding, content: Content) -> str:
    if not content.size:
        return "is empty"
    summary = lines.of(content)
    if any(problem.invariant in ("B2", "B4") for problem in summary.problems):
        return f"has a damaged line at offset {summary.problems[0].offset}"
    if summary.tail_start < content.size and binding.torn_tail == "violation":
        try:
            parse_json(content.read(summary.tail_start, content.size))
        except ValueError:
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
    listed: Iterable[str],
    warned: Iterable[str] = (),
    *,
    expectation: Expectation | None = None,
    fault_class: FaultClass = "kill",
    invariants: Iterable[str] | None = None,
) -> tuple[Violation, ...]:
    """Return what is wrong with a listing of ``tree``.

    ``listed`` are the session ids the target shows, ``warned`` its warnings: one text each, which must contain
    the id or the file name of the entry it is about. With an ``expectation`` (and W2 chosen) half-made new sessions
    must not be shown.
    """
    bound = bindings if isinstance(bindings, Bindings) else Bindings(bindings)
    view = ListingView(tree, bound, frozenset(listed), tuple(warned), expectation)
    return tuple(v for function in checks_of(select(invariants), "listing", fault_class) for v in function(view))


@check("M4", "listing")
def bad_entry_hides_no_other(view: ListingView) -> Iterator[Violation]:
    """Good entries are listed; each bad one is named in a warning."""
    found = entries(view.tree, view.bindings)
    bad = [entry for entry in found if entry.problem]
    for entry in found:
        if entry.problem:
            if not view.warns_of(entry):
                yield Violation(
                    invariant="M4",
                    path=entry.path,
                    damage="silent",
                    message=f"the entry {entry.problem} and no warning names it",
                    ids=(entry.id,),
                )
        elif entry.shown and entry.id not in view.listed:
            beside = f" beside {len(bad)} bad entries" if bad else ""
            yield Violation(
                invariant="M4",
                path=entry.path,
                damage="missing",
                message=f"an intact session is not listed{beside}",
                ids=(entry.id,),
            )


@check("W2", "listing")
def half_made_session_is_not_shown(view: ListingView) -> Iterator[Violation]:
    """A session that is new, empty or partial is not listed by the target."""
    if view.expectation is None:
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
