"""How a client is told of the gated tools: the JSON of its ``--mcp-config``. Imports nothing of the MCP SDK."""

from __future__ import annotations

import json
import os
import sys

from harness.core.api_script import MCP_SERVER
from harness.services.messages_api.serving import ToolPlaces

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mcp_tools.py")


def mcp_config(places: ToolPlaces) -> str:
    """Return the configuration of the gated tools for ``places``; the server imports what this process can."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    server = {
        "type": "stdio",
        "command": sys.executable,
        "args": ["-BsP", _PROGRAM, places.ledger, places.gates],
        "env": {"PYTHONPATH": path},
    }
    return json.dumps({"mcpServers": {MCP_SERVER: server}}, indent=2) + "\n"
