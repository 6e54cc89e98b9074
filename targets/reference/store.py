"""Shared by the grades of the reference writer: what the state looks like, how it is written durably, repaired.

State directory: ``log.jsonl`` (one record per line), ``state.json`` (counters, replaced as a whole) and
``sessions/<id>.json`` (one document per session). The rule of a durable write, in this order: all bytes into a
temporary file of a unique name in the same directory, fsync, rename, fsync of the directory; short writes are
continued, every error is reported, and nothing is acknowledged before all of it is done.
"""

import contextlib
import errno
import json
import os
import sys

MASK = (1 << 64) - 1


def say(line):
    """Write one whole line to standard output, unbuffered: an acknowledgement must not wait in a buffer."""
    os.write(1, line.encode() + b"\n")


def fail(action, error):
    """Report an error and end without an acknowledgement."""
    sys.stderr.write(f"error: {action}: {error.strerror or error}\n")
    sys.exit(1)


# -- contents, derived from the seed alone ---------------------------------------------------------------------


def words(seed, name, length):
    """Return ``length`` characters that differ from name to name, with a raw U+2028 (legal in JSON) at times."""
    state = (seed * 0x9E3779B97F4A7C15 + 1) & MASK
    for char in name:
        state = ((state ^ ord(char)) * 0x100000001B3) & MASK
    parts = []
    size = 0
    while size < length:
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        part = f"{state >> 16:x} " if state >> 60 else "\u2028"
        parts.append(part)
        size += len(part)
    return "".join(parts)[:length]


def number(seed, name, low, high):
    """Return a number in [low, high] that depends on seed and name only."""
    return low + int("".join(c for c in words(seed, name, 64) if c in "0123456789")[:9] or "0") % (high - low + 1)


class Workload:
    """The workload file: how many sessions and updates, and what each update says."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        self.seed = data["seed"]
        self.now_ms = data["now_ms"]
        self.sessions = max(1, data["sessions"])
        self.updates = data["updates"]
        self.low, self.high = data["record_bytes"]

    def record(self, index):
        """Return the log record of an update; its ``id`` is what is acknowledged.

        Every fourth is as large as allowed, so that a write crosses pages; the others shrink and grow.
        """
        size = (
            self.high
            if index % 4 == 2
            else number(self.seed, f"r{index}", self.low, max(self.low, self.high // 4))
        )
        return {
            "n": number(self.seed, f"n{index}", 0, 10**6),
            "id": f"u{index}",
            "text": words(self.seed, f"t{index}", size),
        }

    def session(self, index):
        """Return the id and the document of the session that an update changes."""
        name = f"s{index % self.sessions}"
        size = number(self.seed, f"d{index}", self.low, max(self.low, self.high // 2))
        return name, {
            "updates": index,
            "id": name,
            "updated_ms": self.now_ms + index,
            "text": words(self.seed, f"x{index}", size),
        }

    def summary(self, index):
        """Return ``state.json`` after an update: early bytes change every time, sizes shrink as well as grow."""
        size = number(self.seed, f"m{index}", 0, self.low * 4)
        return {"last": f"u{index}", "count": index, "note": words(self.seed, f"o{index}", size)}


def encode(document):
    """Return a document as one line of UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


# -- durable writing ---------------------------------------------------------------------------------------------


