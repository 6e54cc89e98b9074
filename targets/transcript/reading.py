"""Reading a transcript: its records, the chain that a resume follows, the API messages, what tools are open.

Lines end at ``\\n`` alone. A line that is no JSON object is skipped, as the published readers do: a reader must live
with what any writer leaves. The chain goes from the leaf to the root by ``parentUuid``; where a parent is missing,
it goes on with the record before in the file.
"""

import json
import os
import re

from conversation import project_directory

END_BYTES = 65536  # how much of either end a lister reads
IN_CHAIN = frozenset({"user", "assistant", "progress", "system", "attachment"})
CHECKPOINT = "checkpoint"


def read_bytes(path):
    """Return the bytes of a transcript, none if there is no such file."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""


def parse(line):
    """Return the record of a line, or None."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def records_of(data):
    """Return the records that can be read, in the order of the file."""
    return [record for line in data.split(b"\n") if (record := parse(line)) is not None]


def chain_of(records):
    """Return the records that a resume follows, from the root to the leaf."""
    nodes = [r for r in records if r.get("type") in IN_CHAIN and isinstance(r.get("uuid"), str)]
    places = {node["uuid"]: place for place, node in enumerate(nodes)}
    parents = {node.get("parentUuid") for node in nodes}
    place = next((n for n in reversed(range(len(nodes))) if nodes[n]["uuid"] not in parents), -1)
    seen, chain = set(), []
    while place >= 0 and place not in seen:
        seen.add(place)
        chain.append(nodes[place])
        parent = nodes[place].get("parentUuid")
        place = -1 if parent is None else places.get(parent, place - 1)
    return chain[::-1]


def blocks_of(record):
    """Return the content blocks of a user's or an assistant's record; none for any other."""
    message = record.get("message")
    if record.get("type") not in ("user", "assistant") or not isinstance(message, dict):
        return []
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def messages_of(chain):
    """Return the API messages of a chain; neighbours of one role are one message."""
    messages = []
    for record in chain:
        blocks = blocks_of(record)
        if blocks and messages and messages[-1]["role"] == record["type"]:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": record["type"], "content": blocks})
    return messages


def open_tools(chain):
    """Return the tools that were called and never answered: id -> uuid of the record that calls it."""
    found = {}
    for record in chain:
        for block in blocks_of(record):
            if block.get("type") == "tool_use":
                found[block.get("id")] = record["uuid"]
            elif block.get("type") == "tool_result":
                found.pop(block.get("tool_use_id"), None)
    return found


def checkpoint(records):
    """Return the record that says that these records, a whole turn, are there to stay."""
    leaf = next((record["uuid"] for record in reversed(records) if "uuid" in record), None)
    return {"type": CHECKPOINT, "leafUuid": leaf, "sessionId": records[0]["sessionId"]}


def checkpoint_end(data):
    """Return the offset after the last checkpoint, 0 if there is none."""
    end = data.rfind(b"\n") + 1
    while end:  # from the end backwards: checkpoints are frequent, transcripts are long
        start = data.rfind(b"\n", 0, end - 1) + 1
        record = parse(data[start : end - 1])
        if record is not None and record.get("type") == CHECKPOINT:
            return end
        end = start
    return 0


def transcripts(root):
    """Return (session id, path) of every transcript, by id."""
    directory = project_directory(root)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    return [(name[:-6], os.path.join(directory, name)) for name in names if name.endswith(".jsonl")]


# -- the lister of heads and tails ---------------------------------------------------------------------------------

NO_PROMPT = re.compile(r"<local-command-stdout>|<session-start-hook>|<tick>|<goal>|\[Request interrupted by user")


def ends_of(path):
    """Return (size, head, tail) of a file, at most END_BYTES each."""
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(END_BYTES)
        stream.seek(max(0, size - END_BYTES))
        return size, head, stream.read(END_BYTES)


def is_shown(head, tail):
    """Whether a transcript with these ends is a session: it has a title, a summary or a first prompt."""
    first, *_ = head.split(b"\n", 1)
    if b'"isSidechain":true' in first or b'"isSidechain": true' in first:
        return False
    if re.search(rb'"(?:customTitle|aiTitle)": ?"[^"]', head + tail) or re.search(
        rb'"(?:lastPrompt|summary)": ?"[^"]', tail
    ):
        return True
    return any(is_prompt(line) for line in head.split(b"\n"))


def is_prompt(line):
    record = parse(line) if b'"user"' in line and b'"tool_result"' not in line else None
    if record is None or record.get("isMeta") or record.get("isCompactSummary"):
        return False
    texts = [str(block.get("text", "")).strip() for block in blocks_of(record)]
    return record.get("type") == "user" and any(text and not NO_PROMPT.match(text) for text in texts)


def problem_of(size, head, tail):
    """Return what is wrong with the ends of a transcript, or an empty string; the middle is not read."""
    if not size:
        return "the transcript is empty"
    # The first piece of a tail may begin inside a line, the last of a head may end inside one.
    lines = tail.split(b"\n") if size <= END_BYTES else head.split(b"\n")[:-1] + tail.split(b"\n")[1:]
    if any(line and parse(line) is None for line in lines):
        return "the transcript has a line that is no record"
    return ""
