"""Transcripts: contents that derive from the seed, durable appends, what a reader makes of the records.

The same file lies in ``registry`` and ``sessions_index``, so that either folder can be copied by itself. Every variant
of both appends in this way; they differ in what else they write. An append is one write and one fsync, continued
where it was short, undone where it failed; the next opener cuts a torn tail off.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import sys
import time

VERSION = "2.1.0"


def say(value):
    """Write one whole line to standard output, unbuffered: an acknowledgement must not wait in a buffer."""
    os.write(1, (value if isinstance(value, str) else encode(value).decode()).encode() + b"\n")


def fail(action, error):
    """Report an error and end without an acknowledgement."""
    sys.exit(f"error: {action}: {getattr(error, 'strerror', None) or error}")


# -- contents, derived from the seed alone ---------------------------------------------------------------------


def digits(seed, name, length):
    """Return ``length`` hexadecimal digits that differ from name to name."""
    blocks = range(length // 128 + 1)
    return "".join(hashlib.blake2b(f"{seed}/{name}/{block}".encode()).hexdigest() for block in blocks)[:length]


def text(seed, name, length):
    """Return ``length`` characters; the first two take more than one byte, and U+2028 is legal raw in JSON."""
    return ("é\u2028" + digits(seed, name, length))[:length]


def number(seed, name, low, high):
    """Return a number in [low, high]."""
    return low + int(digits(seed, name, 8), 16) % (high - low + 1)


def uuid_of(seed, name):
    """Return the uuid that stands for ``name``."""
    part = digits(seed, name, 32)
    return "-".join((part[:8], part[8:12], part[12:16], part[16:20], part[20:]))


def iso(ms):
    """Return a time in milliseconds as the text that records carry."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def milliseconds(stamp):
    """Return the time of a record's text, the inverse of :func:`iso`."""
    year, month, day, hour, minute, second, rest = map(int, re.findall(r"\d+", stamp))
    # Days since 1970 of a civil date: calendar and time zone modules would double the start of a program.
    shifted = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719468
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + rest


def encode(document):
    """Return a document as compact UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def project_name(cwd):
    """Return the directory name that stands for a working directory."""
    return re.sub(r"[^a-zA-Z0-9]", "-", cwd)


class Workload:
    """The workload file, and the two facts of a life that come with the environment."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        self.seed = data["seed"]
        self.now_ms = int(os.environ.get("TORNWRITE_NOW") or data["now_ms"])
        self.sessions = max(1, data["sessions"])
        self.updates = data["updates"]
        self.sizes = data["record_bytes"]
        self.lives = len(data.get("life", ()))
        self.steps = [step["session"] for step in data.get("steps", ()) if step.get("do") == "update"]
        self.life = int(os.environ["TORNWRITE_LIFE"]) if os.environ.get("TORNWRITE_LIFE") else None
        mine = [each for each in data.get("life", ()) if each["index"] == self.life]
        told = int(os.environ.get("TORNWRITE_INSTANCE") or 0)
        self.instance = mine[0].get("instance", 0) if mine else told
        self.part = told if self.life is None else self.life  # so that each makes its own changes


# -- durable writing -------------------------------------------------------------------------------------------


def write_all(descriptor, data):
    """Write every byte: a short write is continued, and one that makes no progress is an error."""
    view = memoryview(data)
    while view:
        count = os.write(descriptor, view)
        if count == 0:
            raise OSError(errno.EIO, "write made no progress")
        view = view[count:]


