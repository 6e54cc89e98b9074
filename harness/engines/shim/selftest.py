"""Whether the shim works here: a known writer is recorded and killed inside a write, and what is seen compared."""

from __future__ import annotations

from functools import cache

from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.run import RunSpec
from harness.engines.base import TargetNotStartedError
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import temporary_workspace

_WRITER = """
import os, sys
with open(os.path.join(sys.argv[1], "doc.tmp"), "w") as stream:
    stream.write("0123456789" * 10)
    stream.flush()
    os.fsync(stream.fileno())
os.replace(os.path.join(sys.argv[1], "doc.tmp"), os.path.join(sys.argv[1], "doc"))
print("ACK 1", flush=True)
"""
_SEEN = ["open", "write", "sync", "close", "rename", "ack"]
_CUT = 37


@cache
def why_not_available(python: str = "") -> str:
    """Return ``""`` where the shim works with this interpreter, else the reason why not, in one line."""
    from harness.engines.shim.engine import ShimEngine  # noqa: PLC0415 - it asks this module

    workspace = temporary_workspace("tornwrite-selftest-")
    try:
        spec = RunSpec(
            argv=(python or real_python(), "-c", _WRITER, workspace.root),
            root=workspace.root,
            cwd=workspace.cwd,
            environment=workspace.environment(),
        )
        run = ShimEngine().run(spec)
        seen = [op.kind for op in run.trace.operations] if run.trace is not None else []
        if run.ending != "exited" or run.exit_code or run.differences or seen != _SEEN:
            reason = run.ending_detail or "; ".join(run.differences) or f"saw {', '.join(seen) or 'nothing'}"
            return f"the self-test was not recorded as it ran ({reason})"
        at = CrashPoint(operation="write", role="doc.tmp", occurrence=1, phase="torn", bytes=_CUT)
        torn = ShimEngine().run(spec, FaultPlan(faults=(Kill(at=at),)))
        sizes = [file.content.size for _, file in torn.final.files()]
        if torn.signal != 9 or sizes != [_CUT]:
            return f"the self-test could not be killed inside a write (it left {sizes} bytes)"
        return ""
    except (OSError, TargetNotStartedError) as error:
        return f"the self-test could not be run ({error})"
    finally:
        workspace.remove()
