"""What of a campaign one shard does, such that all shards together do the work of one run, each trial once.

Every shard records every case that it has a share of, and runs the controls: without them its own trials would prove
nothing. Shared out are, per case: its *states* (the run without a fault, kill and short states, what its own programs
make of them, its lives), its *power* losses, its *damage* trials, each as a whole, to one shard; and by their numbers
the states that a check judges, runs under errors, timed kills, signals and plain runs. What a number means does not
depend on the shard: the seed, the trial's id and its moment are those of the whole run.

A writer whose recordings differ from run to run (threads, random names) has its errno plans numbered by the recording
of each shard; where the moments of timed kills lie is measured on the machine of each shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.core.fault import FaultClass
from harness.core.shard import Shard, deal

if TYPE_CHECKING:
    from harness.campaign.context import Case, Measured

Unit = Literal["states", "power", "damage"]
ELSEWHERE = "judged in another shard"
"""The note of a run without a fault that this shard needed and does not count."""

_STATES, _LIFE, _PROFILE, _DAMAGE = 20, 20, 35, 60
"""About what a unit costs, in plain runs; only how they compare matters."""
_HOMES: Mapping[FaultClass, Unit] = {"none": "states", "kill": "states", "short": "states", "power": "power"}
_NUMBERED = ("check", "errno", "timed", "signal", "after_ack", "schedule")


def home_of(fault_class: FaultClass) -> Unit | None:
    """Return the unit without which a class is not measured; ``None`` where all of its trials are numbered."""
    return "damage" if fault_class == "damage" else _HOMES.get(fault_class)


def _unit_of(path: str) -> Unit | None:
    """Return the unit that a trial belongs to, by its id without the case; ``None`` for a numbered one."""
    phase, _, rest = path.partition("/")
    if rest.startswith("power/") or phase == "sync":
        return "power"
    if phase == "recover":
        return "damage" if rest.startswith("damage/") else "states"
    return None if phase in _NUMBERED else "states"


class Split(NamedTuple):
    """A shard, the shard of each unit by case id, and the place of each case in the plan."""

    shard: Shard = Shard()
    homes: Mapping[tuple[str, Unit], int] = {}
    places: Mapping[str, int] = {}

    def has(self, case: Case, unit: Unit) -> bool:
        """Whether a unit of a case is this shard's. Controls are every shard's."""
        return self.shard.whole or bool(case.control) or self.homes.get((case.id, unit)) == self.shard.number

    def takes(self, case: Case, trial_id: str) -> bool:
        """Whether a trial is this shard's."""
        if self.shard.whole or case.control:
            return True
        path = trial_id.removeprefix(f"{case.id}/")
        unit = _unit_of(path)
        if unit is not None:
            return self.has(case, unit)
        # Each case and phase begins with another shard, so that those with few trials do not all fall into the first.
        begin = self.places.get(case.id, 0) + _NUMBERED.index(path.partition("/")[0])
        return self.shard.takes(int(path.rpartition("/")[2]) + begin)

    def takes_any(self, case: Case, numbered: Iterable[tuple[str, int]]) -> bool:
        """Whether any of so many trials of these phases is this shard's."""
        return any(
            self.takes(case, f"{case.id}/{phase}/{index}") for phase, count in numbered for index in range(count)
        )

    def of(self, cases: Iterable[Measured], unit: Unit) -> list[Measured]:
        """Return the cases whose ``unit`` is this shard's."""
        return [item for item in cases if self.has(item.case, unit)]


def split_of(cases: Iterable[Case], shard: Shard) -> Split:
    """Deal the units of the cases of a plan."""
    cases = [case for case in cases if not case.control]
    weights: list[tuple[tuple[str, Unit], int]] = []
    for case in cases:
        weights.append(((case.id, "states"), _STATES + case.sample_max + _LIFE * len(case.lives)))
        if "power" in case.faults:
            weights.append(((case.id, "power"), _PROFILE * len(case.profiles)))
        if "damage" in case.faults:
            weights.append(((case.id, "damage"), _DAMAGE))
    return Split(shard, deal(weights, shard.of), {case.id: place for place, case in enumerate(cases)})
