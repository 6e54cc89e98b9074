"""The crash-point strips of a campaign: what exploring told of each moment of a run, kept for the pictures of a report.

Written when a case is explored, and anew with the rows of its power losses when these are.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.campaign.context import Context, Measured
from harness.campaign.power_states import PowerStates
from harness.core.json_record import encode_record
from harness.core.strip import Strip, strip_row


def strip_of(item: Measured, power: Mapping[str, PowerStates]) -> Strip:
    """Return the strip of a case: its explored classes, then what exploring power losses found per profile."""
    rows = [strip_row(name, each.places) for name, each in item.explored.explorations.items()]
    rows += [strip_row("power", each.exploration.places, profile) for profile, each in power.items()]
    return Strip(operations=len(item.trace.operations), rows=tuple(rows))


def keep_strip(ctx: Context, item: Measured, power: Mapping[str, PowerStates] | None = None) -> None:
    """Write ``strips/<case>.json``."""
    document = encode_record(strip_of(item, power or {}))
    ctx.store.write_artifact(f"strips/{item.case.file_name}.json", document.encode("ascii") + b"\n")
