"""Ways in which Python writes files through its own library: ``python shim_idioms.py NAME DIRECTORY``.

None of them uses ctypes: what C code does by itself is a blind spot of the shim. Functions that end in ``_blind`` are
blind spots on purpose.
"""

import array
import contextlib
import csv
import fcntl
import gzip
import io
import json
import logging
import logging.handlers
import mmap
import multiprocessing
import os
import pathlib
import pickle
import shelve
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor


def open_write():
    with open("doc", "w") as stream:
        stream.write("text")


def open_append():
    for number in range(4):
        with open("log", "a") as stream:
            stream.write(f"{number}\n")


def open_exclusive():
    with open("new", "x") as stream:
        stream.write("x")
    with contextlib.suppress(FileExistsError):
        open("new", "x")


def open_update():
    with open("doc", "w+") as stream:
        stream.write("hello world")
        stream.seek(0)
        stream.read(3)
        stream.seek(0)
        stream.write("J")
    with open("doc", "r+b") as stream:
        stream.seek(4)
        stream.write(b"XX")
        stream.truncate(6)


def open_binary_large():
    with open("big", "wb") as stream:
        for number in range(50):
            stream.write(bytes([number]) * 1000)


def unbuffered():
    with open("raw", "wb", buffering=0) as stream:
        stream.write(b"one")
        stream.write(bytearray(b"two"))
        stream.write(array.array("i", [1, 2, 3]))


def line_buffered():
    with open("lines", "w", buffering=1) as stream:
        stream.write("a\nb")
        stream.write("c\n")
        stream.writelines(["d\n", "e\n"])


def text_layers():
    with open("utf16", "w", encoding="utf-16", newline="\r\n", errors="replace") as stream:
        stream.write("zeile\nzwei\n")
    raw = io.FileIO("raw", "w")
    wrapper = io.TextIOWrapper(io.BufferedWriter(raw, 16), "utf-8", write_through=True)
    wrapper.write("a" * 40)
    wrapper.close()


def buffered_random():
    with io.BufferedRandom(io.FileIO("random", "w+"), 64) as stream:
        stream.write(b"0123456789" * 10)
        stream.seek(5)
        stream.write(b"abc")
        stream.seek(50)
        stream.read(4)
        stream.write(b"Z")


def left_open():
    stream = open("left", "w")
    stream.write("flushed when the interpreter ends")
    globals()["keep"] = stream


def os_write():
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.write(fd, b"one")
    os.write(fd, memoryview(b"two")[1:])
    os.close(fd)


def os_append():
    fd = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    other = os.open("log", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"one\n")
    os.write(other, b"two\n")
    os.pwrite(fd, b"appended all the same\n", 1)
    os.close(other)
    os.close(fd)


def positioned():
    fd = os.open("doc", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"tail", 100)
    os.lseek(fd, 10, os.SEEK_SET)
    os.write(fd, b"at ten")
    os.pwritev(fd, [b"a", b"bc"], 50)
    os.close(fd)


def vectors():
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY)
    os.writev(fd, [b"one", bytearray(b"two"), b"", memoryview(b"three")])
    os.close(fd)


def fdopen():
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY)
    with os.fdopen(fd, "w") as stream:
        stream.write("through fdopen")
    fd = os.open("both", os.O_CREAT | os.O_RDWR)
    with os.fdopen(fd, "rb", closefd=False) as stream:
        stream.read()
    os.write(fd, b"x")
    os.close(fd)


def replace_durably():
    with open("doc.tmp", "w") as stream:
        json.dump({"a": list(range(500))}, stream)
        stream.flush()
        os.fsync(stream)
    os.replace("doc.tmp", "doc")
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def sync_kinds():
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x")
    os.fdatasync(fd)
    os.sync()
    os.close(fd)


def rename_and_renames():
    open("a", "w").close()
    os.rename("a", "b")
    os.renames("b", "deep/er/c")
    with contextlib.suppress(OSError):
        os.rename("absent", "there")


def links():
    open("one", "w").close()
    os.link("one", "two")
    os.symlink("one", "three")
    with open("two", "a") as stream:
        stream.write("by its second name")
    with open("three", "a") as stream:
        stream.write("by a link")
    os.unlink("three")
    os.remove("one")


def directories():
    os.mkdir("a", 0o700)
    os.makedirs("a/b/c")
    os.rmdir("a/b/c")
    os.removedirs("a/b")
    with contextlib.suppress(OSError):
        os.rmdir("absent")


