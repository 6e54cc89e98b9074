"""How the shim gets into a target: by environment variables, and by the command line where flags keep those out."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harness.engines.shim.runtime.tornwrite_shim.command import PythonCommand, booted, is_python

__all__ = ["NODE_SHIM", "NODE_TIMES", "RUNTIME", "VARIABLE", "PythonCommand", "booted", "environment", "is_python"]

RUNTIME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtime")
NODE_SHIM = os.path.join(RUNTIME, "node_shim.cjs")
NODE_TIMES = os.path.join(RUNTIME, "node_times.cjs")
VARIABLE = "TORNWRITE_SHIM"


def environment(given: Mapping[str, str], address: str, node_shim: str = NODE_SHIM) -> dict[str, str]:
    """Return the environment in which Python and Node load the shim, and find the engine at ``address``."""
    quoted = node_shim.replace("\\", "\\\\").replace('"', '\\"')
    return {
        **given,
        VARIABLE: address,
        "PYTHONPATH": os.pathsep.join(filter(None, (RUNTIME, given.get("PYTHONPATH", "")))),
        "NODE_OPTIONS": " ".join(filter(None, (f'"--require={quoted}"', given.get("NODE_OPTIONS", "")))),
    }
