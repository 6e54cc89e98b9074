"""Builds the sessions that every run starts from.

    setup.py DIR WORKLOAD [--large]

Session 0 is pinned and has a title that its user chose, session 1 one that the model made, session 2 is archived;
and so on in turn. ``--large`` makes the transcript of session 0 exactly 38,518,504 bytes long.
"""

import os
import sys

from registry import LEASES, SPARE, local_id, padded, transcript_path
from transcript import Workload, digits, encode, iso, project_name, text, uuid_of

LARGE_BYTES = 38_518_504
MESSAGES = 4


def entry_of(workload, index):
    """Return the entry of session number ``index``."""
    seed, name = workload.seed, f"fix-{index}"
    custom = index % 3 != 1
    return {
        "sessionId": local_id(seed, index),
        "cliSessionId": uuid_of(seed, f"cli s{index}"),
        "cwd": f"/srv/app/.claude/worktrees/{name}",
        "originCwd": "/srv/app",
        "createdAt": workload.now_ms - 86_400_000,
        "lastActivityAt": workload.now_ms - index * 1000,
        "model": "claude-sonnet-4-5",
        "effort": "high",
        "isArchived": index % 3 == 2,
        "isPinned": index % 3 == 0,
        "title": f"Import {index}: retries" if custom else f"Retry logic {index}",
        "titleSource": "user" if custom else "auto",
        "permissionMode": "default",
        "completedTurns": MESSAGES // 2,
        "enabledMcpTools": {},
        "remoteMcpServersConfig": [],
        "alwaysAllowedReasons": [],
        "worktreePath": f"/srv/app/.claude/worktrees/{name}",
        "worktreeName": name,
        "branch": f"claude/{name}",
        "sourceBranch": "main",
    }


def lease_of(workload, name, holder):
    """Return the lease on a worktree."""
    return {
        "name": name,
        "path": f"/srv/app/.claude/worktrees/{name}",
        "leasedBy": holder,
        "baseRepo": "/srv/app",
        "branch": f"claude/{name}",
        "sourceBranch": "main",
        "createdAt": workload.now_ms - 86_400_000,
    }


def message(workload, entry, number, parent, length):
    """Return message number ``number`` of a transcript, its text ``length`` characters long."""
    seed, session = workload.seed, entry["cliSessionId"]
    kind = "assistant" if number % 2 else "user"
    body = {"role": kind, "content": [{"type": "text", "text": text(seed, f"{session} {number}", length)}]}
    return {
        "parentUuid": parent,
        "isSidechain": False,
        "userType": "external",
        "cwd": entry["cwd"],
        "sessionId": session,
        "version": "2.1.0",
        "gitBranch": entry["branch"],
        "type": kind,
        "message": {"id": "msg_" + digits(seed, f"{session} m{number}", 24), **body} if number % 2 else body,
        "uuid": uuid_of(seed, f"{session} u{number}"),
        "timestamp": iso(workload.now_ms - 86_400_000 + number * 1000),
    }


def transcript_lines(workload, entry, index, total):
    """Yield the lines of a transcript: at least MESSAGES messages, and exactly ``total`` bytes if that is not 0."""
    session, size, number, parent = entry["cliSessionId"], 0, 0, None
    while number < MESSAGES or size < total:
        record = message(workload, entry, number, parent, 200 + 97 * (number % 50))
        line = encode(record) + b"\n"
        if total and total - size - len(line) < 8192:
            # The last one takes what is left.
            record["message"]["content"][0]["text"] += "x" * (total - size - len(line))
            line = encode(record) + b"\n"
        size, number, parent = size + len(line), number + 1, record["uuid"]
        yield line
        if number == 1:
            titles = [{"type": "ai-title", "aiTitle": f"Retry logic {index}", "sessionId": session}]
            if entry["titleSource"] == "user":
                titles.append({"type": "custom-title", "customTitle": entry["title"], "sessionId": session})
            for title in titles:
                size += len(encode(title)) + 1
                yield encode(title) + b"\n"


def main(root, workload_path, *flags):
    workload = Workload(workload_path)
    user, organisation = uuid_of(workload.seed, "user"), uuid_of(workload.seed, "organisation")
    registry = os.path.join(root, "claude-code-sessions", user, organisation)
    os.makedirs(registry)
    worktrees = {}
    for index in range(workload.sessions):
        entry = entry_of(workload, index)
        worktrees[entry["worktreeName"]] = lease_of(workload, entry["worktreeName"], entry["sessionId"])
        path = transcript_path(root, entry)
        os.makedirs(os.path.join(root, "projects", project_name(entry["cwd"])), exist_ok=True)
        total = LARGE_BYTES if "--large" in flags and index == 0 else 0
        with open(path, "wb") as stream:
            stream.writelines(transcript_lines(workload, entry, index, total))
        with open(os.path.join(registry, entry["sessionId"] + ".json"), "wb") as stream:
            stream.write(padded(workload.seed, entry))
    worktrees[SPARE] = lease_of(workload, SPARE, None)
    with open(os.path.join(registry, LEASES), "wb") as stream:
        stream.write(encode({"worktrees": worktrees}))


if __name__ == "__main__":
    main(*sys.argv[1:])
