"""A program that behaves badly in the way it is told: ``writer.py BEHAVIOUR DIR [MARK]``. Not a test.

MARK is never read: it stands on the command line so that a test can find what is still alive.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

DIRECTORY = sys.argv[2] if len(sys.argv) > 2 else ""


def put(name: str, data: bytes = b"{}") -> None:
    """Write a whole file the careful way."""
    path = os.path.join(DIRECTORY, name)
    with open(path + ".tmp", "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(path + ".tmp", path)


def ack(word: str) -> None:
    os.write(1, f"ACK {word}\n".encode())


def good() -> None:
    for number in range(2):
        put("state.json", b'{"n": %d}' % number)
        ack(str(number))


def torn() -> None:
    for number in range(2):
        with open(os.path.join(DIRECTORY, "state.json"), "w") as stream:
            stream.write(f'{{"n": {number}}}')
        ack(str(number))


def hang() -> None:
    put("state.json")
    time.sleep(600)


def stubborn() -> None:
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    hang()


def spin() -> None:
    put("state.json")
    while True:
        pass


def forks() -> None:
    put("state.json")
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)


def fills() -> None:
    with open(os.path.join(DIRECTORY, "big"), "wb") as stream:
        while True:
            stream.write(bytes(1 << 20))


def sparse() -> None:
    with open(os.path.join(DIRECTORY, "big"), "wb") as stream:
        stream.truncate(1 << 40)


def prints() -> None:
    put("state.json")
    line = b"x" * 65535 + b"\n"
    for _ in range(1 << 14):
        os.write(1, line)


def fails() -> None:
    put("state.json")
    sys.stderr.write("\x1b[31mno \u202econfiguration\x1b[0m\n")
    sys.exit(7)


def dies() -> None:
    put("state.json")
    os.kill(os.getpid(), signal.SIGSEGV)


def nothing() -> None:
    ack("1")


def outside() -> None:
    good()
    with open(os.path.join(os.environ["HOME"], "elsewhere"), "w") as stream:
        stream.write("x")


def leaves() -> None:
    """Delete the state directory itself."""
    os.rmdir(DIRECTORY)


def unreadable() -> None:
    put("state.json")
    os.mkfifo(os.path.join(DIRECTORY, "pipe"))
    os.chmod(os.path.join(DIRECTORY, "state.json"), 0)


def buffered() -> None:
    lines = []
    for number in range(4):
        put("state.json", b'{"n": %d}' % number)
        lines.append(f"ACK {number}\n")
    os.write(1, "".join(lines).encode())


def daemon() -> None:
    good()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            time.sleep(600)
        os._exit(0)


def moody() -> None:
    """Make another number of files in every run: faults find no operation to strike."""
    for number in range(random.randrange(1, 6)):
        put(f"{random.random()}.json")
        ack(str(number))


def hostile() -> None:
    for name in (b"\x1b[2Jx", "\u202ertl".encode(), b"new\nline", b"\xff\xfe", b"a|b"):
        with open(os.path.join(os.fsencode(DIRECTORY), name), "wb") as stream:
            stream.write(b"1234")
        os.write(1, b"ACK \x1b[31m" + name.replace(b"\n", b"") + b"\n")


def two_actors() -> None:
    """Acknowledge from two processes."""
    put("p.json")
    ack("p1")
    if os.fork() == 0:
        put("c.json")
        ack("c1")
        os._exit(0)
    os.wait()


BEHAVIOURS = {name: item for name, item in list(globals().items()) if callable(item) and name.islower()}

if __name__ == "__main__":
    BEHAVIOURS[sys.argv[1]]()
