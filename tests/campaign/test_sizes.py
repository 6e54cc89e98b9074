"""The sizes of workloads: what is smaller can be made, and is what it says."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign.sizes import Sizes, parameters_of, sizes_of, with_sizes
from harness.catalog.steps import Step, Tools
from harness.catalog.workload import Workload, problem
from harness.explore.shrinking import smaller

RANGES = st.tuples(st.integers(1, 5000), st.integers(0, 5000)).map(lambda pair: (pair[0], sum(pair)))
WORKLOADS = st.builds(
    Workload,
    sessions=st.integers(1, 5),
    updates=st.integers(1, 20),
    record_bytes=RANGES,
    instances=st.integers(1, 3),
    tools=st.builds(Tools, parallel=st.integers(0, 4), result_bytes=RANGES),
    interrupt=st.sampled_from([(), ("escape",), ("new_message", "ctrl_c")]),
).filter(lambda workload: not problem(workload))


@given(WORKLOADS)
def test_a_smaller_workload_has_the_sizes_that_were_asked_for(workload: Workload) -> None:
    assert with_sizes(workload, sizes_of(workload)) == workload
    for values in smaller(parameters_of(workload)):
        made = with_sizes(workload, Sizes(*values))
        if made is None:
            continue
        assert problem(made) == ""
        assert sizes_of(made) < sizes_of(workload)
        assert sizes_of(made)[:-1] == values[:-1]
        assert msgspec.convert(msgspec.to_builtins(made), Workload) == made


def test_an_interruption_keeps_a_tool_and_what_changes_is_exact() -> None:
    workload = Workload(updates=3, tools=Tools(parallel=2), interrupt=("escape",))
    sizes = sizes_of(workload)
    assert with_sizes(workload, sizes._replace(tools=0)) is None
    made = with_sizes(workload, sizes._replace(tools=1, updates=1, record_bytes=10))
    assert made is not None
    assert (made.tools.parallel, made.record_bytes, made.interrupt) == (1, (10, 10), ("escape",))
    assert made.tools.result_bytes == workload.tools.result_bytes


def test_of_steps_the_last_turns_are_left_out_and_never_all() -> None:
    steps = tuple(Step(at=turn, do="update") for turn in (0, 0, 1, 2))
    workload = Workload(sessions=1, updates=1, steps=steps)
    assert sizes_of(workload).updates == 3
    made = with_sizes(workload, sizes_of(workload)._replace(updates=1))
    assert made is not None
    assert made.steps == steps[:2]
    later = msgspec.structs.replace(workload, steps=steps[2:])
    assert with_sizes(later, sizes_of(later)._replace(updates=1)) is None
