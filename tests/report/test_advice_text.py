"""Advice and audit in words: what a maintainer reads, in 80 columns, whatever the files are called."""

from __future__ import annotations

import textwrap

import msgspec
import pytest

from harness.core.advice import (
    KILL,
    Advice,
    Audit,
    Barrier,
    Cause,
    Heal,
    MergeWrites,
    MoveAck,
    Removal,
    ReplaceInPlace,
    Serialise,
    Step,
    SyncDirectory,
    SyncFile,
    Tally,
)
from harness.report.advice import advice_sentences, audit_sentences, durable_sentence
from harness.report.escape import plain

BEFORE = (
    Tally(under="posix", distinct=3000, violated=2000),
    Tally(under="ext4", distinct=400, violated=41),
    Tally(under=KILL, distinct=12, violated=0),
)
AFTER = tuple(msgspec.structs.replace(tally, violated=0) for tally in BEFORE)


def cause(under: str = "posix", damage: str = "stale", states: int = 41, role: str = "state.json") -> Cause:
    return Cause(under=under, invariant="M1", damage=damage, role=role, states=states)  # type: ignore[arg-type]


def fsync(path: str = "state.json.tmp", until_kind: str = "rename") -> Step:
    return Step(
        kind="fsync_file",
        edits=(SyncFile(at=10, ino=2, path=path),),
        at=10,
        at_kind="write",
        path=path,
        until=12,
        until_kind=until_kind,
        without=(cause(damage="empty", states=7),),
        without_states=7,
    )


def directory(path: str = "state.json", places: int = 1) -> Step:
    return Step(
        kind="fsync_directory",
        edits=tuple(SyncDirectory(at=12 + number, ino=0, path=".") for number in range(places)),
        at=12,
        at_kind="rename",
        path=path,
        without=(cause(),),
        without_states=41,
    )


def advice(*steps: Step, **changes: object) -> Advice:
    made = Advice(outcome="repaired", profiles=("posix", "ext4"), before=BEFORE, after=AFTER, steps=steps)
    return msgspec.structs.replace(made, **changes)


def test_insertion_in_one_sentence() -> None:
    assert advice_sentences(advice(fsync(), directory()), plain) == [
        "Fsync state.json.tmp before the rename at operation 12 and the directory after it: 0 of 3,412 states under "
        "posix, ext4 and a kill are violated; without the fsync of state.json.tmp 7 have state.json empty; without "
        "the directory fsync after state.json 41 lose an acknowledged update."
    ]


def test_a_directory_by_itself_and_at_several_places() -> None:
    (text,) = advice_sentences(advice(directory(places=8)), plain)
    assert text.startswith(
        "Fsync the directory after the rename to state.json at operation 12 (at 8 places): 0 of 3,412 states"
    )


def test_replacement_names_what_it_replaces_and_why_barriers_are_not_enough() -> None:
    edit = ReplaceInPlace(at=3, until=6, ino=1, path="x.json", temporary=".x.json.tmp", directory=0)
    step = Step(kind="replace_in_place", edits=(edit,), at=3, at_kind="open", path="x.json", until=6)
    told = advice_sentences(advice(step, barriers_leave=832, barriers_leave_kill=72), plain)
    assert told[0].startswith(
        "Write x.json to a temporary file beside it, fsync that, rename it into its place and fsync the directory, "
        "instead of rewriting it in place as in operations 3 to 6: 0 of"
    )
    assert told[1] == (
        "Barriers alone are not enough: with an fsync at every place 832 states stay violated, 72 of them those of a "
        "kill, where no barrier counts."
    )


def test_a_moved_acknowledgement_and_a_healing_start() -> None:
    step = Step(kind="move_ack", edits=(MoveAck(at=1, after=13),), at=13, at_kind="close", path="log.jsonl")
    told = advice_sentences(advice(step, heals=(Heal(role="log.jsonl", closes_turns=True),)), plain)
    assert told[0].startswith(
        "Acknowledge only after operation 13, when log.jsonl is written, and at the next start cut log.jsonl back to "
        "its last whole record and close the tool turn that is open there: 0 of"
    )


