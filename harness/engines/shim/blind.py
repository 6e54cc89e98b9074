"""What the shim cannot see, by runtime: a closed list, said in the verdict of every campaign that used it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

BLIND_SPOTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "python": MappingProxyType(
            {
                "native": "what C code writes by itself (sqlite3, ctypes, extensions, os.splice)",
                "mapping": "stores through mmap",
                "children": "children other than Python and Node, or started with -I, -S or -E",
            }
        ),
        "node": MappingProxyType(
            {
                "native": "native addons, and from Node 26 on fs.promises.writeFile and appendFile",
                "children": "children other than Python and Node",
            }
        ),
    }
)
"""Runtime → name → in words."""


def sentence(runtime: str) -> str:
    """Return, in one line, what the shim cannot see of a target in this runtime."""
    spots = list(BLIND_SPOTS[runtime].values())
    return f"(shim engine, {runtime}) {', '.join(spots[:-1])}, and {spots[-1]}"


def sentences(commands: Iterable[str]) -> tuple[str, ...]:
    """Return what the shim cannot see of processes with these program names."""
    runtimes = {"node" if command.lower().startswith("node") else "python" for command in commands}
    return tuple(sentence(runtime) for runtime in sorted(runtimes))
