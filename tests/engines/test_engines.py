"""The registry of engines."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.engines import ENGINES, UnknownEngineError, engine


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_has_its_name_and_says_whether_it_works(name: str) -> None:
    made = engine(name)
    assert made.name == name
    assert isinstance(made.available(), str)
    assert engine(name) is made


def test_an_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(UnknownEngineError, match="valid: forked, ptrace, ptrace-forked, shim, timed"):
        engine("strace")


HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "pwd", "grp", "termios"):
            raise ImportError(name)
sys.meta_path.insert(0, Hide())
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
sys.platform = "win32"
from harness.engines import engine
print(engine("ptrace").available())
assert engine("ptrace-forked").available() == engine("ptrace").available()
"""


def test_elsewhere_the_ptrace_engine_is_not_available_with_a_reason() -> None:
    done = subprocess.run([sys.executable, "-c", HIDE], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "needs Linux; this is win32\n", done.stderr
