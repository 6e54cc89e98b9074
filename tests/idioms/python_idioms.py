"""Ways in which a program changes files, one function each: ``python -ISE python_idioms.py NAME DIRECTORY``.

The directory is the state directory; ``DIRECTORY/../elsewhere`` is outside it. A function that cannot run on this
file system exits with 77.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import socket
import sqlite3
import struct
import sys
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
UNSUPPORTED = 77


def call(name, *args):
    """Call the C library; raise OSError on -1, leave with 77 where the file system does not support it."""
    result = getattr(libc, name)(*args)
    if result == -1:
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.ENOTTY):
            sys.exit(UNSUPPORTED)
        raise OSError(number, os.strerror(number), name)
    return result


def make(path, data=b"x" * 10, flags=0):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | flags, 0o644)
    os.write(fd, data)
    return fd


def elsewhere():
    path = os.path.realpath(os.path.join(os.getcwd(), "..", "elsewhere"))
    os.makedirs(path, exist_ok=True)
    return path


def append_text():
    for number in range(5):
        with open("log", "a") as stream:
            stream.write(f"line {number}\n")


def replace_file():
    for number in range(3):
        with open("doc.tmp", "wb") as stream:
            stream.write(b"%d" % number * 3000)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace("doc.tmp", "doc")
        directory = os.open(".", os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)


def truncating_write():
    for size in (9000, 10, 5000):
        with open("doc", "w") as stream:
            stream.write("y" * size)


def shrink_in_place():
    fd = make("doc", b"long content")
    os.pwrite(fd, b"short", 0)
    os.ftruncate(fd, 5)
    os.truncate("doc", 3)
    for broken in (lambda: os.ftruncate(fd, -1), lambda: os.truncate("absent", 0)):
        with contextlib.suppress(OSError):
            broken()


def seek_and_overwrite():
    with open("doc", "w+b") as stream:
        stream.write(b"0123456789")
        stream.seek(3)
        stream.write(b"abc")
        stream.seek(0)
        stream.read(2)
        stream.write(b"Z")


def sparse():
    fd = make("holes", b"start")
    os.lseek(fd, 100_000, os.SEEK_SET)
    os.write(fd, b"end")
    os.pwrite(fd, b"mid", 50_000)


def unlink_then_write():
    fd = make("gone")
    os.unlink("gone")
    os.write(fd, b"after unlink")
    make("gone", b"another inode")


def rename_over_then_write():
    fd = make("doc")
    make("new", b"new")
    os.rename("new", "doc")
    os.write(fd, b"to the inode that is gone")


def inode_reuse():
    for number in range(20):
        os.close(make("again", b"%d" % number))
        os.unlink("again")
    make("again", b"last")


def tmpfile_proc_link():
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"unnamed")
    call("linkat", AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, b"named", 0x400)
    os.write(fd, b" and on")


def tmpfile_empty_path():
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600)
    os.write(fd, b"unnamed")
    if os.geteuid() != 0:
        sys.exit(UNSUPPORTED)
    call("linkat", fd, b"", AT_FDCWD, b"named", 0x1000)


def hard_links():
    make("one")
    os.link("one", "two")
    with open("two", "ab") as stream:
        stream.write(b"through the other name")
    os.rename("one", "two")
    os.unlink("one")
    with contextlib.suppress(OSError):
        os.link("absent", "three")


def exchange():
    make("left", b"one")
    os.mkdir("right")
    make("right/inner", b"two")
    call("renameat2", AT_FDCWD, b"left", AT_FDCWD, b"right", 2)
    make("left/more", b"three")


def rename_noreplace():
    make("a")
    make("b", b"kept")
    if libc.renameat2(AT_FDCWD, b"a", AT_FDCWD, b"b", 1) != -1:
        sys.exit("NOREPLACE replaced")
    call("renameat2", AT_FDCWD, b"a", AT_FDCWD, b"c", 1)


def rename_directory():
    os.mkdir("before")
    fd = make("before/file")
    os.makedirs("before/deep/er")
    os.mkdir("after")
    os.rename("before", "after")
    os.write(fd, b"still here")
    make("after/deep/er/file", b"below")


def rename_in():
    outside = elsewhere()
    with open(f"{outside}/file", "wb") as stream:
        stream.write(b"came from outside")
    os.makedirs(f"{outside}/tree/deep")
    with open(f"{outside}/tree/deep/leaf", "wb") as stream:
        stream.write(b"leaf")
    os.symlink("leaf", f"{outside}/tree/deep/link")
    make("file", b"replaced")
    fd = os.open(f"{outside}/file", os.O_WRONLY | os.O_APPEND)
    os.rename(f"{outside}/file", "file")
    os.write(fd, b", written on through an old descriptor")
    os.rename(f"{outside}/tree", "tree")
    make("tree/deep/new")


def rename_out():
    outside = elsewhere()
    make("file")
    os.mkdir("tree")
    make("tree/leaf")
    os.rename("file", f"{outside}/file")
    os.rename("tree", f"{outside}/tree")
    os.rename(f"{outside}/file", "back")


def link_in():
    outside = elsewhere()
    with open(f"{outside}/file", "wb") as stream:
        stream.write(b"two homes")
    os.link(f"{outside}/file", "file")
    with open(f"{outside}/file", "ab") as stream:
        stream.write(b", written by its outer name")
    make("own")
    os.link("own", f"{outside}/own")
    with open(f"{outside}/own", "ab") as stream:
        stream.write(b" by its outer name")


def through_symlinks():
    os.mkdir("real")
    os.symlink("real", "link")
    make("link/file")
    os.symlink("file2", "real/dangling")
    make("real/dangling", b"created through a dangling link")
    os.rename("link/file", "link/file3")


def into_from_outside():
    outside = elsewhere()
    os.symlink(os.getcwd(), f"{outside}/door")
    make(f"{outside}/door/file", b"came through the door")
    os.mkdir(f"{outside}/door/dir")
    os.rename(f"{outside}/door/file", f"{outside}/door/dir/file")


def door_that_moves():
    outside = elsewhere()
    for name in ("one", "two"):
        os.mkdir(name)
        make(f"{name}/log", b"")
    for name in ("one", "two", "one"):
        os.symlink(os.path.join(os.getcwd(), name), f"{outside}/next")
        os.rename(f"{outside}/next", f"{outside}/door")
        for _ in range(2):
            with open(f"{outside}/door/log", "ab") as stream:
                stream.write(name.encode())


def out_through_symlink():
    outside = elsewhere()
    os.symlink(outside, "door")
    make("door/file", b"not in the state directory")
    make("inside")


def proc_fd_truncate():
    fd = make("doc", b"something long")
    again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)
    os.write(again, b"short")
    os.open(f"/dev/fd/{fd}", os.O_WRONLY | os.O_APPEND)


def relative_to_directory():
    os.mkdir("sub")
    fd = os.open("sub", os.O_RDONLY)
    inner = os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd)
    os.write(inner, b"at")
    os.rename("file", "moved", src_dir_fd=fd, dst_dir_fd=fd)
    os.mkdir("deeper", dir_fd=fd)
    os.symlink("moved", "link", dir_fd=fd)
    os.link("moved", "twin", src_dir_fd=fd, dst_dir_fd=fd)
    os.unlink("moved", dir_fd=fd)
    os.rmdir("deeper", dir_fd=fd)
    os.chdir("sub")
    make("here")


def splice_from_pipe():
    read, write = os.pipe()
    os.write(write, b"spliced")
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY, 0o644)
    os.splice(read, fd, 7)
    os.write(write, b"elsewhere")
    os.splice(read, fd, 9, offset_dst=100)


def vmsplice_chain():
    read, write = os.pipe()
    text = b"pages given away"
    parts = (ctypes.c_void_p * 2)(ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p), len(text))
    call("vmsplice", write, parts, 1, 0)
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY, 0o644)
    os.splice(read, fd, len(text))


def send_file():
    make("source", bytes(range(256)) * 40)
    source = os.open("source", os.O_RDONLY)
    target = os.open("target", os.O_CREAT | os.O_WRONLY, 0o644)
    os.sendfile(target, source, 100, 5000)
    os.sendfile(target, source, None, 10)


def copy_range():
    make("source", bytes(range(256)) * 40)
    source = os.open("source", os.O_RDONLY)
    target = os.open("target", os.O_CREAT | os.O_WRONLY, 0o200)
    os.copy_file_range(source, target, 5000)
    os.copy_file_range(source, target, 100, offset_src=7, offset_dst=9000)
    tail = os.open("target", os.O_WRONLY | os.O_APPEND)
    os.write(tail, b"tail")
    os.copy_file_range(source, target, 5000)
    os.copy_file_range(source, target, 3000, offset_dst=9000)
    os.write(tail, b"tail")


def clone_file():
    make("source", b"shared blocks" * 1000)
    source = os.open("source", os.O_RDONLY)
    target = make("target", b"old")
    try:
        fcntl.ioctl(target, 0x40049409, source)
        fcntl.ioctl(target, 0x4020940D, struct.pack("qQQQ", source, 0, 4096, 65536))
    except OSError:
        os.write(target, b"no reflinks here")


def vectors():
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY, 0o644)
    os.writev(fd, [b"one", b"", b"two" * 2000])
    os.pwritev(fd, [b"three", b"four"], 2)
    os.pwritev(fd, [b"appended"], 0, 0x10)


def append_descriptor():
    fd = make("log", b"head", os.O_APPEND)
    os.pwrite(fd, b"appends whatever the offset says", 0)
    other = os.open("log", os.O_WRONLY)
    os.write(other, b"HEAD")
    fcntl.fcntl(other, fcntl.F_SETFL, os.O_APPEND)
    os.write(other, b"tail")
    os.pwrite(other, b"more", 1)
    os.ftruncate(fd, 6)
    os.write(other, b"after a cut")
    os.truncate("log", 20)
    os.write(fd, b"after a hole")


def duplicates():
    fd = make("doc")
    second = os.dup(fd)
    third = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(fd)
    os.write(second, b"second")
    os.dup2(third, second)
    os.write(second, b"third")
    os.write(third, b"fourth")
    os.closerange(3, 200)


def holes():
    fd = os.open("doc", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(fd, b"x" * 16384)
    call("fallocate", fd, 3, ctypes.c_long(100), ctypes.c_long(5000))
    call("fallocate", fd, 1, ctypes.c_long(0), ctypes.c_long(90000))
    call("fallocate", fd, 0, ctypes.c_long(0), ctypes.c_long(20000))


def zero_range():
    fd = make("doc", b"x" * 9000)
    call("fallocate", fd, 0x10, ctypes.c_long(5000), ctypes.c_long(10000))


def collapse_and_insert():
    fd = make("doc", b"".join(bytes([65 + n]) * 4096 for n in range(6)))
    call("fallocate", fd, 8, ctypes.c_long(4096), ctypes.c_long(4096))
    call("fallocate", fd, 0x20, ctypes.c_long(8192), ctypes.c_long(4096))


def times():
    make("doc")
    os.utime("doc", ns=(1, 1_234_567_890_123_456_789))
    os.mkdir("dir")
    os.utime("dir", ns=(5, 5))
    make("dir/later")
    with open("kept", "w") as stream:
        stream.write("k")
        stream.flush()
        os.utime(stream.fileno(), ns=(7, 8))
    os.utime("doc")
    libc.utimes(b"kept", (ctypes.c_long * 4)(1, 2, 3, 456))
    libc.utime(b"dir", (ctypes.c_long * 2)(10, 20))


def directory_times():
    for name in ("made", "linked", "moved_from", "moved_to", "emptied"):
        os.mkdir(name)
    make("moved_from/file")
    make("emptied/file")
    for name in ("made", "linked", "moved_from", "moved_to", "emptied"):
        os.utime(name, ns=(5, 5))
    make("made/file")
    os.symlink("x", "linked/link")
    os.rename("moved_from/file", "moved_to/file")
    os.unlink("emptied/file")


def modes():
    make("doc")
    os.chmod("doc", 0o600)
    os.mkdir("dir", 0o700)
    os.chmod("dir", 0o755)
    fd = os.open("dir", os.O_RDONLY)
    os.fchmod(fd, 0o711)
    with contextlib.suppress(OSError):
        os.chmod("absent", 0o600)
    os.umask(0o077)
    make("private")


def attributes():
    fd = make("doc")
    try:
        os.setxattr("doc", "user.note", b"v")
        os.setxattr(fd, "user.other", b"w")
        os.removexattr("doc", "user.note")
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    os.chown("doc", os.getuid(), os.getgid())
    os.chown(fd, -1, -1)


def special_files():
    os.mkfifo("fifo", 0o600)
    os.mknod("plain", 0o644)
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    os.symlink("nowhere", "link")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    os.write(writer, b"through the pipe")
    os.read(reader, 100)


def shared_mapping():
    fd = os.open("mapped", os.O_CREAT | os.O_RDWR, 0o644)
    os.ftruncate(fd, 8192)
    with mmap.mmap(fd, 8192) as area:
        area[:6] = b"stored"
        area.flush()
    os.pwrite(fd, b"written", 100)


def openat2():
    how = (ctypes.c_ulonglong * 3)(os.O_CREAT | os.O_WRONLY, 0o644, 0)
    fd = call("syscall", 437, AT_FDCWD, b"doc", ctypes.byref(how), 24)
    os.write(fd, b"openat2")


def creat_and_old_calls():
    fd = call("syscall", 85, b"doc", 0o640)
    os.write(fd, b"creat")
    call("syscall", 82, b"doc", b"doc2")
    call("syscall", 83, b"dir", 0o755)
    call("syscall", 86, b"doc2", b"dir/doc")
    call("syscall", 87, b"doc2")
    call("syscall", 88, b"dir/doc", b"link")


def linux_aio():
    context = ctypes.c_ulong(0)
    call("syscall", 206, 8, ctypes.byref(context))
    fd = os.open("doc", os.O_CREAT | os.O_WRONLY, 0o644)
    keep, pointers = [], (ctypes.c_void_p * 3)()
    for number in range(3):
        text = ctypes.create_string_buffer(b"%d" % number * 700, 700)
        block = struct.pack(
            "<QIIHhIQQqQII", number, 0, 0, 1, 0, fd, ctypes.addressof(text), 700, 1000 * number, 0, 0, 0
        )
        control = ctypes.create_string_buffer(block, len(block))
        pointers[number] = ctypes.addressof(control)
        keep += [text, control]
    call("syscall", 209, context, 3, pointers)
    call("syscall", 208, context, 3, 3, ctypes.create_string_buffer(96), None)


def sqlite_rollback():
    base = sqlite3.connect("base.db")
    base.execute("pragma journal_mode=delete")
    base.execute("create table t (n integer, s text)")
    for number in range(5):
        base.execute("insert into t values (?, ?)", (number, "s" * 500))
        base.commit()
    base.execute("vacuum")
    base.close()


def sqlite_wal():
    base = sqlite3.connect("base.db")
    base.execute("pragma journal_mode=wal")
    base.execute("create table t (n integer)")
    for number in range(5):
        base.execute("insert into t values (?)", (number,))
        base.commit()
    os._exit(0)


def copy_trees():
    os.makedirs("a/b")
    make("a/b/c", b"c" * 70_000)
    os.symlink("b/c", "a/link")
    os.utime("a/b/c", ns=(3, 4))
    shutil.copytree("a", "copy", symlinks=True)
    shutil.move("copy", "moved")
    shutil.rmtree("a")
    shutil.copy2("moved/b/c", "single")


def temporary_files():
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as stream:
        stream.write("t" * 9000)
    os.replace(stream.name, "kept")
    with tempfile.TemporaryFile(dir=".") as stream:
        stream.write(b"never named")
    with tempfile.TemporaryDirectory(dir=".") as directory:
        make(os.path.join(directory, "inner"))


def strange_names():
    for name in (b"caf\xc3\xa9", b"latin\xe9", b"new\nline", b"sp ace", b" (deleted)", b"x" * 255):
        fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, name)
    os.rename(b"latin\xe9", b"moved\xe9")


def large_writes():
    with open("big", "wb", buffering=0) as stream:
        for _ in range(4):
            stream.write(os.urandom(1 << 20))
        stream.seek(12345)
        stream.write(b"patch")


def failures():
    os.mkdir("dir")
    for attempt in (
        lambda: os.open("absent/file", os.O_CREAT | os.O_WRONLY),
        lambda: os.open("dir", os.O_WRONLY),
        lambda: os.mkdir("dir"),
        lambda: os.rmdir("absent"),
        lambda: os.rename("absent", "there"),
        lambda: os.unlink("dir"),
        lambda: os.symlink("x", "dir"),
        lambda: os.open("dir/new", os.O_WRONLY),
        lambda: os.write(999, b"x"),
    ):
        with contextlib.suppress(OSError):
            attempt()
    make("dir/file")


def main(idioms):
    name, directory = sys.argv[1:]
    os.chdir(directory)
    idioms[name]()


if __name__ == "__main__":
    main(globals())
