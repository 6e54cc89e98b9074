"""From when on each operation of a run survives a power loss: "durable after operation k", per profile.

An operation is durable once everything it changed is on the disk whatever happens. An acknowledgement changes nothing:
what is asked of it is from when on everything *before* it is durable.
"""

from __future__ import annotations

from harness.core.operation import Ack
from harness.core.profile import Profile
from harness.core.trace import Trace
from harness.explore.power.effects import effects_of
from harness.explore.power.order import bits, order_of

NEVER = -1
"""Not durable by the end of the run."""


def durable_after(trace: Trace, profile: Profile) -> tuple[int | None, ...]:
    """Return, per operation, the first operation after whose return it is durable, or :data:`NEVER`.

    ``None`` for an operation that changes nothing; of an acknowledgement before which nothing was changed, its own
    number. Raises ``ReplayError`` where the trace contradicts itself.
    """
    effects = effects_of(trace, profile)
    order = order_of(effects, profile)
    arrived = [NEVER] * len(effects.items)
    known = 0
    for index, durable in enumerate(order.durable):
        for number in bits(durable & ~known):
            arrived[number] = index
        known |= durable
    found: list[int | None] = []
    latest = NEVER
    for index, op in enumerate(trace.operations):
        mine = [arrived[number] for number in effects.of_op[index]]
        if mine:
            own = NEVER if NEVER in mine else max(mine)
            found.append(own)
            # A number beyond the run stands for "never" in the maximum.
            latest = max(latest, len(trace.operations) if own == NEVER else own)
        elif isinstance(op, Ack):
            found.append(NEVER if latest == len(trace.operations) else max(latest, index))
        else:
            found.append(None)
    return tuple(found)