def sizes():
    with open("doc", "wb") as stream:
        stream.write(b"x" * 5000)
        stream.truncate(100)
        os.ftruncate(stream.fileno(), 200)
    os.truncate("doc", 50)
    fd = os.open("doc", os.O_WRONLY)
    os.posix_fallocate(fd, 0, 9000)
    os.truncate(fd, 7)
    os.close(fd)


def times_and_modes():
    with open("doc", "w") as stream:
        stream.write("t")
        os.fchmod(stream.fileno(), 0o640)
    os.utime("doc", (1, 2))
    os.utime("doc", ns=(3, 1_234_567_890))
    os.utime("doc")
    os.chmod("doc", 0o600)
    os.chown("doc", -1, -1)


def attributes():
    open("doc", "w").close()
    try:
        os.setxattr("doc", "user.note", b"v")
        os.removexattr("doc", "user.note")
    except OSError:
        sys.exit(77)


def special_nodes():
    os.mkfifo("fifo")
    os.mknod("plain", 0o600)


def path_objects():
    path = pathlib.Path("p")
    path.mkdir()
    (path / "doc").write_text("text")
    (path / "doc").write_bytes(b"bytes")
    (path / "doc").rename(path / "other")
    (path / "other").replace(path / "doc")
    (path / "touched").touch()
    (path / "link").symlink_to("doc")
    (path / "touched").unlink()
    (path / "doc").chmod(0o600)
    with (path / "log").open("a") as stream:
        stream.write("line\n")


def copies():
    with open("source", "wb") as stream:
        stream.write(bytes(range(256)) * 300)
    shutil.copyfile("source", "one")
    shutil.copy("source", "two")
    shutil.copy2("source", "three")
    with open("source", "rb") as stream, open("four", "wb") as target:
        shutil.copyfileobj(stream, target, 10_000)


def copied_trees():
    os.makedirs("a/b")
    with open("a/b/c", "w") as stream:
        stream.write("c" * 100)
    os.symlink("b/c", "a/link")
    shutil.copytree("a", "copy", symlinks=True)
    shutil.move("copy", "moved")
    shutil.rmtree("a")


def in_kernel_copies():
    with open("source", "wb") as stream:
        stream.write(bytes(range(256)) * 40)
    source = os.open("source", os.O_RDONLY)
    target = os.open("target", os.O_CREAT | os.O_WRONLY)
    os.sendfile(target, source, 100, 5000)
    os.copy_file_range(source, target, 3000, offset_src=7)
    os.copy_file_range(source, target, 100, offset_src=7, offset_dst=9000)
    os.close(target)
    os.close(source)


def temporary_files():
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as stream:
        stream.write("t" * 9000)
    os.replace(stream.name, "kept")
    with tempfile.TemporaryFile(dir=".") as stream:
        stream.write(b"without a name")
    fd, name = tempfile.mkstemp(dir=".")
    os.write(fd, b"made")
    os.close(fd)
    os.unlink(name)
    with tempfile.TemporaryDirectory(dir=".") as directory:
        open(os.path.join(directory, "inner"), "w").close()


def spooled():
    with tempfile.SpooledTemporaryFile(max_size=10, dir=".") as stream:
        stream.write(b"more than ten bytes")


def serialisers():
    with open("doc.json", "w") as stream:
        json.dump({"rows": [{"n": n} for n in range(200)]}, stream, indent=1)
    with open("doc.pickle", "wb") as stream:
        pickle.dump(list(range(3000)), stream)
    with open("doc.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([[n, n * n] for n in range(100)])


def log_handlers():
    log = logging.getLogger("idiom")
    for handler in (
        logging.FileHandler("file.log"),
        logging.handlers.RotatingFileHandler("rotating.log", maxBytes=60, backupCount=2),
        logging.handlers.WatchedFileHandler("watched.log"),
    ):
        log.addHandler(handler)
    for number in range(6):
        log.warning("message number %d", number)
    logging.shutdown()


def archives():
    with zipfile.ZipFile("doc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("one", (2020, 1, 1, 0, 0, 0)), b"1" * 5000)
    with zipfile.ZipFile("doc.zip", "a") as archive:
        archive.writestr(zipfile.ZipInfo("two", (2020, 1, 1, 0, 0, 0)), b"2" * 5000)
    with tarfile.open("doc.tar", "w") as archive:
        entry = tarfile.TarInfo("member")
        entry.size = 3000
        archive.addfile(entry, io.BytesIO(b"m" * 3000))
    with gzip.GzipFile("doc.gz", "wb", mtime=0) as stream:
        stream.write(b"g" * 5000)


def dumb_shelf():
    import dbm.dumb

    with shelve.Shelf(dbm.dumb.open("shelf", "c")) as shelf:
        shelf["a"] = 1
        shelf["b"] = "x" * 600


def duplicates():
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY)
    second = os.dup(fd)
    third = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 50)
    os.write(fd, b"1")
    os.close(fd)
    os.write(second, b"2")
    os.dup2(third, second)
    os.write(second, b"3")
    os.closerange(second, second + 1)
    os.write(third, b"4")
    os.close(third)


