"""The shim engine: the target's own runtime reports each file operation and waits for the engine's answer.

Python and Node up to 24, every system. A small standard-library program is loaded into each interpreter that the
target starts (:mod:`harness.engines.shim.runtime`); it sends a frame before each mutating operation, and does what the
answer says: go on, write only so many bytes, fail, or wait for its end. One operation of the whole run is in flight at
a time, and what is decided is decided by the code that also decides under ptrace (:mod:`harness.engines.inject`,
:mod:`harness.engines.calls`).

What it cannot see is a closed list: :data:`harness.engines.shim.blind.BLIND_SPOTS`.

Non-goals: programs of other languages; exactness against a target that fights it.
"""
