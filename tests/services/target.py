"""A small target that speaks the protocol of tools; the standard library only. TARGET DIR WORKLOAD [slow]"""

import json
import os
import signal
import socket
import sys
import time


def say(line):
    os.write(1, line.encode() + b"\n")


def main():
    root, path = sys.argv[1:3]
    with open(path) as stream:
        steps = json.load(stream)["steps"]
    kind, _, rest = os.environ["TORNWRITE_TOOLS"].partition(":")
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(rest)
    else:
        host, _, port = rest.rpartition(":")
        connection = socket.create_connection((host, int(port)))
    lines = connection.makefile("rb")
    log = os.open(os.path.join(root, "log.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    say("ARMED")
    for number, step in enumerate(steps):
        if step["do"] == "tool_start":
            connection.sendall(json.dumps({"start": step["tool_id"]}).encode() + b"\n")
        if step["do"] in ("user", "assistant", "tool_start", "update"):
            continue
        event = json.loads(lines.readline())
        if "tool_id" in event:
            assert event["tool_id"] == step["tool_id"], (event, step)
            assert len(event["result"]) == step["result_bytes"]
            name = event["tool_id"]
        else:
            assert event["do"] == step["do"], (event, step)
            name = f"{event['do']}-{number}"
        os.write(log, json.dumps({"id": name}).encode() + b"\n")
        say(f"ACK {name}")
        if step["do"] == "ctrl_c":
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
    if "slow" in sys.argv:
        time.sleep(30)
    if "TORNWRITE_LIFE" in os.environ:
        say("IDLE")
        assert json.loads(lines.readline()) == {"do": "exit"}
        os.write(log, b'{"id": "bye"}\n')


main()
