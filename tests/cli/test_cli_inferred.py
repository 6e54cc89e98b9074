"""``probe`` without a check, on small writers that were judged wrongly once: what it says of each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import Ended, tornwrite

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("traced")]

HEAD = "import fcntl, json, os, sys\nd = sys.argv[1] + '/'\n"
APPEND = """
def app(data, flags=0):
    fd = os.open(d + "l.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY | flags)
    while data:
        data = data[os.write(fd, data):]
    os.close(fd)
"""
REPLACE = """
def put(number):
    with open(d + "s.json.tmp", "w") as f:
        json.dump({"i": number}, f)
    os.replace(d + "s.json.tmp", d + "s.json")
"""

DUMP_APPENDING = """
for i in range(3):
    with open(d + "s.json", "a") as f:
        f.truncate(0)
        json.dump({"i": i, "x": "y" * (200 + i)}, f)
    print("ACK", i)
"""
DUMP_LOCKED = """
for i in range(3):
    with open(d + "s.json", "a+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        f.truncate()
        json.dump({"i": i, "x": "y" * 9000}, f)
    print("ACK", i)
"""
TWO_OPENS = """
for i in range(2):
    with open(d + "s.json", "w") as f:
        f.write('{"i":%d,' % i)
    with open(d + "s.json", "a") as f:
        f.write('"b":2}')
    print("ACK", i)
"""
CONFIGURATION = """
for i in range(3):
    for mode, word in (("w", "user"), ("a", "pass")):
        with open(d + "conf", mode) as f:
            f.write(f"{word}={i}\\n")
    print("ACK", i)
"""
COMPACTED = (
    APPEND
    + """
for i in range(3):
    app(b'{"set":%d}\\n' % i)
    print("ACK", i)
app(b'{"snapshot":[0,1,2]}\\n', os.O_TRUNC)
for i in range(3, 5):
    app(b'{"set":%d}\\n' % i)
    print("ACK", i)
"""
)
LINK = """
for i in range(3):
    with open(d + "v.tmp", "w") as f:
        f.write(f"version {i}")
    os.rename(d + "v.tmp", d + f"v{i}")
    if i:
        os.unlink(d + "current")
    os.symlink(f"v{i}", d + "current")
    print("ACK", i)
"""
LINK_REPLACED = LINK.replace('os.unlink(d + "current")', "pass").replace(
    'd + "current")', 'd + "l.tmp")\n    os.rename(d + "l.tmp", d + "current")'
)
LOCKED = (
    REPLACE
    + """
fd = os.open(d + "lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
os.write(fd, b"%d" % os.getpid())
os.close(fd)
for i in range(3):
    put(i)
    print("ACK", i)
os.unlink(d + "lock")
"""
)
BUFFERED = (
    REPLACE
    + """
acks = []
open(d + "lock", "x").close()
for i in range(3):
    put(i)
    acks.append(f"ACK {i}\\n")
os.write(1, "".join(acks).encode())
os.unlink(d + "lock")
"""
)
ROTATED = (
    APPEND
    + """
for i in range(6):
    if i == 3:
        os.rename(d + "l.jsonl", d + "l.jsonl.1")
    app(b'{"i":%d}\\n' % i)
    print("ACK", i)
"""
)
THREADS = """
import threading, time
def slow():
    with open(d + "settings.ini", "w") as f:
        f.write("[net]\\nhost=a\\n"); f.flush(); time.sleep(0.2); f.write("[auth]\\nuser=b\\n")
def acknowledged(name):
    for i in range(4):
        with open(d + name + ".tmp", "w") as f:
            f.write('{"i": '); f.flush(); time.sleep(0.02); f.write("%d}" % i)
        os.replace(d + name + ".tmp", d + name)
        os.write(1, b"ACK %d\\n" % i)
def together(*jobs):
    started = [threading.Thread(target=job, args=args) for job, *args in jobs]
    [one.start() for one in started]
    [one.join() for one in started]
"""
SOMEBODY_ELSE_ACKNOWLEDGES = (
    THREADS
    + """
together((slow,), (acknowledged, "s.json"))
"""
)
TWO_WORKERS = (
    THREADS
    + """
together((acknowledged, "a.json"), (acknowledged, "b.json"))
"""
)
LAST_SAVE = (
    REPLACE
    + """
import signal, time
def bye(*_):
    put(99)
    os._exit(0)
signal.signal(signal.SIGTERM, bye)
signal.signal(signal.SIGINT, bye)
signal.signal(signal.SIGHUP, bye)
for i in range(6):
    put(i)
    os.write(1, b"ACK %d\\n" % i)
    time.sleep(0.02)
"""
)
FRAMES = """
fd = os.open(d + "frames", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
for i in range(4):
    os.write(fd, bytes([4, 0, i, i]))
    print("ACK", i)
"""
LOG = (
    APPEND
    + """
for i in range(4):
    app(b'{"i":%d}\\n' % i)
    print("ACK", i)
"""
)


def probe(program: str, *options: str, cwd: Path, faults: str = "kill") -> Ended:
    return tornwrite("probe", "--faults", faults, *options, *command(program, cwd), cwd=cwd)


def command(program: str, cwd: Path) -> tuple[str, ...]:
    (cwd / "save.py").write_text(HEAD + program)
    return ("--", sys.executable, "save.py", "{dir}")


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        pytest.param(DUMP_APPENDING, 1, "leaves s.json empty", id="opened to append, emptied, dumped"),
        pytest.param(DUMP_LOCKED, 1, "leaves s.json empty", id="the same under a lock"),
        pytest.param(TWO_OPENS, 1, "leaves s.json empty", id="written in two opens"),
        pytest.param(CONFIGURATION, 1, "leaves conf empty", id="written line by line"),
        pytest.param(COMPACTED, 1, "leaves l.jsonl empty", id="compacted in place"),
        pytest.param(LINK, 1, "the document is gone after 1 acknowledgements", id="link removed and made again"),
        pytest.param(LINK_REPLACED, 0, "Held: ", id="link replaced"),
        pytest.param(LOCKED, 0, "Held: ", id="pid lock file"),
        pytest.param(BUFFERED, 3, "stdout looks block-buffered", id="lock removed after the flush"),
        pytest.param(ROTATED, 0, "Held: ", id="rotated by rename"),
        pytest.param(
            SOMEBODY_ELSE_ACKNOWLEDGES, 1, "leaves settings.ini torn", id="in place beside acknowledgements"
        ),
        pytest.param(TWO_WORKERS, 0, "Held: ", id="two workers with temporaries of their own"),
        pytest.param(FRAMES, 3, "its records do not end with a newline", id="binary log"),
    ],
)
def test_a_writer_that_nobody_described(program: str, code: int, words: str, here: Path) -> None:
    ended = probe(program, cwd=here)
    assert words in ended.out
    assert ended.exit_code == code, ended.out


def test_an_append_log_whose_next_start_heals_a_torn_tail(here: Path) -> None:
    torn = probe(LOG, "--json", cwd=here, faults="short")
    assert torn.exit_code == 1
    assert "--torn-tail healed" in str(torn.document["result"])
    healed = probe(LOG, "--torn-tail", "healed", cwd=here, faults="short")
    assert (healed.exit_code, "--torn-tail" in healed.out) == (0, False), healed.out
    token = torn.document["result"]["findings"][0]["finding"]["token"]
    words = command(LOG, here)
    again = tornwrite("replay", token, *words, cwd=here)
    assert again.out.startswith("REPRODUCED 3/3")
    assert again.err == ""
    fixed = tornwrite("replay", token, "--torn-tail", "healed", *words, cwd=here)
    assert fixed.out.startswith("FIXED"), fixed
    assert "or another --torn-tail" in fixed.err


def test_a_last_save_at_a_signal_is_no_damage(here: Path) -> None:
    ended = probe(LAST_SAVE, cwd=here, faults="signal")
    assert (ended.exit_code, "Held: " in ended.out) == (0, True), ended.out