def sync_directory(path):
    """Make the names in a directory durable. Windows has no such call and orders names by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory):
    """Hold the one lock of a directory, so that no other instance reads and writes in between."""
    try:
        import fcntl  # noqa: PLC0415 -- not everywhere
    except ImportError:
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(path, data):
    """Replace a document: unique temporary, fsync, rename, fsync of the directory. On error the old one stays."""
    directory, base = os.path.split(path)
    temporary = os.path.join(directory, f".{base}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


def keep_aside(path):
    """Copy a document that cannot be read to a free ``.corrupted-bak`` name: never lose the only copy."""
    with open(path, "rb") as stream:
        data = stream.read()
    number_of_backup = 0
    while True:
        backup = path + ".corrupted-bak" + (f".{number_of_backup}" if number_of_backup else "")
        if not os.path.exists(backup):
            break
        with open(backup, "rb") as stream:
            if stream.read() == data:
                return  # an earlier start got this far
        number_of_backup += 1
    replace(backup, data)


def sweep(directory):
    """Remove the temporaries of writers that died."""
    for name in os.listdir(directory):
        if name.startswith(".") and name.endswith(".tmp"):
            os.unlink(os.path.join(directory, name))


# -- transcripts -----------------------------------------------------------------------------------------------


def append(path, data):
    """Append one line durably; on error the file ends where it ended before."""
    new = not os.path.exists(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
    try:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, data + b"\n")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if new:
        sync_directory(os.path.dirname(path))


def end_of_records(data):
    """Return the offset after the last line that is a record: what follows was in flight when the machine stopped.

    A killed writer leaves a line without its newline. A power loss may leave NULs where the first blocks of the
    record belong, and its newline behind them.
    """
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if record_of(data[start : end - 1]):
            break
        end = start
    return end


def heal(path):
    """Cut a torn last record, which was never acknowledged, off a transcript."""
    with open(path, "r+b") as stream:
        data = stream.read()
        end = end_of_records(data)
        if end < len(data):
            stream.truncate(end)
            os.fsync(stream.fileno())


def lines(path):
    """Return the complete lines of a transcript; a torn tail is nobody's."""
    try:
        with open(path, "rb") as stream:
            return stream.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def record_of(line):
    """Return the record on a line, or an empty one if the line is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def records(path):
    """Return the records of a transcript in file order."""
    return [record for line in lines(path) if (record := record_of(line))]


def is_message(record):
    """Whether a record is a message of the conversation itself."""
    return record.get("type") in ("user", "assistant") and not record.get("isSidechain")


def last_message(path):
    """Return the newest message of a transcript, or None."""
    return next((record for line in reversed(lines(path)) if is_message(record := record_of(line))), None)


def append_message(path, workload, cwd, at_ms, size):
    """Append the next message, prompt and answer in turn; return its uuid, which offset and session determine."""
    session = os.path.basename(path).removesuffix(".jsonl")
    last = last_message(path)
    name = f"{session}@{os.path.getsize(path) if os.path.exists(path) else 0}"
    name += f" by {workload.instance}" if workload.instance else ""
    at_ms = max(at_ms, milliseconds(last["timestamp"]) + 1000) if last else at_ms
    body = [{"type": "text", "text": text(workload.seed, f"{name} text", max(1, size))}]
    if last is None or last["type"] == "assistant":
        message = {"role": "user", "content": body}
    else:
        message = {"id": "msg_" + digits(workload.seed, f"{name} answer", 24), "type": "message"}
        message |= {"role": "assistant", "model": "claude-sonnet-4-5", "content": body, "stop_reason": "end_turn"}
        message |= {"usage": {"input_tokens": 10, "output_tokens": size // 4}}
    record = {
        "parentUuid": last["uuid"] if last else None,
        "isSidechain": False,
        "userType": "external",
        "cwd": cwd,
        "sessionId": session,
        "version": VERSION,
        "gitBranch": "main",
        "type": message["role"],
        "message": message,
        "uuid": uuid_of(workload.seed, name),
        "timestamp": iso(at_ms),
    }
    append(path, encode(record))
    return record["uuid"]


def append_title(path, key, title):
    """Append a title that the user chose (``customTitle``) or the model made (``aiTitle``)."""
    kind = {"customTitle": "custom-title", "aiTitle": "ai-title"}[key]
    session = os.path.basename(path).removesuffix(".jsonl")
    append(path, encode({"type": kind, key: title, "sessionId": session}))


def last_value(found, key):
    """Return the last value of a key among records, or an empty string."""
    return next((record[key] for record in reversed(found) if key in record), "")


def api_messages(path):
    """Return the messages that resuming a transcript would send: from the newest one back along ``parentUuid``."""
    by_uuid = {record["uuid"]: record for record in records(path) if is_message(record)}
    chain, uuid = [], next(reversed(by_uuid), None)
    while uuid in by_uuid:
        record = by_uuid.pop(uuid)
        chain.append({"role": record["message"]["role"], "content": record["message"]["content"]})
        uuid = record["parentUuid"]
    return chain[::-1]


def transcripts(root):
    """Yield (session id, path) of every transcript that is not a sub-agent's, by project and id."""
    projects = os.path.join(root, "projects")
    for project in sorted(os.listdir(projects)) if os.path.isdir(projects) else ():
        for name in sorted(os.listdir(os.path.join(projects, project))):
            if name.endswith(".jsonl") and not name.startswith("agent-"):
                yield name.removesuffix(".jsonl"), os.path.join(projects, project, name)


# -- lives -----------------------------------------------------------------------------------------------------


def wait_for_exit():
    """In a life, say IDLE and wait for the end of the input: then the exit is graceful. A signal ends it at once.

    The input is the tools socket of the harness, else standard input.
    """
    if not os.environ.get("TORNWRITE_LIFE"):
        return
    place = os.environ.get("TORNWRITE_TOOLS", "")
    if not place:
        say("IDLE")
        while (line := os.read(0, 4096)) and b"exit" not in line:
            pass
        return
    import socket  # noqa: PLC0415 -- costs 10 ms, and only lives need it

    if place.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place.removeprefix("unix:"))
    else:
        host, port = place.removeprefix("tcp:").rsplit(":", 1)
        connection = socket.create_connection((host, int(port)))
    say("IDLE")
    with connection, connection.makefile("rb") as stream:
        for line in stream:
            if line.strip() in (b"exit", b'{"do":"exit"}', b'{"do": "exit"}'):
                return
