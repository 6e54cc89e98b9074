"""Schedules: the names of actors, who goes next, and which interleavings there are. Pure."""

from __future__ import annotations

from harness.explore.schedule.actors import Mode, pool_label, strand_of, thread_label
from harness.explore.schedule.handing import fewer, handovers, order_measure
from harness.explore.schedule.schedulers import Scheduler, contended, pct_bound, scheduler_for, strands
from harness.explore.schedule.systematic import Systematic, preemptions

__all__ = [
    "Mode",
    "Scheduler",
    "Systematic",
    "contended",
    "fewer",
    "handovers",
    "order_measure",
    "pct_bound",
    "pool_label",
    "preemptions",
    "scheduler_for",
    "strand_of",
    "strands",
    "thread_label",
]
