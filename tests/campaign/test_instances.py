"""Two of any command on one state: what nobody described is judged for lost updates, or it is said that nothing is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conducting import conduct_probe

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="schedules need the ptrace engine of Linux"),
]

WRITER = """
import fcntl, json, os, sys, time
path = os.path.join(sys.argv[1], "notes")
me = os.environ["TORNWRITE_INSTANCE"]
LOCK
old = open(path).read() if os.path.exists(path) else ""
MAKE
with open(f"{path}.{me}", "w") as stream:
    stream.write(new)
os.replace(f"{path}.{me}", path)
os.write(1, f"ACK {me}\\n".encode())
"""
LOCK = "lock = open(path + '.lock', 'w'); fcntl.flock(lock, fcntl.LOCK_EX)"
COLLECTS = "new = json.dumps({**json.loads(old or '{}'), me: time.time()})"
LINES = "new = old + f'entry {me}\\n'"


@pytest.mark.parametrize(
    ("lock", "make", "verdict"),
    [("", COLLECTS, "violated"), (LOCK, COLLECTS, "held"), ("", LINES, "inconclusive")],
    ids=["racing", "locked, values of its own", "nothing collects ids"],
)
def test_what_two_of_a_command_do_to_each_other(tmp_path: Path, lock: str, make: str, verdict: str) -> None:
    script = tmp_path / "save.py"
    script.write_text(WRITER.replace("LOCK", lock, 1).replace("MAKE", make, 1))
    conducted = conduct_probe(
        tmp_path, script, ("concurrency",), timed=4, instances=2, schedules="pct", engine="ptrace"
    )
    assert conducted.finished.verdict == verdict
    assert {item.invariant for item in conducted.findings} == ({"M3"} if verdict == "violated" else set())
    if verdict == "inconclusive":
        (case,) = (case for case in conducted.finished.summary["cases"] if case["target"] == "probe")
        assert "no file collects the ids that are acknowledged; give it a check" in case["classes"][0]["reason"]
