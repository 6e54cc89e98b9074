"""A registry that keeps what was acknowledged, and says what it could not keep.

    durable.py run|recover|list|read|resume    as in_place.py

Entries are replaced durably under a lock. An entry that cannot be read is rebuilt at the start from its transcript:
title from ``customTitle``, else ``aiTitle``, directories from the first lines; the damaged bytes stay as
``.corrupted-bak``. What stood in the entry alone is reported: ``{"lost": "pin", "id": "local_…"}``. The lister names
what it cannot read, and shows a session without an entry by its transcript.
"""

import os
import re
import sys

import registry
from transcript import (
    Workload,
    api_messages,
    fail,
    is_message,
    keep_aside,
    last_value,
    locked,
    milliseconds,
    records,
    replace,
    say,
    sweep,
    transcripts,
    wait_for_exit,
)

LOST = {"isPinned": "pin", "completedTurns": "completedTurns", "isArchived": "archived"}
"""What stands in the entry and nowhere else: left out of a stub, because a default would look like a value."""


def start(root):
    """Repair what a crash, or another writer, left."""
    directory = registry.registry_directory(root)
    with locked(directory):  # what another instance is writing is neither torn nor left behind
        sweep(directory)
        registry.heal_transcripts(root)
        for session, entry in list(registry.entries(directory)):
            if entry is None:
                rebuild(root, directory, session)
        report_losses(directory)


def rebuild(root, directory, session):
    """Put a stub in the place of an entry that cannot be read, if its transcript can be told."""
    path = os.path.join(directory, session + ".json")
    transcript = find_transcript(root, directory, session)
    if transcript is None:
        say({"warning": "no transcript can be told for it", "name": session + ".json"})
        return
    keep_aside(path)
    cli, place = transcript
    replace(path, registry.padded(0, stub(directory, session, cli, records(place))))


def report_losses(directory):
    """Say what rebuilt entries lack, at every start until it is set again: the start that rebuilt one may have died."""
    for session, entry in registry.entries(directory):
        if entry is not None and os.path.exists(os.path.join(directory, session + ".json.corrupted-bak")):
            for key, field in LOST.items():
                if key not in entry:
                    say({"lost": field, "id": session})


def find_transcript(root, directory, session):
    """Return (id, path) of a damaged entry's transcript: named in what is left of it, by its lease, or the only one."""
    free = unclaimed(root, directory)
    with open(os.path.join(directory, session + ".json"), "rb") as stream:
        named = re.search(rb'"cliSessionId":"([0-9a-f-]{36})"', stream.read())
    if named and (cli := named[1].decode()) in free:
        return cli, free[cli]
    projects = {registry.project_name(lease["path"]) for lease in leases_of(directory, session)}
    by_lease = [item for item in free.items() if os.path.basename(os.path.dirname(item[1])) in projects]
    damaged = [name for name, entry in registry.entries(directory) if entry is None]
    for found in (by_lease, list(free.items()) if len(damaged) == 1 else []):
        if len(found) == 1:
            return found[0]
    return None


def unclaimed(root, directory):
    """Return the transcripts, by id, that no readable entry names."""
    claimed = {entry["cliSessionId"] for _, entry in registry.entries(directory) if entry is not None}
    return {cli: path for cli, path in transcripts(root) if cli not in claimed}


def leases_of(directory, session):
    """Return the leases that a session holds."""
    leases = registry.read_document(os.path.join(directory, registry.LEASES)) or {"worktrees": {}}
    return [lease for lease in leases["worktrees"].values() if lease["leasedBy"] == session]


def stub(directory, session, cli, found):
    """Return what records and lease tell of an entry."""
    messages = [record for record in found if is_message(record)]
    custom, made = last_value(found, "customTitle"), last_value(found, "aiTitle")
    cwd = next((record["cwd"] for record in found if record.get("cwd")), "")
    times = [milliseconds(record["timestamp"]) for record in messages] or [0]
    lease = next((lease for lease in leases_of(directory, session) if lease["path"] == cwd), None)
    entry = {
        "sessionId": session,
        "cliSessionId": cli,
        "cwd": cwd,
        "originCwd": lease["baseRepo"] if lease else cwd,
        "createdAt": times[0],
        "lastActivityAt": times[-1],
        "model": next((record["message"]["model"] for record in messages if "model" in record["message"]), ""),
        "effort": "high",
        "title": custom or made or f"Session {cli}",
        "titleSource": "user" if custom else "auto",
        "permissionMode": "default",
        "enabledMcpTools": {},
        "remoteMcpServersConfig": [],
        "alwaysAllowedReasons": [],
    }
    if lease:
        entry |= {"worktreePath": lease["path"], "worktreeName": lease["name"]}
        entry |= {"branch": lease["branch"], "sourceBranch": lease["sourceBranch"]}
    return entry


def list_sessions(root, include_archived):
    directory = registry.registry_directory(root)
    for session, entry in registry.entries(directory):
        if entry is None:
            say({"warning": "the entry cannot be read; the next start rebuilds it", "name": session + ".json"})
        elif include_archived or not entry.get("isArchived"):
            registry.show(session, entry)
    for cli in unclaimed(root, directory):
        say({"warning": "no readable entry names this transcript", "name": cli})
        say({"id": cli})


def transcript_of(root, name):
    """Return the transcript of a session by either id; where its entry cannot be read, by what else is known."""
    directory = registry.registry_directory(root)
    for session, entry in registry.entries(directory):
        if entry is not None and name in (session, entry["cliSessionId"]):
            return registry.transcript_path(root, entry)
    free = unclaimed(root, directory)
    if name not in free and os.path.exists(os.path.join(directory, name + ".json")):
        name = (find_transcript(root, directory, name) or (name,))[0]
    if name not in free:
        sys.exit(f"error: no session {name}")
    say({"warning": "resumed from its transcript, no readable entry names it", "name": name})
    return free[name]


def main(arguments):
    include_archived = "--include-archived" in arguments
    command, root, *rest = [argument for argument in arguments if not argument.startswith("--")]
    try:
        if command in ("run", "recover"):
            if command == "run":
                say("ARMED")
            start(root)
            getattr(registry, command)(root, Workload(rest[0]), replace, locked)
            if command == "run":
                wait_for_exit()
        elif command == "list":
            list_sessions(root, include_archived)
        elif command == "read":
            for message in api_messages(transcript_of(root, rest[0])):
                say(message)
        elif command == "resume":
            say({"messages": api_messages(transcript_of(root, rest[0]))})
        else:
            sys.exit(f"error: unknown command {command}")
    except OSError as error:
        fail(command, error)


if __name__ == "__main__":
    main(sys.argv[1:])
