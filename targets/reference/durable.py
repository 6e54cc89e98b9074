"""The durable reference writer: it must hold under every fault, which is how a campaign tests the harness.

    durable.py run DIR WORKLOAD      append, replace, acknowledge each update
    durable.py recover DIR           repair whatever a crash left, then one more acknowledged record
    durable.py list DIR              session ids and warnings, one JSON line each
    durable.py read DIR ID           one session

With ``--no-directory-sync`` it never syncs a directory: no process kill can tell, a power loss can.
"""

import json
import os
import sys

import store


def run(disk, workload):
    store.say("ARMED")
    disk.make_directory("sessions")
    for index in range(1, workload.updates + 1):
        record = workload.record(index)
        name, session = workload.session(index)
        disk.append("log.jsonl", store.encode(record))
        disk.replace(f"sessions/{name}.json", store.encode(session))
        disk.replace("state.json", store.encode(workload.summary(index)))
        store.say(f"ACK {record['id']}")


def recover(disk):
    store.repair(disk)
    known = store.log_ids(disk.root)
    name = f"r{len(known) + 1}"
    disk.append("log.jsonl", store.encode({"id": name, "text": "recovered", "after": len(known)}))
    disk.replace("state.json", store.encode({"last": name, "count": len(known) + 1, "note": "recovered"}))
    store.say(f"ACK {name}")


def list_sessions(root):
    for name, document in store.documents(root):
        if document is None:
            store.say(json.dumps({"warning": "not a session document", "name": name}))
        else:
            store.say(json.dumps({"id": name}))


def read_session(root, name):
    path = os.path.join(root, "sessions", name + ".json")
    document = store.read_document(path) if os.path.exists(path) else None
    if document is None:
        sys.stderr.write(f"error: no readable session {name}\n")
        sys.exit(1)
    store.say(store.encode(document).decode().rstrip())


def main(arguments):
    sync_names = "--no-directory-sync" not in arguments
    command, root, *rest = [argument for argument in arguments if not argument.startswith("--")]
    disk = store.Disk(root, sync_names)
    try:
        if command == "run":
            run(disk, store.Workload(rest[0]))
        elif command == "recover":
            recover(disk)
        elif command == "list":
            list_sessions(root)
        elif command == "read":
            read_session(root, rest[0])
        else:
            sys.exit(f"unknown command {command}")
    except OSError as error:
        store.fail(command, error)


if __name__ == "__main__":
    main(sys.argv[1:])
