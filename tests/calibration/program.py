"""A random small writer: ``python -ISE program.py SEED DIR``. Standard library only; the same calls for the same seed.

It creates, appends, overwrites, truncates, renames, links, unlinks and syncs a few files in two directories, with
contents that say which call wrote them.
"""

import os
import random
import sys

CALLS = 9
NAMES = ("a", "b", "c", "d/a", "d/b")


def text(word, size):
    """Return ``size`` bytes in which every 64 say where they come from."""
    return b"".join(f"{word}@{at:06d} ".ljust(64, ".").encode() for at in range(0, size + 64, 64))[:size]


def write(choose, call, path, flags):
    descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
    for part in range(choose.choice((1, 1, 2))):
        size = choose.choice((100, 2500, 4096, 5000, 9000))
        data = text(f"call{call}.{part}", size)
        if flags & os.O_APPEND or choose.random() < 0.5:
            os.write(descriptor, data)
        else:
            os.pwrite(descriptor, data, choose.choice((0, 1000, 4096, 6000)))
    if choose.random() < 0.2:
        os.ftruncate(descriptor, choose.choice((0, 3000, 4096, 7000)))
    if choose.random() < 0.3:
        os.fsync(descriptor)
    os.close(descriptor)


def change_names(choose, present):
    source = choose.choice(present)
    kind = choose.random()
    if kind < 0.55:
        os.rename(source, choose.choice(NAMES))
    elif kind < 0.75:
        free = [name for name in NAMES if name not in present]
        if free:
            os.link(source, choose.choice(free))
    else:
        os.unlink(source)


def sync_directory(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def main(seed, directory):
    choose = random.Random(f"program {seed}")
    os.chdir(directory)
    for call in range(CALLS):
        present = [name for name in NAMES if os.path.lexists(name)]
        kind = choose.random()
        if kind < 0.5 or not present:
            flags = choose.choice((os.O_TRUNC, os.O_APPEND, 0))
            write(choose, call, choose.choice(NAMES), os.O_CREAT | flags)
        elif kind < 0.9:
            change_names(choose, present)
        else:
            sync_directory(choose.choice((".", "d")))
    os.write(1, b"ACK 1\n")


START = {"d": None, "a": text("old.a", 10_000), "d/b": text("old.d.b", 6_000)}

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
