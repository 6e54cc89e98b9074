"""A writer with some of its syncs left out: ``python without_syncs.py NUMBERS SCRIPT ARGUMENTS…``.

NUMBERS are those of its calls of ``os.fsync``, from 1, separated by commas. Standard library only.
"""

import itertools
import os
import runpy
import sys

skipped = {int(number) for number in sys.argv[1].split(",") if number}
real, calls = os.fsync, itertools.count(1)


def fsync(descriptor):
    if next(calls) not in skipped:
        real(descriptor)


os.fsync = fsync
sys.argv = sys.argv[2:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
