"""Drives the real claude-agent-sdk; the state is CLAUDE_CONFIG_DIR, the SDK lies at TORNWRITE_PACKAGE.

    fork.py run WORKLOAD        fork the source session once and acknowledge the fork's id
                                with --rename, --tag or --delete: do that to the source session, acknowledge its id
    fork.py recover WORKLOAD    start again after a crash: the SDK repairs nothing, so append a title and acknowledge
    fork.py list WORKLOAD       the SDK's list_sessions, one JSON line per session
    fork.py read WORKLOAD ID    the SDK's get_session_messages, one JSON line per message

``--seed004-fix`` applies the fix that seed 004 proposes to the loaded SDK, and nothing else.

The writer under test is imported as its users do. The other commands run hundreds of times in a campaign, so they
load the modules that define the functions, without the 500 others that the package's ``__init__`` brings.
"""

import json
import os
import site
import sys
import types

from source_session import source_id

# What the seed quotes from the SDK, and what it proposes instead, letter by letter.
PUBLISHED = """\
    fd = os.open(fork_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, ("\\n".join(lines) + "\\n").encode("utf-8"))
    finally:
        os.close(fd)
"""
PROPOSED = """\
    tmp_path = fork_path.with_suffix(".jsonl.tmp")
    fd = os.open(tmp_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, ("\\n".join(lines) + "\\n").encode("utf-8"))
    finally:
        os.close(fd)
    os.replace(tmp_path, fork_path)
"""

LONG_TITLE = "Retries of the importer: " + "ab" * 2100
"""One write of more than a page: a kill can cut it. Of titles of sixty characters one in forty crosses a page."""


def say(value):
    """Write one whole line to standard output, unbuffered."""
    os.write(1, (value if isinstance(value, str) else json.dumps(value)).encode() + b"\n")


def fixed_fork_session():
    """Return the SDK's own fork_session with the proposed lines in place of the published ones."""
    from claude_agent_sdk._internal import session_mutations  # noqa: PLC0415 -- its place is known only now

    path = session_mutations.__file__
    with open(path, encoding="utf-8") as stream:
        source = stream.read()
    if source.count(PUBLISHED) != 1:
        sys.exit("error: this version of the SDK no longer has the lines that seed 004 quotes")
    exec(compile(source.replace(PUBLISHED, PROPOSED), path, "exec"), vars(session_mutations))
    return session_mutations.fork_session


def act(sdk, flags, source):
    """Do to the source session what the flags say with the SDK's function; return the id to acknowledge."""
    if "--rename" in flags:
        sdk.rename_session(source, LONG_TITLE)
    elif "--tag" in flags:
        sdk.tag_session(source, "experiment")
    elif "--delete" in flags:
        sdk.delete_session(source)
    else:
        return (fixed_fork_session() if "--seed004-fix" in flags else sdk.fork_session)(source).session_id
    return source


def session_functions():
    """Return the SDK's own rename_session, list_sessions and get_session_messages as attributes of one object."""
    package = types.ModuleType("claude_agent_sdk")
    package.__path__ = [os.path.join(os.environ["TORNWRITE_PACKAGE"], "claude_agent_sdk")]
    sys.modules[package.__name__] = package
    from claude_agent_sdk._internal import session_mutations, sessions  # noqa: PLC0415 -- only now

    return types.SimpleNamespace(
        rename_session=session_mutations.rename_session,
        list_sessions=sessions.list_sessions,
        get_session_messages=sessions.get_session_messages,
    )


def main(arguments):
    flags = [argument for argument in arguments if argument.startswith("--")]
    command, workload_path, *rest = [argument for argument in arguments if not argument.startswith("--")]
    with open(workload_path, encoding="utf-8") as stream:
        source = source_id(json.load(stream)["seed"])
    site.addsitedir(os.environ["TORNWRITE_PACKAGE"])
    if command == "run":
        import claude_agent_sdk  # noqa: PLC0415 -- its place is known only now

        say("ARMED")
        say(f"ACK {act(claude_agent_sdk, flags, source)}")
    elif command == "recover":
        session_functions().rename_session(source, "Recovered")
        say(f"ACK {source}")
    elif command == "list":
        for session in session_functions().list_sessions():
            say({"id": session.session_id})
    elif command == "read":
        messages = session_functions().get_session_messages(rest[0])
        if not messages:
            sys.exit("error: the session has no readable messages")
        for message in messages:
            say({"type": message.type, "uuid": message.uuid})
    else:
        sys.exit(f"error: unknown command {command}")


if __name__ == "__main__":
    main(sys.argv[1:])
