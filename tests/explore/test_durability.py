"""From when on an operation survives a power loss, per profile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.catalog.profiles import load_profile
from harness.core.operation import Ack
from harness.core.trace import Trace
from harness.core.tree import tree_of
from harness.explore.power.durability import NEVER, durable_after
from harness.explore.power.effects import effects_of
from harness.explore.power.order import order_of
from harness.explore.script import Script
from harness.strategies import traces
from tests.explore.edited_runs import PROFILES


def replaced() -> Trace:
    script = Script(tree_of({"x": b"old"}))
    script.ack("before anything")
    script.replace("x", b"new")  # 1 open, 2 write, 3 fsync, 4 close, 5 rename
    script.ack("too early")
    script.sync_directory()  # 7
    script.ack("in time")
    script.put("y", b"more")  # 9 to 11
    script.ack("never")
    return script.trace()


def test_posix_asks_for_the_directory() -> None:
    assert durable_after(replaced(), load_profile("posix")) == (
        *(0, 7, 3, None, None, 7, 7, None, 8),
        *(NEVER, NEVER, None, NEVER),
    )


def test_ext4_takes_the_name_of_a_new_file_along() -> None:
    assert durable_after(replaced(), load_profile("ext4")) == (
        *(0, 3, 3, None, None, 7, 7, None, 8),
        *(NEVER, NEVER, None, NEVER),
    )


def test_an_empty_run() -> None:
    assert durable_after(Script().trace(), load_profile("posix")) == ()


@given(traces(), st.sampled_from(PROFILES))
def test_what_is_durable_is_never_lost(trace: Trace, profile: object) -> None:
    effects = effects_of(trace, profile)  # type: ignore[arg-type]
    order = order_of(effects, profile)  # type: ignore[arg-type]
    found = durable_after(trace, profile)  # type: ignore[arg-type]
    for index, (op, after) in enumerate(zip(trace.operations, found, strict=True)):
        mine = sum(1 << number for number in effects.of_op[index])
        if isinstance(op, Ack):
            mine = sum(1 << number for number in range(effects.of_op[index].start))
        elif not mine:
            assert after is None
            continue
        if after == NEVER:
            assert order.durable[-1] & mine != mine
            continue
        assert after is not None
        assert after >= index
        assert order.durable[after] & mine == mine
        if after > index:
            assert order.durable[after - 1] & mine != mine