def directory_descriptors():
    os.mkdir("sub")
    fd = os.open("sub", os.O_RDONLY)
    inner = os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd)
    os.write(inner, b"at")
    os.close(inner)
    os.rename("file", "moved", src_dir_fd=fd, dst_dir_fd=fd)
    os.mkdir("deeper", dir_fd=fd)
    os.symlink("moved", "link", dir_fd=fd)
    os.link("moved", "twin", src_dir_fd=fd, dst_dir_fd=fd)
    os.unlink("moved", dir_fd=fd)
    os.rmdir("deeper", dir_fd=fd)
    os.utime("twin", (5, 6), dir_fd=fd)
    os.close(fd)


def unlinked_and_replaced():
    fd = os.open("gone", os.O_CREAT | os.O_WRONLY)
    os.unlink("gone")
    os.write(fd, b"without a name")
    os.close(fd)
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY)
    with open("new", "w") as stream:
        stream.write("new")
    os.replace("new", "doc")
    os.write(fd, b"to the file that was")
    os.close(fd)


def through_links():
    os.mkdir("real")
    os.symlink("real", "door")
    with open("door/file", "w") as stream:
        stream.write("through a link")
    os.symlink("later", "real/dangling")
    with open("door/dangling", "w") as stream:
        stream.write("made by a dangling link")


def locks():
    fd = os.open("lock", os.O_CREAT | os.O_WRONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(fd, b"held")
    fcntl.lockf(fd, fcntl.LOCK_UN)
    os.close(fd)


def failures():
    os.mkdir("dir")
    for attempt in (
        lambda: os.open("absent/file", os.O_CREAT | os.O_WRONLY),
        lambda: os.mkdir("dir"),
        lambda: os.rmdir("absent"),
        lambda: os.unlink("dir"),
        lambda: os.symlink("x", "dir"),
        lambda: open("dir/none", "r+"),
        lambda: open("absent", "r+"),
    ):
        with contextlib.suppress(OSError):
            attempt()


def acknowledged():
    with open("log", "a") as stream:
        for number in range(3):
            stream.write(f"record {number}\n")
            stream.flush()
            print("ACK", number, flush=True)
        sys.stdout.write("ACK 3\nACK 4\n")
        sys.stdout.flush()
        os.write(1, b"ACK 5\n")


def one_thread_after_another():
    def work(number):
        with open(f"t{number}", "w") as stream:
            stream.write(str(number) * 10)

    for number in range(3):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()


def pool_of_one():
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(lambda n: pathlib.Path(f"p{n}").write_text("x" * n), range(1, 5)))


def forked_children():
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            with open("shared", "a") as stream:
                stream.write(f"{number}\n")
            os._exit(0)
        os.waitpid(pid, 0)
    with open("parent", "w") as stream:
        stream.write("p")


def _work(number):
    with open(f"m{number}", "w") as stream:
        stream.write("m" * number)


def worker_processes():
    context = multiprocessing.get_context("fork")
    for number in (1, 2):
        process = context.Process(target=_work, args=(number,))
        process.start()
        process.join()


def python_child():
    with open("out", "w") as stream:
        code = "import sys; open('child', 'w').write('c'); print('to a file')"
        subprocess.run([sys.executable, "-c", code], stdout=stream, check=True)
    subprocess.run([sys.executable, "-c", "print('ACK child')"], check=True, env={"PATH": "/usr/bin"})


def executed():
    with open("before", "w") as stream:
        stream.write("b")
    os.execv(sys.executable, [sys.executable, "-c", "open('after', 'w').write('a')"])


def sqlite_blind():
    base = sqlite3.connect("base.db")
    base.execute("create table t (n)")
    base.commit()
    base.close()


def mapping_blind():
    with open("mapped", "w+b") as stream:
        stream.truncate(4096)
        with mmap.mmap(stream.fileno(), 4096) as area:
            area[:6] = b"stored"
            area.flush()


def shell_blind():
    subprocess.run(["/bin/sh", "-c", "echo hidden > hidden"], check=True)


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    globals()[sys.argv[1]]()