def test_many_changes_are_a_sentence_each() -> None:
    told = advice_sentences(advice(fsync(), directory(), heals=(Heal(role="log"),)), plain)
    assert told == [
        "With these 3 changes 0 of 3,412 states under posix, ext4 and a kill are violated:",
        "Fsync state.json.tmp before the rename at operation 12; without the fsync of state.json.tmp 7 have state.json "
        "empty.",
        "Fsync the directory after the rename to state.json at operation 12; without the directory fsync after "
        "state.json 41 lose an acknowledged update.",
        "At the next start cut log back to its last whole record.",
    ]


def test_merged_writes() -> None:
    step = Step(kind="merge_writes", edits=(MergeWrites(at=1, others=(2, 3)),), at=1, at_kind="write", path="x")
    (text,) = advice_sentences(advice(step), plain)
    assert text.startswith("Write what operation 1 and the 2 after it put into x in one write: 0 of")


def test_turns_are_demanded_and_barriers_refused() -> None:
    rivals = Serialise(at=17, path="log.jsonl", actors=("p0", "p0.t1"), overlap=18)
    told = advice_sentences(
        advice(outcome="serialise", serialise=rivals, barriers_leave=1661, barriers_leave_kill=45), plain
    )
    assert told[0].startswith(
        "Serialise the writers of log.jsonl (p0, p0.t1), with one lock around reading, changing and writing: the "
        "rewrite at operation 18 begins before that at 17 has ended."
    )
    assert told[1].startswith("Barriers alone are not enough: with an fsync at every place 1,661 states")
    told = advice_sentences(
        advice(outcome="serialise", serialise=msgspec.structs.replace(rivals, overlap=-1), barriers_leave=1), plain
    )
    assert "the undisturbed run itself ends without what one of them wrote" in told[0]


def test_what_cannot_be_repaired_is_said() -> None:
    told = advice_sentences(advice(outcome="none", remains=(cause(), cause("ext4", states=2))), plain)
    assert told == [
        "No change of the list helps: 2,041 of 3,412 states under posix, ext4 and a kill are violated, whatever is "
        "inserted or replaced.",
        "What remains: M1 stale state.json in 43.",
    ]
    told = advice_sentences(advice(directory(), outcome="partly", after=BEFORE, remains=(cause(),)), plain)
    assert ": 2,041 of 3,412 states" in told[0]
    assert told[1] == "What remains: M1 stale state.json in 41."


def test_an_unfinished_search_and_a_clean_writer() -> None:
    told = advice_sentences(advice(outcome="unfinished", note="the time was up"), plain)
    assert told == [
        "Unfinished: the time was up; as it is, 2,041 of 3,412 states under posix, ext4 and a kill are violated."
    ]
    assert advice_sentences(Advice(outcome="unfinished", profiles=(), note="x"), plain) == ["Unfinished: x."]
    clean = advice(outcome="nothing", before=AFTER, note="looked at the first 9 of 10 operations")
    assert advice_sentences(clean, plain) == [
        "Nothing to advise: 0 of 3,412 states under posix, ext4 and a kill are violated.",
        "Looked at the first 9 of 10 operations.",
    ]


def test_a_file_that_several_replace_is_mentioned() -> None:
    shared = Serialise(at=1, path="x", actors=("p0", "p1"))
    told = advice_sentences(advice(fsync(), shared=shared), plain)
    assert told[-1] == "p0 and p1 replace x in turns here; nothing shows that they always do."


def barrier(*removals: Removal, kind: str = "fsync", **changes: object) -> Barrier:
    made = Barrier(
        kind=kind,
        role="a.tmp",
        path="a.tmp",
        position="before its rename",
        operations=(2, 9, 16),
        removals=removals,
        tried=3,
    )
    return msgspec.structs.replace(made, **changes)


