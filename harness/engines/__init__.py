"""Engines: effects only. ``run(RunSpec, FaultPlan) -> Recording``.

``ENGINES`` names them; :func:`engine` makes one. An engine is imported when it is asked for, so importing this
package works on every platform.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import cast

from harness.engines.base import (
    Engine,
    EngineError,
    KeepingEngine,
    SchedulingEngine,
    TargetNotStartedError,
    UnsupportedFaultError,
)

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "ptrace": "harness.engines.ptrace.engine:PtraceEngine",
        "ptrace-forked": "harness.engines.ptrace.forking:ForkingPtraceEngine",
        "shim": "harness.engines.shim.engine:ShimEngine",
        "forked": "harness.engines.shim.forking:ForkedEngine",
        "timed": "harness.engines.timed:TimedEngine",
    }
)
"""Engine name → ``module:class``."""


class UnknownEngineError(ValueError):
    """No engine has that name."""


@cache
def engine(name: str) -> Engine:
    """Return the engine called ``name``. Raises :class:`UnknownEngineError` naming the valid ones."""
    if name not in ENGINES:
        raise UnknownEngineError(f"unknown engine {name!r}; valid: {', '.join(sorted(ENGINES))}")
    module, _, attribute = ENGINES[name].partition(":")
    return cast(Engine, getattr(importlib.import_module(module), attribute)())


__all__ = [
    "ENGINES",
    "Engine",
    "EngineError",
    "KeepingEngine",
    "SchedulingEngine",
    "TargetNotStartedError",
    "UnknownEngineError",
    "UnsupportedFaultError",
    "engine",
]
