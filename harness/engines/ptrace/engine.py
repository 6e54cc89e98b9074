"""The engine: one traced run from its specification to a verified recording."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec
from harness.engines.base import Beside, Observer
from harness.engines.verify import cpu_s, read_final, verified

if TYPE_CHECKING:
    from harness.engines.ptrace.session import Session  # Linux only


class PtraceEngine:
    """Runs a target under ptrace. The calling process must have no other children while :meth:`run` lasts."""

    name = "ptrace"

    def available(self) -> str:
        """Return ``""``, or why this machine does not allow tracing; found out by tracing something."""
        from harness.engines.ptrace.selftest import why_not_available  # noqa: PLC0415 - Linux only

        return why_not_available()

    def decides(self) -> bool:
        """Return true: it carries out the schedule of a plan."""
        return True

    def run(
        self,
        spec: RunSpec,
        plan: FaultPlan = NO_FAULTS,
        *,
        verify: bool = True,
        observer: Observer | None = None,
        beside: Beside | None = None,
        stdin: int = -1,
    ) -> Recording:
        """Run the target once under ``plan``; see :class:`harness.engines.base.Engine`.

        ``observer`` is told of each operation when it is done, before its thread goes on; ``beside`` feeds the target;
        ``stdin`` is a descriptor that it reads, without one nothing.
        """
        from harness.engines.ptrace.launch import launch  # noqa: PLC0415 - Linux only
        from harness.engines.ptrace.session import Session  # noqa: PLC0415 - Linux only

        start = partial(launch, stdin=stdin)
        return recorded(Session(spec, plan, observer, beside, start), self.name, verify=verify)


def recorded(
    session: Session, name: str, *, verify: bool, elsewhere_s: Callable[[], float] = lambda: 0.0
) -> Recording:
    """Run a session to its end and return its recording, of the engine ``name``.

    ``elsewhere_s``: the processor time that the system counts for others than this process and its children.
    """
    spec = session.spec
    cpu = cpu_s()
    begun = time.monotonic()
    session.run()
    wall_ms = (time.monotonic() - begun) * 1000
    cpu_ms = (cpu_s() - cpu + elsewhere_s()) * 1000
    trace = session.trace()
    final, ending, detail = read_final(spec, session.ending, session.detail)
    begun = time.monotonic()
    different: tuple[str, ...] = ()
    if verify and ending != "limit":
        different, trace = verified(trace, final, session.mapped)
    status = session.main_status
    return Recording(
        spec=spec,
        engine=name,
        final=final,
        ending=ending,
        trace=trace,
        exit_code=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
        pid=session.pid,
        delivered=session.delivered,
        acks=tuple(op.id for op in trace.acks),
        differences=different,
        ending_detail=detail,
        stdout_bytes=session.stdout_bytes,
        stdout_tail=session.stdout_tail,
        stderr_tail=session.stderr_tail,
        acks_buffered=session.acks_buffered,
        armed_us=session.armed_us,
        scheduled=session.scheduled,
        wall_ms=wall_ms,
        cpu_ms=cpu_ms,
        verify_ms=(time.monotonic() - begun) * 1000 if verify else 0.0,
    )
