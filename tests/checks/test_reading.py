"""M2: what a concurrent reader saw is the old or the new version, never a third."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trees import DOCUMENT, LOG, document_run, log_run

from harness.checks import ABSENT, GONE, Expectation, judge_reads, read_of
from harness.explore.script import Script

PATH = "state.json"


def version(number: int) -> bytes:
    return b'{"version": %d}\n' % number


EXPECTED = Expectation.from_trace(document_run().trace(), (DOCUMENT,))


def wrong(*reads: bytes | None, exact: bool = True, expectation: Expectation = EXPECTED) -> list[str]:
    seen = [ABSENT if data is None else read_of(data, expectation) for data in reads]
    return [v.damage for v in judge_reads({PATH: seen}, expectation, exact=exact)]


def test_m2_every_version_and_absence_before_the_first_may_be_seen() -> None:
    assert wrong(None, version(1), version(2), version(1), version(3)) == []


def test_m2_a_third_version() -> None:
    assert wrong(b"", version(1)) == ["empty"]
    assert wrong(version(2)[:7]) == ["torn"]
    assert wrong(b'{"version": 9}') == ["other"]
    assert wrong(b"", version(2)[:3], version(2)[:5]) == ["empty", "torn"]


def test_m2_a_document_that_was_there_at_the_start_is_never_absent() -> None:
    from harness.core.tree import tree_of  # noqa: PLC0415

    script = Script(tree_of({PATH: version(1)}))
    script.replace(PATH, version(2))
    expectation = Expectation.from_trace(script.trace(), (DOCUMENT,))
    assert wrong(None, expectation=expectation) == ["missing"]


def test_m2_what_a_reader_had_is_not_gone_when_it_opens_it_again() -> None:
    """Absent before its first version is no excuse: who had it open once has it behind that."""
    (found,) = judge_reads({PATH: [ABSENT, read_of(version(1), EXPECTED), GONE]}, EXPECTED)
    assert (found.damage, found.message) == ("missing", "1 of 3 reads saw a third version, of 0 bytes")
    script = Script()
    script.replace(PATH, version(1))
    script.unlink(PATH)
    removed = Expectation.from_trace(script.trace(), (DOCUMENT,))
    assert judge_reads({PATH: [read_of(version(1), removed), GONE]}, removed) == ()


def test_m2_versions_of_writers_that_interleave() -> None:
    assert wrong(b'{"both": 1}', exact=False) == []
    assert wrong(b'{"both"', b"", exact=False) == ["torn", "empty"]


def test_m2_records_and_unknown_paths_are_not_judged() -> None:
    expectation = Expectation.from_trace(log_run().trace(), (LOG,))
    assert judge_reads({"log.jsonl": [read_of(b"x", expectation)], "other": [ABSENT]}, expectation) == ()


def test_m2_is_defined_under_concurrency_only_and_says_how_many_reads() -> None:
    reads = {PATH: [read_of(version(1), EXPECTED), read_of(b"{", EXPECTED), read_of(b'{"v', EXPECTED)]}
    (found,) = judge_reads(reads, EXPECTED)
    assert found.message == "2 of 3 reads saw a third version, of 1 to 3 bytes"
    assert judge_reads(reads, EXPECTED, "kill") == ()
    assert judge_reads(reads, EXPECTED, invariants=("M1",)) == ()


@given(st.lists(st.one_of(st.none(), st.integers(1, 3).map(version), st.binary(max_size=17)), max_size=6))
def test_m2_holds_exactly_for_reads_of_versions(reads: list[bytes | None]) -> None:
    known = {None, *(version(number) for number in range(1, 4))}
    assert bool(wrong(*reads)) == any(read not in known for read in reads)
