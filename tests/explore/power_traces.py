"""Small random traces for the power model, and its definition: every set of effects, without any cleverness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from harness.core.trace import Trace
from harness.core.tree import File, Tree, tree_of
from harness.explore.power.disk import Disk
from harness.explore.power.order import Order, bits
from harness.explore.script import Script

START = tree_of({"a": b"A" * 5000, "d/b": b"B" * 300})
NAMES = ("a", "b", "d/b", "d/c", "t")

calls = st.lists(
    st.tuples(
        st.sampled_from(("put", "append", "pwrite", "cut", "rename", "link", "unlink", "fsync", "dirsync", "ack")),
        st.integers(0, len(NAMES) - 1),
        st.integers(0, len(NAMES) - 1),
        st.sampled_from((1, 700, 4096, 5000)),
    ),
    max_size=6,
)


def trace_of(steps: list[tuple[str, int, int, int]]) -> Trace:
    """Return the trace of some calls; those that make no sense there are left out."""
    script = Script(START)
    for number, (kind, first, second, size) in enumerate(steps):
        _call(script, kind, NAMES[first], NAMES[second], size, number)
    return script.trace()


def _call(script: Script, kind: str, path: str, other: str, size: int, number: int) -> None:
    data = bytes([97 + number]) * size
    present = path in script.tree.names
    if kind == "put":
        script.put(path, data)
    elif kind == "ack":
        script.ack(number)
    elif kind == "dirsync":
        script.sync_directory("d" if path.startswith("d/") else "")
    elif not present:
        return
    elif kind == "rename" and path != other:
        script.rename(path, other)
    elif kind == "link" and other not in script.tree.names:
        script.link(path, other)
    elif kind == "unlink":
        script.unlink(path)
    elif kind in ("append", "pwrite", "cut", "fsync"):
        fd = script.open(path, append=kind == "append")
        if kind == "cut":
            script.truncate(fd, size)
        elif kind == "fsync":
            script.fsync(fd)
        else:
            script.write(fd, data, at=None if kind == "append" else 900)
        script.close(fd)


def lost_sets(order: Order, begun: int) -> Iterator[int]:
    """Yield every lost set that the order allows after ``begun`` operations: the definition."""
    every = 0
    for numbers in order.effects.of_op[:begun]:
        every |= (1 << numbers.stop) - 1
    durable = order.durable[begun - 1] if begun else 0
    pending = list(bits(every & ~durable))
    for choice in range(1 << len(pending)):
        lost = sum(1 << number for position, number in enumerate(pending) if choice >> position & 1)
        if all(not order.needs[number] & lost for number in bits(every & ~lost)):
            yield lost


def defined(order: Order) -> set[tuple[int, int]]:
    """Return (tree key, acknowledgements) of every state that the order defines."""
    found = {(order.effects.trace.start.key, 0)}
    disk = Disk(order.effects)
    acked = 0
    for index, op in enumerate(order.effects.trace.operations):
        acked += op.kind == "ack"
        found |= {(disk.tree(index, lost).key, acked) for lost in lost_sets(order, index + 1)}
    return found


def shown(tree: Tree) -> dict[str, Any]:
    """Return paths and contents, for messages."""
    return {path: node.content.to_bytes() for path, node in tree.files() if isinstance(node, File)}
