"""The figures of lives: what each did to an index, by trees written by hand."""

from __future__ import annotations

from sessions import ALL, HOUR, T0, index, line, prompt, row

from harness.checks.binding import Bindings, FileBinding
from harness.checks.index_figures import Stage, entries_in, has_index, index_figures
from harness.core.drift import EntryFigures
from harness.core.tree import Tree, tree_of

AT = "projects/p/sessions-index.json"
DAY = 24 * HOUR


def tree(sessions: dict[str, tuple[bytes, ...]], *rows: dict[str, object]) -> Tree:
    """Return a project of these transcripts with an index of these rows; none without any."""
    files = {f"projects/p/{name}.jsonl": b"".join(lines) for name, lines in sessions.items()}
    return tree_of({**files, **({AT: index(*rows)} if rows else {})})  # type: ignore[arg-type]


def stage(*trees: Tree, exit_kind: str = "graceful", instances: int = 1) -> Stage:
    """Return a life: the tree at its start, when it was idle, and after each instance had ended."""
    start, idle, *ended = trees
    return Stage(exit_kind, T0, instances, start, idle, tuple(ended))


OLD = (prompt(0),)
NEW = (*OLD, prompt(1, T0 + DAY))
BEFORE = tree({"a": OLD}, row("a"))


def test_an_entry_stands_beside_its_transcript() -> None:
    side = line(type="user", uuid="x", isSidechain=True, timestamp=T0 + 9 * DAY, message={"role": "user"})
    files = tree({"a": NEW, "b": OLD, "agent-1": (side,)}, row("a"))
    assert entries_in(files, Bindings(ALL)) == {
        "a": EntryFigures(session="a", index=AT, messages=2, newest_ms=T0 + DAY, count=1, modified_ms=T0),
        "b": EntryFigures(session="b", index=AT, messages=1, newest_ms=T0),
    }
    found = entries_in(files, Bindings(ALL))
    assert (found["a"].behind_ms, found["a"].is_current, found["b"].found, found["b"].behind_ms) == (
        DAY,
        False,
        False,
        0,
    )
    assert entries_in(tree({"a": OLD}), Bindings(ALL)) == {}
    assert has_index(ALL) and not has_index((FileBinding("*.jsonl", "transcript"),))


def test_a_graceful_end_writes_the_index_and_a_kill_does_not() -> None:
    idle, left = tree({"a": NEW}, row("a")), tree({"a": NEW}, row("a", T0 + DAY, 2))
    figures = index_figures([stage(BEFORE, idle, left), stage(left, left, left, exit_kind="sigkill")], ALL)
    first, second = figures.lives
    assert (first.writes_alive, first.writes_at_end, first.written, first.current) == (0, 1, 1, 1)
    assert (second.writes_at_end, second.written, second.current, second.stale) == (0, 0, 0, 0)
    killed = index_figures([stage(BEFORE, idle, idle, exit_kind="sigkill")], ALL)
    assert (killed.lives[0].current, killed.lives[0].stale, killed.lives[0].behind_ms) == (0, 1, DAY)
    assert killed.lag_ms == {AT: DAY} and figures.lag_ms == {AT: 0}
    alive = index_figures([stage(BEFORE, left, left)], ALL).lives[0]
    assert (alive.writes_alive, alive.writes_at_end) == (1, 0)


def test_an_entry_that_the_second_exit_overwrites_is_lost_and_one_goes_back() -> None:
    """Two instances: the first to exit knows of ``b`` and of the news of ``a``, the second of neither."""
    both = {"a": NEW, "b": OLD}
    idle = tree(both, row("a"))
    between = tree(both, row("a", T0 + DAY, 2), row("b"))
    figures = index_figures([stage(BEFORE, idle, between, idle, instances=2)], ALL)
    (life,) = figures.lives
    assert (life.lost, life.rolled_back_ms, life.missing, life.stale) == (("b",), DAY, 1, 1)
    (end,) = figures.ends
    assert (end.exit, end.several, end.lost, end.rolled_back_ms) == ("graceful", True, 1, DAY)
    merged = index_figures([stage(BEFORE, idle, between, between, instances=2)], ALL).lives[0]
    assert (merged.lost, merged.rolled_back_ms, merged.current) == ((), 0, 2)


def test_a_life_that_was_not_lived_counts_apart() -> None:
    figures = index_figures([Stage("power", T0, 1, BEFORE), stage(BEFORE, BEFORE, BEFORE, exit_kind="power")], ALL)
    (end,) = figures.ends
    assert (end.lives, end.measured) == (2, 1)
    assert index_figures([Stage("power", T0, 1, BEFORE)], ALL).entries == ()


def test_what_was_deleted_is_not_lost() -> None:
    gone = tree({"b": OLD}, row("b"))
    (life,) = index_figures([stage(BEFORE, gone, gone)], ALL).lives
    assert life.lost == ()
