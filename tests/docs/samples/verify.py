"""The check of the pages: the document can be read, if anything was acknowledged."""

import json
import os
import sys

path = os.path.join(sys.argv[1], "settings.json")
if sys.argv[2] == "0" and not os.path.exists(path):
    sys.exit(0)
try:
    with open(path) as stream:
        json.load(stream)
except (OSError, ValueError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
