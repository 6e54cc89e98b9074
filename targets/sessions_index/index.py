"""``sessions-index.json``: what the picker of a project shows, beside the transcripts that it is made from.

State directory: ``projects/<cwd>/<session>.jsonl`` and one index per project. Time is a value here, so a transcript was
last written at the time of its last record, and an index at the newest ``modified`` in it; a lag measured in this way
is never smaller than one of modification times, which a rewrite with old entries makes young.
"""

import json
import os

from transcript import (
    encode,
    is_message,
    iso,
    last_value,
    milliseconds,
    project_name,
    record_of,
    records,
    transcripts,
    uuid_of,
)

INDEX = "sessions-index.json"
DAY_MS = 86_400_000
TAIL_BYTES = 65_536
CONFIG = "/home/dev/.claude"
"""Where the state directory pretends to lie: a path of this machine would differ from run to run."""


def working_directory(workload, name):
    """Return the working directory of a session, ``s<number>``: one project per session that setup made."""
    return f"/srv/p{int(name[1:]) % workload.sessions:02}"


def session_path(root, workload, name):
    """Return the path of a session's transcript."""
    directory = os.path.join(root, "projects", project_name(working_directory(workload, name)))
    return os.path.join(directory, uuid_of(workload.seed, f"session {name}") + ".jsonl")


def projects(root):
    """Return the directories of all projects."""
    base = os.path.join(root, "projects")
    return [os.path.join(base, name) for name in sorted(os.listdir(base))] if os.path.isdir(base) else []


def transcripts_of(directory):
    """Return the paths of a project's transcripts by session id; sub-agents have none of their own."""
    root = os.path.dirname(os.path.dirname(directory))
    return {name: path for name, path in transcripts(root) if os.path.dirname(path) == directory}


def read_index(directory):
    """Return the entries of a project's index by session id, or None if it is missing or no index."""
    try:
        with open(os.path.join(directory, INDEX), "rb") as stream:
            document = json.loads(stream.read())
        return {entry["sessionId"]: entry for entry in document["entries"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def index_bytes(directory, entries):
    """Return an index as the bytes on disk, its entries in the order of their sessions."""
    ordered = [entries[name] for name in sorted(entries)]
    original = next((entry["projectPath"] for entry in ordered), "")
    return encode({"version": 1, "entries": ordered, "originalPath": original})


def entry_of(path):
    """Return the index entry of a transcript, from all of its records; None if it has no message."""
    found = records(path)
    messages = [record for record in found if is_message(record)]
    if not messages:
        return None
    project, name = os.path.split(path)
    prompts = (record["message"]["content"] for record in messages if record["type"] == "user")
    prompt = next(prompts, "")
    modified = milliseconds(messages[-1]["timestamp"])
    entry = {
        "sessionId": name.removesuffix(".jsonl"),
        "fullPath": f"{CONFIG}/projects/{os.path.basename(project)}/{name}",
        "fileMtime": modified,
        "firstPrompt": (prompt if isinstance(prompt, str) else prompt[0]["text"])[:200],
    }
    if title := last_value(found, "customTitle"):
        entry["customTitle"] = title
    return entry | {
        "messageCount": len(messages),
        "created": messages[0]["timestamp"],
        "modified": iso(modified),
        "gitBranch": messages[-1]["gitBranch"],
        "projectPath": messages[0]["cwd"],
        "isSidechain": False,
    }


def rebuilt(directory):
    """Return the index that a project's transcripts alone tell: what only the old index had is not in it."""
    made = {name: entry_of(path) for name, path in transcripts_of(directory).items()}
    return {name: entry for name, entry in made.items() if entry is not None}


def last_written_ms(path):
    """Return the time of a transcript's last message, from its tail if that has one; 0 if there is none."""
    size = os.path.getsize(path)
    for start in (max(0, size - TAIL_BYTES), 0):
        with open(path, "rb") as stream:
            stream.seek(start)
            tail = stream.read()
        for line in reversed(tail.split(b"\n")[:-1]):
            if is_message(record := record_of(line)):
                return milliseconds(record["timestamp"])
    return 0


def lag_ms(directory, entries):
    """Return how far an index is behind the newest transcript of its project."""
    newest = max((last_written_ms(path) for path in transcripts_of(directory).values()), default=0)
    return newest - max((milliseconds(entry["modified"]) for entry in entries.values()), default=0)


def refreshed(directory, entries):
    """Return the entries brought up to their transcripts: what is behind is made again, titles and summaries stay."""
    fresh = {}
    for name, path in transcripts_of(directory).items():
        old = entries.get(name, {})
        if old and old.get("fileMtime") == last_written_ms(path):
            fresh[name] = old
        elif made := entry_of(path):
            fresh[name] = old | made
    return fresh


def same_path(left, right, *, case_sensitive):
    """Whether two paths name one place, under the case rule of their file system."""
    left, right = (os.path.normpath(path) for path in (left, right))
    return left == right if case_sensitive else left.casefold() == right.casefold()
