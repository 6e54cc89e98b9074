"""Traces of made-up runs, for testing what judges or explores them: no process is started."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.core.trace import Trace
from harness.core.tree import tree_of
from harness.explore.script import Script

NAMES = ("a", "b", "d/c")
START = tree_of({"a": b"A" * 700, "d/e": b"E"})


@st.composite
def traces(draw: st.DrawFn, steps: int = 5) -> Trace:
    """Draw the trace of a run of a few steps on :data:`NAMES`.

    Rewrites, appends, replacements, renames, removals, syncs, acknowledgements.
    """
    script = Script(START)
    acks = 0
    for _ in range(draw(st.integers(1, steps))):
        name = draw(st.sampled_from(NAMES))
        data = draw(st.sampled_from((b"x", b"y" * 600, b"z" * 1100)))
        step = draw(st.sampled_from(("put", "append", "replace", "rename", "unlink", "sync", "ack")))
        if step == "put":
            script.put(name, data)
        elif step == "append":
            fd = script.open(name, append=True)
            script.write(fd, data)
            if draw(st.booleans()):
                script.fsync(fd)
            script.close(fd)
        elif step == "replace":
            script.replace(name, data)
        elif step == "rename" and name in script.tree.names:
            script.rename(name, draw(st.sampled_from(NAMES)))
        elif step == "unlink" and name in script.tree.names:
            script.unlink(name)
        elif step == "sync":
            script.sync_directory(draw(st.sampled_from(("", "d"))))
        elif step == "ack":
            acks += 1
            script.ack(acks)
    return script.trace()


@st.composite
def tangled_traces(draw: st.DrawFn, calls: int = 14) -> Trace:
    """Draw the trace of single calls of two processes that hold files open across renames, removals and each other."""
    script = Script(START, actors=2)
    opened: list[tuple[int, int]] = []
    acks = 0
    for _ in range(draw(st.integers(1, calls))):
        actor = draw(st.integers(0, 1))
        name, other = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
        call = draw(
            st.sampled_from(("open", "write", "write", "truncate", "fsync", "close", "rename", "link", "ack"))
        )
        mine = [fd for fd, owner in opened if owner == actor]
        if call == "open":
            how = draw(st.sampled_from(({}, {"truncate": True}, {"append": True})))
            opened.append((script.open(name, actor=actor, **how), actor))
        elif call == "rename" and name in script.tree.names:
            script.rename(name, other, exchange=draw(st.booleans()) and other in script.tree.names, actor=actor)
        elif call == "link" and name in script.tree.names and other not in script.tree.names:
            script.link(name, other, actor=actor)
        elif call == "ack":
            acks += 1
            script.ack(f"record-{acks}", actor=actor)
        elif mine and call in ("write", "truncate", "fsync", "close"):
            fd = draw(st.sampled_from(mine))
            if call == "write":
                at = draw(st.sampled_from((None, 0, 300)))
                script.write(
                    fd, draw(st.sampled_from((b"x" * 200, b"record-1 record-2", b"z" * 900))), at=at, actor=actor
                )
            elif call == "truncate":
                script.truncate(fd, draw(st.sampled_from((0, 100))), actor=actor)
            elif call == "fsync":
                script.fsync(fd, actor=actor)
            else:
                script.close(fd, actor=actor)
                opened.remove((fd, actor))
    return script.trace()
