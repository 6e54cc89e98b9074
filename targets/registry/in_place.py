"""The writer of seed 002: registry entries rewritten in place, and a session without a readable entry is gone.

    in_place.py run DIR WORKLOAD        update entries: open, truncate, write, close
    in_place.py recover DIR WORKLOAD    start again as the application does, which repairs nothing; one more update
    in_place.py list DIR                the seed's loop: every local_*.json that parses; the others silently skipped
    in_place.py read DIR ID             the messages of a session, one JSON line each
    in_place.py resume DIR ID           what resuming it would send

``--rename`` is the seed's first request and no more: write to ``<name>.tmp``, then rename; no fsync. ``list
--include-archived`` shows archived sessions too.
"""

import os
import sys

import registry
from transcript import Workload, api_messages, fail, say, wait_for_exit


def rewrite(path, data):
    """Rewrite a document in place."""
    with open(path, "wb") as stream:
        stream.write(data)


def write_and_rename(path, data):
    """Write beside the document under one fixed name, then rename."""
    rewrite(path + ".tmp", data)
    os.replace(path + ".tmp", path)


def list_sessions(root, include_archived):
    for session, entry in registry.entries(registry.registry_directory(root)):
        if entry is None:
            continue
        if include_archived or not entry.get("isArchived"):
            registry.show(session, entry)


def transcript_of(root, name):
    """Return the transcript of a session by either id; without a readable entry there is none."""
    for session, entry in registry.entries(registry.registry_directory(root)):
        if entry is not None and name in (session, entry["cliSessionId"]):
            return registry.transcript_path(root, entry)
    sys.exit(f"error: no session {name}")


def main(arguments):
    write = write_and_rename if "--rename" in arguments else rewrite
    include_archived = "--include-archived" in arguments
    command, root, *rest = [argument for argument in arguments if not argument.startswith("--")]
    try:
        if command == "run":
            say("ARMED")
            registry.heal_transcripts(root)
            registry.run(root, Workload(rest[0]), write)
            wait_for_exit()
        elif command == "recover":
            registry.heal_transcripts(root)
            registry.recover(root, Workload(rest[0]), write)
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
