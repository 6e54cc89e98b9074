"""Races of a known depth in a program of three threads: ``races.py DEPTH DIR [processes]``.

Depth 2: two threads read a number, and each writes one more. Depth 3: a reader sees the first version of a file, and
then not the first: it writes down what it saw. Each writer takes turns with the others only by chance.
"""

import os
import sys
import threading


def read(path):
    try:
        with open(path, "rb", 0) as stream:
            return stream.read()
    except FileNotFoundError:
        return b""


def write(path, data):
    with open(path, "wb", 0) as stream:
        stream.write(data)


def add(path):
    write(path, b"%d" % (int(read(path) or b"0") + 1))


def versions(path):
    for number in (b"1", b"2", b"3"):
        write(path + ".tmp", number)
        os.rename(path + ".tmp", path)


def look(path):
    seen = (read(path), read(path))
    if seen[0] == b"1" and seen[1] != b"1":
        write(path + ".seen", b",".join(seen))


def main():
    depth, root = int(sys.argv[1]), sys.argv[2]
    path = os.path.join(root, "state")
    bodies = {2: [add, add], 3: [versions, look]}[depth]
    if sys.argv[3:] == ["processes"]:
        children = []
        for body in bodies:
            child = os.fork()
            if not child:
                body(path)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        return
    threads = [threading.Thread(target=body, args=(path,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