class Disk:
    """Durable file operations below one directory. Without ``sync_names``, directories are never synced."""

    def __init__(self, root, sync_names=True):
        self.root = root
        self.sync_names = sync_names
        self.temporaries = 0

    def path(self, name):
        return os.path.join(self.root, name)

    def sync_directory(self, name):
        """Make the names in a directory durable. Windows has no such call and orders names by itself."""
        if not self.sync_names or os.name == "nt":
            return
        descriptor = os.open(self.path(name) if name else self.root, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_directory(self, name):
        try:
            os.mkdir(self.path(name))
        except FileExistsError:
            return
        self.sync_directory(os.path.dirname(name))

    def create_temporary(self, name):
        """Open a temporary file beside ``name`` that no other writer can have: (descriptor, path).

        The leading dot and the suffix keep it out of every listing.
        """
        directory, base = os.path.split(self.path(name))
        while True:
            self.temporaries += 1
            path = os.path.join(directory, f".{base}.{os.getpid()}-{self.temporaries}.tmp")
            try:
                return os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644
                ), path
            except FileExistsError:
                continue

    def replace(self, name, data):
        """Replace a document; on error the old one is intact and no new name is left."""
        descriptor, temporary = self.create_temporary(name)
        try:
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, self.path(name))
        except OSError:
            remove_quietly(temporary)
            raise
        self.sync_directory(os.path.dirname(name))

    def append(self, name, data):
        """Append one record; on error the file ends where it ended before."""
        path = self.path(name)
        new = not os.path.exists(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        try:
            size = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if new:
            self.sync_directory(os.path.dirname(name))


def write_all(descriptor, data):
    """Write every byte: a short write is continued, and one that makes no progress is an error."""
    view = memoryview(data)
    while view:
        count = os.write(descriptor, view)
        if count == 0:
            raise OSError(errno.EIO, "write made no progress")
        view = view[count:]


def remove_quietly(path):
    # What cannot be removed is ignored by listers and swept by the next recovery.
    with contextlib.suppress(OSError):
        os.unlink(path)


# -- reading and repairing ------------------------------------------------------------------------------------


def read_document(path):
    """Return a document, or None if it is not one (torn, empty, not JSON, not an object)."""
    with open(path, "rb") as stream:
        return as_object(stream.read())


def as_object(data):
    """Return the JSON object that these bytes are, or None."""
    try:
        found = json.loads(data.decode("utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def documents(root):
    """Yield (id, document or None) of every session, by id; temporaries and backups are not sessions."""
    try:
        names = sorted(os.listdir(os.path.join(root, "sessions")))
    except FileNotFoundError:
        return
    for name in names:
        if name.endswith(".json") and not name.startswith("."):
            yield name[: -len(".json")], read_document(os.path.join(root, "sessions", name))


def log_ids(root):
    """Return the ids in the log, oldest first; lines that are no record are skipped."""
    try:
        with open(os.path.join(root, "log.jsonl"), "rb") as stream:
            lines = stream.read().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            record = json.loads(line.decode("utf-8"))
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            found.append(record["id"])
    return found


def set_aside(disk, name):
    """Move a document that cannot be read to a free ``.corrupted-bak`` name: never delete the only copy."""
    index = 0
    while True:
        backup = name + ".corrupted-bak" + (f".{index}" if index else "")
        if not os.path.lexists(disk.path(backup)):
            break
        index += 1
    os.rename(disk.path(name), disk.path(backup))
    disk.sync_directory(os.path.dirname(name))
    say(f"# set aside {name}")


def end_of_records(data):
    """Return the offset after the last line that is a record: what follows was in flight when the machine stopped.

    A killed writer leaves a line without its newline. A power loss may leave NULs where the first blocks of the
    record belong, and its newline behind them.
    """
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if as_object(data[start : end - 1]) is not None:
            break
        end = start
    return end


def heal_log(disk):
    """Cut a torn last record, which was never acknowledged, off the log."""
    try:
        descriptor = os.open(disk.path("log.jsonl"), os.O_RDWR | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return
    try:
        size = os.fstat(descriptor).st_size
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            data = stream.read()
        end = end_of_records(data)
        if end < size:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(disk):
    """Remove what writers that died left behind."""
    for directory in ("", "sessions"):
        try:
            names = os.listdir(disk.path(directory))
        except FileNotFoundError:
            continue
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                os.unlink(os.path.join(disk.path(directory), name))


def repair(disk):
    """Bring any state a crash can leave back to one a writer can go on from."""
    heal_log(disk)
    sweep(disk)
    disk.make_directory("sessions")
    if os.path.lexists(disk.path("state.json")) and read_document(disk.path("state.json")) is None:
        set_aside(disk, "state.json")
    for name, document in list(documents(disk.root)):
        if document is None:
            set_aside(disk, f"sessions/{name}.json")
