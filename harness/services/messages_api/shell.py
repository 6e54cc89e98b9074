"""What a Bash call of the script runs: a line in the ledger, a wait at its gate, what the scenario says. Pure text.

The effect is one append of one short line, so the ledger on disk says which calls really ran, whatever became of the
conversation. The gate is a named pipe that the shell holds open until it ends: the service sees it come, lets it go
with a line, and sees it end. A gate whose service is gone lets nobody through: the command fails. A call that does
nothing but wait is one ``cat``: clients know it for a command that only reads, and run several side by side.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from harness.core.api_script import Call

_DESCRIPTOR = 9
LISTED = "listed-"


def gate_path(gates: str, tool_use_id: str) -> str:
    """Return where the named pipe of a held call is."""
    return f"{gates}/{tool_use_id}"


def listed_path(gates: str, pid: int) -> str:
    """Return the file by which a server of the gated tools says that its client has asked what tools it has."""
    return f"{gates}/{LISTED}{pid}"


def bash_command(call: Call, values: Mapping[str, str], rest: str) -> str:
    """Return the command of a Bash call; ``values`` are the places, ``rest`` is what stands in its input."""
    if call.hold != "no" and not (call.effect or call.result_bytes or rest):
        return f"cat {shlex.quote(gate_path(values['gates'], values['id']))}"
    effect = f"echo {values['id']} >> {shlex.quote(values['ledger'])}" if call.effect else ""
    wait = ""
    if call.hold != "no":
        gate = shlex.quote(gate_path(values["gates"], values["id"]))
        wait = f"exec {_DESCRIPTOR}<{gate} && read -r _ <&{_DESCRIPTOR} || exit 1"
    steps = [effect, wait] if call.hold == "after_effect" else [wait, effect]
    said = f"head -c {call.result_bytes} /dev/zero | tr '\\0' x" if call.result_bytes else f"echo did {call.id}"
    return "; ".join(step for step in (*steps, rest or said) if step)