def test_an_audit_says_where_each_barrier_bears_and_where_it_is_redundant() -> None:
    bearing = Removal(under="posix", states=42, causes=(cause(damage="nul", states=40),), singles=3)
    spared = Removal(under="ext4", states=0)
    audit = Audit(profiles=("posix", "ext4"), before=AFTER, barriers=(barrier(bearing, spared),))
    assert audit_sentences(audit, plain) == [
        "fsync of a.tmp before its rename, 3 times from operation 2: load-bearing under posix (42: M1 nul); redundant "
        "under ext4."
    ]
    assert audit.barriers[0].load_bearing == ("posix",)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            barrier(Removal(under="posix", states=0), operations=(2,), tried=0),
            "redundant under every profile tried.",
        ),
        (barrier(), "not audited."),
        (
            barrier(Removal(under="posix", states=5, causes=(cause(),), singles=1)),
            "load-bearing under posix (5: M1 stale); left out alone, 1 of 3 matter.",
        ),
        (
            barrier(
                Removal(under=KILL, states=5, causes=(cause(),), singles=3),
                kind="rename",
                position="to a new name",
            ),
            "load-bearing under a kill (5: M1 stale).",
        ),
    ],
)
def test_other_barriers(made: Barrier, told: str) -> None:
    (text,) = audit_sentences(Audit(profiles=("posix",), before=AFTER, barriers=(made,)), plain)
    assert text.endswith(f": {told}")


def test_what_an_audit_of_a_violated_writer_cannot_tell() -> None:
    removals = (Removal(under="posix", states=0), Removal(under=KILL, states=0))
    told = audit_sentences(Audit(profiles=("posix",), before=BEFORE, barriers=(barrier(*removals),)), plain)
    assert told[0].endswith("cannot be told under posix, where the writer is violated with it too.")
    assert told[1].startswith("With all barriers 2,041 of 3,412 states under posix, ext4 and a kill are violated")


def test_a_sample_is_called_one() -> None:
    sampled = (msgspec.structs.replace(AFTER[0], exhaustive=False), *AFTER[1:])
    told = "A sample of the states was explored under posix, all of them elsewhere."
    assert advice_sentences(advice(outcome="nothing", before=sampled, after=sampled), plain)[-1] == told
    assert audit_sentences(Audit(profiles=("posix",), before=sampled, barriers=(barrier(),)), plain)[-1] == told
    assert told not in advice_sentences(advice(fsync()), plain)


def test_an_audit_of_nothing_and_one_that_was_cut_off() -> None:
    assert audit_sentences(Audit(profiles=("posix",), note="the time was up"), plain) == [
        "There is no sync and no rename to audit.",
        "The time was up.",
    ]


def test_hostile_names_stay_on_their_line() -> None:
    path = "\x1b[2J\u202estate\n.tmp"
    shown = [*advice_sentences(advice(fsync(path), directory(path)), plain)]
    made = barrier(
        Removal(under="posix", states=1, causes=(cause(role=path),)), path=path, position=f"after {path}"
    )
    shown += audit_sentences(Audit(profiles=("posix",), barriers=(made,)), plain)
    for text in shown:
        assert not {"\x1b", "\n", "\u202e"} & set(text)
        assert "\\x1b" in text
        assert all(len(line) <= 80 for line in textwrap.wrap(text, 80))


@pytest.mark.parametrize(
    ("after", "kind", "told"),
    [
        ({"posix": 7, "ext4": 7}, "write", "durable after 7"),
        ({"posix": 7, "ext4": 4}, "write", "durable after 4 (ext4), after 7 (posix)"),
        ({"posix": -1, "ext4": 2}, "write", "durable at once (ext4), not by the end (posix)"),
        ({"posix": -1, "ext4": -1}, "rename", "not durable by the end"),
        ({"posix": -1}, "ack", "not all before it is durable by the end"),
        ({"posix": 2, "ext4": 1}, "ack", "all before it durable already"),
        ({"a": 3, "b": 3, "c": 3, "d": 3, "e": 3, "f": 4}, "write", "durable after 3 (the other 5), after 4 (f)"),
        ({}, "close", ""),
    ],
)
def test_from_when_on_an_operation_is_durable(after: dict[str, int], kind: str, told: str) -> None:
    assert durable_sentence(after, 2, kind) == told
