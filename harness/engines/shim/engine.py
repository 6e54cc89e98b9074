"""The engine: one run with the shim, from its specification to a verified recording."""

from __future__ import annotations

import time

from harness.core.fault import NO_FAULTS, FaultPlan
from harness.core.run import Recording, RunSpec
from harness.engines.shim.session import Session
from harness.engines.verify import cpu_s, read_final, verified


class ShimEngine:
    """Runs a target with the shim in its interpreters. One run at a time in a process."""

    name = "shim"

    def available(self) -> str:
        """Return ``""``, or why the shim does not work here; found out by recording a known writer."""
        from harness.engines.shim.selftest import why_not_available  # noqa: PLC0415 - it uses this module

        return why_not_available()

    def run(self, spec: RunSpec, plan: FaultPlan = NO_FAULTS, *, verify: bool = True) -> Recording:
        """Run the target once under ``plan``; see :class:`harness.engines.base.Engine`.

        A verified run that has met a blind spot which announces itself has the ending ``limit``: nothing is wrong with
        it, but it cannot be built upon. That its tree is the one on disk proves nothing: what came unseen in between
        may have been written over.
        """
        cpu = cpu_s()
        session = Session(spec, plan)
        begun = time.monotonic()
        session.run()
        wall_ms = (time.monotonic() - begun) * 1000
        cpu_ms = (cpu_s() - cpu) * 1000
        return recorded(session, verify=verify, wall_ms=wall_ms, cpu_ms=cpu_ms)


def recorded(session: Session, *, verify: bool, wall_ms: float, cpu_ms: float) -> Recording:
    """Return the recording of a session that is over."""
    spec, watch = session.spec, session.watch
    trace = watch.trace("shim")
    final, ending, detail = read_final(spec, session.ending, session.detail)
    begun = time.monotonic()
    different: tuple[str, ...] = ()
    if verify and ending != "limit":
        different, trace = verified(trace, final, frozenset(watch.mapped))
        unseen = unwatched(session)
        if unseen:
            different, ending, detail = (), "limit", f"did what the shim cannot see: {unseen}"
    return Recording(
        spec=spec,
        engine="shim",
        final=final,
        ending=ending,
        trace=trace,
        exit_code=session.status if session.status >= 0 and session.signal is None else None,
        signal=session.signal,
        pid=session.pid,
        delivered=session.delivered,
        acks=tuple(op.id for op in trace.acks),
        differences=different,
        ending_detail=detail,
        stdout_bytes=session.stdout_bytes,
        stdout_tail=session.tails[1],
        stderr_tail=session.tails[2],
        acks_buffered=watch.acks_buffered,
        armed_us=watch.armed_us,
        wall_ms=wall_ms,
        cpu_ms=cpu_ms,
        verify_ms=(time.monotonic() - begun) * 1000 if verify else 0.0,
    )


def unwatched(session: Session) -> str:
    """Return which blind spots a run has met, each of which may have written unseen; empty for none."""
    programs = sorted(set(session.server.started.values()))
    met = list(session.server.blind)
    if programs:
        met.append(f"what {', '.join(programs[:3])} wrote, which the shim is not in")
    return "; ".join(met)
