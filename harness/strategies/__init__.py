"""Strategies of hypothesis for what tornwrite works with, and a state machine over a real writer.

    from harness.strategies import CrashConsistency

    class Journal(CrashConsistency):
        writer = append                                    # (dir), (dir, ack) or a command, as tornwrite.check takes it

        def check(self, directory, acknowledged):          # raises, returns False, or says what is wrong
            assert set(acknowledged) <= set((directory / "journal").read_text().split())

    TestJournal = Journal.TestCase                         # any sequence of updates, crashes and recoveries

Everything shrinks: to a kill before the first operation, to the fewest turns, to one session and one update.

Needs hypothesis, which the rest of this package does without.
"""

try:
    import hypothesis as _hypothesis
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise ModuleNotFoundError(
        "harness.strategies needs hypothesis: pip install 'tornwrite[hypothesis]'", name="hypothesis"
    ) from None
del _hypothesis

from harness.strategies.faults import crash_points, fault_plans, faults  # noqa: E402 -- not without hypothesis
from harness.strategies.machine import CrashConsistency  # noqa: E402
from harness.strategies.schedules import schedules, searches  # noqa: E402
from harness.strategies.traces import tangled_traces, traces  # noqa: E402
from harness.strategies.workloads import workloads  # noqa: E402

__all__ = [
    "CrashConsistency",
    "crash_points",
    "fault_plans",
    "faults",
    "schedules",
    "searches",
    "tangled_traces",
    "traces",
    "workloads",
]
