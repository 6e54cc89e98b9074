"""Ways in which several processes and threads change files: ``python -ISE process_idioms.py NAME DIRECTORY``."""

import contextlib
import fcntl
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # isolated mode leaves the script's folder out

from python_idioms import main, make


def child_output_to_file():
    with open("out", "w") as stream:
        subprocess.run(["/bin/sh", "-c", "echo one; echo two; /bin/echo three"], stdout=stream, check=True)
    subprocess.run(["/bin/sh", "-c", "echo appended >> out; mv out moved; cat moved moved > double"], check=True)


def forked_writers():
    fd = make("shared", b"", os.O_APPEND)
    children = []
    for number in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(10):
                os.write(fd, b"%d" % number * 20 + b"\n")
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


def daemonised():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            make("from_the_daemon", b"d" * 5000)
        os._exit(0)
    os.wait()


def inherited_by_exec():
    fd = make("doc", b"before exec;")
    os.set_inheritable(fd, True)
    make("closed_by_exec")
    os.execv("/bin/sh", ["sh", "-c", f"echo after exec >&{fd}; echo more > other"])


def threads():
    def work(number):
        for step in range(10):
            with open(f"t{number % 4}", "ab") as stream:
                stream.write(b"%d" % number * 50)
            name = f"own{number}"
            with open(name + ".tmp", "wb") as stream:
                stream.write(b"%d" % step)
            os.replace(name + ".tmp", name)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def exit_under_threads():
    def forever(number):
        while True:
            with open(f"t{number}", "ab") as stream:
                stream.write(b"z" * 100)

    for number in range(4):
        threading.Thread(target=forever, args=(number,), daemon=True).start()
    with open("main", "w") as stream:
        stream.write("done")
    sys.stdout.flush()
    os._exit(0)


def killed_sibling():
    pid = os.fork()
    if pid == 0:
        while True:
            with open("victim", "ab") as stream:
                stream.write(b"v" * 3000)
    for _ in range(20):
        with open("killer", "ab") as stream:
            stream.write(b"k")
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def terminated_threads():
    pid = os.fork()
    if pid == 0:

        def forever(number):
            while True:
                with open(f"t{number}", "ab", buffering=0) as stream:
                    stream.write(b"z" * 3000)

        for number in range(4):
            threading.Thread(target=forever, args=(number,), daemon=True).start()
        forever(4)
    while not os.path.exists("t4"):
        os.stat(".")
    for _ in range(10):
        with open("parent", "ab") as stream:
            stream.write(b"p")
    os.kill(pid, 15)
    os.waitpid(pid, 0)


def locks():
    fd = make("lock")
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os._exit(0)
    os.waitpid(pid, 0)
    os.write(fd, b"under the lock")
    fcntl.lockf(fd, fcntl.LOCK_UN)


def waiting_lock():
    fd = make("lock")
    fcntl.flock(fd, fcntl.LOCK_EX)
    pid = os.fork()
    if pid == 0:
        other = os.open("lock", os.O_WRONLY | os.O_APPEND)
        fcntl.flock(other, fcntl.LOCK_EX)
        os.write(other, b"second")
        os._exit(0)
    for _ in range(10):
        os.write(fd, b"first")
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main(globals())
