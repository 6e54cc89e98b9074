"""The writer of the pages: two versions of a document, rewritten in place."""

import json
import os
import sys

path = os.path.join(sys.argv[1], "settings.json")
for size in (100, 90):
    with open(path, "w") as stream:
        json.dump({"theme": "dark", "recent": ["x" * 60] * size}, stream)
    print("ACK", size, flush=True)
