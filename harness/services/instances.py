"""Several instances of one program, and readers beside them, as one program: starts them, waits for all.

    instances.py LIST ENDED together|in_turn

LIST is a JSON file of {"argv", "environment"}: what each has besides this program's own environment. Those with
"output" are readers: they are started first, what they print goes to that file, their exit codes to one beside it
(".code"), and once all others have ended "stop" is made, if it is named. ENDED gets a byte for each instance that has
ended, of those that run together the last started first; an empty name: nobody asks. The instances share the streams
and the process group, so what signals the group reaches each of them; the signals that a program can catch do not end
the waiting. The standard library only.

Who runs together starts behind a barrier: all are there before the first of them becomes its program. Where a process
cannot be forked they start one after the other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

NOT_STARTED = 127


def main(path: str, ended: str, way: str) -> int:
    """Run the instances; return the exit code of the worst, 128 and the signal's number for one that was signalled."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # a handler, not SIG_IGN: that would be inherited
            signal.signal(getattr(signal, name), lambda *_: None)
    with open(path, encoding="utf-8") as stream:
        programs = json.load(stream)
    programs.sort(key=lambda each: "output" not in each)
    groups = [[each] for each in programs] if way == "in_turn" else [programs]
    codes = []
    for group in groups:
        started: Sequence[Started | Forked]
        started = forked(group) if len(group) > 1 and hasattr(os, "fork") else [Started(each) for each in group]
        readers = [one for each, one in zip(group, started, strict=True) if "output" in each]
        for process in reversed(started[len(readers) :]):
            codes.append(process.wait())
            if ended:
                with open(ended, "ab") as stream:
                    stream.write(b".")
        for each, process in zip(group, readers, strict=False):
            if each.get("stop"):
                with open(each["stop"], "ab"):
                    pass
            with open(each["output"] + ".code", "w", encoding="ascii") as stream:
                stream.write(str(process.wait()))
    return max(code if code >= 0 else 128 - code for code in codes)


class Started:
    """A program that was started at once."""

    def __init__(self, program: dict[str, Any]) -> None:
        with open(program.get("output", os.devnull), "ab") as output:
            self._process = subprocess.Popen(
                program["argv"],
                env={**os.environ, **program["environment"]},
                stdout=output if "output" in program else None,
            )

    def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        return self._process.wait()


class Forked:
    """A child that becomes its program when the barrier falls."""

    def __init__(self, program: dict[str, Any], barrier: int, others: int) -> None:
        self._pid = os.fork()
        if self._pid:
            return
        try:
            os.close(others)
            if "output" in program:
                os.dup2(os.open(program["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
            environment = {**os.environ, **program["environment"]}
            os.read(barrier, 1)  # its other end is closed
            os.close(barrier)
            os.execvpe(program["argv"][0], program["argv"], environment)
        except OSError as error:
            os.write(2, f"{program['argv'][0]}: {error.strerror}\n".encode())
        finally:
            os._exit(NOT_STARTED)

    def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def forked(programs: list[dict[str, Any]]) -> list[Forked]:
    """Fork them all, then let them go on together."""
    barrier, ours = os.pipe()
    started = [Forked(each, barrier, ours) for each in programs]
    os.close(barrier)
    os.close(ours)
    return started


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
