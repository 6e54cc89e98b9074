"""What a desktop application keeps beside its transcripts: one registry entry per session, leases on worktrees.

State directory: ``claude-code-sessions/<user>/<org>/local_<id>.json`` (always 144,258 bytes), ``git-worktrees.json``
beside the entries, ``projects/<cwd>/<cliSessionId>.jsonl``. An update appends a message to the session's transcript,
then rewrites the entry, at times a lease, and is then acknowledged by the message's uuid. How a document is written
is what the variants differ in.
"""

import contextlib
import os

from transcript import (
    append_message,
    append_title,
    digits,
    encode,
    heal,
    last_message,
    milliseconds,
    number,
    project_name,
    record_of,
    say,
    text,
    transcripts,
    uuid_of,
)

ENTRY_BYTES = 144_258
LEASES = "git-worktrees.json"
SPARE = "spare"
"""The worktree that sessions lease and release."""


def local_id(seed, index):
    """Return the id of session number ``index`` in the registry, the stem of its entry."""
    return "local_" + uuid_of(seed, f"desktop s{index}")


def registry_directory(root):
    """Return the directory of the entries: there is one user with one organisation."""
    directory = os.path.join(root, "claude-code-sessions")
    for _ in ("user", "organisation"):
        directory = os.path.join(directory, sorted(os.listdir(directory))[0])
    return directory


def transcript_path(root, entry):
    """Return the path of the transcript that an entry names."""
    return os.path.join(root, "projects", project_name(entry["cwd"]), entry["cliSessionId"] + ".jsonl")


def read_document(path):
    """Return a document, or None if it is not one (missing, torn, empty, not JSON, not an object)."""
    try:
        with open(path, "rb") as stream:
            return record_of(stream.read()) or None
    except FileNotFoundError:
        return None


def entries(directory):
    """Yield (id, entry or None) of every ``local_*.json``."""
    for name in sorted(os.listdir(directory)):
        if name.startswith("local_") and name.endswith(".json"):
            yield name.removesuffix(".json"), read_document(os.path.join(directory, name))


def padded(seed, entry):
    """Return the bytes of an entry: a legal field takes what the others leave of 144,258 bytes."""
    entry = dict(entry, remoteMcpServersConfig=[{"name": "tools", "instructions": ""}])
    room = ENTRY_BYTES - len(encode(entry))
    filling = digits(seed, f"{entry['sessionId']} {entry['lastActivityAt']}", room)
    entry["remoteMcpServersConfig"][0]["instructions"] = filling
    return encode(entry)


# -- what an update changes ------------------------------------------------------------------------------------


def updated(seed, entry, index, at_ms):
    """Return an entry after update number ``index``: activity and turns, and one of title, pin, archive, reasons."""
    turns = entry.get("completedTurns", 0) + 1
    entry = dict(entry, lastActivityAt=at_ms, completedTurns=turns)
    kind = index % 4
    if kind == 1:
        size = number(seed, f"title size {index}", 3, 120)
        entry |= {"title": text(seed, f"title {index}", size), "titleSource": "user"}
    elif kind == 2:
        entry["isPinned"] = not entry.get("isPinned", False)
    elif kind == 3:
        entry["isArchived"] = not entry.get("isArchived", False)
    else:
        size = number(seed, f"reason size {index}", 0, 4000)
        entry["alwaysAllowedReasons"] = [text(seed, f"reason {index}", size)]
    return entry


def leased(leases, session):
    """Return the leases after ``session`` took the spare worktree, or gave it back."""
    spare = leases["worktrees"][SPARE]
    spare = dict(spare, leasedBy=None if spare["leasedBy"] else session)
    return {"worktrees": leases["worktrees"] | {SPARE: spare}}


def update(root, workload, session, index, write, change):
    """Make one update of a session and acknowledge it; ``write`` is how a document reaches the disk.

    ``change`` says what of the entry it is besides activity and turns: see :func:`updated`.
    """
    directory = registry_directory(root)
    place = os.path.join(directory, session + ".json")
    entry = read_document(place)
    path = transcript_path(root, entry)
    size = number(workload.seed, f"size {index}", *workload.sizes)
    uuid = append_message(path, workload, entry["cwd"], workload.now_ms + index * 1000, size)
    changed = updated(workload.seed, entry, change, milliseconds(last_message(path)["timestamp"]))
    if changed["title"] != entry["title"]:
        append_title(path, "customTitle", changed["title"])
    write(place, padded(workload.seed, changed))
    leases = read_document(os.path.join(directory, LEASES))
    if leases is not None and index % 3 == 0:
        write(os.path.join(directory, LEASES), encode(leased(leases, session)))
    say(f"ACK {uuid}")


def run(root, workload, write, lock=contextlib.nullcontext):
    """Make the updates of a workload, session after session; ``lock`` keeps other instances out of one update."""
    directory = registry_directory(root)
    known = {session for session, entry in entries(directory) if entry is not None}
    for index in range(1, workload.updates + 1):
        session = local_id(workload.seed, index % workload.sessions)
        if session in known:  # one that is on no list is not there to be worked on
            with lock(directory):
                change = index + index // workload.sessions + workload.part
                update(root, workload, session, index, write, change)


def recover(root, workload, write, lock=contextlib.nullcontext):
    """Go on with the first session that can be found, if there is one; what its user has set stays as it is."""
    directory = registry_directory(root)
    session = next((name for name, entry in entries(directory) if entry is not None), None)
    if session is not None:
        with lock(directory):
            update(root, workload, session, 1, write, 0)


def heal_transcripts(root):
    """Cut the torn tails off all transcripts."""
    for _, path in transcripts(root):
        heal(path)


def show(session, entry):
    """List a session under both of its ids: that of its entry and that of its transcript."""
    say({"id": session, "title": entry["title"]})
    say({"id": entry["cliSessionId"], "entry": session})
