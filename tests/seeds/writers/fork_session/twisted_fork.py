"""As fork.py, with a proposed fix that goes on after a short write (and syncs file and directory, if told so), or a
source session that is written again first."""

import json
import os
import sys

import fork
from source_session import source_id

CAREFUL = """\
    data = ("\\n".join(lines) + "\\n").encode("utf-8")
    tmp_path = fork_path.with_suffix(".jsonl.tmp")
    fd = os.open(tmp_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)
    os.replace(tmp_path, fork_path)
"""
SYNCED = CAREFUL.replace("    finally:", "        os.fsync(fd)\n    finally:")
SYNCED += """\
    fd = os.open(project_dir, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
"""


def rewrite_source(workload_path):
    with open(workload_path, encoding="utf-8") as stream:
        name = source_id(json.load(stream)["seed"]) + ".jsonl"
    for directory, _, names in os.walk(os.environ["CLAUDE_CONFIG_DIR"]):
        if name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as stream:
                data = stream.read()
            with open(path, "wb", buffering=0) as stream:
                stream.write(data)


if __name__ == "__main__":
    fork.PROPOSED = SYNCED if "--synced" in sys.argv else CAREFUL
    if "--rewrite-source" in sys.argv:
        rewrite_source(sys.argv[2])
    fork.main([word for word in sys.argv[1:] if word not in ("--rewrite-source", "--synced")])
